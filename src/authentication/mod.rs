//! Who sent it: back ends that verify what a client presented with AUTH (RFC 4954).
//!
//! Which back end is asked, and whether its yes is enough, is for rules to say. A back end confirms [`Credentials`] when
//! and only when the password was found right in this very exchange; nothing is cached, and nothing is compared here.
//!
//! [`Credentials`]: crate::mail::Credentials

mod listed;
mod saslauthd;

pub use listed::Listed;
pub use saslauthd::{Error, Saslauthd};

use crate::mail::Credentials;

/// Who verifies passwords.
#[derive(Debug)]
pub enum BackEnd {
    /// The machine.
    Saslauthd(Saslauthd),
    /// A list, in a simulation.
    Listed(Listed),
}

impl BackEnd {
    /// Asks whether the password is right, and if it is confirms the credentials. May wait.
    ///
    /// # Errors
    /// There was no answer; the credentials stay as they were.
    pub fn verify(&self, credentials: &mut Credentials) -> Result<bool, Error> {
        match self {
            Self::Saslauthd(saslauthd) => saslauthd.verify(credentials),
            Self::Listed(users) => Ok(users.verify(credentials)),
        }
    }
}
