//! The domains that are ours: which mailboxes they have, and where an address of theirs leads.

use super::dsn::Action;
use super::{Address, Recipient, Transport};
use std::collections::{HashMap, HashSet};

/// The one local-part that is always somebody's (RFC 5321 §4.5.1).
const POSTMASTER: &str = "postmaster";
/// What parts a mailbox from the tag of a sub-address (RFC 5233 §1).
const DELIMITER: char = '+';

/// The local-parts that receive mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mailboxes {
    /// `"*"`: every local-part.
    All,
    /// These, compared without case; `postmaster` is always among them (RFC 5321 §4.5.1).
    Named(HashSet<String>),
}

/// One domain of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name, in lower case.
    pub name: String,
    /// Who receives mail here.
    pub mailboxes: Mailboxes,
    /// From local-part (lower case) to the addresses that stand for it.
    pub aliases: HashMap<String, Vec<Address>>,
    /// Where its mail goes.
    pub transport: Transport,
}

/// All domains of ours. A subdomain without its own entry belongs to its nearest enabled parent.
#[derive(Clone, Debug, Default)]
pub struct Domains {
    by_name: HashMap<String, Domain>,
    /// The server itself: has a postmaster, and is no domain of ours for anything else.
    server: Option<Domain>,
}

/// Where an address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution<'a> {
    /// A mailbox of this domain of ours.
    Mailbox(&'a Domain),
    /// An alias of this domain: the mail goes to these instead.
    Alias(&'a [Address]),
    /// A domain of ours that has no such mailbox.
    Unknown(&'a Domain),
    /// Not a domain of ours.
    Elsewhere,
}

impl Domain {
    /// The mailbox that `local_part` means, in lower case: itself where it is one or an alias, otherwise what stands
    /// before its tag. Says nothing of whether that exists.
    pub fn mailbox(&self, local_part: &str) -> String {
        let name = local_part.to_lowercase();
        match base(&name) {
            Some(base) if !self.names(&name) => base.to_owned(),
            _ => name,
        }
    }

    /// Whether the domain says something of this very local-part, which is in lower case.
    fn names(&self, name: &str) -> bool {
        let is_mailbox = match &self.mailboxes {
            Mailboxes::All => false,
            Mailboxes::Named(names) => names.contains(name),
        };
        is_mailbox || name == POSTMASTER || self.aliases.contains_key(name)
    }

    fn resolve(&self, local_part: &str) -> Resolution<'_> {
        let name = self.mailbox(local_part);
        if let Some(addresses) = self.aliases.get(&name) {
            return Resolution::Alias(addresses);
        }
        match self.names(&name) || self.mailboxes == Mailboxes::All {
            true => Resolution::Mailbox(self),
            false => Resolution::Unknown(self),
        }
    }
}

/// What stands before the tag. A quoted local-part is one word, and has none.
fn base(name: &str) -> Option<&str> {
    let (base, _) = name.split_once(DELIMITER)?;
    (!base.is_empty() && !name.starts_with('"')).then_some(base)
}

impl Domains {
    /// The table of `domains`.
    pub fn new(domains: impl IntoIterator<Item = Domain>) -> Self {
        Self {
            by_name: domains
                .into_iter()
                .map(|domain| (domain.name.clone(), domain))
                .collect(),
            server: None,
        }
    }

    /// The same for a server that calls itself `name`: its postmaster, whom `<postmaster>` without a domain means, can be
    /// reached whether or not that name belongs to a domain of ours (RFC 5321 §4.5.1).
    pub fn of_server(self, name: &str) -> Self {
        let server = Domain {
            name: name.to_ascii_lowercase(),
            mailboxes: Mailboxes::Named(HashSet::new()),
            aliases: HashMap::new(),
            transport: Transport::Maildir,
        };
        Self {
            server: Some(server),
            ..self
        }
    }

    /// The entry that speaks for `name`: its own, or that of its nearest enabled parent.
    pub fn find(&self, name: &str) -> Option<&Domain> {
        let name = name.to_ascii_lowercase();
        let mut rest = name.as_str();
        loop {
            if let Some(domain) = self.by_name.get(rest) {
                return Some(domain);
            }
            (_, rest) = rest.split_once('.')?;
        }
    }

    /// Where `address` leads. With a tag (`user+tag`) it leads where it does without, unless the domain names it as it is.
    pub fn resolve(&self, address: &Address) -> Resolution<'_> {
        match (self.find(address.domain()), &self.server) {
            (Some(domain), _) => domain.resolve(address.local_part()),
            (None, Some(server))
                if server.name.eq_ignore_ascii_case(address.domain())
                    && address.local_part().eq_ignore_ascii_case(POSTMASTER) =>
            {
                Resolution::Mailbox(server)
            }
            _ => Resolution::Elsewhere,
        }
    }

    /// Who receives what is sent to `recipients`: aliases are replaced by what they lead to, as often as it takes.
    /// Order is kept, everyone is named once, and inherits what was decided for the recipient.
    ///
    /// An alias that names itself is a mailbox as well: `info: info, jane` is a copy for Jane. One that would lead to
    /// nobody at all, because aliases go round in a circle, stays as it is. One that leads to several stays beside them,
    /// marked as expanded, where the sender wishes to hear of it (RFC 3461 §5.2.7.3). Where one leads elsewhere, a
    /// transport into a mailbox of ours is not inherited.
    pub fn expand(&self, recipients: Vec<Recipient>) -> Vec<Recipient> {
        let mut named = HashSet::new();
        let mut receivers = Vec::new();
        for recipient in recipients {
            if recipient.expanded {
                receivers.push(recipient);
                continue;
            }
            let mut addresses = self.receivers_of(&recipient.address);
            if addresses.is_empty() {
                addresses.push(recipient.address.clone());
            }
            let several = addresses.len() > 1;
            if several && recipient.quarantine.is_none() && recipient.wishes.wants(Action::Expanded)
            {
                receivers.push(Recipient {
                    expanded: true,
                    ..recipient.clone()
                });
            }
            for address in addresses {
                let stays = address == recipient.address || self.find(address.domain()).is_some();
                let mut receiver = recipient.clone();
                receiver
                    .transport
                    .take_if(|transport| !stays && transport.is_local());
                let decided = (receiver.quarantine.clone(), receiver.transport.clone());
                if named.insert((self.canonical(&address), decided)) {
                    receiver.readdress(address);
                    if several {
                        receiver.wishes = receiver.wishes.without_success();
                    }
                    receivers.push(receiver);
                }
            }
        }
        receivers
    }

    /// Whether mail for `address` reaches a mailbox or another server, through aliases that may form circles.
    pub fn leads_somewhere(&self, address: &Address) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![address];
        while let Some(address) = open.pop() {
            if !seen.insert(address) {
                continue;
            }
            match self.resolve(address) {
                Resolution::Mailbox(_) | Resolution::Elsewhere => return true,
                Resolution::Alias(addresses) => open.extend(addresses),
                Resolution::Unknown(_) => {}
            }
        }
        false
    }

    /// Everyone whom `address` leads to, in order; nobody where its aliases only go round in a circle.
    fn receivers_of(&self, address: &Address) -> Vec<Address> {
        let mut receivers = Vec::new();
        let mut followed = HashSet::new();
        let mut waiting = vec![(address, false)];
        while let Some((address, names_itself)) = waiting.pop() {
            let canonical = self.canonical(address);
            match self.resolve(address) {
                Resolution::Alias(addresses) if !names_itself => {
                    if followed.insert(canonical.clone()) {
                        let next = addresses.iter().rev();
                        waiting.extend(next.map(|next| (next, self.canonical(next) == canonical)));
                    }
                }
                _ => receivers.push(address.clone()),
            }
        }
        receivers
    }

    /// `address` in the one spelling that all spellings of the same mailbox share.
    fn canonical(&self, address: &Address) -> (String, String) {
        let local_part = address.local_part();
        let local_part = match self.find(address.domain()) {
            Some(_) => local_part.to_lowercase(),
            None => local_part.to_owned(),
        };
        (local_part, address.domain().to_ascii_lowercase())
    }

    /// Every domain, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Domain> {
        self.by_name.values()
    }
}

#[cfg(test)]
mod tests;
