//! Users of a list: for whoever tries out rules, where no password is anybody's.

use crate::mail::Credentials;
use std::collections::BTreeMap;

/// Users and their passwords.
#[derive(Clone, Debug, Default)]
pub struct Listed(BTreeMap<String, String>);

impl Listed {
    /// Adds one.
    pub fn add(&mut self, user: &str, password: &str) {
        self.0.insert(user.to_owned(), password.to_owned());
    }

    /// Whether the password is this user's; if it is, confirms the credentials.
    pub fn verify(&self, credentials: &mut Credentials) -> bool {
        let right = self
            .0
            .get(credentials.user())
            .is_some_and(|password| password == credentials.password());
        if right {
            credentials.confirm();
        }
        right
    }
}
