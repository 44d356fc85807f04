//! Who hands in mail without SMTP's help: a program of this machine.

use std::fmt;

/// The user whose program it is, as the kernel says. Nobody has verified a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitter {
    /// The user's number.
    pub uid: u32,
    /// The user's name, where the machine knows one.
    pub user: Option<String>,
}

/// `user john, uid 1000`; what is no usual character of a name becomes a question mark.
impl fmt::Display for Submitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(user) = &self.user else {
            return write!(f, "uid {}", self.uid);
        };
        let printable = |c: char| match c {
            '.' | '-' | '_' | '+' => c,
            _ if c.is_ascii_alphanumeric() => c,
            _ => '?',
        };
        let user: String = user.chars().map(printable).collect();
        write!(f, "user {user}, uid {}", self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::Submitter;

    #[test]
    fn a_name_breaks_out_of_nothing() {
        for (uid, user, expected) in [
            (1000, Some("john"), "user john, uid 1000"),
            (65534, None, "uid 65534"),
            (7, Some("a)\r\nBcc: b"), "user a???Bcc??b, uid 7"),
        ] {
            let user = user.map(str::to_owned);
            assert_eq!(Submitter { uid, user }.to_string(), expected);
        }
    }
}
