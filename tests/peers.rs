//! Real servers at the other end: Postfix and OpenSMTPD as next hops and as senders, Dovecot as a store of mailboxes.

mod dovecot;
mod opensmtpd;
mod postfix;

use crate::support::{Certificate, Client, Configuration, Daemon, Maildir, peers, read_report};
use libtest_mimic::Trial;
use std::net::SocketAddr;

pub fn trials() -> Vec<Trial> {
    [dovecot::trials(), opensmtpd::trials(), postfix::trials()]
        .into_iter()
        .flatten()
        .collect()
}

fn trial(name: &str, test: fn()) -> Trial {
    peers::trial(&["python3"], format!("peers::{name}"), test)
}

/// Whoever connects may send as anybody, to anybody.
const TRUSTING: &str = r#"#{ connect: [ rule "everybody" || state::faccept() ] }"#;

/// A server with the mailboxes of `home.example`, Jane and Jim, that hands mail for `peer.example` to `transport`.
fn home(transport: &str) -> Daemon {
    Daemon::start(configuration(transport))
}

/// As [`home`], at this address.
fn home_at(address: SocketAddr, transport: &str) -> Daemon {
    let addresses = format!("[\"{address}\"]");
    Daemon::start(configuration(transport).set("server.interfaces.addr", &addresses))
}

fn configuration(transport: &str) -> Configuration {
    let certificate = Certificate::new(&["mx.example.test"]);
    Configuration::new()
        .filter(TRUSTING)
        .root_certificate(&certificate)
        .set("server.queues.delivery.retry_min", "\"200ms\"")
        .set("server.queues.delivery.retry_max", "\"1s\"")
        .domain("home.example", |domain| {
            domain.set("mailboxes", r#"["jane", "jim"]"#)
        })
        .domain("peer.example", |domain| {
            domain.set("transport", &format!("{transport:?}"))
        })
}

/// Where nobody listens: for a peer that is to relay nothing.
fn nowhere() -> SocketAddr {
    peers::free_address()
}

/// One transaction with the server at `to`. Each path stands with its parameters.
fn send(to: SocketAddr, sender: &str, recipients: &[&str], content: &[u8]) {
    let mut client = Client::hello(to);
    client.command(&format!("MAIL FROM:{sender}")).expect("250");
    for recipient in recipients {
        client
            .command(&format!("RCPT TO:{recipient}"))
            .expect("250");
    }
    client.data(content).expect("250");
    client.quit();
}

/// A message that tests what is in the way of octets: dots, long lines, 8-bit text, no end in sight.
fn content(lines: usize) -> Vec<u8> {
    let mut content = b"Subject: from one to the other\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        .to_vec();
    for number in 0..lines {
        let line = match number % 4 {
            0 => ".".to_owned(),
            1 => ".. Grüße, сервер".to_owned(),
            2 => "x".repeat(900),
            _ => format!("From line {number}"),
        };
        content.extend_from_slice(line.as_bytes());
        content.extend_from_slice(b"\r\n");
    }
    content
}

/// The body of `message`, after its header section.
fn body(message: &[u8]) -> &[u8] {
    let end = message.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    &message[end + 4..]
}

/// Waits for the one message in `maildir`, whose body is that of `content`.
fn assert_arrives(maildir: &Maildir, content: &[u8]) -> String {
    let message = maildir.wait(1).remove(0);
    assert!(body(&message) == body(content), "the body has changed");
    String::from_utf8(message).unwrap()
}

/// Waits for the one report in Jane's mailbox, which says `parts`.
fn assert_reported(home: &Daemon, parts: &[&str]) {
    let reports = home.maildir("home.example", "jane").wait(1);
    let said = read_report(&reports[0]);
    for part in parts {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
}
