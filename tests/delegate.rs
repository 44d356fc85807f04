//! `delegate`: messages that a content filter sees before they go on.

use crate::support::{Client, Configuration, Daemon, Filter, Hop, Verdict, wait_for};
use libtest_mimic::Trial;
use std::fs;
use std::net::TcpListener;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("given_back_before_the_answer", || there_and_back(before)),
        trial("given_back_after_the_answer", || there_and_back(after)),
        trial("each_group_by_itself", groups),
        trial("before_each_attempt", attempts),
        trial("one_filter_after_another", two_filters),
        trial("a_filter_that_is_down_defers", down),
        trial("a_filter_that_is_busy_defers", busy),
        trial("a_filter_that_refuses_makes_a_report", refuses),
        trial("a_filter_that_keeps_a_message_makes_a_report", keeps),
        trial("no_id_no_message", strangers),
        trial("a_forged_id_is_taken_off", forged),
        trial("what_the_filter_has_survives_a_restart", restart),
        trial("what_is_given_back_twice_is_taken_once", twice),
        trial("recipients_may_come_back_apart", apart),
        trial("a_reload_names_another_receiver", reload),
    ]
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(format!("delegate::{name}"), || {
        test();
        Ok(())
    })
}

const CONTENT: &[u8] = b"From: jane@example.net\r\nSubject: hi\r\n\r\nhello\r\n";

fn scanned(content: &str) -> Option<String> {
    let content = content.replace("\r\n\r\nhello", "\r\nX-Scanned: yes\r\n\r\nhello, clean");
    Some(content)
}

fn before(content: &str, _: usize) -> Verdict {
    Verdict {
        before: scanned(content),
        answer: "250 clean",
        after: None,
    }
}

fn after(content: &str, _: usize) -> Verdict {
    Verdict {
        before: None,
        answer: "250 taken",
        after: scanned(content),
    }
}

fn silent(_: &str, _: usize) -> Verdict {
    Verdict {
        before: None,
        answer: "250 taken",
        after: None,
    }
}

const RULES: &str = r#"
import "services/filter" as service;
#{ STAGE: [
  action "first" || msg::append_header("X-First", "yes"),
  delegate service::filter "scan" || {
    if msg::get_header("X-Scanned") == "yes" { state::next() } else { state::deny("550 5.7.1 not clean") }
  },
  action "then" || msg::append_header("X-Then", `${ctx::client_ip()} ${ctx::helo()} ${ctx::mail_from()}`),
] }"#;

fn module(filter: &Filter) -> String {
    let address = filter.address();
    format!(
        r#"export const filter = smtp::connect(#{{
          delegator: #{{ address: "{address}", timeout: "30s" }},
          receiver: "127.0.0.1:0",
        }});"#
    )
}

fn quick(filter: &Filter) -> Configuration {
    let configuration = Configuration::new()
        .set("server.queues.delivery.retry_min", "\"100ms\"")
        .set("server.queues.delivery.retry_max", "\"200ms\"");
    configuration.file("services/filter.vsl", &module(filter));
    configuration.filter(
        r#"#{ mail: [ rule "anybody" || state::accept() ], rcpt: [ rule "to anybody" || state::accept() ] }"#,
    )
}

/// Has what comes in for `example.com` filtered.
fn filtered(filter: &Filter) -> Configuration {
    quick(filter).domain("example.com", |domain| {
        domain.rules("incoming.vsl", &RULES.replace("STAGE", "postq"))
    })
}

fn start(configuration: Configuration, filter: &Filter) -> Daemon {
    let mut daemon = Daemon::start(configuration);
    filter.give_back_to(daemon.delegation());
    daemon
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

const JANE: &str = "jane@example.net";
const JOHN: &str = "john@example.com";

fn there_and_back(manner: fn(&str, usize) -> Verdict) {
    let filter = Filter::start(manner);
    let mut daemon = start(filtered(&filter), &filter);
    send(&mut daemon, JANE, &[JOHN], CONTENT);
    let message = daemon.maildir("example.com", "john").wait_one();
    let end = "X-First: yes\r\nX-Scanned: yes\r\nX-Then: 127.0.0.1 client.example.net jane@example.net\r\n\r\nhello, clean\r\n";
    assert!(message.ends_with(end), "{message}");
    assert!(!message.contains("X-VSMTP-DELEGATION"), "{message}");
    assert_eq!(message.matches("Received: ").count(), 2, "{message}");
    let seen = filter.wait(1);
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (seen[0].from.as_str(), &*seen[0].to),
        (JANE, &[JOHN.to_owned()][..])
    );
    assert!(
        seen[0].content.starts_with("X-VSMTP-DELEGATION: "),
        "{seen:?}"
    );
    wait_for("the reply", || filter.replies().pop()).starts_with("250");
    // Bodies, entries: nothing is left of it.
    let exit = daemon.stop();
    assert_eq!(
        fs::read_dir(exit.configuration.state().join("bodies"))
            .unwrap()
            .count(),
        0
    );
    let maildir = exit.configuration.state().join("mail/example.com/john/new");
    assert_eq!(fs::read_dir(maildir).unwrap().count(), 1);
}

fn groups() {
    let filter = Filter::start(before);
    let rules = RULES.replace("STAGE", "postq");
    let configuration = filtered(&filter)
        .domain("example.org", |domain| domain.rules("incoming.vsl", &rules))
        .domain("example.edu", |domain| domain);
    let mut daemon = start(configuration, &filter);
    let to = [
        "a@example.com",
        "b@example.org",
        "c@example.com",
        "d@example.edu",
    ];
    let body = "0123456789abcdef0123456789abcdef\r\n".repeat(8000);
    let content = format!("From: jane@example.net\r\n\r\nhello\r\n{body}");
    send(&mut daemon, JANE, &to, content.as_bytes());
    for (domain, user, is_scanned) in [
        ("example.com", "a", true),
        ("example.org", "b", true),
        ("example.com", "c", true),
        ("example.edu", "d", false),
    ] {
        let message = daemon.maildir(domain, user).wait_one();
        assert_eq!(message.contains("hello, clean\r\n"), is_scanned, "{user}");
        assert_eq!(message.contains("X-Then"), is_scanned, "{user}");
        assert!(message.ends_with(&body), "{user}");
    }
    let mut to: Vec<_> = filter
        .wait(2)
        .into_iter()
        .map(|seen| seen.to.join(" "))
        .collect();
    to.sort();
    assert_eq!(to, ["a@example.com c@example.com", "b@example.org"]);
    let bodies = daemon.configuration().state().join("bodies");
    wait_for("an empty folder of bodies", || {
        (fs::read_dir(&bodies).unwrap().count() == 0).then_some(())
    });
    daemon.stop();
}

fn attempts() {
    let hop = Hop::start(|line, session| match line {
        "DATA" if session < 1 => Some("451 4.0.0 busy"),
        _ => None,
    });
    let filter = Filter::start(before);
    let transport = format!("\"smtp://{}\"", hop.address());
    let configuration = quick(&filter).domain("example.com", |domain| {
        let rules = RULES.replace("STAGE", "delivery");
        domain
            .set("transport", &transport)
            .rules("incoming.vsl", &rules)
    });
    let mut daemon = start(configuration, &filter);
    send(&mut daemon, JANE, &[JOHN], CONTENT);
    let session = wait_for("a message at the hop", || {
        let mut sessions = hop.sessions().into_iter();
        sessions.find(|session| session.contains("hello, clean"))
    });
    assert_eq!(session.matches("X-Then: ").count(), 1, "{session}");
    assert_eq!(filter.seen().len(), 2);
    daemon.stop();
}

fn two_filters() {
    let filter = Filter::start(before);
    let second = Filter::start(|content, _| Verdict {
        before: Some(content.replace("Subject: hi", "Subject: [list] hi")),
        answer: "250 ok",
        after: None,
    });
    let rules = RULES.replace("STAGE", "postq").replace(
        "action \"then\"",
        "delegate service::second \"again\" || state::next(), action \"then\"",
    );
    let configuration = quick(&filter).domain("example.com", |d| d.rules("incoming.vsl", &rules));
    let modules = format!(
        "{}\n{}",
        module(&filter),
        module(&second).replace("const filter", "const second")
    );
    configuration.file("services/filter.vsl", &modules);
    let mut daemon = start(configuration, &filter);
    second.give_back_to(daemon.delegation());
    send(&mut daemon, JANE, &[JOHN], CONTENT);
    let message = daemon.maildir("example.com", "john").wait_one();
    for part in ["X-Scanned: yes\r\n", "Subject: [list] hi\r\n", "X-Then: "] {
        assert_eq!(message.matches(part).count(), 1, "{part} in {message}");
    }
    daemon.stop();
}

fn down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let absent = Filter::start(before);
    let configuration = filtered(&absent);
    let modules = module(&absent).replace(&absent.address().to_string(), &address.to_string());
    configuration.file("services/filter.vsl", &modules);
    let mut daemon = Daemon::start(configuration);
    send(&mut daemon, JANE, &[JOHN], CONTENT);
    daemon.wait_for_log(&["result=\"deferred\"", "Connection refused"]);
    let filter = Filter::start_at(TcpListener::bind(address).unwrap(), before);
    filter.give_back_to(daemon.delegation());
    let message = daemon.maildir("example.com", "john").wait_one();
    assert!(message.contains("hello, clean"), "{message}");
    daemon.stop();
}

fn busy() {
    let filter = Filter::start(|content, number| match number {
        0 => Verdict {
            before: None,
            answer: "451 4.3.0 busy",
            after: None,
        },
        _ => before(content, number),
    });
    let mut daemon = start(filtered(&filter), &filter);
    send(&mut daemon, JANE, &[JOHN], CONTENT);
    let message = daemon.maildir("example.com", "john").wait_one();
    assert!(message.contains("hello, clean"), "{message}");
    let seen = filter.wait(2);
    // The actions before the filter ran once, and the message is known by the same id.
    assert_eq!(seen[0].content, seen[1].content);
    daemon.wait_for_log(&["result=\"deferred\"", "451 4.3.0 busy"]);
    daemon.stop();
}

fn reported(daemon: &Daemon, parts: &[&str]) {
    let report = daemon.maildir("example.org", "ann").wait_one();
    for part in parts {
        assert!(report.contains(part), "no {part} in\n{report}");
    }
}

/// Has what Ann sends filtered.
fn outgoing(filter: &Filter) -> Configuration {
    quick(filter)
        .domain("example.com", |d| d)
        .domain("example.org", |domain| {
            domain.rules("outgoing.vsl", &RULES.replace("STAGE", "postq"))
        })
}

fn refuses() {
    let filter = Filter::start(|_, _| Verdict {
        before: None,
        answer: "554 5.7.1 infected",
        after: None,
    });
    let mut daemon = start(outgoing(&filter), &filter);
    send(&mut daemon, "ann@example.org", &[JOHN], CONTENT);
    reported(
        &daemon,
        &[
            "Status: 5.7.1\r\n",
            "554 5.7.1 infected",
            "Final-Recipient: rfc822; john@example.com",
        ],
    );
    assert_eq!(filter.seen().len(), 1);
    daemon.stop();
}

fn keeps() {
    let filter = Filter::start(silent);
    let configuration = outgoing(&filter).set("server.queues.delivery.lifetime", "\"2s\"");
    let mut daemon = start(configuration, &filter);
    send(&mut daemon, "ann@example.org", &[JOHN], CONTENT);
    reported(&daemon, &["Status: 4.4.7\r\n", "did not give it back"]);
    let seen = filter.seen();
    assert_eq!(seen.len(), 1);
    // Too late.
    assert!(filter.give_back(&seen[0]).starts_with("550 5.7.1"));
    let maildir = daemon.maildir("example.com", "john");
    let _exit = daemon.stop();
    assert_eq!(maildir.messages(), Vec::<Vec<u8>>::new());
}

fn strangers() {
    let filter = Filter::start(silent);
    let mut daemon = start(filtered(&filter), &filter);
    send(&mut daemon, JANE, &[JOHN], CONTENT);
    let seen = filter.wait(1).remove(0);
    let (field, rest) = seen.content.split_once("\r\n").unwrap();
    let (id, secret) = field
        .split_once('-')
        .unwrap()
        .1
        .split_once(": ")
        .unwrap()
        .1
        .split_once('-')
        .unwrap();
    let wrong = "0".repeat(secret.len());
    let mut client = Client::hello(daemon.delegation());
    for token in [
        String::new(),
        format!("X-VSMTP-DELEGATION: {id}-{wrong}\r\n"),
        format!("X-VSMTP-DELEGATION: 0000000000000001-{secret}\r\n"),
        format!("X-VSMTP-DELEGATION: {id}-\r\n"),
        format!("{field}\r\n{field}\r\n"),
    ] {
        client.command("MAIL FROM:<jane@example.net>").expect("250");
        client.command("RCPT TO:<bob@example.edu>").expect("250");
        let reply = client.data(format!("{token}{rest}").as_bytes());
        reply.expect("550 5.7.1");
    }
    // A bare line end is no message of a filter either.
    client.command("MAIL FROM:<jane@example.net>").expect("250");
    client.command("RCPT TO:<john@example.com>").expect("250");
    client.command("DATA").expect("354");
    client.send(format!("{field}\r\n\r\nhello\n.\r\n.\r\n").as_bytes());
    client.reply().expect("550 5.6.11");
    // The right one goes to those who were the recipients, whatever the filter says.
    client.command("MAIL FROM:<bob@example.edu>").expect("250");
    client.command("RCPT TO:<bob@example.edu>").expect("250");
    client
        .data(format!("{field}\r\nX-Scanned: yes\r\n\r\nclean\r\n").as_bytes())
        .expect("250");
    client.quit();
    let message = daemon.maildir("example.com", "john").wait_one();
    assert!(
        message.starts_with("Return-Path: <jane@example.net>\r\n"),
        "{message}"
    );
    assert!(message.ends_with("\r\n\r\nclean\r\n"), "{message}");
    daemon.stop();
}

fn forged() {
    let filter = Filter::start(before);
    let mut daemon = start(filtered(&filter), &filter);
    let field = "X-VSMTP-DELEGATION: 0000000000000001-00000000000000000000000000000000\r\n";
    let content = [field.as_bytes(), CONTENT].concat();
    send(&mut daemon, JANE, &[JOHN], &content);
    let message = daemon.maildir("example.com", "john").wait_one();
    assert!(message.contains("hello, clean"), "{message}");
    assert!(!message.contains("X-VSMTP-DELEGATION"), "{message}");
    let seen = filter.wait(1).remove(0);
    assert_eq!(
        seen.content.matches("X-VSMTP-DELEGATION").count(),
        1,
        "{seen:?}"
    );
    daemon.stop();
}

fn restart() {
    let filter = Filter::start(silent);
    let mut daemon = start(filtered(&filter), &filter);
    send(&mut daemon, JANE, &[JOHN], CONTENT);
    let mut seen = filter.wait(1).remove(0);
    daemon.wait_for_log(&["result=\"delegated\""]);
    // It was looked at again, as one that is away.
    wait_for("a look at the message", || {
        daemon.log().contains("postponed").then_some(())
    });
    let daemon = start(daemon.kill(), &filter);
    seen.content = scanned(&seen.content).unwrap();
    assert!(filter.give_back(&seen).starts_with("250"));
    let message = daemon.maildir("example.com", "john").wait_one();
    assert!(
        message.contains("X-Then: 127.0.0.1 client.example.net"),
        "{message}"
    );
    assert_eq!(filter.seen().len(), 1);
    daemon.stop();
}

/// The daemon is killed while it hands a message over, and hands it over again.
fn twice() {
    let filter = Filter::start(|_, _| Verdict {
        before: None,
        answer: "",
        after: None,
    });
    let mut daemon = start(filtered(&filter), &filter);
    send(&mut daemon, JANE, &[JOHN], CONTENT);
    filter.wait(1);
    let daemon = start(daemon.kill(), &filter);
    for mut seen in filter.wait(2) {
        seen.content = scanned(&seen.content).unwrap();
        assert!(filter.give_back(&seen).starts_with("250"));
    }
    daemon.wait_for_log(&["gave a message back again"]);
    let maildir = daemon.maildir("example.com", "john");
    maildir.wait(1);
    let _exit = daemon.stop();
    assert_eq!(maildir.messages().len(), 1);
}

fn apart() {
    let filter = Filter::start(silent);
    let mut daemon = start(filtered(&filter), &filter);
    send(&mut daemon, JANE, &[JOHN, "ann@example.com"], CONTENT);
    let seen = filter.wait(1).remove(0);
    for to in ["ann", "john"] {
        let mut part = seen.clone();
        part.to = vec![format!("{to}@example.com")];
        part.content = scanned(&seen.content).unwrap().replace("clean", to);
        // The second time it is nobody else's.
        for _ in 0..2 {
            assert!(filter.give_back(&part).starts_with("250"));
        }
        let message = daemon.maildir("example.com", to).wait_one();
        assert!(message.ends_with(&format!("hello, {to}\r\n")), "{message}");
    }
    daemon.stop();
}

fn reload() {
    let filter = Filter::start(before);
    let configuration = quick(&filter).domain("example.com", |domain| domain);
    let mut daemon = Daemon::start(configuration);
    assert!(!daemon.said().join("\n").contains("delegation"));
    let rules = RULES.replace("STAGE", "postq");
    let file = "domain-enabled/example.com/incoming.vsl";
    daemon.configuration().file(file, &rules);
    daemon.hang_up();
    let receiver = wait_for("another address in the status", || {
        daemon
            .said()
            .join("\n")
            .contains("delegation")
            .then(|| daemon.delegation())
    });
    filter.give_back_to(receiver);
    send(&mut daemon, JANE, &[JOHN], CONTENT);
    let message = daemon.maildir("example.com", "john").wait_one();
    assert!(message.contains("hello, clean"), "{message}");
    // An address that cannot be had is no reason to stop, and none to forget the rules from before.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let modules = module(&filter).replace("127.0.0.1:0", &address);
    daemon.configuration().file("services/filter.vsl", &modules);
    daemon.hang_up();
    daemon.wait_for_log(&["not reloaded", &address]);
    send(&mut daemon, JANE, &[JOHN], CONTENT);
    daemon.maildir("example.com", "john").wait(2);
    daemon.stop();
}
