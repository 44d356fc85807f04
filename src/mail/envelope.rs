//! The envelope of RFC 5321 §2.3.1: what travels beside the content.

use super::dsn::{EnvelopeId, OriginalRecipient, Return, Wishes};
use super::{Address, Edition, Transport};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The reverse-path of MAIL FROM: an address, or the null path `<>` of notifications.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReversePath(pub Option<Address>);

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .as_ref()
            .map_or(Ok(()), |address| f.write_str(address.as_str()))
    }
}

/// What BODY= said of the content (RFC 6152).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// `7BIT`, also when nothing was said.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
}

/// One forward-path, and what policy decided for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Where the message goes.
    pub address: Address,
    /// What the sender wishes to hear of it (RFC 3461).
    #[serde(default, skip_serializing_if = "Wishes::is_empty")]
    pub wishes: Wishes,
    /// Others have taken its place, and each is a recipient by itself: nothing goes to this one, but its sender is to hear
    /// that they did (RFC 3461 §5.2.7.3).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expanded: bool,
    /// The quarantine that a rule put it in, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<String>,
    /// The way that a rule chose for it; `None`: that of its domain, by MX records where it is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// The header section that rules made for it. Meant for whoever commits the message, and kept no longer.
    #[serde(skip)]
    pub edition: Option<Arc<Edition>>,
}

impl From<Address> for Recipient {
    fn from(address: Address) -> Self {
        Self {
            address,
            wishes: Wishes::default(),
            expanded: false,
            quarantine: None,
            transport: None,
            edition: None,
        }
    }
}

impl Recipient {
    /// Gives it another address. The sender goes on to hear of the one that it named (RFC 3461 §5.2.1).
    pub fn readdress(&mut self, address: Address) {
        let old = std::mem::replace(&mut self.address, address);
        if old != self.address && self.wishes.original.is_none() {
            self.wishes.original = OriginalRecipient::of(&old);
        }
    }
}

/// Who sends, who receives, and how the content may be handled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The path of MAIL FROM.
    pub reverse_path: ReversePath,
    /// The paths of each RCPT TO that was accepted, in order.
    pub recipients: Vec<Recipient>,
    /// The BODY parameter.
    #[serde(default)]
    pub body: Body,
    /// Whether the client gave SMTPUTF8 (RFC 6531).
    #[serde(default)]
    pub smtputf8: bool,
    /// The octets that SIZE= declared (RFC 1870).
    #[serde(default)]
    pub declared_size: Option<u64>,
    /// How much a report of failure returns: the RET parameter (RFC 3461 §4.3).
    #[serde(default)]
    pub wanted: Option<Return>,
    /// The sender's own name for the transaction: the ENVID parameter (RFC 3461 §4.4).
    #[serde(default)]
    pub envelope_id: Option<EnvelopeId>,
}
