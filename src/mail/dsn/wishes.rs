//! What a sender wishes to hear of a message: the parameters of RFC 3461.

use super::Action;
use super::xtext;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Octets of an ENVID parameter, encoded (RFC 3461 §4.4).
const ENVELOPE_ID_MAX: usize = 100;
/// Octets of an ORCPT parameter, encoded (RFC 3461 §4.2).
const ORIGINAL_RECIPIENT_MAX: usize = 500;

/// When to tell the sender of a recipient: NOTIFY (RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notify {
    /// `NEVER`.
    Never,
    /// A list of the others.
    On {
        /// `SUCCESS`: it was delivered.
        success: bool,
        /// `FAILURE`: it never will be.
        failure: bool,
        /// `DELAY`: it takes long.
        delay: bool,
    },
}

/// How much of the message a report of failure returns: RET (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Return {
    /// `FULL`: the whole message.
    Full,
    /// `HDRS`: its header section.
    Headers,
}

/// The sender's own name for the transaction: ENVID (RFC 3461 §4.4). Printable ASCII and spaces only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvelopeId(String);

/// The recipient as the sender first gave it: ORCPT (RFC 3461 §4.2). Printable ASCII and spaces only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OriginalRecipient {
    address_type: String,
    address: String,
}

/// Why a parameter is none of RFC 3461.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// NOTIFY names an unknown condition, one twice, or NEVER beside another.
    #[error("malformed NOTIFY parameter")]
    Notify,
    /// RET is neither FULL nor HDRS.
    #[error("malformed RET parameter")]
    Return,
    /// ENVID is empty, too long, no xtext, or stands for an unprintable character.
    #[error("malformed ENVID parameter")]
    EnvelopeId,
    /// ORCPT has no type, is too long, is no xtext, or stands for an unprintable character.
    #[error("malformed ORCPT parameter")]
    OriginalRecipient,
}

impl Notify {
    /// What holds where nothing is said: tell of failures and, as we choose, of delays (RFC 3461 §5.2.6 and §5.2.7).
    pub const DEFAULT: Self = Self::On {
        success: false,
        failure: true,
        delay: true,
    };

    /// Reads the value of NOTIFY=.
    ///
    /// # Errors
    /// [`WishError::Notify`].
    pub fn parse(value: &str) -> Result<Self, WishError> {
        if value.eq_ignore_ascii_case("NEVER") {
            return Ok(Self::Never);
        }
        let (mut success, mut failure, mut delay) = (false, false, false);
        for word in value.split(',') {
            let flag = match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => &mut success,
                "FAILURE" => &mut failure,
                "DELAY" => &mut delay,
                _ => return Err(WishError::Notify),
            };
            if std::mem::replace(flag, true) {
                return Err(WishError::Notify);
            }
        }
        Ok(Self::On {
            success,
            failure,
            delay,
        })
    }

    /// Whether the sender wishes to hear that `action` was taken. The null reverse-path is never told anything
    /// (RFC 3461 §6.1): that is for the caller to see.
    pub const fn wants(self, action: Action) -> bool {
        match self {
            Self::Never => false,
            Self::On {
                success,
                failure,
                delay,
            } => match action {
                Action::Failed => failure,
                Action::Delayed => delay,
                Action::Delivered | Action::Relayed | Action::Expanded => success,
            },
        }
    }
}

/// Writes what [`Notify::parse`] reads. A list that names nothing is `NEVER`.
impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::On {
            success,
            failure,
            delay,
        } = *self
        else {
            return f.write_str("NEVER");
        };
        let named = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
        let words: Vec<&str> = named
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, w)| *w)
            .collect();
        match words.is_empty() {
            true => f.write_str("NEVER"),
            false => f.write_str(&words.join(",")),
        }
    }
}

impl Return {
    /// Reads the value of RET=.
    ///
    /// # Errors
    /// [`WishError::Return`].
    pub fn parse(value: &str) -> Result<Self, WishError> {
        if value.eq_ignore_ascii_case("FULL") {
            Ok(Self::Full)
        } else if value.eq_ignore_ascii_case("HDRS") {
            Ok(Self::Headers)
        } else {
            Err(WishError::Return)
        }
    }
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        })
    }
}

impl EnvelopeId {
    /// Reads the value of ENVID=, which is xtext.
    ///
    /// # Errors
    /// [`WishError::EnvelopeId`].
    pub fn parse(value: &str) -> Result<Self, WishError> {
        xtext::decode(value)
            .filter(|decoded| !decoded.is_empty() && value.len() <= ENVELOPE_ID_MAX)
            .map(Self)
            .ok_or(WishError::EnvelopeId)
    }

    /// The name as the sender knows it, decoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Writes the xtext that [`EnvelopeId::parse`] reads.
impl fmt::Display for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&xtext::encode(&self.0))
    }
}

impl TryFrom<String> for EnvelopeId {
    type Error = WishError;

    fn try_from(text: String) -> Result<Self, WishError> {
        Self::parse(&text)
    }
}

impl From<EnvelopeId> for String {
    fn from(id: EnvelopeId) -> Self {
        id.to_string()
    }
}

impl OriginalRecipient {
    /// Reads the value of ORCPT=: an address type, `;`, and xtext.
    ///
    /// # Errors
    /// [`WishError::OriginalRecipient`].
    pub fn parse(value: &str) -> Result<Self, WishError> {
        let error = WishError::OriginalRecipient;
        let (address_type, encoded) = value.split_once(';').ok_or(error)?;
        // Address types are atoms registered with IANA: rfc822, utf-8, x400, …
        let is_atom = !address_type.is_empty()
            && address_type
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
        let address = xtext::decode(encoded).ok_or(error)?;
        if !is_atom || address.is_empty() || value.len() > ORIGINAL_RECIPIENT_MAX {
            return Err(error);
        }
        Ok(Self {
            address_type: address_type.to_owned(),
            address,
        })
    }

    /// The kind of address: `rfc822`, or `utf-8` (RFC 6533).
    pub fn address_type(&self) -> &str {
        &self.address_type
    }

    /// The address, decoded. Nothing says that it is a well-formed one.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Writes what [`OriginalRecipient::parse`] reads.
impl fmt::Display for OriginalRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{}", self.address_type, xtext::encode(&self.address))
    }
}

impl TryFrom<String> for OriginalRecipient {
    type Error = WishError;

    fn try_from(text: String) -> Result<Self, WishError> {
        Self::parse(&text)
    }
}

impl From<OriginalRecipient> for String {
    fn from(recipient: OriginalRecipient) -> Self {
        recipient.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, EnvelopeId, Notify, OriginalRecipient, Return, WishError};

    #[test]
    fn notify_reads_what_it_writes_and_nothing_else() {
        for text in [
            "NEVER",
            "SUCCESS",
            "FAILURE",
            "DELAY",
            "SUCCESS,FAILURE,DELAY",
            "FAILURE,DELAY",
        ] {
            assert_eq!(Notify::parse(text).unwrap().to_string(), text);
            assert_eq!(Notify::parse(&text.to_lowercase()), Notify::parse(text));
        }
        for bad in [
            "",
            "NEVER,SUCCESS",
            "SUCCESS,NEVER",
            "SUCCESS,SUCCESS",
            "SUCCESS,",
            "ALWAYS",
            "SUCCESS FAILURE",
        ] {
            assert_eq!(Notify::parse(bad), Err(WishError::Notify), "{bad:?}");
        }
    }

    #[test]
    fn notify_says_what_is_wanted() {
        let wants = |text: &str| {
            let notify = Notify::parse(text).unwrap();
            [
                Action::Failed,
                Action::Delayed,
                Action::Delivered,
                Action::Relayed,
            ]
            .map(|action| notify.wants(action))
        };
        assert_eq!(wants("NEVER"), [false; 4]);
        assert_eq!(wants("FAILURE"), [true, false, false, false]);
        assert_eq!(wants("DELAY"), [false, true, false, false]);
        assert_eq!(wants("SUCCESS"), [false, false, true, true]);
        assert!(Notify::DEFAULT.wants(Action::Failed) && !Notify::DEFAULT.wants(Action::Delivered));
    }

    #[test]
    fn envelope_ids_hold_no_control_character() {
        let id = EnvelopeId::parse("QQ+2B314+20159").unwrap();
        assert_eq!(
            (id.as_str(), id.to_string().as_str()),
            ("QQ+314 159", "QQ+2B314+20159")
        );
        let long = "x".repeat(101);
        for bad in ["", "a+0D+0ABcc:", "a b", "+", long.as_str()] {
            assert_eq!(
                EnvelopeId::parse(bad),
                Err(WishError::EnvelopeId),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn original_recipients_hold_no_control_character() {
        let recipient = OriginalRecipient::parse("rfc822;Bob+2Btag@example.com").unwrap();
        assert_eq!(recipient.address(), "Bob+tag@example.com");
        assert_eq!(recipient.address_type(), "rfc822");
        assert_eq!(recipient.to_string(), "rfc822;Bob+2Btag@example.com");
        for bad in [
            "",
            "bob@example.com",
            ";bob@example.com",
            "rfc822;",
            "rfc 822;bob",
            "rfc822;a+0D+0ARCPT",
            "rfc822;a b",
        ] {
            assert_eq!(
                OriginalRecipient::parse(bad),
                Err(WishError::OriginalRecipient),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn wishes_survive_storage() {
        let id = EnvelopeId::parse("a+2Bb").unwrap();
        let stored = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<EnvelopeId>(&stored).unwrap(), id);
        assert!(serde_json::from_str::<EnvelopeId>("\"a+0Ab\"").is_err());
        assert_eq!(Return::parse("hdrs").unwrap().to_string(), "HDRS");
        assert_eq!(Return::parse("HALF"), Err(WishError::Return));
    }
}
