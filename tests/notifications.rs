//! What senders hear of their mail (RFC 3461), read by a parser that somebody else wrote.

mod backscatter;

use crate::support::{Client, Configuration, Daemon, Hop, read_report as read, trial_with};
use libtest_mimic::Trial;
use std::net::{SocketAddr, TcpListener};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("success_is_told_on_request", delivered),
        trial("a_hop_without_dsn_is_the_end_of_wishes", relayed),
        trial("a_hop_with_dsn_gets_the_wishes", handed_on),
        trial("wishes_survive_a_restart", restart),
        trial("an_alias_for_several_is_expanded", expanded),
        trial("no_rule_meets_an_alias_that_is_expanded", ruled),
        trial("who_wants_to_hear_nothing_hears_nothing", never),
        trial("nobody_is_told_nothing", null_sender),
        trial("delay_is_told_on_request", delay),
        trial("what_fails_in_this_machine_stays_there", inner),
        trial("the_whole_message_returns_on_request", whole),
        trial("utf_8_needs_other_media_types", international),
    ];
    trials.extend(backscatter::trials());
    trials
}

fn trial(name: &str, test: fn()) -> Trial {
    trial_with(&["python3"], format!("notifications::{name}"), test)
}

/// Whoever connects may send as anybody, to anybody.
const TRUSTING: &str = r#"#{ connect: [ rule "everybody" || state::faccept() ] }"#;
const CONTENT: &[u8] = b"Subject: far away\r\nX-Mark: original\r\n\r\nhello\r\n";

/// The one report in Jane's mailbox, as the parser tells it. `parts`: what it must say.
fn report(daemon: &Daemon, parts: &[&str]) -> String {
    let reports = daemon.maildir("home.example", "jane").wait(1);
    let said = read(&reports[0]);
    assert_says(&said, parts);
    said
}

fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
}

/// A server with mailboxes and aliases at `home.example` that hands mail for `far.example` to `hop`.
fn configuration(hop: SocketAddr) -> Configuration {
    Configuration::new()
        .filter(TRUSTING)
        .set("server.queues.delivery.retry_min", "\"100ms\"")
        .set("server.queues.delivery.retry_max", "\"200ms\"")
        .domain("home.example", |domain| {
            domain.set(
                "aliases",
                r#"#{ staff: ["jim@home.example", "john@far.example"], boss: ["jim@home.example"] }"#,
            )
        })
        .domain("far.example", |domain| {
            domain.set("transport", &format!("\"smtp://{hop}\""))
        })
}

/// A port at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn refusing() -> Hop {
    Hop::start(|line, _| line.starts_with("RCPT").then_some("550 5.1.1 nobody here"))
}

/// One transaction from Jane; each of `recipients` with its parameters.
fn send(daemon: &mut Daemon, mail: &str, recipients: &[&str]) {
    send_content(
        daemon,
        &format!("<jane@home.example> {mail}"),
        recipients,
        CONTENT,
    );
}

fn send_content(daemon: &mut Daemon, from: &str, recipients: &[&str], content: &[u8]) {
    let mut client = Client::hello(daemon.smtp());
    client.command(&format!("MAIL FROM:{from}")).expect("250");
    for recipient in recipients {
        client
            .command(&format!("RCPT TO:{recipient}"))
            .expect("250");
    }
    client.data(content).expect("250");
    client.quit();
}

fn delivered() {
    let mut daemon = Daemon::start(configuration(nobody()));
    assert!(Client::hello(daemon.smtp()).ehlo().has_line("DSN"));
    send(
        &mut daemon,
        "RET=FULL ENVID=QQ+2B314",
        &[
            "<jim@home.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Jim+2Bold@there.example",
            "<joe@home.example>",
        ],
    );
    let said = report(
        &daemon,
        &[
            "subject: Your message was delivered\n",
            "types: text/plain message/delivery-status text/rfc822-headers\n",
            "0 original-envelope-id: QQ+314\n",
            "0 reporting-mta: dns; mx.example.test\n",
            "0 arrival-date: ",
            "1 original-recipient: rfc822; Jim+old@there.example\n",
            "1 final-recipient: rfc822; jim@home.example\n",
            "1 action: delivered\n",
            "1 status: 2.0.0\n",
            "1 last-attempt-date: ",
            "X-Mark: original",
        ],
    );
    assert!(!said.contains("joe@") && !said.contains("hello"), "{said}");
    daemon.maildir("home.example", "jim").wait(1);
    daemon.maildir("home.example", "joe").wait(1);
    daemon.stop();
}

fn relayed() {
    let hop = Hop::start(|_, _| None);
    let mut daemon = Daemon::start(configuration(hop.address()));
    send(
        &mut daemon,
        "ENVID=1",
        &["<john@far.example> NOTIFY=SUCCESS", "<jill@far.example>"],
    );
    let said = report(
        &daemon,
        &[
            "subject: Your message was passed on\n",
            "1 final-recipient: rfc822; john@far.example\n",
            "1 action: relayed\n",
            "1 remote-mta: dns; 127.0.0.1\n",
        ],
    );
    assert!(!said.contains("jill"), "{said}");
    let heard = hop.sessions().concat();
    for word in ["NOTIFY", "ORCPT", "ENVID", "RET="] {
        assert!(!heard.contains(word), "{heard}");
    }
    daemon.stop();
}

fn dsn(line: &str, _: usize) -> Option<&'static str> {
    line.starts_with("EHLO").then_some("250-hop\r\n250 DSN")
}

fn handed_on() {
    let hop = Hop::start(dsn);
    let mut daemon = Daemon::start(configuration(hop.address()));
    send(
        &mut daemon,
        "RET=HDRS ENVID=QQ+2B314",
        &[
            "<john@far.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;John+2Bx@there.example",
            "<jill@far.example>",
        ],
    );
    daemon.wait_for_log(&["to=john@far.example", "result=\"relayed\""]);
    let heard = hop.sessions().concat();
    for line in [
        "MAIL FROM:<jane@home.example> RET=HDRS ENVID=QQ+2B314\r\n",
        "RCPT TO:<john@far.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;John+2Bx@there.example\r\n",
        "RCPT TO:<jill@far.example>\r\n",
    ] {
        assert!(heard.contains(line), "no {line:?} in\n{heard}");
    }
    // The next server tells her.
    let daemon = Daemon::start(daemon.stop().configuration);
    daemon.stop();
    assert_eq!(hop.sessions().len(), 1);
}

fn restart() {
    let gone = nobody();
    let mut daemon = Daemon::start(configuration(gone));
    send(
        &mut daemon,
        "ENVID=here+20and+20there",
        &["<john@far.example> NOTIFY=SUCCESS ORCPT=utf-8;j\\x{F6}hn@there.example"],
    );
    daemon.wait_for_log(&["to=john@far.example", "result=\"deferred\""]);
    let daemon = Daemon::start(daemon.kill());
    let _hop = Hop::start_at(TcpListener::bind(gone).unwrap(), |_, _| None);
    report(
        &daemon,
        &[
            "0 original-envelope-id: here and there\n",
            "1 original-recipient: utf-8; j\\x{F6}hn@there.example\n",
            "1 action: relayed\n",
        ],
    );
    daemon.stop();
}

fn expanded() {
    let hop = Hop::start(dsn);
    let mut daemon = Daemon::start(configuration(hop.address()));
    send(
        &mut daemon,
        "",
        &["<staff@home.example> NOTIFY=SUCCESS,FAILURE"],
    );
    report(
        &daemon,
        &[
            "subject: Your message was passed on\n",
            "1 final-recipient: rfc822; staff@home.example\n",
            "1 action: expanded\n",
        ],
    );
    daemon.maildir("home.example", "jim").wait(1);
    daemon.wait_for_log(&["to=john@far.example", "result=\"relayed\""]);
    let heard = hop.sessions().concat();
    let line = "RCPT TO:<john@far.example> NOTIFY=FAILURE ORCPT=rfc822;staff@home.example\r\n";
    assert!(heard.contains(line), "{heard}");
    // An alias for one is the one.
    send(&mut daemon, "", &["<boss@home.example> NOTIFY=SUCCESS"]);
    let reports = daemon.maildir("home.example", "jane").wait(2);
    let said: Vec<String> = reports.iter().map(|report| read(report)).collect();
    let boss = said.iter().find(|said| said.contains("boss")).unwrap();
    assert_says(
        boss,
        &[
            "1 original-recipient: rfc822; boss@home.example\n",
            "1 final-recipient: rfc822; jim@home.example\n",
            "1 action: delivered\n",
        ],
    );
    daemon.stop();
}

/// Rules are asked about recipients together: a deny would be for all of them.
fn ruled() {
    let rules = r#"#{
        mail: [ rule "anybody" || state::accept() ],
        rcpt: [ rule "to anybody" || state::accept() ],
        delivery: [ rule "one" || if ctx::rcpt_list().len > 1 { state::deny() } else { state::next() } ],
    }"#;
    let configuration = configuration(nobody())
        .filter(rules)
        .domain("home.example", |domain| {
            domain
                .set(
                    "aliases",
                    r#"#{ staff: ["jim@home.example", "john@far.example"] }"#,
                )
                .rules("incoming.vsl", rules)
                .rules("internal.vsl", rules)
                .rules("outgoing.vsl", rules)
        });
    let mut daemon = Daemon::start(configuration);
    send(&mut daemon, "", &["<staff@home.example> NOTIFY=SUCCESS"]);
    report(&daemon, &["1 action: expanded\n"]);
    daemon.maildir("home.example", "jim").wait(1);
    daemon.stop();
}

fn never() {
    let hop = refusing();
    let mut daemon = Daemon::start(configuration(hop.address()));
    send(
        &mut daemon,
        "RET=FULL",
        &[
            "<never@far.example> NOTIFY=NEVER",
            "<other@far.example> NOTIFY=SUCCESS,DELAY",
            "<jim@home.example> NOTIFY=NEVER",
            "<told@far.example> NOTIFY=FAILURE",
        ],
    );
    let said = report(&daemon, &["1 final-recipient: rfc822; told@far.example\n"]);
    assert!(!said.contains("never") && !said.contains("other"), "{said}");
    assert!(!said.contains("jim"), "{said}");
    daemon.wait_for_log(&["to=never@far.example", "result=\"failed\"", "5.1.1"]);
    let daemon = Daemon::start(daemon.stop().configuration);
    daemon.maildir("home.example", "jane").wait(1);
    daemon.stop();
}

fn null_sender() {
    let mut daemon = Daemon::start(configuration(nobody()));
    send_content(
        &mut daemon,
        "<> ENVID=1",
        &["<jim@home.example> NOTIFY=SUCCESS"],
        CONTENT,
    );
    daemon.wait_for_log(&["to=jim@home.example", "result=\"delivered\""]);
    let log = daemon.stop().log;
    assert!(!log.contains("notification"), "{log}");
}

fn delay() {
    let configuration = configuration(nobody())
        .set("server.queues.delivery.warn_after", "\"200ms\"")
        .set("server.queues.delivery.lifetime", "\"2s\"");
    let mut daemon = Daemon::start(configuration);
    send(
        &mut daemon,
        "",
        &[
            "<john@far.example> NOTIFY=DELAY",
            "<jill@far.example> NOTIFY=FAILURE",
        ],
    );
    let mut said: Vec<String> = daemon
        .maildir("home.example", "jane")
        .wait(2)
        .iter()
        .map(|report| read(report))
        .collect();
    said.sort_by_key(|said| said.contains("action: failed"));
    assert_says(
        &said[0],
        &["1 action: delayed\n", "john@", "1 will-retry-until: "],
    );
    assert_says(
        &said[1],
        &["1 action: failed\n", "jill@", "1 status: 4.4.7\n"],
    );
    assert!(
        !said[0].contains("jill@") && !said[1].contains("john@"),
        "{said:?}"
    );
    daemon.wait_for_log(&["given up", "to=john@far.example"]);
    daemon.stop();
}

/// The path of a socket is for the log.
fn inner() {
    let configuration = configuration(nobody())
        .set("server.queues.delivery.lifetime", "\"1s\"")
        .domain("store.example", |domain| {
            domain.set("transport", "\"lmtp:unix:/nonexistent/lmtp\"")
        });
    let mut daemon = Daemon::start(configuration);
    send(&mut daemon, "", &["<john@store.example>"]);
    let said = report(
        &daemon,
        &[
            "1 action: failed\n",
            "1 status: 4.4.7\n",
            "1 diagnostic-code: X-vsmtp; the mailbox could not be reached\n",
        ],
    );
    assert!(!said.contains("nonexistent"), "{said}");
    daemon.wait_for_log(&["result=\"deferred\"", "/nonexistent/lmtp"]);
    daemon.stop();
}

fn whole() {
    let hop = refusing();
    let mut daemon = Daemon::start(configuration(hop.address()));
    send(&mut daemon, "RET=FULL", &["<john@far.example>"]);
    report(
        &daemon,
        &[
            "types: text/plain message/delivery-status message/rfc822\n",
            "X-Mark: original hello\n",
        ],
    );
    let large = [
        CONTENT,
        &b"Lorem ipsum dolor sit amet, consectetur\r\n".repeat(10_000),
    ]
    .concat();
    send_content(
        &mut daemon,
        "<jim@home.example> RET=FULL",
        &["<john@far.example>"],
        &large,
    );
    let reports = daemon.maildir("home.example", "jim").wait(1);
    let said = read(&reports[0]);
    assert_says(&said, &["text/rfc822-headers\n", "X-Mark: original\n"]);
    daemon.stop();
}

fn international() {
    let hop = Hop::start(|line, _| match line.split(' ').next() {
        Some("EHLO") => Some("250-hop\r\n250-8BITMIME\r\n250 SMTPUTF8"),
        Some("RCPT") => Some("550 5.1.1 nobody here"),
        _ => None,
    });
    let mut daemon = Daemon::start(configuration(hop.address()));
    send_content(
        &mut daemon,
        "<jane@home.example> SMTPUTF8 BODY=8BITMIME RET=FULL",
        &["<jörg@far.example> ORCPT=utf-8;jörg@there.example"],
        "Subject: Grüße\r\n\r\nhallo, Jörg\r\n".as_bytes(),
    );
    let said = report(
        &daemon,
        &[
            "types: text/plain message/global-delivery-status message/global\n",
            "1 original-recipient: utf-8; j\\x{F6}rg@there.example\n",
            "1 final-recipient: utf-8; jörg@far.example\n",
            "1 action: failed\n",
        ],
    );
    assert!(said.contains("hallo"), "{said}");
    daemon.stop();
}
