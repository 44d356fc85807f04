//! Who to be towards a server that asks (RFC 4954). The password is shown by nothing that prints: whoever wants it has to
//! ask for it.

use std::fmt;

/// A user name and its password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Login {
    user: String,
    password: String,
}

/// Why a text cannot be a user name or a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// It is empty.
    #[error("user name or password is empty")]
    Empty,
    /// It holds NUL, which parts the two on the wire.
    #[error("user name or password holds NUL")]
    Nul,
}

impl Login {
    /// Takes any text that AUTH PLAIN can carry (RFC 4616 §2).
    ///
    /// # Errors
    /// One of the two is empty or holds NUL.
    pub fn new(user: &str, password: &str) -> Result<Self, LoginError> {
        if user.is_empty() || password.is_empty() {
            return Err(LoginError::Empty);
        }
        if user.contains('\0') || password.contains('\0') {
            return Err(LoginError::Nul);
        }
        Ok(Self {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    /// The user name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The secret itself.
    pub fn password(&self) -> &str {
        &self.password
    }
}

/// Without the password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Login, LoginError};

    #[test]
    fn keeps_secrets_out_of_logs() {
        let login = Login::new("tim", "secret").unwrap();
        assert!(!format!("{login:?}").contains("secret"));
    }

    #[test]
    fn refuses_what_plain_cannot_carry() {
        assert_eq!(Login::new("a\0b", "c"), Err(LoginError::Nul));
        assert_eq!(Login::new("a", "c\0"), Err(LoginError::Nul));
        assert_eq!(Login::new("", "c"), Err(LoginError::Empty));
    }
}
