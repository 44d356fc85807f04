//! What a draft becomes when it is committed.

use super::Screening;
use crate::mail::{Edition, Envelope, MessageId, Origin};

/// One message that a draft becomes. Several of them share the body, and differ in their header sections.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its name.
    pub id: MessageId,
    /// What stands before the body.
    pub front: Front,
    /// Who sends it, and to whom.
    pub envelope: Envelope,
    /// Where it came from; `None`: from ourselves.
    pub origin: Option<Origin>,
    /// What is still to be decided about its recipients.
    pub screening: Screening,
}

/// What is put in front of a content as it arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Front {
    /// Trace fields, and the header section where that was edited.
    pub octets: Vec<u8>,
    /// So many octets at the front of the content give way to it: the header section that was edited.
    pub replaces: u64,
}

impl Front {
    /// `trace`, and what edits made of the header section, if there were any.
    pub fn new(trace: String, edition: Option<&Edition>) -> Self {
        let mut octets = trace.into_bytes();
        octets.extend_from_slice(edition.map_or(&[], |edition| &edition.header));
        Self {
            octets,
            replaces: edition.map_or(0, |edition| edition.replaces),
        }
    }
}

/// `front` with its first octets replaced as `edition` says, and how many octets of what comes behind it give way too.
pub(super) fn edited(front: &[u8], edition: &Edition) -> (Vec<u8>, u64) {
    let replaced = usize::try_from(edition.replaces).unwrap_or(usize::MAX);
    let rest = front.get(replaced..).unwrap_or_default();
    let beyond = edition.replaces.saturating_sub(front.len() as u64);
    ([&edition.header, rest].concat(), beyond)
}

impl From<String> for Front {
    fn from(trace: String) -> Self {
        Self::new(trace, None)
    }
}
