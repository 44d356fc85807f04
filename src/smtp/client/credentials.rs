//! Who to be towards a server that asks: AUTH PLAIN (RFC 4616) and AUTH LOGIN over RFC 4954.

use super::offer::Offer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

/// Why a text cannot be a user name or a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// It is empty.
    #[error("user name or password is empty")]
    Empty,
    /// It holds NUL, which parts the two on the wire.
    #[error("user name or password holds NUL")]
    Nul,
}

impl Credentials {
    /// Takes any text that RFC 4616 can carry.
    ///
    /// # Errors
    /// One of the two is empty or holds NUL.
    pub fn new(user: &str, password: &str) -> Result<Self, CredentialsError> {
        if user.is_empty() || password.is_empty() {
            return Err(CredentialsError::Empty);
        }
        if user.contains('\0') || password.contains('\0') {
            return Err(CredentialsError::Nul);
        }
        Ok(Self {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }
}

/// Shows the user only: this goes to logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// How far an authentication has come: what was sent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// `AUTH PLAIN`, with everything in it.
    Plain,
    /// `AUTH LOGIN`.
    Ask,
    /// The user name of LOGIN.
    User,
    /// The password of LOGIN.
    Password,
}

impl Login {
    /// The best mechanism that both sides know.
    pub(super) const fn begin(offer: &Offer) -> Option<Self> {
        if offer.auth_plain {
            Some(Self::Plain)
        } else if offer.auth_login {
            Some(Self::Ask)
        } else {
            None
        }
    }

    /// What follows a 334.
    pub(super) const fn next(self) -> Option<Self> {
        match self {
            Self::Ask => Some(Self::User),
            Self::User => Some(Self::Password),
            Self::Plain | Self::Password => None,
        }
    }

    pub(super) fn command(self, credentials: &Credentials) -> Vec<u8> {
        let Credentials { user, password } = credentials;
        let line = match self {
            Self::Plain => {
                let message = format!("\0{user}\0{password}");
                format!("AUTH PLAIN {}\r\n", STANDARD.encode(message))
            }
            Self::Ask => "AUTH LOGIN\r\n".to_owned(),
            Self::User => format!("{}\r\n", STANDARD.encode(user)),
            Self::Password => format!("{}\r\n", STANDARD.encode(password)),
        };
        line.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::{Credentials, CredentialsError, Login};

    #[test]
    fn writes_what_rfc_4616_shows() {
        let credentials = Credentials::new("tim", "tanstaaftanstaaf").unwrap();
        assert_eq!(
            Login::Plain.command(&credentials),
            b"AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n"
        );
        assert_eq!(Login::User.command(&credentials), b"dGlt\r\n");
    }

    #[test]
    fn keeps_secrets_out_of_logs() {
        let credentials = Credentials::new("tim", "secret").unwrap();
        assert!(!format!("{credentials:?}").contains("secret"));
    }

    #[test]
    fn refuses_what_plain_cannot_carry() {
        assert_eq!(Credentials::new("a\0b", "c"), Err(CredentialsError::Nul));
        assert_eq!(Credentials::new("a", "c\0"), Err(CredentialsError::Nul));
        assert_eq!(Credentials::new("", "c"), Err(CredentialsError::Empty));
    }
}
