//! Messages, listed, shown, and their octets.

use super::output::{Output, progress};
use super::{Failure, account, open, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::json;
use vsmtp::control::{Answer, Place, Request, Summary, Target};

pub(super) fn list(place: &Place, targets: Vec<Target>, json: bool) -> Result<(), Failure> {
    let access = open(place)?;
    let mut output = Output::of(&access)?;
    let (mut done, now) = (Summary::default(), Timestamp::now());
    access.ask(&Request::List { targets }, &mut |answer| {
        match answer {
            Answer::Message(message) if json => return output.json(&message),
            Answer::Message(message) => return output.line(text::listed(&message, now)),
            Answer::Progress(summary) => progress(&summary),
            Answer::Done(summary) => done = summary,
            _ => {}
        }
        Ok(())
    })?;
    if !json {
        let messages = text::count(done.messages, "message");
        output.line(format_args!(
            "{messages}, {}",
            text::count(done.recipients, "recipient")
        ))?;
    }
    output.finish()?;
    account(&done)
}

pub(super) fn show(place: &Place, target: Target, json: bool) -> Result<(), Failure> {
    let access = open(place)?;
    let mut output = Output::of(&access)?;
    let (mut done, now) = (Summary::default(), Timestamp::now());
    access.ask(&Request::Show { target }, &mut |answer| {
        match answer {
            Answer::Message(message) if json => return output.json(&message),
            Answer::Message(message) => return output.line(text::shown(&message, now)),
            Answer::Done(summary) => done = summary,
            _ => {}
        }
        Ok(())
    })?;
    output.finish()?;
    account(&done)
}

/// The octets as they are sent; as JSON they stand in base64, since they may be any.
pub(super) fn cat(place: &Place, target: Target, json: bool) -> Result<(), Failure> {
    let access = open(place)?;
    let mut output = Output::of(&access)?;
    let (mut done, mut octets) = (Summary::default(), Vec::new());
    let name = String::from(target.clone());
    access.ask(&Request::Cat { target }, &mut |answer| {
        match answer {
            Answer::Octets(piece) if json => octets.extend(piece),
            Answer::Octets(piece) => return output.octets(&piece),
            Answer::Done(summary) => done = summary,
            _ => {}
        }
        Ok(())
    })?;
    if json && done.messages > 0 {
        output.json(&json!({ "id": name, "base64": STANDARD.encode(octets) }))?;
    }
    output.finish()?;
    account(&done)
}
