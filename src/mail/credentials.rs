//! Who a client says that it is, and who it has proved to be (RFC 4954).
//!
//! Invariants: there is no [`User`] but by [`Credentials::into_user`], and that gives none unless somebody who had the
//! password verified said so; the queue keeps who it was with the message. The password is shown by nothing that prints: whoever wants it has to ask for it.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// What a client presented with AUTH.
#[derive(Clone)]
pub struct Credentials {
    mechanism: &'static str,
    user: Arc<str>,
    password: Arc<str>,
    is_verified: bool,
}

/// Who a client is, for its password was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    name: String,
    mechanism: Cow<'static, str>,
}

impl Credentials {
    /// What came by the SASL `mechanism`, not verified yet.
    pub fn new(mechanism: &'static str, user: &str, password: &str) -> Self {
        Self {
            mechanism,
            user: user.into(),
            password: password.into(),
            is_verified: false,
        }
    }

    /// The SASL mechanism, as the protocol spells it: `PLAIN`.
    pub fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// The authentication identity (RFC 4422 §2), as given.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The secret itself.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The password is this user's. For back ends that have just found so, and for nobody else.
    pub fn confirm(&mut self) {
        self.is_verified = true;
    }

    /// Whether the password was found to be this user's.
    pub fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// Who the client is, if that was verified. The password is forgotten.
    pub fn into_user(self) -> Option<User> {
        self.is_verified.then_some(User {
            name: self.user.as_ref().to_owned(),
            mechanism: self.mechanism.into(),
        })
    }
}

/// Without the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("mechanism", &self.mechanism)
            .field("user", &self.user)
            .field("is_verified", &self.is_verified)
            .finish_non_exhaustive()
    }
}

impl User {
    /// The name that the password was verified for.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The SASL mechanism that brought the password.
    pub fn mechanism(&self) -> &str {
        &self.mechanism
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::Credentials;

    #[test]
    fn only_what_was_confirmed_makes_a_user() {
        let mut credentials = Credentials::new("PLAIN", "john", "secret");
        assert_eq!(credentials.clone().into_user(), None);
        credentials.confirm();
        let user = credentials.into_user().unwrap();
        assert_eq!(user.as_str(), "john");
    }

    #[test]
    fn the_password_is_not_printed() {
        let credentials = Credentials::new("PLAIN", "john", "secret");
        assert!(!format!("{credentials:?} {credentials:#?}").contains("secret"));
    }
}
