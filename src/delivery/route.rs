//! Where each recipient's copy belongs.

use super::maildir::Maildir;
use super::relay::{Destination, Forwarder, TlsMode};
use crate::mail::{Address, Domain, Domains, Recipient, Resolution, Transport};
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
    pub quarantines: BTreeMap<String, Vec<usize>>,
    /// One transaction each.
    pub relays: Vec<(Destination, Vec<usize>)>,
    pub nowhere: Vec<(usize, Nowhere)>,
    /// Those whose place others have taken.
    pub expanded: Vec<usize>,
}

enum Route {
    Maildir(Maildir),
    Relay(Destination),
}

impl Plan {
    /// The plan for what is due at `now`; Maildirs lie below `mail`.
    pub fn of(entry: &Entry, now: Timestamp, domains: &Domains, mail: &Path) -> Self {
        let mut plan = Self::default();
        for (index, pending) in entry.due(now) {
            plan.add(index, &pending.recipient, domains, mail);
        }
        plan
    }

    /// Whether there is something to do on this machine.
    pub fn is_local(&self) -> bool {
        !self.maildirs.is_empty() || !self.quarantines.is_empty()
    }

    fn add(&mut self, index: usize, recipient: &Recipient, domains: &Domains, mail: &Path) {
        if recipient.expanded {
            return self.expanded.push(index);
        }
        if let Some(name) = &recipient.quarantine {
            let recipients = self.quarantines.entry(name.clone()).or_default();
            return recipients.push(index);
        }
        match route(&recipient.address, domains, mail) {
            Ok(Route::Maildir(maildir)) => self.maildirs.push((index, maildir)),
            Ok(Route::Relay(to)) => match self.relays.iter_mut().find(|(known, _)| *known == to) {
                Some((_, recipients)) => recipients.push(index),
                None => self.relays.push((to, vec![index])),
            },
            Err(nowhere) => self.nowhere.push((index, nowhere)),
        }
    }
}

fn route(address: &Address, domains: &Domains, mail: &Path) -> Result<Route, Nowhere> {
    match domains.resolve(address) {
        Resolution::Elsewhere => {
            let domain = address.domain().to_ascii_lowercase();
            Ok(Route::Relay(Destination::Domain(domain)))
        }
        Resolution::Unknown(_) => Err(Nowhere::NoMailbox),
        Resolution::Mailbox(domain) => mailbox(domain, address, mail),
        // Aliases were followed when the message came. One that names itself is a mailbox too; any other goes round in a
        // circle, or is new.
        Resolution::Alias(addresses) => match domains.find(address.domain()) {
            Some(domain) if addresses.iter().any(|to| is_same(to, address)) => {
                mailbox(domain, address, mail)
            }
            _ => Err(Nowhere::NoMailbox),
        },
    }
}

fn mailbox(domain: &Domain, address: &Address, mail: &Path) -> Result<Route, Nowhere> {
    let forwarder = |host: &str, port, protocol| {
        Destination::Forwarder(Forwarder {
            host: host.to_owned(),
            port,
            protocol,
            tls: TlsMode::Opportunistic,
            credentials: None,
        })
    };
    Ok(match &domain.transport {
        Transport::Maildir => {
            let maildir = Maildir::of(mail, &domain.name, address.local_part());
            Route::Maildir(maildir.ok_or(Nowhere::LongName)?)
        }
        Transport::LmtpUnix(path) => Route::Relay(Destination::Unix(path.clone())),
        Transport::LmtpTcp { host, port } => Route::Relay(forwarder(host, *port, Protocol::Lmtp)),
        Transport::Smtp { host, port } => Route::Relay(forwarder(host, *port, Protocol::Smtp)),
    })
}

fn is_same(one: &Address, other: &Address) -> bool {
    one.as_str().to_lowercase() == other.as_str().to_lowercase()
}
