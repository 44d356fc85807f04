//! OpenSMTPD at the other end. It knows neither PIPELINING nor SMTPUTF8.

use super::{assert_arrives, assert_reported, content, home, nowhere, send, trial};
use crate::support::peers::OpenSmtpd;
use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("opensmtpd::takes_our_mail", takes),
        trial("opensmtpd::greylists_us", greylists),
        trial("opensmtpd::refuses_a_recipient", refuses),
        trial("opensmtpd::takes_no_internationalized_mail", international),
        trial("opensmtpd::sends_us_mail", sends),
        trial("opensmtpd::hears_of_failure", hears),
    ]
}

fn takes() {
    let peer = OpenSmtpd::start(nowhere());
    let mut home = home(&format!("smtp://{}", peer.address()));
    let content = content(20_000);
    send(
        home.smtp(),
        "<jane@home.example> BODY=8BITMIME",
        &["<john@peer.example>", "<jill@peer.example>"],
        &content,
    );
    for user in ["john", "jill"] {
        let message = assert_arrives(&peer.maildir(user), &content);
        assert!(message.contains("by opensmtpd.peer.example (OpenSMTPD) with ESMTP"));
    }
    // That of Debian 12 offers TLS and then breaks off every handshake, whoever the client is.
    let line = home.wait_for_log(&["to=jill@peer.example", "result=\"relayed\""]);
    let secured = line.contains("tls=\"TLSv1.3\" ");
    assert!(
        secured || line.contains("in clear since TLS failed"),
        "{line}"
    );
    home.stop();
}

fn greylists() {
    let mut peer = OpenSmtpd::start(nowhere());
    let mut home = home(&format!("smtp://{}", peer.address()));
    let content = content(4);
    send(
        home.smtp(),
        "<jane@home.example> BODY=8BITMIME",
        &["<john@peer.example>", "<mary@peer.example>"],
        &content,
    );
    home.wait_for_log(&["to=john@peer.example", "result=\"relayed\""]);
    home.wait_for_log(&[
        "to=mary@peer.example",
        "result=\"deferred\"",
        "come back later",
    ]);
    peer.wait_for_log(&["mda delivery", "to=<john@peer.example>", "result=Ok"]);
    peer.relent();
    assert_arrives(&peer.maildir("mary"), &content);
    assert_arrives(&peer.maildir("john"), &content);
    home.stop();
}

fn refuses() {
    let peer = OpenSmtpd::start(nowhere());
    let mut home = home(&format!("smtp://{}", peer.address()));
    let content = content(4);
    send(
        home.smtp(),
        "<jane@home.example> BODY=8BITMIME",
        &["<nobody@peer.example>", "<john@peer.example>"],
        &content,
    );
    // It has a code of its own for that.
    assert_reported(
        &home,
        &[
            "1 final-recipient: rfc822; nobody@peer.example\n",
            "1 action: failed\n",
            "1 diagnostic-code: smtp; 524 5.2.4 Mailing list expansion problem",
        ],
    );
    assert_arrives(&peer.maildir("john"), &content);
    home.stop();
}

fn international() {
    let peer = OpenSmtpd::start(nowhere());
    let mut home = home(&format!("smtp://{}", peer.address()));
    send(
        home.smtp(),
        "<jane@home.example> SMTPUTF8",
        &["<jörg@peer.example>"],
        b"Subject: x\r\n\r\nhello\r\n",
    );
    assert_reported(
        &home,
        &[
            "1 final-recipient: utf-8; jörg@peer.example\n",
            "1 status: 5.6.7\n",
        ],
    );
    home.stop();
}

fn sends() {
    let mut home = home("smtp://127.0.0.1:1");
    let peer = OpenSmtpd::start(home.smtp());
    let content = content(20_000);
    send(
        peer.address(),
        "<john@peer.example> BODY=8BITMIME",
        &["<jane@home.example>", "<jim@home.example>"],
        &content,
    );
    for user in ["jane", "jim"] {
        let message = assert_arrives(&home.maildir("home.example", user), &content);
        assert!(message.starts_with("Return-Path: <john@peer.example>\r\n"));
        assert!(message.contains("with ESMTPS"), "{user}");
    }
    peer.wait_for_log(&["to=<jane@home.example>", "result=\"Ok\""]);
    home.stop();
}

/// Its report of what we refuse comes by way of us.
fn hears() {
    let mut home = home("smtp://127.0.0.1:1");
    let peer = OpenSmtpd::start(home.smtp());
    send(
        peer.address(),
        "<jane@home.example>",
        &["<green@home.example>", "<jim@home.example>"],
        b"Subject: x\r\n\r\nhello\r\n",
    );
    home.maildir("home.example", "jim").wait(1);
    peer.wait_for_log(&["to=<green@home.example>", "result=\"PermFail\""]);
    // Which is no multipart/report.
    let report = home.maildir("home.example", "jane").wait_one();
    assert!(report.starts_with("Return-Path: <>\r\n"), "{report}");
    assert!(report.contains("green@home.example"), "{report}");
    home.stop();
}
