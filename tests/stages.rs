//! Rules at `postq` and `delivery`: a message in the queue, whose client is gone.

use crate::support::{Client, Configuration, Daemon, Hop, wait_for};
use libtest_mimic::Trial;
use std::fs;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("what_was_known_of_the_client_is_kept", facts),
        trial("each_group_gets_its_own_header", groups),
        trial("recipients_and_sender_are_changed_for_good", envelope),
        trial("deny_at_postq_is_reported_to_the_sender", || {
            denied("postq");
        }),
        trial("deny_at_delivery_is_reported_to_the_sender", || {
            denied("delivery");
        }),
        trial("nobody_is_told_of_a_denied_notification", null_sender),
        trial("a_rule_that_fails_defers_and_a_reload_mends_it", fails),
        trial("quarantine_at_postq", || quarantine("postq")),
        trial("quarantine_at_delivery", || quarantine("delivery")),
        trial("edits_at_delivery_are_for_one_attempt", attempts),
        trial("who_is_added_at_delivery_is_added_once", added_once),
        trial("postq_runs_once_and_delivery_before_each_attempt", once),
        trial("faccept_ends_it_for_the_message", faccept),
        trial("what_postq_decided_survives_a_crash", crash),
        trial("a_large_body_is_shared_by_versions", large),
    ]
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(format!("stages::{name}"), || {
        test();
        Ok(())
    })
}

const CONTENT: &[u8] = b"From: jane@example.net\r\nSubject: hi\r\n\r\nhello\r\n";

/// Takes mail of anybody from anybody, and tries again soon.
const OPEN: &str = r#"mail: [ rule "anybody" || state::accept() ], rcpt: [ rule "to anybody" || state::accept() ],"#;

fn quick() -> Configuration {
    Configuration::new()
        .set("server.queues.delivery.retry_min", "\"100ms\"")
        .set("server.queues.delivery.retry_max", "\"200ms\"")
        .filter(&format!("#{{ {OPEN} }}"))
}

/// `example.com` with `rules` for mail that comes in.
fn incoming(rules: &str) -> Configuration {
    quick().domain("example.com", |domain| domain.rules("incoming.vsl", rules))
}

fn send(daemon: &mut Daemon, from: &str, to: &[&str], content: &[u8]) {
    let mut client = Client::hello(daemon.smtp());
    client.command(&format!("MAIL FROM:<{from}>")).expect("250");
    for to in to {
        client.command(&format!("RCPT TO:<{to}>")).expect("250");
    }
    client.data(content).expect("250");
    client.quit();
}

/// How often each line stands in the log of the rules.
fn said(daemon: &Daemon, line: &str) -> usize {
    let log = fs::read_to_string(daemon.configuration().state().join("rules.log"));
    let log = log.unwrap_or_default();
    log.lines().filter(|said| said.contains(line)).count()
}

fn logged(configuration: Configuration) -> Configuration {
    let path = configuration.state().join("rules.log");
    configuration.set("app.logs.filename", &format!("{path:?}"))
}

fn facts() {
    let rules = |stage: &str| {
        format!(
            r#"{stage}: [
              action "{stage}" || {{
                let facts = `${{ctx::client_ip()}} ${{ctx::server_port()}} ${{ctx::server_name()}} ${{ctx::helo()}} `
                  + `${{ctx::is_secured()}} ${{ctx::is_authenticated()}} ${{ctx::tls_version()}}.`;
                msg::append_header("X-{stage}", facts);
                msg::append_header("X-{stage}-Mail", `${{ctx::mail_from()}} ${{ctx::rcpt()}} ${{ctx::message_id()}}`);
                if ctx::mail_timestamp() < ctx::connection_timestamp() {{ throw "time goes backwards" }}
                fs::write("{stage}");
              }}
            ],"#
        )
    };
    // Refused for now until the daemon was killed and the rules let it go.
    let before = r#"#{ postq: [ rule "wait" || state::deny("451 4.7.1 not yet") ] }"#;
    let mut daemon = Daemon::start(incoming(before));
    let port = daemon.smtp().port();
    send(
        &mut daemon,
        "jane@example.net",
        &["john@example.com"],
        CONTENT,
    );
    daemon.wait_for_log(&["result=\"deferred\"", "4.7.1", "not yet"]);
    let configuration = daemon.kill();
    let after = format!("#{{ {} {} }}", rules("postq"), rules("delivery"));
    configuration.file("domain-enabled/example.com/incoming.vsl", &after);
    let daemon = Daemon::start(configuration);
    let message = daemon.maildir("example.com", "john").wait_one();
    for stage in ["postq", "delivery"] {
        let facts = format!(
            "X-{stage}: 127.0.0.1 {port} mx.example.test client.example.net false false .\r\n"
        );
        assert!(message.contains(&facts), "no {facts} in\n{message}");
        let mail = format!("X-{stage}-Mail: jane@example.net john@example.com ");
        assert!(message.contains(&mail), "{message}");
        let folder = daemon.configuration().state().join("app").join(stage);
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
    }
    daemon.stop();
}

fn groups() {
    let marks = |name: &str| {
        format!(
            r#"#{{ postq: [ action "mark" || {{
              msg::append_header("X-Mark", "{name}");
              msg::append_header("X-To", `${{ctx::rcpt_list()}}`);
            }} ] }}"#
        )
    };
    let configuration = quick()
        .domain("example.com", |d| d.rules("incoming.vsl", &marks("com")))
        .domain("example.org", |d| d.rules("incoming.vsl", &marks("org")))
        .domain("example.edu", |d| d);
    let mut daemon = Daemon::start(configuration);
    let to = [
        "a@example.com",
        "b@example.org",
        "c@example.com",
        "d@example.edu",
    ];
    send(&mut daemon, "jane@example.net", &to, CONTENT);
    for (domain, user, mark) in [
        (
            "example.com",
            "a",
            "X-Mark: com\r\nX-To: [a@example.com, c@example.com]\r\n",
        ),
        (
            "example.com",
            "c",
            "X-Mark: com\r\nX-To: [a@example.com, c@example.com]\r\n",
        ),
        (
            "example.org",
            "b",
            "X-Mark: org\r\nX-To: [b@example.org]\r\n",
        ),
        ("example.edu", "d", ""),
    ] {
        let message = daemon.maildir(domain, user).wait_one();
        let end = format!("From: jane@example.net\r\nSubject: hi\r\n{mark}\r\nhello\r\n");
        assert!(message.ends_with(&end), "{user}: {message}");
    }
    daemon.stop();
}

fn envelope() {
    let rules = r#"#{ postq: [ action "change" || {
      envelop::add_rcpt("team@example.com");
      envelop::rm_rcpt("gone@example.com");
      envelop::rw_rcpt("old@example.com", "new@example.com");
      envelop::rw_mail_from("list@example.net");
    } ] }"#;
    let configuration = quick().domain("example.com", |domain| {
        let aliases = r#"#{ team: ["ann@example.com", "bob@example.com"] }"#;
        domain.set("aliases", aliases).rules("incoming.vsl", rules)
    });
    let mut daemon = Daemon::start(configuration);
    let to = [
        "john@example.com",
        "gone@example.com",
        "old@example.com",
        "ann@example.com",
    ];
    send(&mut daemon, "jane@example.net", &to, CONTENT);
    for user in ["john", "new", "ann", "bob"] {
        let message = daemon.maildir("example.com", user).wait_one();
        let path = "Return-Path: <list@example.net>\r\n";
        assert!(message.starts_with(path), "{user}: {message}");
    }
    let nobody = ["gone", "old", "team"].map(|user| daemon.maildir("example.com", user));
    let _exit = daemon.stop();
    for maildir in nobody {
        assert_eq!(maildir.messages(), Vec::<Vec<u8>>::new());
    }
}

fn denied(stage: &str) {
    let deny = format!(
        r#"#{{ {stage}: [ rule "no" || {{
          if "john@example.com" in ctx::rcpt_list() {{ state::deny(code(550, "5.7.1", "not you")) }}
        }} ] }}"#
    );
    // The report comes by no connection: we stand for its client.
    let reports = format!(
        r#"#{{ {stage}: [ action "mark" ||
          msg::append_header("X-Client", `${{ctx::client_ip()}} ${{ctx::helo()}} ${{ctx::mail_from() == ""}}`) ] }}"#
    );
    let configuration = quick()
        .domain("example.com", |d| d)
        .domain("example.org", |d| {
            d.rules("outgoing.vsl", &deny)
                .rules("incoming.vsl", &reports)
        });
    let mut daemon = Daemon::start(configuration);
    let to = ["john@example.com"];
    send(&mut daemon, "jane@example.org", &to, CONTENT);
    let report = daemon.maildir("example.org", "jane").wait_one();
    for part in [
        "Return-Path: <>\r\n",
        "X-Client: 127.0.0.1 mx.example.test true\r\n",
        "Final-Recipient: rfc822; john@example.com\r\n",
        "Action: failed\r\nStatus: 5.7.1\r\n",
        "550 5.7.1 not you",
    ] {
        assert!(report.contains(part), "no {part} in\n{report}");
    }
    let john = daemon.maildir("example.com", "john");
    let _exit = daemon.stop();
    assert_eq!(john.messages(), Vec::<Vec<u8>>::new());
}

fn null_sender() {
    let deny = r#"#{ postq: [ rule "no" || state::deny() ] }"#;
    let mut daemon = Daemon::start(incoming(deny));
    send(&mut daemon, "", &["john@example.com"], CONTENT);
    daemon.wait_for_log(&["result=\"failed\"", "554 5.7.1 Refused by policy"]);
    daemon.wait_for_log(&["an undeliverable notification is dropped"]);
    daemon.stop();
}

fn fails() {
    for stage in ["postq", "delivery"] {
        let rules = format!(r#"#{{ {stage}: [ rule "broken" || {{ throw "oops" }} ] }}"#);
        let mut daemon = Daemon::start(incoming(&rules));
        send(
            &mut daemon,
            "jane@example.net",
            &["john@example.com"],
            CONTENT,
        );
        daemon.wait_for_log(&["incoming.vsl:1:", "broken", "oops"]);
        daemon.wait_for_log(&["result=\"deferred\"", "4.3.0"]);
        let rules = format!(
            r#"#{{ {stage}: [ action "mend" || msg::append_header("X-Mended", "{stage}") ] }}"#
        );
        let file = "domain-enabled/example.com/incoming.vsl";
        daemon.configuration().file(file, &rules);
        daemon.hang_up();
        let message = daemon.maildir("example.com", "john").wait_one();
        assert!(
            message.contains(&format!("X-Mended: {stage}\r\n")),
            "{message}"
        );
        daemon.stop();
    }
}

fn quarantine(stage: &str) {
    let rules = format!(
        r#"#{{
          {stage}: [
            action "mark" || msg::append_header("X-Stage", "{stage}"),
            rule "odd" || state::quarantine("odd"),
          ],
        }}"#
    );
    let configuration = incoming(&rules).domain("example.org", |d| d);
    let mut daemon = Daemon::start(configuration);
    let to = ["john@example.com", "ann@example.org"];
    send(&mut daemon, "jane@example.net", &to, CONTENT);
    let other = daemon.maildir("example.org", "ann").wait_one();
    assert!(!other.contains("X-Stage"), "{other}");
    let folder = daemon.configuration().state().join("app/quarantine/odd");
    let kept = wait_for("the message in quarantine", || {
        let mut files = fs::read_dir(&folder).ok()?;
        let file = files.find_map(|file| {
            let path = file.ok()?.path();
            path.extension().is_none().then_some(path)
        })?;
        fs::read_to_string(file).ok()
    });
    assert!(kept.contains("Delivered-To: john@example.com\n"), "{kept}");
    assert!(kept.contains(&format!("X-Stage: {stage}\n")), "{kept}");
    assert!(!kept.contains("ann@example.org"), "{kept}");
    let john = daemon.maildir("example.com", "john");
    let _exit = daemon.stop();
    assert_eq!(john.messages(), Vec::<Vec<u8>>::new());
}

/// A hop that takes a message at the third time.
fn reluctant() -> Hop {
    Hop::start(|line, session| match line {
        "DATA" if session < 2 => Some("451 4.0.0 busy"),
        _ => None,
    })
}

fn through(hop: &Hop, rules: &str) -> Configuration {
    let transport = format!("\"smtp://{}\"", hop.address());
    logged(quick()).domain("example.com", |domain| {
        domain
            .set("transport", &transport)
            .rules("incoming.vsl", rules)
    })
}

/// The session in which the hop took the message.
fn taken(hop: &Hop) -> String {
    wait_for("a message at the hop", || {
        hop.sessions()
            .into_iter()
            .find(|session| session.contains("hello\r\n.\r\n"))
    })
}

fn attempts() {
    let hop = reluctant();
    let rules = r#"#{ delivery: [ action "mark" || {
      msg::append_header("X-Attempt", "yes");
      envelop::rw_mail_from("bounce+" + ctx::mail_from().local_part + "@example.net");
      log("info", "attempt");
    } ] }"#;
    let mut daemon = Daemon::start(through(&hop, rules));
    send(
        &mut daemon,
        "jane@example.net",
        &["john@example.com"],
        CONTENT,
    );
    let session = taken(&hop);
    assert_eq!(
        session.matches("X-Attempt: yes\r\n").count(),
        1,
        "{session}"
    );
    assert!(
        session.contains("MAIL FROM:<bounce+jane@example.net>"),
        "{session}"
    );
    assert_eq!(said(&daemon, "attempt"), 3);
    daemon.stop();
}

fn added_once() {
    let hop = reluctant();
    let rules = r#"#{ delivery: [ action "copy" || envelop::bcc("copy@example.org") ] }"#;
    let configuration = through(&hop, rules).domain("example.org", |d| d);
    let mut daemon = Daemon::start(configuration);
    send(
        &mut daemon,
        "jane@example.net",
        &["john@example.com"],
        CONTENT,
    );
    taken(&hop);
    let copies = daemon.maildir("example.org", "copy");
    copies.wait(1);
    let _exit = daemon.stop();
    assert_eq!(copies.messages().len(), 1);
}

fn once() {
    let hop = reluctant();
    let rules = r#"#{
      postq: [
        rule "first" || { log("info", "postq ran"); state::accept() },
        rule "never" || state::deny(),
      ],
      delivery: [ action "each" || log("info", "delivery ran") ],
    }"#;
    let mut daemon = Daemon::start(through(&hop, rules));
    send(
        &mut daemon,
        "jane@example.net",
        &["john@example.com"],
        CONTENT,
    );
    taken(&hop);
    assert_eq!(said(&daemon, "postq ran"), 1);
    assert_eq!(said(&daemon, "delivery ran"), 3);
    daemon.stop();
}

fn faccept() {
    let rest = r#"postq: [ rule "postq" || state::deny() ], delivery: [ rule "delivery" || state::deny() ],"#;
    let at_postq = r#"postq: [ rule "take it" || state::faccept() ], delivery: [ rule "delivery" || state::deny() ],"#;
    for (filter, incoming) in [
        (
            r#"connect: [ rule "trust" || state::faccept() ],"#.to_owned(),
            rest.to_owned(),
        ),
        (
            r#"helo: [ rule "trust" || state::faccept() ],"#.to_owned(),
            rest.to_owned(),
        ),
        (
            r#"mail: [ rule "trust" || state::faccept() ],"#.to_owned(),
            rest.to_owned(),
        ),
        (
            String::new(),
            format!(r#"rcpt: [ rule "trust" || state::faccept() ], {rest}"#),
        ),
        (
            String::new(),
            format!(r#"preq: [ rule "trust" || state::faccept() ], {rest}"#),
        ),
        (String::new(), at_postq.to_owned()),
    ] {
        let configuration = quick()
            .filter(&format!("#{{ {filter} }}"))
            .domain("example.com", |d| {
                d.rules("incoming.vsl", &format!("#{{ {incoming} }}"))
            });
        let mut daemon = Daemon::start(configuration);
        send(
            &mut daemon,
            "jane@example.net",
            &["john@example.com"],
            CONTENT,
        );
        daemon.maildir("example.com", "john").wait(1);
        daemon.stop();
    }
}

/// `postq` has edited and divided the message; then the daemon is killed before it could be delivered.
fn crash() {
    let hop = Hop::start(|line, session| match line {
        "DATA" if session < 4 => Some("451 4.0.0 busy"),
        _ => None,
    });
    let mark = |name: &str| {
        format!(
            r#"#{{ postq: [ action "mark" || {{
              msg::append_header("X-Mark", "{name}"); log("info", "postq {name}");
            }} ] }}"#
        )
    };
    let configuration = through(&hop, &mark("com")).domain("example.org", |domain| {
        let transport = format!("\"smtp://{}\"", hop.address());
        domain
            .set("transport", &transport)
            .rules("incoming.vsl", &mark("org"))
    });
    let mut daemon = Daemon::start(configuration);
    let to = ["a@example.com", "b@example.org"];
    send(&mut daemon, "jane@example.net", &to, CONTENT);
    wait_for("two attempts", || (hop.sessions().len() >= 2).then_some(()));
    let daemon = Daemon::start(daemon.kill());
    // A session may bring both.
    let transactions = wait_for("both messages", || {
        let said = hop.sessions().concat();
        let transactions = said.split("MAIL FROM:").map(str::to_owned);
        let whole = transactions.filter(|said| said.contains("hello\r\n.\r\n"));
        let whole: Vec<_> = whole.collect();
        (whole.len() >= 2).then_some(whole)
    });
    for (to, mark) in [("a@example.com", "com"), ("b@example.org", "org")] {
        let found = transactions.iter().find(|said| said.contains(to));
        let found = found.unwrap();
        let end = format!("Subject: hi\r\nX-Mark: {mark}\r\n\r\nhello\r\n.\r\n");
        assert!(found.contains(&end), "{found}");
        assert_eq!(said(&daemon, &format!("postq {mark}")), 1);
    }
    daemon.stop();
}

fn large() {
    let mark = |name: &str| {
        format!(r#"#{{ postq: [ action "mark" || msg::append_header("X-Mark", "{name}") ] }}"#)
    };
    let configuration = quick()
        .domain("example.com", |d| d.rules("incoming.vsl", &mark("com")))
        .domain("example.org", |d| d.rules("incoming.vsl", &mark("org")));
    let mut daemon = Daemon::start(configuration);
    let body = "0123456789abcdef0123456789abcdef\r\n".repeat(8000);
    let content = format!("Subject: large\r\n\r\n{body}");
    let to = ["a@example.com", "b@example.org"];
    send(&mut daemon, "jane@example.net", &to, content.as_bytes());
    for (domain, user, mark) in [("example.com", "a", "com"), ("example.org", "b", "org")] {
        let message = daemon.maildir(domain, user).wait_one();
        let end = format!("Subject: large\r\nX-Mark: {mark}\r\n\r\n{body}");
        assert!(message.ends_with(&end), "{mark}");
    }
    let bodies = daemon.configuration().state().join("bodies");
    wait_for("an empty folder of bodies", || {
        (fs::read_dir(&bodies).unwrap().count() == 0).then_some(())
    });
    daemon.stop();
}
