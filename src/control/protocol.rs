//! What is said over the control socket: lines of JSON, in between the octets of messages.
//!
//! ```text
//! daemon  {"vsmtp":"0.1.0","spool":"/var/lib/vsmtp"}
//! tool    {"op":"cat","target":"0006"}
//! daemon  {"octets":1024}          and then so many octets
//! daemon  {"done":{…}}             or {"refused":{…}}
//! ```
//!
//! One request for each connection. What a tool says is short and bounded; what the daemon answers ends with `done` or
//! `refused`, or else it was cut off.

use super::Message;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, ErrorKind};
use std::path::PathBuf;

/// Octets of the longest request.
pub(super) const REQUEST_MAX: usize = 64 * 1024;
/// Octets of the longest line of an answer: a message with as many recipients as any server takes.
const ANSWER_MAX: u64 = 64 * 1024 * 1024;
/// Octets of a message that are sent together.
pub(super) const PIECE: usize = 64 * 1024;

/// What the daemon says first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Greeting {
    /// Its version.
    pub vsmtp: String,
    /// `server.queues.dirpath`: whose queue this is.
    pub spool: PathBuf,
}

/// What a tool asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Request {
    /// Each message; without targets those of the whole queue.
    List {
        /// Which.
        targets: Vec<Target>,
    },
    /// One message, and how large it is.
    Show {
        /// Which.
        target: Target,
    },
    /// The octets of one message.
    Cat {
        /// Which.
        target: Target,
    },
    /// Each message with its octets; without targets those of the whole queue.
    Export {
        /// Which.
        targets: Vec<Target>,
    },
    /// What follows is SMTP, the greeting of the server first.
    Submit,
    /// Changes messages; without targets those of the whole queue.
    Act {
        /// What to do.
        action: Action,
        /// Which.
        targets: Vec<Target>,
    },
}

/// What can be done to messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Try again now.
    Retry,
    /// Keep in the queue until released.
    Hold,
    /// Let go what is held, or what is in a quarantine.
    Release,
    /// Forget, and tell nobody.
    Remove,
}

/// Which messages: `0006`, `example.com`, `spam/0006`, `spam/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// The message of the queue whose id begins so.
    Id(String),
    /// The recipients in this domain.
    Domain(String),
    /// What is in quarantine.
    Quarantine {
        /// The name of its folder; `None`: of each.
        name: Option<String>,
        /// The message whose id begins so; empty: all of them.
        id: String,
    },
}

/// A text that names no messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is neither a message's id (up to 16 hexadecimal digits), nor a domain, nor QUARANTINE/ID"
)]
pub struct NoTarget(String);

/// A part of the daemon's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// One message.
    Message(Box<Message>),
    /// Octets of the message before.
    Octets(#[serde(with = "counted")] Vec<u8>),
    /// It takes time.
    Progress(Summary),
    /// That was all.
    Done(Summary),
    /// It cannot be done.
    Refused(Refusal),
}

/// What a request came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many messages were looked at.
    pub seen: u64,
    /// How many of them were listed or changed.
    pub messages: u64,
    /// How many of their recipients.
    pub recipients: u64,
    /// Messages that were being delivered all the time, and are as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub busy: Vec<String>,
    /// Targets that name no message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// Targets that name more than one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ambiguous: Vec<String>,
    /// What could not be done, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

/// Why a request is not obeyed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "lowercase", tag = "why", content = "what")]
pub enum Refusal {
    /// Only root and the daemon's own user may.
    #[error("only root and the user of the daemon may look at the queue")]
    Forbidden,
    /// The daemon does not understand the request.
    #[error("the daemon does not understand the request: {0}")]
    Malformed(String),
    /// The daemon has too much to do for others.
    #[error("the daemon answers too many others: ask again")]
    Overloaded,
    /// Only a daemon that runs changes its queue.
    #[error("nothing is changed while the daemon is down")]
    ReadOnly,
    /// It tried.
    #[error("{0}")]
    Failed(String),
}

impl TryFrom<String> for Target {
    type Error = NoTarget;

    fn try_from(text: String) -> Result<Self, NoTarget> {
        let is_id = |text: &str| text.len() <= 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if let Some((name, id)) = text.split_once('/') {
            if !is_id(id) {
                return Err(NoTarget(text));
            }
            return Ok(Self::Quarantine {
                name: (!name.is_empty()).then(|| name.to_owned()),
                id: id.to_ascii_lowercase(),
            });
        }
        if is_id(&text) && !text.is_empty() {
            return Ok(Self::Id(text.to_ascii_lowercase()));
        }
        let name = text.strip_prefix('@').unwrap_or(&text);
        let is_literal = name.starts_with('[') && name.ends_with(']');
        if is_literal || crate::mail::is_domain(name) {
            return Ok(Self::Domain(name.to_ascii_lowercase()));
        }
        Err(NoTarget(text))
    }
}

impl std::str::FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        text.to_owned().try_into()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        match target {
            Target::Id(id) => id,
            Target::Domain(name) => format!("@{name}"),
            Target::Quarantine { name, id } => format!("{}/{id}", name.unwrap_or_default()),
        }
    }
}

impl Answer {
    /// Whether nothing follows.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Refused(_))
    }

    /// Appends it as it stands on the wire.
    pub(super) fn write_to(&self, octets: &mut Vec<u8>) {
        append_line(octets, self);
        if let Self::Octets(piece) = self {
            octets.extend_from_slice(piece);
        }
    }

    /// Reads the next one.
    pub(super) fn read_from(from: &mut impl BufRead) -> io::Result<Self> {
        let line = read_line(from, ANSWER_MAX)?;
        let mut answer = serde_json::from_slice(&line)?;
        if let Self::Octets(piece) = &mut answer {
            from.read_exact(piece)?;
        }
        Ok(answer)
    }
}

/// Appends a value as one line.
pub(super) fn append_line(octets: &mut Vec<u8>, value: &impl Serialize) {
    // Writing to a Vec does not fail, and no type here has a map with keys that are no strings.
    let _ = serde_json::to_writer(&mut *octets, value);
    octets.push(b'\n');
}

/// Reads a line of at most `most` octets.
pub(super) fn read_line(from: &mut impl BufRead, most: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    io::Read::take(from, most).read_until(b'\n', &mut line)?;
    match line.last() {
        Some(b'\n') => Ok(line),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// Octets stand as their number in the line; they follow it.
mod counted {
    use super::PIECE;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(octets.len() as u64)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let count = usize::deserialize(deserializer)?;
        if count > PIECE {
            return Err(D::Error::custom("too many octets at once"));
        }
        Ok(vec![0; count])
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Answer, Refusal, Request, Summary, Target, append_line};
    use std::io::ErrorKind;

    #[test]
    fn targets_are_told_apart() {
        let quarantine = |name: Option<&str>, id: &str| Target::Quarantine {
            name: name.map(str::to_owned),
            id: id.to_owned(),
        };
        for (text, expected) in [
            ("0006aB", Ok(Target::Id("0006ab".into()))),
            ("beef", Ok(Target::Id("beef".into()))),
            ("@beef", Ok(Target::Domain("beef".into()))),
            ("Example.COM", Ok(Target::Domain("example.com".into()))),
            (
                "00000000000000000",
                Ok(Target::Domain("00000000000000000".into())),
            ),
            ("@[192.0.2.1]", Ok(Target::Domain("[192.0.2.1]".into()))),
            ("spam/", Ok(quarantine(Some("spam"), ""))),
            ("spam/0F", Ok(quarantine(Some("spam"), "0f"))),
            ("/", Ok(quarantine(None, ""))),
            ("/0f", Ok(quarantine(None, "0f"))),
            ("", Err(())),
            ("a@b.org", Err(())),
            ("spam/x", Err(())),
            ("a/b/c", Err(())),
            ("--all", Err(())),
        ] {
            let target = text.parse::<Target>();
            if let Ok(target) = &target {
                assert_eq!(String::from(target.clone()).parse(), Ok(target.clone()));
            }
            assert_eq!(target.map_err(|_| ()), expected, "{text:?}");
        }
    }

    #[test]
    fn answers_come_back_as_they_went() {
        let summary = Summary {
            seen: 3,
            busy: vec!["0006".into()],
            ..Summary::default()
        };
        let answers = [
            Answer::Octets(b"a\n{}\n".to_vec()),
            Answer::Octets(Vec::new()),
            Answer::Progress(summary.clone()),
            Answer::Refused(Refusal::Malformed("x".into())),
            Answer::Refused(Refusal::Forbidden),
            Answer::Done(summary),
        ];
        let mut octets = Vec::new();
        answers
            .iter()
            .for_each(|answer| answer.write_to(&mut octets));
        let mut rest = &octets[..];
        for answer in answers {
            assert_eq!(Answer::read_from(&mut rest).unwrap(), answer);
        }
        let cut = Answer::read_from(&mut rest).unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::UnexpectedEof);
        assert!(Answer::read_from(&mut &b"{\"octets\":99999999}\n"[..]).is_err());
    }

    #[test]
    fn requests_are_lines_that_a_person_can_write() {
        let request = Request::Act {
            action: Action::Hold,
            targets: vec![Target::Domain("example.com".into())],
        };
        let mut line = Vec::new();
        append_line(&mut line, &request);
        let expected = "{\"op\":\"act\",\"action\":\"hold\",\"targets\":[\"@example.com\"]}\n";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
        assert_eq!(serde_json::from_str::<Request>(expected).unwrap(), request);
    }
}
