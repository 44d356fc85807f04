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
