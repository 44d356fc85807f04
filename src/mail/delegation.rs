//! A message that is given to a content filter and comes back: how it is known again, and where the rules go on.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use super::MessageId;

/// The header field that carries a [`Token`] to a content filter and back.
pub const TOKEN_FIELD: &str = "X-VSMTP-DELEGATION";

/// Where in the rules a message stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bookmark {
    /// The stage.
    pub stage: String,
    /// Whose rules they are.
    pub group: String,
    /// The directive, by its name.
    pub directive: String,
}

/// What nobody can guess: 128 random bits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(pub [u8; 16]);

/// What a message that comes back must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The message that waits.
    pub id: MessageId,
    /// Its secret.
    pub secret: Secret,
}

/// The text is no [`Secret`], or no [`Token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token of a delegation")]
pub struct NoToken;

/// ```text
/// token = 16hexdigit "-" 32hexdigit    ; in lower case
/// ```
impl FromStr for Token {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let (id, secret) = text.split_once('-').ok_or(NoToken)?;
        let id = MessageId(u64::from_str_radix(id, 16).map_err(|_| NoToken)?);
        let secret = Secret(
            u128::from_str_radix(secret, 16)
                .map_err(|_| NoToken)?
                .to_be_bytes(),
        );
        let token = Self { id, secret };
        // Signs and other spellings are nobody's.
        (token.to_string() == text).then_some(token).ok_or(NoToken)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.id, String::from(self.secret.clone()))
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        format!("{:032x}", u128::from_be_bytes(secret.0))
    }
}

impl TryFrom<String> for Secret {
    type Error = NoToken;

    fn try_from(text: String) -> Result<Self, NoToken> {
        let number = u128::from_str_radix(&text, 16).map_err(|_| NoToken)?;
        let secret = Self(number.to_be_bytes());
        match String::from(secret.clone()) == text {
            true => Ok(secret),
            false => Err(NoToken),
        }
    }
}

/// Without the octets.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::{MessageId, NoToken, Secret, Token};

    #[test]
    fn a_token_has_one_spelling() {
        let token = Token {
            id: MessageId(0xab),
            secret: Secret([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]),
        };
        let text = "00000000000000ab-000102030405060708090a0b0c0d0eff";
        assert_eq!(token.to_string(), text);
        assert_eq!(text.parse(), Ok(token.clone()));
        let json = serde_json::to_string(&token.secret).unwrap();
        assert_eq!(serde_json::from_str::<Secret>(&json).unwrap(), token.secret);
        assert!(!format!("{token:?}").contains("0e"));
        for other in [
            "",
            "-",
            "ab-000102030405060708090a0b0c0d0eff",
            "00000000000000AB-000102030405060708090a0b0c0d0eff",
            "+0000000000000ab-000102030405060708090a0b0c0d0eff",
            "00000000000000ab-0102030405060708090a0b0c0d0eff",
            "00000000000000ab-000102030405060708090a0b0c0d0eff ",
            "00000000000000ab-000102030405060708090a0b0c0d0eff00",
        ] {
            assert_eq!(other.parse::<Token>(), Err(NoToken), "{other}");
        }
    }
}
