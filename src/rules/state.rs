//! What a rule returns, and which reply fits it.

use crate::mail::Status;
use crate::script::Fault;
use crate::smtp::Reply;
use std::fmt;

/// What a rule returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Go on.
    Next,
    /// End this stage, well.
    Accept(Option<Reply>),
    /// End this stage and skip those that follow.
    Faccept(Option<Reply>),
    /// Refuse.
    Deny(Reply),
    /// Take the message, and keep it in the quarantine of this name.
    Quarantine(String),
}

/// As a trace shows it: the name, with the reply or the quarantine behind it.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Accept(Some(reply)) | Self::Faccept(Some(reply)) | Self::Deny(reply) => {
                write!(f, " {reply}")
            }
            Self::Quarantine(name) => write!(f, " {name:?}"),
            Self::Next | Self::Accept(None) | Self::Faccept(None) => Ok(()),
        }
    }
}

impl State {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Accept(_) => "accept",
            Self::Faccept(_) => "faccept",
            Self::Deny(_) => "deny",
            Self::Quarantine(_) => "quarantine",
        }
    }

    /// The refusal that gives no reason.
    pub(super) const fn refusal() -> Self {
        let status = Status::new(5, 7, 1);
        Self::Deny(Reply::fixed(554, Some(status), "Refused by policy"))
    }

    /// A refusal; one without an enhanced status code gets that of a policy (RFC 3463 §3.8).
    pub(super) fn deny(reply: Reply) -> Result<Self, Fault> {
        fitting("deny", &reply, &[4, 5]).map(|()| Self::Deny(with_status(reply, 7, 1)))
    }

    pub(super) fn accept(reply: Reply) -> Result<Self, Fault> {
        fitting("accept", &reply, &[2]).map(|()| Self::Accept(Some(with_status(reply, 0, 0))))
    }

    pub(super) fn faccept(reply: Reply) -> Result<Self, Fault> {
        fitting("faccept", &reply, &[2]).map(|()| Self::Faccept(Some(with_status(reply, 0, 0))))
    }

    /// A quarantine; its name becomes part of a path later.
    pub(super) fn quarantine(name: &str) -> Result<Self, Fault> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if (1..=64).contains(&name.len()) && name.chars().all(fits) && !name.starts_with('.') {
            Ok(Self::Quarantine(name.to_owned()))
        } else {
            Err(Fault::new(
                format!("{name:?} cannot name a quarantine"),
                "use up to 64 letters, digits, `-`, `_` and `.`",
            ))
        }
    }
}

/// The reply of `code(number, [status,] text)`. The status need not be of the code's class: a policy may well say
/// `451 5.7.3`, try again but not like this.
pub(super) fn reply(code: i64, status: Option<&str>, text: &str) -> Result<Reply, Fault> {
    let fault = |what: String| Fault::new(what, "see RFC 5321 section 4.2 for what a reply may be");
    let number = u16::try_from(code).map_err(|_| fault(format!("{code} is no reply code")))?;
    let status = status
        .map(|status| {
            Status::parse(status).ok_or_else(|| {
                Fault::new(
                    format!("{status:?} is no enhanced status code"),
                    "write it as in \"5.7.1\" (RFC 3463)",
                )
            })
        })
        .transpose()?;
    Reply::new(number, status, text).map_err(|error| fault(error.to_string()))
}

/// The reply that a string such as `"550 5.7.1 text"` stands for.
pub(super) fn parse_reply(text: &str) -> Result<Reply, Fault> {
    text.parse::<Reply>().map_err(|error| {
        Fault::new(
            error.to_string(),
            "see RFC 5321 section 4.2 for what a reply may be",
        )
    })
}

fn fitting(state: &str, reply: &Reply, classes: &[u16]) -> Result<(), Fault> {
    if classes.contains(&(reply.code() / 100)) {
        return Ok(());
    }
    let wanted: Vec<_> = classes.iter().map(|class| format!("{class}xx")).collect();
    Err(Fault::new(
        format!("code {} contradicts {state}", reply.code()),
        format!("give {state}() a {} code", wanted.join(" or ")),
    ))
}

/// Every reply of ours carries an enhanced status code (RFC 2034 §4).
fn with_status(reply: Reply, subject: u16, detail: u16) -> Reply {
    if reply.status().is_some() {
        return reply;
    }
    let class = u8::try_from(reply.code() / 100).unwrap_or(5);
    let text = reply.lines().collect::<Vec<_>>().join("\n");
    Reply::new(
        reply.code(),
        Some(Status::new(class, subject, detail)),
        &text,
    )
    .unwrap_or(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_must_fit_its_state() {
        let text = |fault: Fault| fault.to_string();
        for (result, expected) in [
            (
                parse_reply("250 2.0.0 fine").and_then(State::deny),
                "code 250 contradicts deny: give deny() a 4xx or 5xx code",
            ),
            (
                parse_reply("550 5.7.1 no").and_then(State::accept),
                "code 550 contradicts accept: give accept() a 2xx code",
            ),
            (
                reply(550, Some("5.7"), "no").and_then(State::deny),
                "\"5.7\" is no enhanced status code: write it as in \"5.7.1\" (RFC 3463)",
            ),
            (
                reply(-1, None, "no").and_then(State::deny),
                "-1 is no reply code: see RFC 5321 section 4.2 for what a reply may be",
            ),
            (
                State::quarantine("../x"),
                "\"../x\" cannot name a quarantine: use up to 64 letters, digits, `-`, `_` and `.`",
            ),
        ] {
            assert_eq!(result.map_err(text), Err(expected.to_owned()));
        }
    }

    #[test]
    fn a_reply_without_status_gets_one() {
        let state = reply(450, None, "later\r\n").and_then(State::deny);
        let expected = Reply::new(450, Some(Status::new(4, 7, 1)), "later").unwrap();
        assert_eq!(state, Ok(State::Deny(expected)));
    }
}
