//! Copies that stay on this machine: Maildirs, mboxes and quarantines.

use super::Options;
use super::attempt::{Attempt, Place};
use super::maildir::Letter;
use super::quarantine;
use super::route::Plan;
use crate::mail::{MessageId, Recipient, Status};
use crate::queue::{self, Content, Entry, Queue};
use crate::smtp::client::Outcome;
use std::io;

/// The message is not what was committed: nothing may be kept of it.
#[derive(Debug)]
pub(super) struct Damaged;

/// Why a copy is not where it belongs.
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Queue(#[from] queue::Error),
}

/// One message while its copies are made.
struct Copies<'a> {
    queue: &'a Queue,
    entry: &'a Entry,
    /// Opened by the first copy that needs it.
    content: Option<Content>,
}

/// Makes the copies of `plan` that stay here. Messages with an id below `first` may have been delivered before. Blocks.
///
/// # Errors
/// The message is damaged.
pub(super) fn deliver(
    queue: &Queue,
    options: &Options,
    first: MessageId,
    entry: &Entry,
    plan: &Plan,
) -> Result<Vec<Attempt>, Damaged> {
    let mut copies = Copies {
        queue,
        entry,
        content: None,
    };
    let mut attempts = Vec::new();
    for (index, maildir) in &plan.maildirs {
        let lines = lines(entry, &[*index]);
        let letter = Letter {
            id: entry.id,
            arrived: entry.arrived,
            lines: lines.as_bytes(),
            may_be_here: entry.id < first,
        };
        let outcome = copies.copy(|content| maildir.deliver(&letter, content))?;
        attempts.push(Attempt::local(*index, Place::Mailbox, outcome));
    }
    for (index, mbox) in &plan.mboxes {
        let lines = lines(entry, &[*index]);
        let (sender, arrived) = (&entry.reverse_path, entry.arrived);
        let outcome =
            copies.copy(|content| mbox.deliver(sender, arrived, lines.as_bytes(), content))?;
        attempts.push(Attempt::local(*index, Place::Mailbox, outcome));
    }
    for (name, recipients) in &plan.quarantines {
        let lines = lines(entry, recipients);
        let outcome = copies.copy(|content| {
            quarantine::keep(&options.dirpath, name, entry.id, lines.as_bytes(), content)
        })?;
        for &index in recipients {
            attempts.push(Attempt::local(index, Place::Quarantine, outcome.clone()));
        }
    }
    Ok(attempts)
}

impl Copies<'_> {
    /// Runs `deliver` on the content, from its front.
    fn copy(
        &mut self,
        deliver: impl FnOnce(&mut Content) -> io::Result<()>,
    ) -> Result<Outcome, Damaged> {
        match self.try_copy(deliver) {
            Ok(()) => Ok(Outcome::Delivered(String::new())),
            Err(Cause::Queue(queue::Error::Damaged(_))) => Err(Damaged),
            Err(Cause::Io(error)) if error.kind() == io::ErrorKind::InvalidData => Err(Damaged),
            Err(cause) => Ok(Outcome::Deferred(Status::new(4, 3, 0), cause.to_string())),
        }
    }

    fn try_copy(
        &mut self,
        deliver: impl FnOnce(&mut Content) -> io::Result<()>,
    ) -> Result<(), Cause> {
        let content = match &mut self.content {
            Some(content) => content,
            none => none.insert(self.queue.content_of(self.entry)?),
        };
        content.rewind()?;
        Ok(deliver(content)?)
    }
}

/// What stands in front of a copy (RFC 5321 §4.4).
fn lines(entry: &Entry, recipients: &[usize]) -> String {
    let mut lines = format!("Return-Path: <{}>\n", entry.reverse_path);
    for Recipient { address, .. } in recipients
        .iter()
        .filter_map(|&index| entry.recipient(index))
    {
        lines.push_str(&format!("Delivered-To: {address}\n"));
    }
    lines
}
