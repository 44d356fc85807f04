//! The built-in guard: what decides where no rule did. No configuration is an open relay by leaving something out.
//!
//! What a rule accepts is what its stage is about: at `connect` the client, whatever it sends and to whom; at `mail` the
//! sender; at `rcpt` that recipient. So a whitelist of senders, which anybody can forge, opens no relay.

use crate::mail::{Address, Domains, Resolution, Status};
use crate::smtp::Reply;

/// Whether a client that proved nothing may send as `sender`.
pub(super) fn sender(domains: &Domains, sender: Option<&Address>) -> Result<(), Refusal> {
    match sender.and_then(|sender| domains.find(sender.domain())) {
        Some(_) => Err(Refusal::AuthenticationRequired),
        None => Ok(()),
    }
}

/// Whether a client that proved nothing may send to `recipient`. `accepted`: a rule takes what is not ours.
pub(super) fn recipient(
    domains: &Domains,
    recipient: &Address,
    accepted: bool,
) -> Result<(), Refusal> {
    match domains.resolve(recipient) {
        Resolution::Elsewhere if accepted => Ok(()),
        Resolution::Elsewhere => Err(Refusal::Relay),
        _ if domains.leads_somewhere(recipient) => Ok(()),
        _ => Err(Refusal::UnknownMailbox),
    }
}

/// Why the server refuses by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no `filter.vsl`.
    NoRules,
    /// A recipient elsewhere.
    Relay,
    /// A sender of ours.
    AuthenticationRequired,
    /// A recipient of ours that does not exist.
    UnknownMailbox,
    /// A rule failed.
    RuleFailed,
}

impl Refusal {
    /// What the client is told.
    pub(super) fn reply(self) -> Reply {
        let (code, status, text) = match self {
            Self::NoRules => (554, Status::new(5, 7, 1), "Access denied"),
            Self::Relay => (554, Status::new(5, 7, 1), "Relay access denied"),
            Self::AuthenticationRequired => (530, Status::new(5, 7, 0), "Authentication required"),
            Self::UnknownMailbox => (550, Status::new(5, 1, 1), "No such mailbox"),
            Self::RuleFailed => (451, Status::new(4, 3, 0), "Local error in processing"),
        };
        Reply::fixed(code, Some(status), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Domain, Mailboxes, Transport};
    use std::collections::HashMap;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn domains() -> Domains {
        let aliases = [
            ("postmaster", vec!["john@example.com"]),
            ("away", vec!["john@example.net"]),
            ("a", vec!["b@example.com"]),
            ("b", vec!["a@example.com"]),
            ("c", vec!["a@example.com", "d@example.com"]),
            ("d", vec!["gone@example.com", "john@example.com"]),
            ("self", vec!["self@example.com"]),
            ("nowhere", vec!["gone@example.com"]),
        ];
        Domains::new([Domain {
            name: "example.com".to_owned(),
            mailboxes: Mailboxes::Named(["john".to_owned()].into()),
            aliases: aliases
                .into_iter()
                .map(|(name, to)| (name.to_owned(), to.into_iter().map(address).collect()))
                .collect::<HashMap<_, _>>(),
            transport: Transport::Maildir,
        }])
    }

    #[test]
    fn decides_about_recipients() {
        let domains = domains();
        for (to, accepted, expected) in [
            ("john@example.com", false, Ok(())),
            ("John@EXAMPLE.com", false, Ok(())),
            ("john@sub.example.com", false, Ok(())),
            ("postmaster@example.com", false, Ok(())),
            ("away@example.com", false, Ok(())),
            ("c@example.com", false, Ok(())),
            ("a@example.com", false, Err(Refusal::UnknownMailbox)),
            ("self@example.com", false, Err(Refusal::UnknownMailbox)),
            ("nowhere@example.com", false, Err(Refusal::UnknownMailbox)),
            ("gone@example.com", false, Err(Refusal::UnknownMailbox)),
            ("gone@example.com", true, Err(Refusal::UnknownMailbox)),
            ("john@example.net", false, Err(Refusal::Relay)),
            ("john@notexample.com", false, Err(Refusal::Relay)),
            ("john@[192.0.2.1]", false, Err(Refusal::Relay)),
            ("john@example.net", true, Ok(())),
        ] {
            assert_eq!(
                recipient(&domains, &address(to), accepted),
                expected,
                "{to} {accepted}"
            );
        }
    }

    #[test]
    fn decides_about_senders() {
        let domains = domains();
        for (from, expected) in [
            (None, Ok(())),
            (Some("john@example.net"), Ok(())),
            (
                Some("john@example.com"),
                Err(Refusal::AuthenticationRequired),
            ),
            (
                Some("anyone@sub.Example.com"),
                Err(Refusal::AuthenticationRequired),
            ),
        ] {
            assert_eq!(
                sender(&domains, from.map(address).as_ref()),
                expected,
                "{from:?}"
            );
        }
    }
}
