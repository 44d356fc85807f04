//! What a draft becomes when it is committed.

use crate::mail::{Edition, Envelope, MessageId};

/// One message that a draft becomes. Several of them share the body, and differ in their header sections.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its name.
    pub id: MessageId,
    /// What stands before the body.
    pub front: Front,
    /// Who sends it, and to whom.
    pub envelope: Envelope,
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

impl From<String> for Front {
    fn from(trace: String) -> Self {
        Self::new(trace, None)
    }
}
