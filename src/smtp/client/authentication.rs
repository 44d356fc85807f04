//! How to prove who we are: AUTH PLAIN (RFC 4616) and AUTH LOGIN over RFC 4954.

use super::offer::Offer;
use crate::mail::Login;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How far an authentication has come: what was sent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// `AUTH PLAIN`, with everything in it.
    Plain,
    /// `AUTH LOGIN`.
    Ask,
    /// The user name of LOGIN.
    User,
    /// The password of LOGIN.
    Password,
}

impl Exchange {
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

    pub(super) fn command(self, login: &Login) -> Vec<u8> {
        let (user, password) = (login.user(), login.password());
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
    use super::{Exchange, Login};

    #[test]
    fn writes_what_rfc_4616_shows() {
        let login = Login::new("tim", "tanstaaftanstaaf").unwrap();
        assert_eq!(
            Exchange::Plain.command(&login),
            b"AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n"
        );
        assert_eq!(Exchange::User.command(&login), b"dGlt\r\n");
    }
}
