//! What is sent, and what became of it.

use super::super::Reply;
use crate::mail::dsn::{EnvelopeId, Notify, OriginalRecipient, Return};
use crate::mail::{Address, ReversePath, Status};
use memchr::memmem;

/// One recipient of a message that is sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The forward-path.
    pub address: Address,
    /// When the sender wishes to be told (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// Who it was at first (RFC 3461 §4.2).
    pub original: Option<OriginalRecipient>,
}

impl From<Address> for Forward {
    fn from(address: Address) -> Self {
        Self {
            address,
            notify: None,
            original: None,
        }
    }
}

/// The envelope of one transaction, and what the server must know of the content beforehand.
#[derive(Clone, Debug)]
pub struct Message {
    /// The reverse-path.
    pub reverse_path: ReversePath,
    /// At least one. More than a hundred are more than some servers take (RFC 5321 §4.5.3.1.8).
    pub recipients: Vec<Forward>,
    /// What the content is like.
    pub survey: Survey,
    /// Whether the sender said that the header section may be internationalized (RFC 6531 §3.4).
    pub smtputf8: bool,
    /// How much a report of failure returns (RFC 3461 §4.3).
    pub wanted: Option<Return>,
    /// The sender's own name for the transaction (RFC 3461 §4.4).
    pub envelope_id: Option<EnvelopeId>,
}

impl Message {
    /// Whether the header section cannot be told to a server without SMTPUTF8.
    pub(super) const fn is_international(&self) -> bool {
        self.smtputf8 && self.survey.eight_bit_header
    }
}

/// What the content is like, found by looking at all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Its octets.
    pub size: u64,
    /// Whether an octet is outside ASCII.
    pub eight_bit: bool,
    /// Whether one of those stands in the header section.
    pub eight_bit_header: bool,
    in_body: bool,
    /// The last octets of the header section so far, to find its end across pieces.
    tail: Vec<u8>,
}

/// Of no content at all.
impl Default for Survey {
    fn default() -> Self {
        Self {
            size: 0,
            eight_bit: false,
            eight_bit_header: false,
            in_body: false,
            // A line end at the very front ends a header section that has no field.
            tail: b"\r\n".to_vec(),
        }
    }
}

impl Survey {
    /// Of a whole content.
    pub fn of(content: &[u8]) -> Self {
        let mut survey = Self::default();
        survey.add(content);
        survey
    }

    /// The next `content`.
    pub fn add(&mut self, content: &[u8]) {
        self.size += content.len() as u64;
        let ascii = content.is_ascii();
        self.eight_bit |= !ascii;
        if self.in_body {
            return;
        }
        let before = self.tail.len();
        self.tail.extend_from_slice(content);
        let end = memmem::find(&self.tail, b"\r\n\r\n");
        self.in_body = end.is_some();
        let header = end.unwrap_or(self.tail.len()).saturating_sub(before);
        self.eight_bit_header |= !content.get(..header).unwrap_or_default().is_ascii();
        let keep = self.tail.len().min(3);
        self.tail.drain(..self.tail.len() - keep);
    }
}

/// What became of one recipient. A type, not an error: nothing went wrong here when a server says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server has taken the message; its words.
    Delivered(String),
    /// Not now, and why.
    Deferred(Status, String),
    /// Never, and why.
    Failed(Status, String),
}

impl Outcome {
    /// What a 4yz or 5yz reply to a command of the transaction, or of a rule of ours, means. A reply that is neither is no refusal, and
    /// defers: it makes no sense.
    pub fn refused(reply: &Reply) -> Self {
        let text = flat(reply);
        let status = |class| {
            let status = reply.status().filter(|status| status.class == class);
            status.unwrap_or(Status::new(class, 0, 0))
        };
        match reply.code() {
            500..=599 => Self::Failed(status(5), text),
            400..=499 => Self::Deferred(status(4), text),
            _ => Self::Deferred(Status::new(4, 5, 0), text),
        }
    }

    /// What a reply means that refuses not a message but us: another server, or another hour, may take it (RFC 5321
    /// §4.5.4.1 leaves a 5yz greeting open; to bounce for it would lose mail over a mistake in a block list).
    pub(super) fn unusable(reply: &Reply) -> Self {
        match Self::refused(reply) {
            Self::Failed(status, text) => {
                Self::Deferred(Status::new(4, status.subject, status.detail), text)
            }
            other => other,
        }
    }
}

/// A reply on one line.
pub(super) fn flat(reply: &Reply) -> String {
    reply.to_string().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Reply, Status, Survey};
    use proptest::prelude::*;

    #[test]
    fn replies_are_classified() {
        let refused = |text: &str| Outcome::refused(&text.parse::<Reply>().unwrap());
        assert_eq!(
            refused("550 5.1.1 No"),
            Outcome::Failed(Status::new(5, 1, 1), "550 5.1.1 No".to_owned())
        );
        assert_eq!(
            refused("450 a\nb"),
            Outcome::Deferred(Status::new(4, 0, 0), "450 a b".to_owned())
        );
        assert!(matches!(refused("354 x"), Outcome::Deferred(..)));
        let unusable = Outcome::unusable(&"554 5.7.1 blocked".parse().unwrap());
        assert!(matches!(
            unusable,
            Outcome::Deferred(
                Status {
                    class: 4,
                    subject: 7,
                    detail: 1
                },
                _
            )
        ));
    }

    #[test]
    fn a_survey_tells_header_from_body() {
        let look = |content: &[u8]| {
            let survey = Survey::of(content);
            (survey.eight_bit, survey.eight_bit_header)
        };
        assert_eq!(look(b"a: b\r\n\r\nc"), (false, false));
        assert_eq!(look(b"a: b\r\n\r\n\xe9"), (true, false));
        assert_eq!(look(b"a: \xe9\r\n\r\nc"), (true, true));
        assert_eq!(look(b"\r\n\xe9"), (true, false));
        assert_eq!(look(b"\xe9"), (true, true));
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(
            content in prop::collection::vec(prop::sample::select(b"\r\na\xe9".to_vec()), 0..40), piece in 1_usize..9
        ) {
            let mut pieced = Survey::default();
            for piece in content.chunks(piece) {
                pieced.add(piece);
            }
            let whole = Survey::of(&content);
            prop_assert_eq!((pieced.size, pieced.eight_bit, pieced.eight_bit_header),
                (whole.size, whole.eight_bit, whole.eight_bit_header));
        }
    }
}
