//! Where each recipient's copy belongs.

use super::maildir::Maildir;
use super::mbox::Mbox;
use super::relay::{Destination, Forwarder};
use crate::mail::{Address, Domain, Domains, Recipient, Resolution, TlsMode, Transport};
use crate::queue::Entry;
use crate::smtp::client::Protocol;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;

/// Why no transport can take a copy. The configuration may change: each is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Nowhere {
    #[error("the domain has no such mailbox")]
    NoMailbox,
    #[error("the name of the mailbox is too long for a file")]
    LongName,
}

/// What is to be done for the recipients of a message that are due, by their index in its entry.
#[derive(Default)]
pub(super) struct Plan {
    pub maildirs: Vec<(usize, Maildir)>,
    pub mboxes: Vec<(usize, Mbox)>,
    pub quarantines: BTreeMap<String, Vec<usize>>,
    /// One transaction each.
    pub relays: Vec<(Destination, Vec<usize>)>,
    pub nowhere: Vec<(usize, Nowhere)>,
    /// Those whose place others have taken.
    pub expanded: Vec<usize>,
}

enum Route {
    Maildir(Maildir),
    Mbox(Mbox),
    Relay(Destination),
}

impl Plan {
    /// The plan for what is due at `now`; mailboxes lie below `mail`.
    pub fn of(entry: &Entry, now: Timestamp, domains: &Domains, mail: &Path) -> Self {
        let mut plan = Self::default();
        for (index, pending) in entry.due(now) {
            plan.add(index, &pending.recipient, domains, mail);
        }
        plan
    }

    /// Whether there is something to do on this machine.
    pub fn is_local(&self) -> bool {
        !self.maildirs.is_empty() || !self.mboxes.is_empty() || !self.quarantines.is_empty()
    }

    fn add(&mut self, index: usize, recipient: &Recipient, domains: &Domains, mail: &Path) {
        if recipient.expanded {
            return self.expanded.push(index);
        }
        if let Some(name) = &recipient.quarantine {
            let recipients = self.quarantines.entry(name.clone()).or_default();
            return recipients.push(index);
        }
        match route(recipient, domains, mail) {
            Ok(Route::Maildir(maildir)) => self.maildirs.push((index, maildir)),
            Ok(Route::Mbox(mbox)) => self.mboxes.push((index, mbox)),
            Ok(Route::Relay(to)) => match self.relays.iter_mut().find(|(known, _)| *known == to) {
                Some((_, recipients)) => recipients.push(index),
                None => self.relays.push((to, vec![index])),
            },
            Err(nowhere) => self.nowhere.push((index, nowhere)),
        }
    }
}

/// What a rule chose goes before what the domain says. That the recipient is one whom mail is taken for was seen to when
/// it came.
fn route(recipient: &Recipient, domains: &Domains, mail: &Path) -> Result<Route, Nowhere> {
    let address = &recipient.address;
    if let Some(transport) = &recipient.transport {
        let domain = domains.find(address.domain());
        return by(transport, domain, address, mail);
    }
    let by_domain = |domain: &Domain| by(&domain.transport, Some(domain), address, mail);
    match domains.resolve(address) {
        Resolution::Elsewhere => {
            let domain = address.domain().to_ascii_lowercase();
            Ok(Route::Relay(Destination::Domain(domain)))
        }
        Resolution::Unknown(_) => Err(Nowhere::NoMailbox),
        Resolution::Mailbox(domain) => by_domain(domain),
        // Aliases were followed when the message came. One that names itself is a mailbox too; any other goes round in a
        // circle, or is new.
        Resolution::Alias(addresses) => match domains.find(address.domain()) {
            Some(domain) if addresses.iter().any(|to| is_same(to, address)) => by_domain(domain),
            _ => Err(Nowhere::NoMailbox),
        },
    }
}

/// By `transport`, for an address of `domain`; `None`: it is not ours, which keeps no rule from giving it a mailbox here.
fn by(
    transport: &Transport,
    domain: Option<&Domain>,
    address: &Address,
    mail: &Path,
) -> Result<Route, Nowhere> {
    let name = domain.map_or(address.domain(), |domain| &domain.name);
    let mailbox = || match domain {
        Some(domain) => domain.mailbox(address.local_part()),
        None => address.local_part().to_owned(),
    };
    Ok(match transport {
        Transport::Maildir => {
            let maildir = Maildir::of(mail, name, &mailbox());
            Route::Maildir(maildir.ok_or(Nowhere::LongName)?)
        }
        Transport::Mbox => {
            let mbox = Mbox::of(mail, name, &mailbox());
            Route::Mbox(mbox.ok_or(Nowhere::LongName)?)
        }
        Transport::LmtpUnix(path) => Route::Relay(Destination::Unix(path.clone())),
        Transport::LmtpTcp { host, port } => Route::Relay(Destination::Forwarder(Forwarder {
            host: host.clone(),
            port: *port,
            protocol: Protocol::Lmtp,
            tls: TlsMode::Opportunistic,
            login: None,
        })),
        Transport::Smtp(to) => Route::Relay(Destination::Forwarder(Forwarder {
            host: to.host.clone(),
            port: to.port,
            protocol: Protocol::Smtp,
            tls: to.tls,
            login: to.login.clone(),
        })),
    })
}

fn is_same(one: &Address, other: &Address) -> bool {
    one.as_str().to_lowercase() == other.as_str().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Mailboxes;

    /// Where mail for `to` goes, in words.
    fn routed(to: &str, transport: Option<&str>) -> String {
        let names = ["john", "self"].map(str::to_owned);
        let domain = |name: &str, transport: &str| Domain {
            name: name.to_owned(),
            mailboxes: Mailboxes::Named(names.clone().into()),
            aliases: [
                (
                    "self".to_owned(),
                    vec![Address::parse("self@maildir.example").unwrap()],
                ),
                (
                    "list".to_owned(),
                    vec![Address::parse("john@maildir.example").unwrap()],
                ),
            ]
            .into(),
            transport: Transport::parse(transport).unwrap(),
        };
        let domains = Domains::new([
            domain("maildir.example", "maildir"),
            domain("mbox.example", "mbox"),
            domain("store.example", "lmtp:[::1]:24"),
            domain("socket.example", "lmtp:unix:/run/lmtp"),
            domain("smart.example", "smtps://tim:secret@mx.example"),
        ])
        .of_server("mx.example");
        let recipient = Recipient {
            transport: transport.map(|text| Transport::parse(text).unwrap()),
            ..Recipient::from(Address::parse(to).unwrap())
        };
        let mail = Path::new("/mail");
        match route(&recipient, &domains, mail) {
            Ok(Route::Maildir(maildir)) => maildir.folder().display().to_string(),
            Ok(Route::Mbox(mbox)) => mbox.path().display().to_string(),
            Ok(Route::Relay(to)) => to.to_string(),
            Err(nowhere) => nowhere.to_string(),
        }
    }

    #[test]
    fn a_domain_says_where_its_mail_goes() {
        const NO_MAILBOX: &str = "the domain has no such mailbox";
        for (to, expected) in [
            ("John@Maildir.example", "/mail/maildir.example/john"),
            ("john+news@maildir.example", "/mail/maildir.example/john"),
            ("john@sub.maildir.example", "/mail/maildir.example/john"),
            (
                "postmaster@maildir.example",
                "/mail/maildir.example/postmaster",
            ),
            ("postmaster@mx.example", "/mail/mx.example/postmaster"),
            ("self@maildir.example", "/mail/maildir.example/self"),
            ("list@maildir.example", NO_MAILBOX),
            ("jane@maildir.example", NO_MAILBOX),
            ("john@mbox.example", "/mail/mbox.example/john/mbox"),
            ("john@store.example", "lmtp:[::1]:24"),
            ("john@socket.example", "lmtp:unix:/run/lmtp"),
            ("john@smart.example", "smtp://mx.example:465"),
            ("John@Elsewhere.example", "elsewhere.example"),
            ("john@[192.0.2.1]", "[192.0.2.1]"),
        ] {
            assert_eq!(routed(to, None), expected, "{to}");
        }
    }

    #[test]
    fn what_a_rule_chose_goes_before() {
        for (to, transport, expected) in [
            ("john@mbox.example", "maildir", "/mail/mbox.example/john"),
            (
                "john+x@sub.mbox.example",
                "maildir",
                "/mail/mbox.example/john",
            ),
            (
                "John@Elsewhere.example",
                "mbox",
                "/mail/elsewhere.example/john/mbox",
            ),
            (
                "john@maildir.example",
                "smtp://192.0.2.1",
                "smtp://192.0.2.1:25",
            ),
            (
                "jane@maildir.example",
                "smtp://192.0.2.1",
                "smtp://192.0.2.1:25",
            ),
            ("john@elsewhere.example", "lmtp:store:24", "lmtp:store:24"),
        ] {
            assert_eq!(routed(to, Some(transport)), expected, "{to} {transport}");
        }
    }
}
