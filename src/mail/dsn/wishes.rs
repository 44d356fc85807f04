//! What a sender wishes to hear of a message: the parameters of RFC 3461.

use super::xtext;
use super::{Action, OriginalRecipient};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Octets of an ENVID parameter, encoded (RFC 3461 §4.4).
const ENVELOPE_ID_MAX: usize = 100;

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

/// What the sender wishes for one recipient. Nothing, where RCPT said nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// The NOTIFY parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// The ORCPT parameter, or the address that another has taken the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<OriginalRecipient>,
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

impl Wishes {
    /// Whether RCPT said nothing.
    pub const fn is_empty(&self) -> bool {
        self.notify.is_none() && self.original.is_none()
    }

    /// Whether the sender wishes to hear that `action` was taken.
    pub fn wants(&self, action: Action) -> bool {
        self.notify.unwrap_or(Notify::DEFAULT).wants(action)
    }

    /// What remains wished for each of several addresses that take the place of the one that was named: success was told
    /// once, when they did (RFC 3461 §5.2.7.3).
    pub fn without_success(self) -> Self {
        let notify = match self.notify {
            Some(Notify::On { failure, delay, .. }) => Some(Notify::On {
                success: false,
                failure,
                delay,
            }),
            other => other,
        };
        Self { notify, ..self }
    }
}

impl Notify {
    /// What holds where nothing is said: tell of failures and, as we choose, of delays (RFC 3461 §5.2.5 and §5.2.6).
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

#[cfg(test)]
mod tests {
    use super::{Action, EnvelopeId, Notify, Return, WishError, Wishes};

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
    fn several_addresses_report_no_success() {
        let told = |text: &str| {
            let notify = Some(Notify::parse(text).unwrap());
            let wishes = Wishes {
                notify,
                ..Wishes::default()
            };
            wishes.without_success().notify.unwrap().to_string()
        };
        assert_eq!(told("SUCCESS,DELAY"), "DELAY");
        assert_eq!(told("SUCCESS"), "NEVER");
        assert_eq!(told("NEVER"), "NEVER");
        let silent = Wishes::default();
        assert!(silent.wants(Action::Failed) && !silent.wants(Action::Delivered));
        assert_eq!(silent.clone().without_success(), silent);
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
