//! From our queue to the next server: relayed, tried again, reported to the sender; by real daemons, and by the library where
//! a zone stands for the DNS.

use crate::support::{
    Certificate, Client, Configuration, Daemon, Hop, Maildir, no_rules, run, trial_with, wait_for,
};
use arc_swap::ArcSwap;
use libtest_mimic::Trial;
use rustls::RootCertStore;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use vsmtp::delivery;
use vsmtp::delivery::next_hops::Ourselves;
use vsmtp::delivery::relay::{self, Relay, Timeouts, Trust};
use vsmtp::dns::Zone;
use vsmtp::mail::{Address, Domain, Domains, Envelope, Mailboxes, ReversePath, Transport};
use vsmtp::queue::{self, Queue, Schedule};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("through_two_servers", two_servers),
        trial_with(&["swaks"], "relay::swaks_through_two_servers", swaks),
        trial("a_mailbox_store_is_spoken_to_by_lmtp", lmtp),
        trial("a_temporary_refusal_is_tried_again", greylisted),
        trial("who_is_refused_is_reported_to_the_sender", refused),
        trial("a_report_is_never_reported", null_sender),
        trial("late_is_reported_once_and_too_late_is_the_end", too_late),
        trial("a_server_that_comes_back_gets_its_mail", comes_back),
        trial("a_crash_in_the_middle_sends_again", crash),
        trial("a_slow_server_holds_up_nobody_else", slow),
        trial("one_transaction_for_each_domain", domains),
    ]
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(format!("relay::{name}"), || {
        test();
        Ok(())
    })
}

/// Whoever connects may send as anybody, to anybody.
const TRUSTING: &str = r#"#{ connect: [ rule "everybody" || state::faccept() ] }"#;
const CONTENT: &[u8] = b"Subject: far away\r\nX-Mark: original\r\n\r\nhello\r\n";

/// A server with mailboxes at `home.example` that hands mail for `far.example` to `transport`.
fn first(transport: &str) -> Configuration {
    Configuration::new()
        .filter(TRUSTING)
        .set("server.queues.delivery.retry_min", "\"100ms\"")
        .set("server.queues.delivery.retry_max", "\"200ms\"")
        .domain("home.example", |domain| domain)
        .domain("far.example", |domain| {
            domain.set("transport", &format!("{transport:?}"))
        })
}

fn smtp(address: SocketAddr) -> String {
    format!("smtp://{address}")
}

/// A port at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Sends a message from Jane to `recipients`.
fn send(daemon: &mut Daemon, recipients: &[&str]) {
    send_from("jane@home.example", daemon, recipients);
}

fn send_from(sender: &str, daemon: &mut Daemon, recipients: &[&str]) {
    let mut client = Client::hello(daemon.smtp());
    client
        .command(&format!("MAIL FROM:<{sender}>"))
        .expect("250");
    for recipient in recipients {
        client
            .command(&format!("RCPT TO:<{recipient}>"))
            .expect("250");
    }
    client.data(CONTENT).expect("250");
    client.quit();
}

fn report(daemon: &Daemon) -> String {
    let report = daemon.maildir("home.example", "jane").wait_one();
    assert_report(&report);
    report
}

fn assert_report(report: &str) {
    for part in [
        "Return-Path: <>\r\n",
        "To: <jane@home.example>\r\n",
        "Auto-Submitted: auto-replied\r\n",
        "Content-Type: multipart/report; report-type=delivery-status;",
        "Content-Type: message/delivery-status\r\n",
        "Reporting-MTA: dns; mx.example.test\r\n",
        "Content-Type: text/rfc822-headers\r\n",
        "X-Mark: original\r\n",
    ] {
        assert!(report.contains(part), "no {part:?} in\n{report}");
    }
    assert!(!report.contains("hello"), "the body in\n{report}");
}

fn two_servers() {
    let certificate = Certificate::new(&["far.example"]);
    let second = Configuration::new()
        .domain("far.example", |domain| domain)
        .root_certificate(&certificate);
    let mut second = Daemon::start(second);
    let mut first = Daemon::start(first(&smtp(second.smtp())));
    send(&mut first, &["john@far.example"]);
    let message = second.maildir("far.example", "john").wait_one();
    assert!(
        message.starts_with("Return-Path: <jane@home.example>\r\n"),
        "{message}"
    );
    assert!(message.contains("with ESMTPS"), "{message}");
    assert!(message.contains("(TLSv1.3 "), "{message}");
    assert_eq!(message.matches("Received: from").count(), 2, "{message}");
    assert!(message.ends_with("\r\n\r\nhello\r\n"), "{message}");
    let address = format!("address={}", second.smtp());
    first.wait_for_log(&[
        "to=john@far.example",
        "result=\"relayed\"",
        &address,
        "tls=\"TLSv1.3\"",
        "security=opportunistic",
    ]);
    first.stop();
    second.stop();
}

fn swaks() {
    let second = Configuration::new().domain("far.example", |domain| domain);
    let mut second = Daemon::start(second);
    let mut first = Daemon::start(first(&smtp(second.smtp())));
    let port = first.smtp().port().to_string();
    let mut command = Command::new("swaks");
    command.args(["--server", "127.0.0.1", "--port", &port]);
    command.args(["--from", "jane@home.example", "--to", "john@far.example"]);
    command.args(["--body", "by way of swaks"]);
    run(&mut command, "").success();
    let message = second.maildir("far.example", "john").wait_one();
    assert!(message.contains("by way of swaks"), "{message}");
    first.stop();
    second.stop();
}

fn lmtp() {
    let hop = Hop::start(|_, _| None);
    let mut daemon = Daemon::start(first(&format!("lmtp:{}", hop.address())));
    send(&mut daemon, &["john@far.example"]);
    daemon.wait_for_log(&["result=\"delivered\""]);
    let heard = hop.sessions().concat();
    assert!(heard.starts_with("LHLO mx.example.test\r\n"), "{heard}");
    daemon.stop();
}

fn greylisted() {
    let hop = Hop::start(|line, session| {
        (session == 0 && line.starts_with("RCPT")).then_some("451 4.7.1 come back later")
    });
    let mut daemon = Daemon::start(first(&smtp(hop.address())));
    send(&mut daemon, &["john@far.example"]);
    daemon.wait_for_log(&["result=\"deferred\"", "4.7.1", "come back later"]);
    daemon.wait_for_log(&["result=\"relayed\""]);
    let sessions = hop.sessions();
    assert_eq!(sessions.len(), 2, "{sessions:?}");
    assert!(
        sessions[1].contains("\r\n\r\nhello\r\n.\r\n"),
        "{sessions:?}"
    );
    assert!(daemon.maildir("home.example", "jane").messages().is_empty());
    daemon.stop();
}

fn refused() {
    let hop = Hop::start(|line, _| line.contains("bad").then_some("550 5.1.1 nobody here"));
    let mut daemon = Daemon::start(first(&smtp(hop.address())));
    send(
        &mut daemon,
        &["john@far.example", "bad@far.example", "jim@home.example"],
    );
    let report = report(&daemon);
    for part in [
        "Final-Recipient: rfc822; bad@far.example\r\n",
        "Action: failed\r\n",
        "Status: 5.1.1\r\n",
        "Remote-MTA: dns; 127.0.0.1\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 nobody here\r\n",
    ] {
        assert!(report.contains(part), "no {part:?} in\n{report}");
    }
    assert!(!report.contains("john@far.example"), "{report}");
    daemon.maildir("home.example", "jim").wait(1);
    daemon.wait_for_log(&["to=john@far.example", "result=\"relayed\""]);
    daemon.wait_for_log(&["to=bad@far.example", "result=\"failed\""]);
    // Nothing is left to do.
    let daemon = Daemon::start(daemon.stop().configuration);
    daemon.maildir("home.example", "jane").wait(1);
    daemon.stop();
    let sessions = hop.sessions();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(sessions[0].matches("MAIL FROM").count(), 1, "{sessions:?}");
}

fn null_sender() {
    let hop = Hop::start(|line, _| line.starts_with("RCPT").then_some("550 5.1.1 nobody here"));
    let mut daemon = Daemon::start(first(&smtp(hop.address())));
    send_from("", &mut daemon, &["john@far.example"]);
    daemon.wait_for_log(&["an undeliverable notification is dropped"]);
    let daemon = Daemon::start(daemon.stop().configuration);
    assert_eq!(daemon.log().matches("notification about").count(), 0);
    daemon.stop();
    assert_eq!(hop.sessions().len(), 1);
}

fn too_late() {
    let configuration = first(&smtp(nobody()))
        .set("server.queues.delivery.warn_after", "\"300ms\"")
        .set("server.queues.delivery.lifetime", "\"2s\"");
    let mut daemon = Daemon::start(configuration);
    send(&mut daemon, &["john@far.example"]);
    let mut reports: Vec<String> = daemon
        .maildir("home.example", "jane")
        .wait(2)
        .into_iter()
        .map(|report| String::from_utf8(report).unwrap())
        .collect();
    reports.sort_by_key(|report| report.contains("Action: failed\r\n"));
    reports.iter().for_each(|report| assert_report(report));
    let [delayed, failed] = reports.as_slice() else {
        panic!("{reports:?}");
    };
    assert!(
        delayed.contains("Action: delayed\r\nStatus: 4.4.1\r\n"),
        "{delayed}"
    );
    assert!(delayed.contains("Will-Retry-Until: "), "{delayed}");
    assert!(
        failed.contains("Action: failed\r\nStatus: 4.4.7\r\n"),
        "{failed}"
    );
    daemon.stop();
}

fn comes_back() {
    let gone = nobody();
    let mut daemon = Daemon::start(first(&smtp(gone)));
    send(&mut daemon, &["john@far.example"]);
    daemon.wait_for_log(&["to=john@far.example", "result=\"deferred\"", "4.4.1"]);
    let daemon = Daemon::start(daemon.kill());
    let hop = Hop::start_at(TcpListener::bind(gone).unwrap(), |_, _| None);
    daemon.wait_for_log(&["to=john@far.example", "result=\"relayed\""]);
    Daemon::start(daemon.stop().configuration).stop();
    assert_eq!(hop.sessions().len(), 1);
}

fn crash() {
    // Has the whole message, and does not say so.
    let hop = Hop::start(|line, session| (session == 0 && line == ".").then_some(""));
    let mut daemon = Daemon::start(first(&smtp(hop.address())));
    send(&mut daemon, &["john@far.example"]);
    let whole = |session: &String| session.contains("\r\n.\r\n");
    wait_for("the content", || {
        hop.sessions().iter().any(whole).then_some(())
    });
    let daemon = Daemon::start(daemon.kill());
    daemon.wait_for_log(&["to=john@far.example", "result=\"relayed\""]);
    daemon.stop();
    assert_eq!(hop.sessions().iter().filter(|s| whole(s)).count(), 2);
}

fn slow() {
    let hop = Hop::start(|_, _| Some(""));
    let quick = Hop::start(|_, _| None);
    let configuration = first(&smtp(hop.address())).domain("quick.example", |domain| {
        domain.set("transport", &format!("{:?}", smtp(quick.address())))
    });
    let mut daemon = Daemon::start(configuration);
    for _ in 0..30 {
        send(&mut daemon, &["john@far.example"]);
    }
    wait_for("the lane to fill", || {
        (hop.sessions().len() >= 20).then_some(())
    });
    send(&mut daemon, &["jim@quick.example", "jim@home.example"]);
    daemon.wait_for_log(&["to=jim@quick.example", "result=\"relayed\""]);
    daemon.maildir("home.example", "jim").wait(1);
    assert_eq!(hop.sessions().len(), 20);
    daemon.kill();
}

/// By way of MX records.
fn domains() {
    let hop = Hop::start(|_, _| None);
    let zone = Zone::default()
        .with_mx("one.example", 10, "mx.one.example")
        .with_address("mx.one.example", [127, 0, 0, 1])
        .with_address("two.example", [127, 0, 0, 1])
        .with_mx("null.example", 0, ".");
    let folder = tempfile::tempdir().unwrap();
    let mail = folder.path().join("mail");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let queue = Queue::open(&queue::Options {
        dirpath: folder.path().join("spool"),
        schedule: Schedule {
            retry_min: Duration::from_secs(60),
            retry_max: Duration::from_secs(60),
            lifetime: Duration::from_secs(600),
            warn_after: Duration::from_secs(600),
            attempts_max: None,
        },
    })
    .unwrap();
    let options = delivery::Options {
        mail_dirpath: mail.clone(),
        dirpath: folder.path().join("app"),
        reports: delivery::ReportLimits {
            total: None,
            per_domain: None,
        },
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let relay = library_relay(zone, hop.address().port());
    let relay = Arc::new(ArcSwap::from_pointee(relay));
    let run = delivery::run(queue.clone(), home(), no_rules(), relay, options, async {
        let _ = stopped.await;
    });
    let delivering = runtime.spawn(run);
    runtime.block_on(commit(
        &queue,
        &[
            "a@one.example",
            "b@ONE.example",
            "c@two.example",
            "d@null.example",
        ],
    ));
    let report = Maildir::at(mail.join("home.example/jane")).wait_one();
    assert!(
        report.contains("Final-Recipient: rfc822; d@null.example\r\n"),
        "{report}"
    );
    assert!(report.contains("Status: 5.1.10\r\n"), "{report}");
    assert_eq!(report.matches("Final-Recipient").count(), 1, "{report}");
    stop.send(()).unwrap();
    runtime.block_on(delivering).unwrap();
    drop((queue, runtime));
    let mut recipients: Vec<Vec<String>> = hop
        .sessions()
        .iter()
        .map(|session| {
            let lines = session.lines().filter(|line| line.starts_with("RCPT"));
            lines.map(str::to_owned).collect()
        })
        .collect();
    recipients.sort();
    let expected = [
        vec!["RCPT TO:<a@one.example>", "RCPT TO:<b@ONE.example>"],
        vec!["RCPT TO:<c@two.example>"],
    ];
    assert_eq!(recipients, expected);
}

fn library_relay(zone: Zone, port: u16) -> Relay {
    let options = relay::Options {
        name: "mx.example.test".to_owned(),
        ourselves: Ourselves::default(),
        timeouts: Timeouts::default(),
        port,
        policy_port: 1,
    };
    let trust = Trust::new(RootCertStore::empty()).unwrap();
    Relay::new(options, Arc::new(zone), trust)
}

fn home() -> Arc<ArcSwap<Domains>> {
    Arc::new(ArcSwap::from_pointee(Domains::new([Domain {
        name: "home.example".to_owned(),
        mailboxes: Mailboxes::All,
        aliases: [].into(),
        transport: Transport::Maildir,
    }])))
}

async fn commit(queue: &Queue, recipients: &[&str]) {
    let address = |text: &str| Address::parse(text).unwrap();
    let mut draft = queue.draft(queue.next_id());
    draft.append(CONTENT).await.unwrap();
    let envelope = Envelope {
        reverse_path: ReversePath(Some(address("jane@home.example"))),
        recipients: recipients.iter().map(|to| address(to).into()).collect(),
        ..Envelope::default()
    };
    queue.commit(draft, String::new(), envelope).await.unwrap();
}
