//! Whom the sender named at first: the ORCPT parameter (RFC 3461 §4.2).

use super::{WishError, xtext};
use crate::mail::Address;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};

/// Octets of an ORCPT parameter, encoded (RFC 3461 §4.2).
const ORIGINAL_RECIPIENT_MAX: usize = 500;
/// The address type of RFC 6533 §3.
const UTF_8: &str = "utf-8";

/// The recipient as the sender first gave it. Printable ASCII and spaces only: in an address of type `utf-8` each other
/// character stands as `\x{HEX}`, the form that every server takes (`utf-8-addr-xtext`, RFC 6533 §3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OriginalRecipient {
    address_type: String,
    address: String,
}

impl OriginalRecipient {
    /// Reads the value of ORCPT=: an address type, `;`, and xtext. An address of type `utf-8` may hold UTF-8.
    ///
    /// # Errors
    /// [`WishError::OriginalRecipient`].
    pub fn parse(value: &str) -> Result<Self, WishError> {
        Self::try_parse(value).ok_or(WishError::OriginalRecipient)
    }

    fn try_parse(value: &str) -> Option<Self> {
        let (address_type, encoded) = value.split_once(';')?;
        // Address types are atoms registered with IANA: rfc822, utf-8, x400, …
        let is_atom = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
        if address_type.is_empty() || !address_type.bytes().all(is_atom) {
            return None;
        }
        let encoded = match address_type.eq_ignore_ascii_case(UTF_8) {
            true => escaped(encoded),
            false => encoded.to_owned(),
        };
        let original = Self {
            address_type: address_type.to_owned(),
            address: xtext::decode(&encoded).filter(|address| !address.is_empty())?,
        };
        let length = address_type.len() + 1 + encoded.len();
        (length <= ORIGINAL_RECIPIENT_MAX).then_some(original)
    }

    /// What a server says that gives the recipient `address` another one; `None` where it is too long to be said.
    pub fn of(address: &Address) -> Option<Self> {
        let original = match address.is_ascii() {
            true => Self {
                address_type: "rfc822".to_owned(),
                address: address.to_string(),
            },
            false => Self {
                address_type: UTF_8.to_owned(),
                address: escaped(address.as_str()),
            },
        };
        (original.to_string().len() <= ORIGINAL_RECIPIENT_MAX).then_some(original)
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

/// `text` with `\x{HEX}` for every character outside ASCII.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_ascii() {
            true => escaped.push(character),
            // Writing to a String cannot fail.
            false => {
                let _ = write!(escaped, "\\x{{{:X}}}", u32::from(character));
            }
        }
    }
    escaped
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
    use super::{OriginalRecipient, WishError};
    use crate::mail::Address;

    #[test]
    fn no_control_character_gets_through() {
        let recipient = OriginalRecipient::parse("rfc822;Bob+2Btag@example.com").unwrap();
        assert_eq!(recipient.address(), "Bob+tag@example.com");
        assert_eq!(recipient.address_type(), "rfc822");
        assert_eq!(recipient.to_string(), "rfc822;Bob+2Btag@example.com");
        let long = format!("rfc822;{}", "x".repeat(494));
        for bad in [
            "",
            "bob@example.com",
            ";bob@example.com",
            "rfc822;",
            "rfc 822;bob",
            "rfc822;a+0D+0ARCPT",
            "rfc822;a b",
            "rfc822;j\u{f6}rg@example.com",
            "utf-8;a+0D+0ARCPT",
            &long,
        ] {
            assert_eq!(
                OriginalRecipient::parse(bad),
                Err(WishError::OriginalRecipient),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn utf_8_is_kept_in_ascii() {
        for value in [
            "utf-8;j\u{f6}rg@example.com",
            "utf-8;j\\x{F6}rg@example.com",
        ] {
            let recipient = OriginalRecipient::parse(value).unwrap();
            assert_eq!(recipient.address(), "j\\x{F6}rg@example.com");
            assert_eq!(recipient.to_string(), "utf-8;j\\x{F6}rg@example.com");
        }
    }

    #[test]
    fn an_address_can_be_said() {
        for (address, said) in [
            ("a+b@example.com", "rfc822;a+2Bb@example.com"),
            ("j\u{f6}rg@example.com", "utf-8;j\\x{F6}rg@example.com"),
        ] {
            let original = OriginalRecipient::of(&Address::parse(address).unwrap()).unwrap();
            assert_eq!(original.to_string(), said);
            assert_eq!(OriginalRecipient::parse(said), Ok(original));
        }
    }
}
