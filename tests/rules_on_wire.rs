//! Rules as a client meets them: each state at each stage, and the policy "deny unencrypted".

use crate::support::{Certificate, Client, Configuration, Daemon, wait_for};
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;

const DENY_UNENCRYPTED: &str = r#"#{
  mail: [
    rule "deny unencrypted" || {
      if ctx::is_secured() { state::next() }
      else { state::deny(code(451, "5.7.3", "Must issue a STARTTLS command first\r\n")) }
    }
  ]
}
"#;

const CONTENT: &[u8] = b"From: jane@example.net\r\nSubject: hi\r\n\r\nhello\r\n";

/// A stage, a body for its one rule, and the replies of [`play`] from the greeting on.
const STATES: [(&str, &str, &[&str]); 27] = [
    ("connect", "state::deny()", &["554 5.7.1"]),
    (
        "connect",
        "state::deny(code(421, \"4.7.0\", \"later\"))",
        &["421 4.7.0 later"],
    ),
    ("helo", "state::deny()", &["220", "554 5.7.1", "503"]),
    (
        "helo",
        "state::deny(\"421 4.7.0 later\")",
        &["220", "421 4.7.0 later"],
    ),
    (
        "mail",
        "state::deny(code::c451_7_1)",
        &["220", "250", "451", "503"],
    ),
    (
        "mail",
        "state::deny(\"421 4.7.0 later\")",
        &["220", "250", "421 4.7.0 later"],
    ),
    (
        "rcpt",
        "state::deny(\"550 5.7.1 no\")",
        &["220", "250", "250", "550 5.7.1 no", "554 5.5.1"],
    ),
    (
        "rcpt",
        "state::deny(\"421 4.7.0 later\")",
        &["220", "250", "250", "421 4.7.0 later"],
    ),
    (
        "preq",
        "state::deny(code(550, \"5.7.1\", \"no\"))",
        &["220", "250", "250", "250", "354", "550 5.7.1 no"],
    ),
    ("connect", "state::next()", DELIVERED),
    ("helo", "state::next()", DELIVERED),
    ("mail", "state::next()", DELIVERED),
    ("rcpt", "state::next()", DELIVERED),
    ("preq", "state::next()", DELIVERED),
    ("connect", "state::accept()", DELIVERED),
    ("helo", "state::accept()", DELIVERED),
    ("mail", "state::accept()", DELIVERED),
    ("rcpt", "state::accept()", DELIVERED),
    ("preq", "state::accept()", DELIVERED),
    ("helo", "state::faccept()", DELIVERED),
    ("rcpt", "state::faccept()", DELIVERED),
    ("preq", "state::faccept()", DELIVERED),
    (
        "mail",
        "state::accept(code(250, \"2.1.0\", \"gladly\"))",
        &["220", "250", "250 2.1.0 gladly", "250", "354", "250"],
    ),
    (
        "rcpt",
        "state::accept(\"250 2.1.5 gladly\")",
        &["220", "250", "250", "250 2.1.5 gladly", "354", "250"],
    ),
    (
        "preq",
        "state::accept(\"250 2.6.0 gladly\")",
        &["220", "250", "250", "250", "354", "250 2.6.0 gladly"],
    ),
    ("helo", "throw \"oops\"", &["220", "451 4.3.0", "503"]),
    (
        "mail",
        "throw \"oops\"",
        &["220", "250", "451 4.3.0", "503"],
    ),
];

const DELIVERED: &[&str] = &["220", "250", "250", "250", "354", "250"];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("deny_unencrypted", deny_unencrypted),
        trial("faccept_at_connect_lasts", faccept_at_connect),
        trial("faccept_at_mail_is_for_one_transaction", faccept_at_mail),
        trial("quarantine", quarantine),
        trial("no_filter_refuses_all", no_filter),
        trial("an_error_names_its_place", error_names_its_place),
        trial("files_by_sender_and_recipient", files),
        trial("relaying_needs_a_rule", relaying),
    ];
    for (number, (stage, body, replies)) in STATES.into_iter().enumerate() {
        let name = format!("states::{number:02}_{stage}_{}", slug(body));
        trials.push(trial(&name, move || play(stage, body, replies)));
    }
    trials
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(format!("rules_on_wire::{name}"), || {
        test();
        Ok(())
    })
}

/// `deny` for `state::deny(…)`.
fn slug(body: &str) -> &str {
    let body = body.trim_start_matches("state::");
    body.split([' ', '(']).next().unwrap_or(body)
}

fn open(filter: &str) -> Configuration {
    let certificate = Certificate::new(&["example.com"]);
    Configuration::new()
        .domain_with("example.com", &certificate)
        .filter(filter)
}

/// One rule in `filter.vsl`; at rcpt and preq also what the recipient's domain runs.
fn one_rule(stage: &str, body: &str) -> Configuration {
    let rules = format!("#{{ {stage}: [ rule \"one\" || {{ {body} }} ] }}\n");
    match stage {
        "rcpt" | "preq" => {
            Configuration::new().domain("example.com", |d| d.rules("incoming.vsl", &rules))
        }
        _ => Configuration::new()
            .domain("example.com", |d| d)
            .filter(&rules),
    }
}

/// A message from elsewhere to a mailbox of ours, as far as it gets.
fn play(stage: &str, body: &str, expected: &[&str]) {
    let mut daemon = Daemon::start(one_rule(stage, body));
    let mut client = Client::connect(daemon.smtp());
    let commands = [
        "",
        "EHLO client.example.net",
        "MAIL FROM:<jane@example.net>",
        "RCPT TO:<john@example.com>",
        "DATA",
        "Subject: hi\r\n\r\nhello\r\n.",
    ];
    for (command, expected) in commands.iter().zip(expected) {
        if !command.is_empty() {
            client.send(format!("{command}\r\n").as_bytes());
        }
        client.reply().expect(expected);
    }
    let last = expected.last().unwrap();
    if last.starts_with("421") || expected.len() == 1 {
        assert_eq!(client.rest(), b"", "{last} does not close");
    } else {
        client.command("NOOP").expect("250");
        client.quit();
    }
    if expected.len() == commands.len() && last.starts_with("250") {
        daemon.maildir("example.com", "john").wait(1);
    }
    let maildir = daemon.maildir("example.com", "john");
    let _exit = daemon.stop();
    let delivered = usize::from(expected.len() == commands.len() && last.starts_with("250"));
    assert_eq!(maildir.messages().len(), delivered);
}

fn deny_unencrypted() {
    let mut daemon = Daemon::start(open(DENY_UNENCRYPTED));
    let mut client = Client::hello(daemon.smtp());
    for _ in 0..2 {
        let reply = client.command("MAIL FROM:<jane@example.net>");
        assert_eq!(
            reply.text(),
            "451 5.7.3 Must issue a STARTTLS command first"
        );
    }
    client.starttls(Some("example.com"));
    for _ in 0..2 {
        let reply = client.deliver("jane@example.net", "john@example.com", CONTENT);
        reply.expect("250");
    }
    client.quit();
    for message in daemon.maildir("example.com", "john").wait(2) {
        assert!(
            message.ends_with(CONTENT),
            "{}",
            String::from_utf8_lossy(&message)
        );
    }
    daemon.stop();
}

fn faccept_at_connect() {
    let rules = r#"#{
      connect: [ rule "trust" || state::faccept() ],
      mail: [ rule "never reached" || state::deny() ],
    }"#;
    let mut daemon = Daemon::start(open(rules));
    let mut client = Client::hello(daemon.smtp());
    for _ in 0..2 {
        let reply = client.deliver("jane@example.net", "john@example.com", CONTENT);
        reply.expect("250");
    }
    client.quit();
    daemon.maildir("example.com", "john").wait(2);
}

fn faccept_at_mail() {
    let filter = r#"#{
      mail: [
        rule "trust jane" || {
          if ctx::mail_from() == "jane@example.net" { state::faccept() } else { state::next() }
        }
      ],
    }"#;
    let incoming = r#"#{ rcpt: [ rule "nobody" || state::deny("550 5.7.1 no") ] }"#;
    let configuration = Configuration::new()
        .domain("example.com", |d| d.rules("incoming.vsl", incoming))
        .filter(filter);
    let mut daemon = Daemon::start(configuration);
    let mut client = Client::hello(daemon.smtp());
    let reply = client.deliver("jane@example.net", "john@example.com", CONTENT);
    reply.expect("250");
    client.command("MAIL FROM:<jim@example.net>").expect("250");
    let reply = client.command("RCPT TO:<john@example.com>");
    reply.expect("550 5.7.1 no");
    client.quit();
}

fn quarantine() {
    let incoming = r#"#{
      preq: [
        rule "set aside" || {
          if ctx::mail_from() == "jane@example.net" { state::quarantine("odd") } else { state::next() }
        }
      ],
    }"#;
    let configuration =
        Configuration::new().domain("example.com", |d| d.rules("incoming.vsl", incoming));
    let mut daemon = Daemon::start(configuration);
    let mut client = Client::hello(daemon.smtp());
    for from in ["jane@example.net", "jim@example.net"] {
        let content = format!("From: {from}\r\n\r\nhello\r\n");
        let reply = client.deliver(from, "john@example.com", content.as_bytes());
        reply.expect("250");
    }
    client.quit();
    let message = daemon.maildir("example.com", "john").wait_one();
    assert!(message.contains("From: jim@example.net"), "{message}");
    let app = daemon.configuration().state().join("app");
    let aside = wait_for("the message in quarantine", || {
        files_below(&app)
            .into_iter()
            .find(|(path, text)| path.contains("odd") && text.contains("From: jane@example.net"))
    });
    assert!(aside.1.contains("hello"), "{aside:?}");
    daemon.stop();
}

/// Path and text of every file below `folder`.
fn files_below(folder: &Path) -> Vec<(String, String)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if let Ok(octets) = fs::read(&path) {
            let text = String::from_utf8_lossy(&octets).into_owned();
            files.push((path.display().to_string(), text));
        }
    }
    files
}

fn no_filter() {
    let configuration = Configuration::new().domain("example.com", |d| d);
    fs::remove_file(configuration.root().join("filter.vsl")).unwrap();
    let mut daemon = Daemon::start(configuration);
    let mut client = Client::connect(daemon.smtp());
    client.reply().expect("554");
    assert_eq!(client.rest(), b"");
    daemon.stop();
}

fn error_names_its_place() {
    let filter = "#{\n  mail: [\n    rule \"broken\" || {\n      throw \"oops\"\n    }\n  ]\n}\n";
    let mut daemon = Daemon::start(open(filter));
    let mut client = Client::hello(daemon.smtp());
    let reply = client.command("MAIL FROM:<jane@example.net>");
    reply.expect("451 4.3.0");
    assert!(!reply.text().contains("oops"), "{reply:?} tells the cause");
    daemon.wait_for_log(&["filter.vsl:4:7", "broken", "oops"]);
    client.quit();
}

/// Which file runs at rcpt, told by its reply.
fn files() {
    let says = |who: &str| {
        let reply = format!("state::deny(code(550, \"5.7.1\", `{who}`))");
        format!("#{{ rcpt: [ rule \"say\" || {reply} ] }}")
    };
    let mut configuration = Configuration::new().filter(
        r#"#{
          mail: [ rule "anybody" || state::accept() ],
          rcpt: [ rule "say" || state::deny(code(550, "5.7.1", `filter`)) ],
        }"#,
    );
    for name in ["example.com", "example.org"] {
        configuration = configuration.domain(name, |domain| {
            ["incoming", "outgoing", "internal"]
                .into_iter()
                .fold(domain, |domain, file| {
                    domain.rules(&format!("{file}.vsl"), &says(&format!("{name} {file}")))
                })
        });
    }
    let mut daemon = Daemon::start(configuration);
    let mut client = Client::hello(daemon.smtp());
    for (from, to, file) in [
        ("a@example.net", "b@example.com", "example.com incoming"),
        ("a@example.net", "b@sub.example.com", "example.com incoming"),
        ("", "b@example.org", "example.org incoming"),
        ("a@example.net", "b@example.edu", "filter"),
        ("a@example.com", "b@example.com", "example.com internal"),
        ("a@example.com", "b@example.org", "example.com outgoing"),
        ("a@example.org", "b@example.edu", "example.org outgoing"),
    ] {
        client.command(&format!("MAIL FROM:<{from}>")).expect("250");
        let reply = client.command(&format!("RCPT TO:<{to}>"));
        assert_eq!(reply.text(), format!("550 5.7.1 {file}"), "{from} to {to}");
        client.command("RSET").expect("250");
    }
    client.quit();
}

/// Without a decision of the rules the built-in guard decides.
fn relaying() {
    let configuration = Configuration::new().domain("example.com", |domain| {
        domain.set("mailboxes", "[\"john\"]")
    });
    let mut daemon = Daemon::start(configuration);
    let mut client = Client::hello(daemon.smtp());
    client.command("MAIL FROM:<jane@example.net>").expect("250");
    client
        .command("RCPT TO:<x@example.edu>")
        .expect("554 5.7.1");
    client
        .command("RCPT TO:<jim@example.com>")
        .expect("550 5.1.1");
    client.command("RCPT TO:<john@example.com>").expect("250");
    client.command("RSET").expect("250");
    client
        .command("MAIL FROM:<john@example.com>")
        .expect("530 5.7.0");
    client.quit();
}
