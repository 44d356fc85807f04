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
mod tests {
    use super::{Address, Domain, Domains, Mailboxes, Recipient, Resolution, Transport};
    use crate::mail::dsn::Notify;

    #[test]
    fn an_address_leads_where_its_domain_says() {
        let address = |text: &str| Address::parse(text).unwrap();
        let alias = vec![address("jones@elsewhere.org")];
        let domains = Domains::new([Domain {
            name: "example.com".into(),
            mailboxes: Mailboxes::Named(["jones".to_owned()].into()),
            aliases: [("info".to_owned(), alias.clone())].into(),
            transport: Transport::Maildir,
        }]);
        let ours = domains.find("example.com").unwrap();
        for (text, expected) in [
            ("jones+news@example.com", Resolution::Mailbox(ours)),
            ("Jones+a+b@example.com", Resolution::Mailbox(ours)),
            ("info+x@example.com", Resolution::Alias(&alias)),
            ("postmaster+x@example.com", Resolution::Mailbox(ours)),
            ("green+jones@example.com", Resolution::Unknown(ours)),
            ("+jones@example.com", Resolution::Unknown(ours)),
            ("\"jones+x y\"@example.com", Resolution::Unknown(ours)),
            ("jones@example.com", Resolution::Mailbox(ours)),
            ("JONES@Example.COM", Resolution::Mailbox(ours)),
            ("jones@mx.example.com", Resolution::Mailbox(ours)),
            ("Postmaster@example.com", Resolution::Mailbox(ours)),
            ("Info@example.com", Resolution::Alias(&alias)),
            ("green@example.com", Resolution::Unknown(ours)),
            ("jones@com", Resolution::Elsewhere),
            ("jones@notexample.com", Resolution::Elsewhere),
            ("jones@[192.0.2.1]", Resolution::Elsewhere),
        ] {
            assert_eq!(domains.resolve(&address(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_tag_leads_to_the_mailbox_unless_it_is_part_of_a_name() {
        let domain = |mailboxes| Domain {
            name: "example.com".into(),
            mailboxes,
            aliases: [("list+owner".to_owned(), vec![])].into(),
            transport: Transport::Maildir,
        };
        let named = domain(Mailboxes::Named(
            ["jones".to_owned(), "jones+private".to_owned()].into(),
        ));
        for (local_part, expected) in [
            ("jones", "jones"),
            ("Jones+News", "jones"),
            ("jones+a+b", "jones"),
            ("Jones+Private", "jones+private"),
            ("list+owner", "list+owner"),
            ("green+x", "green"),
            ("+x", "+x"),
            ("\"a+b c\"", "\"a+b c\""),
        ] {
            assert_eq!(named.mailbox(local_part), expected, "{local_part}");
        }
        assert_eq!(domain(Mailboxes::All).mailbox("jones+private"), "jones");
    }

    #[test]
    fn the_postmaster_of_the_server_is_always_there() {
        let address = |text: &str| Address::parse(text).unwrap();
        let domains = Domains::default().of_server("MX.example.com");
        let server = domains.server.as_ref().unwrap();
        for (text, expected) in [
            ("postmaster@mx.example.com", Resolution::Mailbox(server)),
            ("Postmaster@MX.Example.com", Resolution::Mailbox(server)),
            ("jones@mx.example.com", Resolution::Elsewhere),
            ("postmaster@example.com", Resolution::Elsewhere),
            ("postmaster@sub.mx.example.com", Resolution::Elsewhere),
        ] {
            assert_eq!(domains.resolve(&address(text)), expected, "{text}");
        }
        assert!(domains.find("mx.example.com").is_none());
    }

    #[test]
    fn aliases_expand_to_everyone_once() {
        let aliases = [
            (
                "staff",
                "jane@example.com, info@example.com, jones@elsewhere.org",
            ),
            ("info", "Info@example.com, JANE@example.com"),
            ("boss", "jane@example.com"),
            ("around", "about@example.com"),
            ("about", "AROUND@example.com"),
            ("out", "around@example.com, jane@example.com"),
            ("nobody", ""),
        ];
        let address = |text: &str| Address::parse(text.trim()).unwrap();
        let list = |text: &str| -> Vec<Address> {
            text.split(',')
                .filter(|one| !one.is_empty())
                .map(address)
                .collect()
        };
        let domains = Domains::new([Domain {
            name: "example.com".into(),
            mailboxes: Mailboxes::All,
            aliases: aliases
                .map(|(local_part, to)| (local_part.to_owned(), list(to)))
                .into(),
            transport: Transport::Maildir,
        }]);
        for (to, expected) in [
            ("jane@example.com, Jane@EXAMPLE.com", "jane@example.com"),
            ("a@b.org, A@b.org, a@B.org", "a@b.org, A@b.org"),
            (
                "Staff@example.com, jane@example.com",
                "jane@example.com, Info@example.com, jones@elsewhere.org",
            ),
            (
                "a@b.org, around@example.com, nobody@example.com",
                "a@b.org, around@example.com, nobody@example.com",
            ),
            ("out@example.com", "jane@example.com"),
        ] {
            for quarantine in [None, Some("spam".to_owned())] {
                let recipient = |address| Recipient {
                    quarantine: quarantine.clone(),
                    ..Recipient::from(address)
                };
                let recipients = list(to).into_iter().map(recipient).collect();
                let receivers = domains.expand(recipients);
                assert!(
                    receivers
                        .iter()
                        .all(|r| r.quarantine == quarantine && !r.expanded)
                );
                let receivers: Vec<_> = receivers.into_iter().map(|r| r.address).collect();
                assert_eq!(receivers, list(expected), "{to}");
            }
        }
        // Whom the sender named, and what it wishes to hear, goes along.
        let wishing = |text: &str| {
            let mut recipient = Recipient::from(address(text));
            recipient.wishes.notify = Some(Notify::parse("SUCCESS,FAILURE").unwrap());
            recipient
        };
        for (to, expected) in [
            ("jane@example.com", "jane@example.com SUCCESS,FAILURE -"),
            (
                "boss@example.com",
                "jane@example.com SUCCESS,FAILURE rfc822;boss@example.com",
            ),
            (
                "info@example.com",
                "info@example.com expanded, Info@example.com FAILURE rfc822;info@example.com, \
                 JANE@example.com FAILURE rfc822;info@example.com",
            ),
        ] {
            let once = domains.expand(vec![wishing(to)]);
            let told: Vec<String> = once.iter().map(told).collect();
            assert_eq!(told.join(", "), expected, "{to}");
        }
    }

    fn told(receiver: &Recipient) -> String {
        let address = &receiver.address;
        let notify = receiver.wishes.notify.unwrap();
        match (receiver.expanded, &receiver.wishes.original) {
            (true, _) => format!("{address} expanded"),
            (false, Some(original)) => format!("{address} {notify} {original}"),
            (false, None) => format!("{address} {notify} -"),
        }
    }

    #[test]
    fn quarantine_keeps_copies_apart() {
        let address = Address::parse("a@b.org").unwrap();
        let mut recipients = vec![Recipient::from(address); 2];
        recipients[1].quarantine = Some("spam".into());
        assert_eq!(Domains::default().expand(recipients.clone()), recipients);
    }

    #[test]
    fn a_transport_is_inherited_where_it_can_be_meant() {
        let address = |text: &str| Address::parse(text).unwrap();
        let to = ["jane@example.com", "jones@elsewhere.org"];
        let domains = Domains::new([Domain {
            name: "example.com".into(),
            mailboxes: Mailboxes::All,
            aliases: [("info".to_owned(), to.map(address).into())].into(),
            transport: Transport::Maildir,
        }]);
        let smart_host = Transport::parse("smtp://mx.example").unwrap();
        for (to, transport, expected) in [
            (
                "info@example.com",
                Transport::Mbox,
                [Some(Transport::Mbox), None],
            ),
            (
                "info@example.com",
                smart_host.clone(),
                [Some(smart_host.clone()), Some(smart_host)],
            ),
        ] {
            let recipient = Recipient {
                transport: Some(transport),
                ..Recipient::from(address(to))
            };
            let receivers = domains.expand(vec![recipient]);
            let transports: Vec<_> = receivers.into_iter().map(|r| r.transport).collect();
            assert_eq!(transports, expected);
        }
        let elsewhere = Recipient {
            transport: Some(Transport::Maildir),
            ..Recipient::from(address("jones@elsewhere.org"))
        };
        assert_eq!(domains.expand(vec![elsewhere.clone()]), [elsewhere]);
    }
}
