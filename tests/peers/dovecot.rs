//! Dovecot's LMTP server behind ours.

use super::{assert_arrives, assert_reported, content, home, send, trial};
use crate::support::peers::Dovecot;
use crate::support::run;
use libtest_mimic::Trial;
use std::process::Command;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("dovecot::takes_our_mail_over_tcp", over_tcp),
        trial("dovecot::takes_our_mail_over_a_unix_socket", over_unix),
        trial("dovecot::has_no_such_user", no_such_user),
        trial("dovecot::has_no_room", no_room),
        trial("dovecot::is_read_by_imap", read_by_imap),
    ]
}

fn over_tcp() {
    let dovecot = Dovecot::start();
    takes(&dovecot, &format!("lmtp:{}", dovecot.lmtp()));
}

fn over_unix() {
    let dovecot = Dovecot::start();
    takes(
        &dovecot,
        &format!("lmtp:unix:{}", dovecot.lmtp_socket().display()),
    );
}

/// LMTP is the end of the way: success is delivery.
fn takes(dovecot: &Dovecot, transport: &str) {
    let mut home = home(transport);
    let content = content(20_000);
    send(
        home.smtp(),
        "<jane@home.example> BODY=8BITMIME",
        &["<john@peer.example> NOTIFY=SUCCESS,FAILURE"],
        &content,
    );
    let message = assert_arrives(&dovecot.maildir("john"), &content);
    assert!(message.starts_with("Return-Path: <jane@home.example>\r\n"));
    home.wait_for_log(&[
        "to=john@peer.example",
        "result=\"delivered\"",
        "reply=250 2.0.0",
    ]);
    assert_reported(
        &home,
        &[
            "1 final-recipient: rfc822; john@peer.example\n",
            "1 action: delivered\n",
        ],
    );
    home.stop();
}

fn no_such_user() {
    let dovecot = Dovecot::start();
    let mut home = home(&format!("lmtp:unix:{}", dovecot.lmtp_socket().display()));
    let content = content(4);
    send(
        home.smtp(),
        "<jane@home.example> BODY=8BITMIME",
        &["<nobody@peer.example>", "<john@peer.example>"],
        &content,
    );
    // The path of the socket is nobody's business.
    assert_reported(
        &home,
        &[
            "1 final-recipient: rfc822; nobody@peer.example\n",
            "1 action: failed\n",
            "1 status: 5.1.1\n",
            "1 remote-mta: dns; mx.example.test\n",
            "1 diagnostic-code: smtp; 550 5.1.1 <nobody@peer.example> User doesn't exist",
        ],
    );
    assert_arrives(&dovecot.maildir("john"), &content);
    home.stop();
}

/// LMTP answers for each recipient after the content: one may come back later, the other is done.
fn no_room() {
    let dovecot = Dovecot::start();
    let mut home = home(&format!("lmtp:{}", dovecot.lmtp()));
    let content = content(4);
    send(
        home.smtp(),
        "<jane@home.example> BODY=8BITMIME",
        &["<mary@peer.example>", "<john@peer.example>"],
        &content,
    );
    home.wait_for_log(&[
        "to=mary@peer.example",
        "result=\"deferred\"",
        "4.2.2",
        "Quota exceeded",
    ]);
    home.wait_for_log(&["to=mary@peer.example", "result=\"deferred\"", "4.2.2"]);
    assert_arrives(&dovecot.maildir("john"), &content);
    assert!(home.maildir("home.example", "jane").messages().is_empty());
    home.stop();
}

const FETCH: &str = r#"
import imaplib, sys
imap = imaplib.IMAP4(sys.argv[1], int(sys.argv[2]), timeout=30)
imap.login("john", "secret")
_, (count,) = imap.select()
assert count == b"1", count
_, parts = imap.fetch("1", "(BODY[])")
sys.stdout.buffer.write(parts[0][1])
imap.logout()
"#;

fn read_by_imap() {
    let dovecot = Dovecot::start();
    let mut home = home(&format!("lmtp:unix:{}", dovecot.lmtp_socket().display()));
    let content = content(40);
    let sender = "<jane@home.example> BODY=8BITMIME";
    send(home.smtp(), sender, &["<john@peer.example>"], &content);
    dovecot.maildir("john").wait(1);
    let imap = dovecot.imap();
    let mut python = Command::new("python3");
    python.args([
        "-c",
        FETCH,
        &imap.ip().to_string(),
        &imap.port().to_string(),
    ]);
    let message = run(&mut python, "").success();
    assert!(
        message.as_bytes().ends_with(super::body(&content)),
        "{message}"
    );
    home.stop();
}
