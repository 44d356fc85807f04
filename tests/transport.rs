//! By which way mail leaves the queue: what rules choose for each recipient, what domains say, and who is always there.

use crate::support::{Client, Configuration, Daemon, Hop, options, trial_with, wait_for};
use libtest_mimic::Trial;
use std::fs;
use std::net::TcpListener;
use vsmtp::mail::{
    Address, Connection, Domain, Domains, Envelope, Mailboxes, Recipient, ReversePath, Service,
    Transaction, Transport,
};
use vsmtp::rules::{Options, Policy, Rules, Stage, Verdict};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("rules_record_for_each_recipient", recorded),
        trial("rules_can_only_record_what_is_there", too_early),
        trial("a_recipient_of_ours_is_forwarded", forwarded),
        trial("what_was_recorded_outlives_a_crash", crash),
        trial("a_forward_opens_no_relay", no_relay),
        trial("an_mbox_by_rule_and_by_domain", mbox),
        trial("a_mailbox_store_by_rule", store),
        trial("mail_for_ourselves_does_not_go_round", ourselves),
        trial("a_tag_belongs_to_the_mailbox", sub_address),
        trial("the_postmaster_is_always_there", postmaster),
        trial("connections_are_used_again", used_again),
        trial("a_reload_renews_the_way_out", reload),
    ]
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    trial_with(&[], format!("transport::{name}"), test)
}

const CONTENT: &[u8] = b"Subject: x\r\n\r\nhello\r\n";

/// A server with the mailboxes `john` and `jim` at `home.example`, which tries again soon.
pub fn home(incoming: &str) -> Configuration {
    Configuration::new()
        .set("server.queues.delivery.retry_min", "\"100ms\"")
        .set("server.queues.delivery.retry_max", "\"200ms\"")
        .domain("home.example", |domain| {
            domain
                .set("mailboxes", r#"["john", "jim"]"#)
                .rules("incoming.vsl", incoming)
        })
}

pub fn send(daemon: &mut Daemon, recipients: &[&str]) {
    let mut client = Client::hello(daemon.smtp());
    client
        .command("MAIL FROM:<jane@elsewhere.example>")
        .expect("250");
    for recipient in recipients {
        client
            .command(&format!("RCPT TO:<{recipient}>"))
            .expect("250");
    }
    client.data(CONTENT).expect("250");
    client.quit();
}

/// The recipients that each session of `hop` was told of.
pub fn told(hop: &Hop) -> Vec<String> {
    let sessions = hop.sessions().concat();
    let lines = sessions.lines();
    let mut told: Vec<String> = lines
        .filter_map(|line| line.strip_prefix("RCPT TO:"))
        .map(str::to_owned)
        .collect();
    told.sort();
    told
}

/// A policy with `rules` as the `incoming.vsl` of `home.example`.
fn policy(rules: &str) -> (tempfile::TempDir, Policy) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home.example");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("incoming.vsl"), rules).unwrap();
    fs::write(folder.path().join("filter.vsl"), "#{}").unwrap();
    let options = Options {
        domains: vec![("home.example".to_owned(), home)],
        ..options(folder.path())
    };
    let domains = Domains::new([Domain {
        name: "home.example".to_owned(),
        mailboxes: Mailboxes::All,
        aliases: [].into(),
        transport: Transport::Maildir,
    }]);
    let rules = Rules::load(&options, std::sync::Arc::new(domains)).unwrap();
    (folder, Policy::new(rules))
}

/// What is recorded for John and Jim once `rules` have seen both of them and the message.
fn record(rules: &str) -> [String; 2] {
    let (_folder, mut policy) = policy(rules);
    let address = |text: &str| Address::parse(text).unwrap();
    let mut transaction = Transaction::new(Connection {
        client: "192.0.2.1:49152".parse().unwrap(),
        server: "192.0.2.2:25".parse().unwrap(),
        service: Service::Relay,
        opened: "2026-08-01T12:34:56Z".parse().unwrap(),
        server_name: "mx.example".into(),
        tls: None,
        authenticated: None,
        helo: None,
    });
    transaction.envelope = Some(Envelope {
        reverse_path: ReversePath(Some(address("jane@elsewhere.example"))),
        ..Envelope::default()
    });
    let run = |policy: &mut Policy, stage, transaction: &mut Transaction| {
        let verdict = policy.run(stage, transaction);
        assert_eq!(verdict, Verdict::Proceed(None), "{stage} {rules}");
    };
    for to in ["john@home.example", "jim@home.example"] {
        let recipients = &mut transaction.envelope.as_mut().unwrap().recipients;
        recipients.push(Recipient::from(address(to)));
        run(&mut policy, Stage::Rcpt, &mut transaction);
    }
    run(&mut policy, Stage::Preq, &mut transaction);
    let recipients = transaction.envelope.unwrap().recipients;
    let shown = |recipient: &Recipient| {
        let transport = recipient.transport.as_ref();
        transport.map_or_else(|| "usual".to_owned(), Transport::to_string)
    };
    [shown(&recipients[0]), shown(&recipients[1])]
}

fn recorded() {
    const USUAL: &str = "usual";
    const HOST: &str = "smtp://mx.example:25";
    for (stage, call, john, jim) in [
        (
            "rcpt",
            r#"forward("john@home.example", "mx.example")"#,
            HOST,
            USUAL,
        ),
        (
            "rcpt",
            r#"forward(ctx::rcpt(), fqdn("mx.example"))"#,
            HOST,
            HOST,
        ),
        (
            "rcpt",
            r#"forward(address("jim@home.example"), ip4("192.0.2.9"))"#,
            USUAL,
            "smtp://192.0.2.9:25",
        ),
        (
            "preq",
            r#"forward("jim@HOME.example", ip6("2001:db8::9"))"#,
            USUAL,
            "smtp://[2001:db8::9]:25",
        ),
        (
            "rcpt",
            r#"forward_all("mx.example:26")"#,
            "smtp://mx.example:26",
            "smtp://mx.example:26",
        ),
        (
            "preq",
            r#"forward_all("smtps://tim:secret@mx.example")"#,
            "smtps://tim:***@mx.example:465",
            "smtps://tim:***@mx.example:465",
        ),
        (
            "preq",
            r#"forward("nobody@home.example", "mx.example")"#,
            USUAL,
            USUAL,
        ),
        ("preq", r#"maildir("john@home.example")"#, "maildir", USUAL),
        ("preq", "maildir_all()", "maildir", "maildir"),
        ("preq", r#"mbox("jim@home.example")"#, USUAL, "mbox"),
        ("preq", "mbox_all()", "mbox", "mbox"),
        (
            "preq",
            r#"lmtp("john@home.example", "unix:/run/lmtp")"#,
            "lmtp:unix:/run/lmtp",
            USUAL,
        ),
        (
            "preq",
            r#"lmtp_all("[::1]:24")"#,
            "lmtp:[::1]:24",
            "lmtp:[::1]:24",
        ),
        (
            "preq",
            r#"mbox_all(); transport::deliver("john@home.example")"#,
            USUAL,
            "mbox",
        ),
        ("preq", "mbox_all(); transport::deliver_all()", USUAL, USUAL),
        (
            "preq",
            "mbox_all(); transport::maildir_all()",
            "maildir",
            "maildir",
        ),
    ] {
        let rules = format!("#{{ {stage}: [ action \"a\" || {{ transport::{call} }} ] }}");
        assert_eq!(record(&rules), [john, jim], "{rules}");
    }
}

fn too_early() {
    let filter = r#"#{
      mail: [ rule "early" || {
        if ctx::mail_from() == "a@elsewhere.example" { transport::mbox_all() }
        state::next()
      } ],
      rcpt: [ rule "wrong" || { transport::forward(ctx::rcpt(), "smtp" + "://"); state::next() } ],
    }"#;
    let mut daemon = Daemon::start(home("#{}").filter(filter));
    let mut client = Client::hello(daemon.smtp());
    client
        .command("MAIL FROM:<a@elsewhere.example>")
        .expect("451 4.3.0");
    daemon.wait_for_log(&[
        "filter.vsl:3:",
        "transport::mbox_all() has nothing to say at mail",
    ]);
    client
        .command("MAIL FROM:<b@elsewhere.example>")
        .expect("250");
    client
        .command("RCPT TO:<john@elsewhere.example>")
        .expect("451 4.3.0");
    daemon.wait_for_log(&["filter.vsl:6:", "is no target", "write it as in"]);
    client.quit();
    daemon.stop();
}

fn forwarded() {
    for stage in ["rcpt", "preq", "postq", "delivery"] {
        let hop = Hop::start(|_, _| None);
        let rules = format!(
            r#"#{{ {stage}: [
                 action "john is elsewhere" || transport::forward("john@home.example", "{}")
               ] }}"#,
            hop.address()
        );
        let mut daemon = Daemon::start(home(&rules));
        send(&mut daemon, &["john@home.example", "jim@home.example"]);
        daemon.maildir("home.example", "jim").wait(1);
        daemon.wait_for_log(&["to=john@home.example", "result=\"relayed\""]);
        assert_eq!(told(&hop), ["<john@home.example>"], "{stage}");
        let john = daemon.maildir("home.example", "john");
        assert!(john.messages().is_empty(), "{stage}");
        daemon.stop();
    }
}

fn crash() {
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let rules = format!(r#"#{{ preq: [ action "away" || transport::forward_all("{gone}") ] }}"#);
    let mut daemon = Daemon::start(home(&rules));
    send(&mut daemon, &["john@home.example"]);
    daemon.wait_for_log(&["to=john@home.example", "result=\"deferred\"", "4.4.1"]);
    let configuration = daemon.kill();
    configuration.file("domain-enabled/home.example/incoming.vsl", "#{}");
    let daemon = Daemon::start(configuration);
    let hop = Hop::start_at(TcpListener::bind(gone).unwrap(), |_, _| None);
    daemon.wait_for_log(&["to=john@home.example", "result=\"relayed\""]);
    assert_eq!(told(&hop), ["<john@home.example>"]);
    daemon.stop();
}

fn no_relay() {
    let hop = Hop::start(|_, _| None);
    let filter = format!(
        r#"#{{ rcpt: [ action "all" || transport::forward(ctx::rcpt(), "{}") ] }}"#,
        hop.address()
    );
    let mut daemon = Daemon::start(home("#{}").filter(&filter));
    let mut client = Client::hello(daemon.smtp());
    client
        .command("MAIL FROM:<jane@elsewhere.example>")
        .expect("250");
    for (to, reply) in [
        ("john@elsewhere.example", "554 5.7.1"),
        ("nobody@home.example", "550 5.1.1"),
        ("john@home.example", "250"),
    ] {
        client.command(&format!("RCPT TO:<{to}>")).expect(reply);
    }
    client.quit();
    daemon.stop();
    assert!(hop.sessions().is_empty());
}

fn mbox() {
    let rules = r#"#{ preq: [ action "john" || transport::mbox("john@home.example") ] }"#;
    let configuration = home(rules).domain("box.example", |domain| {
        domain
            .set("mailboxes", r#"["john"]"#)
            .set("transport", "\"mbox\"")
    });
    let mut daemon = Daemon::start(configuration);
    send(
        &mut daemon,
        &[
            "john@home.example",
            "jim@home.example",
            "John+x@box.example",
        ],
    );
    daemon.maildir("home.example", "jim").wait(1);
    for (path, to) in [
        ("home.example/john/mbox", "john@home.example"),
        ("box.example/john/mbox", "John+x@box.example"),
    ] {
        let path = daemon.configuration().state().join("mail").join(path);
        let text = wait_for("the mbox", || {
            let text = fs::read_to_string(&path).ok()?;
            text.ends_with("\n\nhello\n\n").then_some(text)
        });
        let mut lines = text.lines();
        let separator = lines.next().unwrap();
        assert!(
            separator.starts_with("From jane@elsewhere.example "),
            "{text}"
        );
        assert_eq!(lines.next(), Some("Return-Path: <jane@elsewhere.example>"));
        assert_eq!(lines.next(), Some(format!("Delivered-To: {to}").as_str()));
    }
    send(&mut daemon, &["john@box.example"]);
    let path = daemon
        .configuration()
        .state()
        .join("mail/box.example/john/mbox");
    wait_for("two messages", || {
        let text = fs::read_to_string(&path).unwrap();
        (text.matches("\nhello\n\n").count() == 2).then_some(())
    });
    daemon.stop();
}

fn store() {
    let hop = Hop::start(|_, _| None);
    let rules = format!(
        r#"#{{ preq: [ action "store" || transport::lmtp_all("{}") ] }}"#,
        hop.address()
    );
    let mut daemon = Daemon::start(home(&rules));
    send(&mut daemon, &["john+x@home.example"]);
    wait_for("the store", || (!told(&hop).is_empty()).then_some(()));
    assert!(hop.sessions()[0].starts_with("LHLO "));
    assert_eq!(told(&hop), ["<john+x@home.example>"]);
    daemon.stop();
}

fn ourselves() {
    let rules = r#"#{
      preq: [ action "round" || transport::forward_all(`127.0.0.1:${ctx::server_port()}`) ]
    }"#;
    let mut daemon = Daemon::start(home(rules));
    send(&mut daemon, &["john@home.example"]);
    daemon.wait_for_log(&["result=\"deferred\"", "4.4.6", "is this server"]);
    daemon.kill();
}

fn sub_address() {
    let mut daemon = Daemon::start(home("#{}"));
    send(&mut daemon, &["John+News.Letter@home.example"]);
    let message = daemon.maildir("home.example", "john").wait_one();
    assert!(
        message.contains("\r\nDelivered-To: John+News.Letter@home.example\r\n"),
        "{message}"
    );
    let mut client = Client::hello(daemon.smtp());
    client
        .command("MAIL FROM:<jane@elsewhere.example>")
        .expect("250");
    for nobody in ["jane+john@home.example", "+john@home.example"] {
        client
            .command(&format!("RCPT TO:<{nobody}>"))
            .expect("550 5.1.1");
    }
    client.quit();
    daemon.stop();
}

fn postmaster() {
    let configuration = home("#{}").domain("other.example", |domain| domain.set("mailboxes", "[]"));
    let mut daemon = Daemon::start(configuration);
    let recipients = [
        "Postmaster",
        "postmaster@home.example",
        "POSTMASTER@sub.Other.example",
    ];
    send(&mut daemon, &recipients);
    for domain in ["mx.example.test", "home.example", "other.example"] {
        daemon.maildir(domain, "postmaster").wait(1);
    }
    let mut client = Client::hello(daemon.smtp());
    client
        .command("MAIL FROM:<jane@elsewhere.example>")
        .expect("250");
    for relayed in ["jane@mx.example.test", "postmaster@elsewhere.example"] {
        client
            .command(&format!("RCPT TO:<{relayed}>"))
            .expect("554 5.7.1");
    }
    client.quit();
    daemon.stop();
}

fn used_again() {
    const MESSAGES: usize = 8;
    let hop = Hop::start(|_, _| None);
    let rules = format!(
        r#"#{{ preq: [ action "away" || transport::forward_all("{}") ] }}"#,
        hop.address()
    );
    let mut daemon = Daemon::start(home(&rules));
    for sent in 1..=MESSAGES {
        send(&mut daemon, &["john@home.example"]);
        wait_for("the message to go", || {
            (daemon.log().matches("result=\"relayed\"").count() == sent).then_some(())
        });
    }
    daemon.stop();
    let sessions = hop.sessions();
    assert_eq!(told(&hop).len(), MESSAGES);
    // One is enough, unless this machine takes long from one message to the next.
    assert!(sessions.len() < MESSAGES, "{sessions:?}");
    assert!(
        sessions
            .iter()
            .any(|session| session.contains("RSET\r\nMAIL"))
    );
    assert!(sessions.iter().all(|session| session.ends_with("QUIT\r\n")));
}

fn reload() {
    let hop = Hop::start(|_, _| None);
    let rules = format!(
        r#"#{{ preq: [ action "away" || transport::forward_all("{}") ] }}"#,
        hop.address()
    );
    let mut daemon = Daemon::start(home(&rules));
    send(&mut daemon, &["john@home.example"]);
    daemon.wait_for_log(&["result=\"relayed\""]);
    let file = daemon.configuration().root().join("conf.d/config.vsl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("mx.example.test", "new.example.test")).unwrap();
    daemon.hang_up();
    daemon.wait_for_log(&["reloaded: "]);
    send(&mut daemon, &["john@home.example"]);
    wait_for("the second message", || {
        let sessions = hop.sessions();
        let greeted = |session: &String| session.starts_with("EHLO new.example.test\r\n");
        sessions.iter().any(greeted).then_some(())
    });
    assert!(hop.sessions()[0].starts_with("EHLO mx.example.test\r\n"));
    daemon.stop();
}
