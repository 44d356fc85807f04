//! The client against scripts.

mod extensions;
mod faults;
mod security;
mod transactions;

use super::*;
use crate::mail::{Address, ReversePath};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn message(recipients: &[&str], content: &[u8]) -> Message {
    Message {
        reverse_path: ReversePath(Some(address("a@example.com"))),
        recipients: recipients.iter().map(|r| address(r).into()).collect(),
        survey: Survey::of(content),
        smtputf8: false,
        wanted: None,
        envelope_id: None,
    }
}

fn options() -> Options {
    Options {
        protocol: Protocol::Smtp,
        name: "client.example".to_owned(),
        starttls: StartTls::Offered,
        login: None,
        confidential: false,
    }
}

/// Runs a client against a script: `S:` what the server says, `C:` what the client must say, `T:` what it must ask of
/// its caller. Gives the outcomes of the messages.
fn run(options: Options, messages: Vec<(Message, &str)>, script: &str) -> Vec<Vec<Outcome>> {
    let mut client = Client::new(options);
    let mut messages = messages.into_iter();
    let mut content = "";
    let mut said = String::new();
    let mut outcomes = Vec::new();
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (kind, text) = line.split_at(2);
        let text = text.trim_start();
        match kind {
            "C:" => {
                let (first, rest) = said
                    .split_once("\r\n")
                    .unwrap_or_else(|| panic!("nothing said: {line}"));
                assert_eq!(first, text);
                said = rest.to_owned();
            }
            "S:" => {
                assert_eq!(said, "", "before {line}");
                let octets = format!("{text}\r\n");
                let mut step = client.receive(&mut octets.as_bytes());
                while let Some(now) = step.take() {
                    let ready = match now {
                        Step::Send(octets) => {
                            said.push_str(std::str::from_utf8(&octets).unwrap());
                            continue;
                        }
                        Step::Secure(handshake) => {
                            said.push_str("(handshake)\r\n");
                            step = Some(client.secured(handshake));
                            continue;
                        }
                        Step::Transmit(token) => {
                            let mut wire = Vec::new();
                            let mut encoder = Encoder::default();
                            encoder.encode(content.as_bytes(), &mut wire);
                            encoder.finish(&mut wire);
                            said.push_str(std::str::from_utf8(&wire).unwrap());
                            client.transmitted(token);
                            continue;
                        }
                        Step::Unusable(outcome) => {
                            outcomes.push(vec![outcome]);
                            said.push_str("(unusable)\r\n");
                            continue;
                        }
                        Step::Close => {
                            said.push_str("(close)\r\n");
                            continue;
                        }
                        Step::Ready(ready) => Some(ready),
                        Step::Done(decided, ready) => {
                            outcomes.push(decided);
                            ready
                        }
                    };
                    step = match (ready, messages.next()) {
                        (None, _) => {
                            said.push_str("(over)\r\n");
                            None
                        }
                        (Some(ready), Some((message, octets))) => {
                            content = octets;
                            Some(client.transmit(ready, message))
                        }
                        (Some(ready), None) => Some(client.quit(ready)),
                    };
                }
            }
            _ => panic!("{line}"),
        }
    }
    assert_eq!(said, "", "at the end");
    outcomes
}

fn delivered(text: &str) -> Outcome {
    Outcome::Delivered(text.to_owned())
}

fn failed(status: &str, text: &str) -> Outcome {
    Outcome::Failed(Status::parse(status).unwrap(), text.to_owned())
}

fn deferred(status: &str, text: &str) -> Outcome {
    Outcome::Deferred(Status::parse(status).unwrap(), text.to_owned())
}
