//! Postfix at the other end.

use super::{assert_arrives, assert_reported, content, home, home_at, nowhere, send, trial};
use crate::support::peers::Postfix;
use crate::support::{Client, read_report};
use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("postfix::takes_our_mail", takes),
        trial("postfix::greylists_us", greylists),
        trial("postfix::refuses_a_recipient", refuses),
        trial("postfix::takes_three_recipients_at_a_time", takes_three),
        trial("postfix::takes_each_of_many_once", takes_many),
        trial("postfix::passes_wishes_on", passes_wishes_on),
        trial("postfix::takes_internationalized_mail", takes_international),
        trial("postfix::sends_us_mail", sends),
        trial(
            "postfix::sends_us_internationalized_mail",
            sends_international,
        ),
        trial("postfix::hears_of_success_and_failure", hears),
    ]
}

fn takes() {
    let postfix = Postfix::start(nowhere());
    let mut home = home(&format!("smtp://{}", postfix.address()));
    let content = content(20_000);
    send(
        home.smtp(),
        "<jane@home.example> BODY=8BITMIME",
        &["<john@peer.example>", "<jill@peer.example>"],
        &content,
    );
    for user in ["john", "jill"] {
        let message = assert_arrives(&postfix.maildir(user), &content);
        assert!(message.contains("Return-Path: <jane@home.example>\r\n"));
        assert!(message.contains("using TLSv1.3 with cipher"));
        assert!(message.contains("with ESMTPS id"));
    }
    home.wait_for_log(&[
        "to=john@peer.example",
        "result=\"relayed\"",
        "reply=250 2.0.0 Ok: queued as",
        "tls=\"TLSv1.3\"",
    ]);
    home.stop();
}

fn greylists() {
    let postfix = Postfix::start(nowhere());
    let mut home = home(&format!("smtp://{}", postfix.address()));
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
        "4.7.1",
        "come back later",
    ]);
    postfix.relent();
    assert_arrives(&postfix.maildir("mary"), &content);
    assert_arrives(&postfix.maildir("john"), &content);
    assert!(home.maildir("home.example", "jane").messages().is_empty());
    home.stop();
}

fn refuses() {
    let postfix = Postfix::start(nowhere());
    let mut home = home(&format!("smtp://{}", postfix.address()));
    let content = content(4);
    send(
        home.smtp(),
        "<jane@home.example> BODY=8BITMIME ENVID=QQ314",
        &["<nobody@peer.example>", "<john@peer.example>"],
        &content,
    );
    assert_reported(
        &home,
        &[
            "0 original-envelope-id: QQ314\n",
            "1 final-recipient: rfc822; nobody@peer.example\n",
            "1 action: failed\n",
            "1 status: 5.1.1\n",
            "1 diagnostic-code: smtp; 550 5.1.1 <nobody@peer.example>: Recipient address rejected: User unknown",
        ],
    );
    assert_arrives(&postfix.maildir("john"), &content);
    home.stop();
}

/// 452 to the fourth RCPT: it and the next are for another transaction (RFC 5321 §4.5.3.1.10).
fn takes_three() {
    let postfix = Postfix::start(nowhere());
    let mut home = home(&format!("smtp://{}", postfix.address()));
    let content = content(4);
    let users = ["one", "two", "three", "four", "five"];
    let recipients = users.map(|user| format!("<{user}@peer.example>"));
    send(
        home.smtp(),
        "<jane@home.example> BODY=8BITMIME",
        &recipients.each_ref().map(String::as_str),
        &content,
    );
    for user in users {
        assert_arrives(&postfix.maildir(user), &content);
    }
    home.wait_for_log(&[
        "to=four@peer.example",
        "result=\"deferred\"",
        "452 4.5.3 Error: too many recipients",
    ]);
    assert!(home.maildir("home.example", "jane").messages().is_empty());
    home.stop();
}

/// On connections that are kept, with all that Postfix makes of them.
fn takes_many() {
    const MESSAGES: usize = 60;
    let postfix = Postfix::start(nowhere());
    let mut home = home(&format!("smtp://{}", postfix.address()));
    let mut client = Client::hello(home.smtp());
    for number in 0..MESSAGES {
        let content = format!("Subject: x\r\n\r\nmessage {number}\r\n");
        let reply = client.deliver("jane@home.example", "john@peer.example", content.as_bytes());
        reply.expect("250");
    }
    client.quit();
    let messages = postfix.maildir("john").wait(MESSAGES);
    for number in 0..MESSAGES {
        let body = format!("message {number}\r\n");
        let is_it = |message: &&Vec<u8>| super::body(message) == body.as_bytes();
        assert_eq!(messages.iter().filter(is_it).count(), 1, "{body}");
    }
    home.stop();
}

/// We hand them on; Postfix obeys them, and sends its report to us.
fn passes_wishes_on() {
    let home_address = nowhere();
    let postfix = Postfix::start(home_address);
    let mut home = home_at(home_address, &format!("smtp://{}", postfix.address()));
    send(
        home.smtp(),
        "<jane@home.example> RET=HDRS ENVID=QQ+2B314",
        &["<john@peer.example> NOTIFY=SUCCESS ORCPT=rfc822;John+2Bx@there.example"],
        b"Subject: x\r\n\r\nhello\r\n",
    );
    assert_reported(
        &home,
        &[
            "0 original-envelope-id: QQ+314\n",
            "0 reporting-mta: dns; postfix.peer.example\n",
            "1 original-recipient: rfc822;John+x@there.example\n",
            "1 final-recipient: rfc822; john@peer.example\n",
            "1 action: delivered\n",
        ],
    );
    home.stop();
}

fn takes_international() {
    let postfix = Postfix::start(nowhere());
    let mut home = home(&format!("smtp://{}", postfix.address()));
    let content = "Subject: Grüße\r\n\r\nhallo, Jörg\r\n".as_bytes();
    send(
        home.smtp(),
        "<jane@home.example> BODY=8BITMIME SMTPUTF8",
        &["<jörg@peer.example> ORCPT=utf-8;jörg@there.example NOTIFY=FAILURE"],
        content,
    );
    let message = assert_arrives(&postfix.maildir("joerg"), content);
    assert!(message.contains("Subject: Grüße\r\n"), "{message}");
    assert!(message.contains("with UTF8SMTPS id"), "{message}");
    home.stop();
}

fn sends() {
    let mut home = home("smtp://127.0.0.1:1");
    let postfix = Postfix::start(home.smtp());
    let content = content(20_000);
    send(
        postfix.address(),
        "<john@peer.example> BODY=8BITMIME",
        &["<jane@home.example>", "<jim@home.example>"],
        &content,
    );
    for user in ["jane", "jim"] {
        let message = assert_arrives(&home.maildir("home.example", user), &content);
        assert!(message.starts_with("Return-Path: <john@peer.example>\r\n"));
        assert!(message.contains("from postfix.peer.example"), "{user}");
        assert!(message.contains("with ESMTPS"), "{user}");
    }
    postfix.wait_for_log(&["to=<jane@home.example>", "status=sent (250 2.0.0"]);
    let log = home.stop().log;
    assert_eq!(
        log.matches("message accepted").count(),
        1,
        "one transaction"
    );
}

fn sends_international() {
    let mut home = home("smtp://127.0.0.1:1");
    let postfix = Postfix::start(home.smtp());
    let content = "Subject: Grüße\r\n\r\nhallo, Jane\r\n".as_bytes();
    let mut client = Client::hello(postfix.address());
    for command in [
        "MAIL FROM:<jörg@peer.example> SMTPUTF8 BODY=8BITMIME",
        "RCPT TO:<jane@home.example> ORCPT=utf-8;jäne@home.example",
    ] {
        client.command(command).expect("250");
    }
    client.data(content).expect("250");
    client.quit();
    let message = assert_arrives(&home.maildir("home.example", "jane"), content);
    assert!(
        message.starts_with("Return-Path: <jörg@peer.example>\r\n"),
        "{message}"
    );
    assert!(message.contains("with UTF8SMTPS"), "{message}");
    home.stop();
}

/// Postfix hands wishes on to us, and makes a report of what we refuse.
fn hears() {
    let mut home = home("smtp://127.0.0.1:1");
    let postfix = Postfix::start(home.smtp());
    send(
        postfix.address(),
        "<jane@home.example> ENVID=QQ+2B314",
        &["<jim@home.example> NOTIFY=SUCCESS"],
        b"Subject: x\r\n\r\nhello\r\n",
    );
    assert_reported(
        &home,
        &[
            "0 original-envelope-id: QQ+314\n",
            "0 reporting-mta: dns; mx.example.test\n",
            "1 original-recipient: rfc822; jim@home.example\n",
            "1 action: delivered\n",
        ],
    );
    send(
        postfix.address(),
        "<jim@home.example>",
        &["<green@home.example>"],
        b"Subject: x\r\n\r\nhello\r\n",
    );
    postfix.wait_for_log(&["to=<green@home.example>", "status=bounced", "550 5.1.1"]);
    // Jim has Jane's message, and Postfix's report.
    let messages = home.maildir("home.example", "jim").wait(2);
    let report = messages.iter().find(|m| m.starts_with(b"Return-Path: <>"));
    let said = read_report(report.unwrap());
    assert!(
        said.contains("0 reporting-mta: dns; postfix.peer.example\n"),
        "{said}"
    );
    assert!(said.contains("1 status: 5.1.1\n"), "{said}");
    home.stop();
}
