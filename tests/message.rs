//! What rules do to a message: `msg` and `fs` on a bare policy.

use libtest_mimic::Trial;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use vsmtp::mail::{
    Address, Connection, Domain, Domains, Envelope, Mailboxes, Message, MessageId, Service,
    Transaction, Transport,
};
use vsmtp::rules::{Options, Policy, Rules, Stage, Verdict};
use vsmtp::script::Limits;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("edits_make_the_header_section", edits),
        trial("reads", reads),
        trial("what_cannot_be_written_fails_the_rule", refused),
        trial("each_group_edits_for_itself", groups),
        trial("write_and_dump", write_and_dump),
        trial("no_file_outside", no_file_outside),
    ]
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(format!("message::{name}"), || {
        test();
        Ok(())
    })
}

/// A message that is about to be taken, and the rules of `example.com` and `example.org`.
struct World {
    folder: tempfile::TempDir,
    policy: Policy,
    transaction: Transaction,
}

impl World {
    /// `incoming`: what each domain's rule at `preq` does.
    fn new(content: &[u8], incoming: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("filter.vsl"), "#{}").unwrap();
        let mut domains = Vec::new();
        for (name, body) in incoming {
            let rules = format!("#{{ preq: [ rule \"one\" || {{ {body} }} ] }}");
            let domain = folder.path().join(name);
            fs::create_dir(&domain).unwrap();
            fs::write(domain.join("incoming.vsl"), rules).unwrap();
            domains.push(((*name).to_owned(), domain));
        }
        let ours = Domains::new(domains.iter().map(|(name, _)| Domain {
            name: name.clone(),
            mailboxes: Mailboxes::All,
            aliases: Default::default(),
            transport: Transport::Maildir,
        }));
        let recipients = domains.iter().map(|(name, _)| {
            let address = Address::parse(&format!("john@{name}")).unwrap();
            address.into()
        });
        let mut transaction = Transaction::new(Connection {
            client: "192.0.2.7:49152".parse().unwrap(),
            server: "192.0.2.1:25".parse().unwrap(),
            service: Service::Relay,
            opened: "2026-08-01T12:34:56Z".parse().unwrap(),
            server_name: "mx.example.com".into(),
            tls: None,
            helo: None,
            authenticated: None,
        });
        transaction.id = Some(MessageId(7));
        transaction.message = Some(Message::new(Arc::new(content.to_vec())));
        transaction.envelope = Some(Envelope {
            recipients: recipients.collect(),
            ..Envelope::default()
        });
        let options = Options {
            root: folder.path().to_owned(),
            filter: folder.path().join("filter.vsl"),
            app: folder.path().join("app"),
            domains,
            log: None,
            saslauthd: PathBuf::new(),
            dns: Default::default(),
            identity: Default::default(),
            listed: None,
            limits: Limits::default(),
        };
        let rules = Rules::load(&options, Arc::new(ours)).unwrap();
        Self {
            folder,
            policy: Policy::new(rules),
            transaction,
        }
    }

    /// The first line of the reply; empty where no rule gave one.
    fn preq(&mut self) -> String {
        match self.policy.run(Stage::Preq, &mut self.transaction) {
            Verdict::Proceed(None) => String::new(),
            Verdict::Proceed(Some(reply)) | Verdict::Refuse(reply) => reply.to_string(),
        }
    }

    /// The content that the recipient of each domain gets.
    fn contents(&self) -> Vec<String> {
        let mut arrived = Vec::new();
        let message = self.transaction.message.as_ref().unwrap();
        message.octets().read_to_end(&mut arrived).unwrap();
        let envelope = self.transaction.envelope.as_ref().unwrap();
        let content = |edition: Option<&vsmtp::mail::Edition>| match edition {
            Some(edition) => {
                let body = &arrived[usize::try_from(edition.replaces).unwrap()..];
                [&edition.header, body].concat()
            }
            None => arrived.clone(),
        };
        let recipients = envelope.recipients.iter();
        recipients
            .map(|recipient| content(recipient.edition.as_deref()))
            .map(|content| String::from_utf8(content).unwrap())
            .collect()
    }

    fn app(&self) -> PathBuf {
        self.folder.path().join("app")
    }
}

const CONTENT: &str = "Received: a\r\n\tb\r\nFrom: Jane <jane@example.net>\r\n\
    To: John <john@example.com>,\r\n jim@example.com\r\nreceived : c\r\nSubject: =?utf-8?q?h=C3=AB?=\r\n\r\nhello\r\n";

fn edits() {
    for (edit, from, to) in [
        (
            "msg::append_header(\"X-A\", \"b\")",
            "h=C3=AB?=\r\n",
            "h=C3=AB?=\r\nX-A: b\r\n",
        ),
        (
            "msg::prepend_header(\"X-A\", ctx::client_ip())",
            "Received: a",
            "X-A: 192.0.2.7\r\nReceived: a",
        ),
        (
            "msg::prepend_header(identifier(\"X-A\"), address(\"a@b\"))",
            "Received: a",
            "X-A: a@b\r\nReceived: a",
        ),
        (
            "msg::set_header(\"subject\", \"new\")",
            "Subject: =?utf-8?q?h=C3=AB?=",
            "subject: new",
        ),
        (
            "msg::set_header(\"received\", \"new\")",
            "Received: a\r\n\tb\r\nFrom: Jane <jane@example.net>\r\nTo: John <john@example.com>,\r\n jim@example.com\r\nreceived : c\r\n",
            "received: new\r\nFrom: Jane <jane@example.net>\r\nTo: John <john@example.com>,\r\n jim@example.com\r\n",
        ),
        (
            "msg::rename_header(\"SUBJECT\", \"X-Subject\")",
            "\r\nSubject:",
            "\r\nX-Subject:",
        ),
        (
            "msg::rename_header(\"Received\", \"X-R\", 1)",
            "received :",
            "X-R:",
        ),
        (
            "msg::rm_header(\"Received\", 0)",
            "Received: a\r\n\tb\r\n",
            "",
        ),
        (
            "if !msg::rm_header(\"subject\") { throw 1 }",
            "Subject: =?utf-8?q?h=C3=AB?=\r\n",
            "",
        ),
        (
            "msg::rw_mail_from(\"list@example.com\")",
            "<jane@example.net>",
            "<list@example.com>",
        ),
        (
            "msg::rw_rcpt(\"john@example.com\", address(\"new@example.com\"))",
            "<john@",
            "<new@",
        ),
        (
            "msg::add_rcpt(\"new@example.com\")",
            "jim@example.com\r\n",
            "jim@example.com, new@example.com\r\n",
        ),
        (
            "msg::rm_rcpt(address(\"jim@EXAMPLE.com\"))",
            ",\r\n jim@example.com",
            "",
        ),
        (
            "msg::rm_rcpt(\"nobody@example.com\"); msg::rm_header(\"None\"); msg::rename_header(\"None\", \"Some\")",
            "",
            "",
        ),
    ] {
        let mut world = World::new(
            CONTENT.as_bytes(),
            &[("example.com", &format!("{edit}; state::next()"))],
        );
        assert_eq!(world.preq(), "", "{edit}");
        assert_eq!(world.contents(), [CONTENT.replacen(from, to, 1)], "{edit}");
    }
}

fn reads() {
    for (expression, expected) in [
        ("msg::has_header(\"subject\")", "true"),
        ("msg::has_header(\"X-None\")", "false"),
        ("msg::count_header(\"Received\")", "2"),
        ("msg::get_header(\"received\")", "a\tb"),
        ("msg::get_header(\"Subject\")", "=?utf-8?q?h=C3=AB?="),
        ("msg::get_header(\"X-None\") == \"\"", "true"),
        (
            "msg::get_all_headers(\"Received\") == [\"a\\tb\", \"c\"]",
            "true",
        ),
        ("msg::get_all_headers().len()", "5"),
        ("msg::get_all_headers()[3]", "received: c"),
        (
            "msg::get_header_untouched(\"Received\") == [\"Received: a\\r\\n\\tb\\r\\n\", \"received : c\\r\\n\"]",
            "true",
        ),
        ("msg::mail().len()", "149"),
        ("msg::mail().ends_with(\"\\r\\n\\r\\nhello\\r\\n\")", "true"),
        (
            "{ msg::append_header(\"X-A\", \"b\"); msg::mail().contains(\"X-A: b\\r\\n\\r\\nhello\") }",
            "true",
        ),
        (
            "{ msg::append_header(\"X-A\", \"b\"); msg::get_header(\"x-a\") }",
            "b",
        ),
    ] {
        let body = format!("state::accept(`250 2.0.0 ${{{expression}}}`)");
        let mut world = World::new(CONTENT.as_bytes(), &[("example.com", &body)]);
        assert_eq!(
            world.preq(),
            format!("250 2.0.0 {expected}"),
            "{expression}"
        );
    }
    let latin1 = b"Subject: \xe9\r\n\r\n\xe9\r\n";
    let body = "if msg::get_header(\"Subject\") == \"\u{fffd}\" && \"\u{fffd}\" in msg::mail() { state::accept(\"250 2.0.0 yes\") }";
    assert_eq!(
        World::new(latin1, &[("example.com", body)]).preq(),
        "250 2.0.0 yes"
    );
}

fn refused() {
    let long = ["X: y\r\n\r\n", &"line\r\n".repeat(300_000)].concat();
    for (content, call) in [
        (CONTENT, "msg::append_header(\"X-A\", \"b\\r\\nBcc: c\")"),
        (
            CONTENT,
            "msg::append_header(\"X-A\", \"b\\r\\n\\r\\nbody\")",
        ),
        (CONTENT, "msg::prepend_header(\"X A\", \"b\")"),
        (CONTENT, "msg::set_header(\"X-A:\", \"b\")"),
        (CONTENT, "msg::set_header(\"Subject\", \"\\x00\")"),
        (CONTENT, "msg::rename_header(\"Subject\", \"\")"),
        (CONTENT, "msg::rm_header(\"Subject\", -1)"),
        (CONTENT, "msg::rw_mail_from(\"no address\")"),
        (
            CONTENT,
            "msg::rw_rcpt(\"john@example.com\", \"a@b>\\r\\nBcc: c\")",
        ),
        (CONTENT, "msg::get_header(42)"),
        (&long, "msg::mail()"),
    ] {
        let body = format!("{call}; state::accept()");
        let mut world = World::new(content.as_bytes(), &[("example.com", &body)]);
        assert_eq!(
            world.preq(),
            "451 4.3.0 Local error in processing",
            "{call}"
        );
    }
}

/// Each group of recipients meets the message as it arrived.
fn groups() {
    let mut world = World::new(
        CONTENT.as_bytes(),
        &[
            ("example.com", "msg::set_header(\"Subject\", \"com\");"),
            (
                "example.org",
                "if msg::get_header(\"Subject\") == \"com\" { throw 1 }",
            ),
            (
                "example.edu",
                "msg::set_header(\"Subject\", msg::get_header(\"Subject\") + \" edu\");",
            ),
        ],
    );
    assert_eq!(world.preq(), "");
    let with = |subject| CONTENT.replace("=?utf-8?q?h=C3=AB?=", subject);
    assert_eq!(
        world.contents(),
        [
            with("com"),
            CONTENT.to_owned(),
            with("=?utf-8?q?h=C3=AB?= edu")
        ]
    );
}

fn write_and_dump() {
    let body = "msg::set_header(\"Subject\", \"n\"); fs::write(\"a/b\"); fs::dump(\"a/b\"); fs::write(\"\");";
    let mut world = World::new(CONTENT.as_bytes(), &[("example.com", body)]);
    assert_eq!(world.preq(), "");
    let edited = CONTENT.replace("=?utf-8?q?h=C3=AB?=", "n");
    for path in ["0000000000000007.eml", "a/b/0000000000000007.eml"] {
        assert_eq!(fs::read_to_string(world.app().join(path)).unwrap(), edited);
    }
    let json = fs::read(world.app().join("a/b/0000000000000007.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    for (pointer, expected) in [
        ("/id", "0000000000000007"),
        ("/client_address", "192.0.2.7:49152"),
        ("/mail_from", ""),
        ("/rcpt_list/0", "john@example.com"),
        ("/header/0/value", "a\tb"),
        ("/header/4/name", "Subject"),
        ("/header/4/value", "n"),
        ("/body", "hello\r\n"),
    ] {
        assert_eq!(json.pointer(pointer).unwrap(), expected, "{pointer}");
    }
    let files: Vec<_> = fs::read_dir(world.app().join("a/b")).unwrap().collect();
    assert_eq!(files.len(), 2, "{files:?}");
}

fn no_file_outside() {
    for dir in ["..", "a/../..", "/tmp", "a/../../../tmp"] {
        for function in ["write", "dump"] {
            let body = format!("fs::{function}({dir:?});");
            let mut world = World::new(CONTENT.as_bytes(), &[("example.com", &body)]);
            assert_eq!(world.preq(), "451 4.3.0 Local error in processing", "{dir}");
            assert!(!world.app().exists());
        }
    }
}
