//! Whole transactions, with servers that know what they do.

use super::*;

const CONTENT: &str = "a: b\r\n\r\n.c\r\n";

#[test]
fn one_command_at_a_time() {
    let outcomes = run(
        options(),
        vec![(
            message(&["b@example.org", "c@example.org"], CONTENT.as_bytes()),
            CONTENT,
        )],
        "S: 220 mx
         C: EHLO client.example
         S: 250 mx
         C: MAIL FROM:<a@example.com>
         S: 250 ok
         C: RCPT TO:<b@example.org>
         S: 550 5.1.1 No
         C: RCPT TO:<c@example.org>
         S: 251 Will forward
         C: DATA
         S: 354 go
         C: a: b
         C:
         C: ..c
         C: .
         S: 250 2.0.0 Taken
         C: QUIT
         S: 221 bye
         C: (close)",
    );
    assert_eq!(
        outcomes,
        [[
            failed("5.1.1", "550 5.1.1 No"),
            delivered("250 2.0.0 Taken")
        ]]
    );
}

#[test]
fn in_groups_and_again() {
    let first = message(&["b@example.org", "c@example.org"], b"x\r\n");
    let outcomes = run(
        options(),
        vec![(first.clone(), "x\r\n"), (first, "x\r\n")],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250-SIZE 1000
         S: 250 PIPELINING
         C: MAIL FROM:<a@example.com> SIZE=3
         C: RCPT TO:<b@example.org>
         C: RCPT TO:<c@example.org>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 450 4.2.1 Later
         S: 354 go
         C: x
         C: .
         S: 554 5.7.1 Spam
         C: RSET
         C: MAIL FROM:<a@example.com> SIZE=3
         C: RCPT TO:<b@example.org>
         C: RCPT TO:<c@example.org>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 550 No
         S: 552 Too many
         S: 354 for nobody
         C: .
         S: 554 No recipients
         C: QUIT
         S: 221 bye
         C: (close)",
    );
    assert_eq!(
        outcomes,
        [
            [
                failed("5.7.1", "554 5.7.1 Spam"),
                deferred("4.2.1", "450 4.2.1 Later")
            ],
            [failed("5.0.0", "550 No"), deferred("4.5.3", "552 Too many")],
        ]
    );
}

#[test]
fn a_refused_sender_decides_all() {
    for pipelining in [true, false] {
        let script = if pipelining {
            "S: 220 mx
             C: EHLO client.example
             S: 250-mx
             S: 250 PIPELINING
             C: MAIL FROM:<a@example.com>
             C: RCPT TO:<b@example.org>
             C: DATA
             S: 550 5.1.8 Unknown sender
             S: 503 5.5.1 MAIL first
             S: 503 5.5.1 MAIL first
             C: QUIT"
        } else {
            "S: 220 mx
             C: EHLO client.example
             S: 250 mx
             C: MAIL FROM:<a@example.com>
             S: 550 5.1.8 Unknown sender
             C: QUIT"
        };
        let outcomes = run(
            options(),
            vec![(message(&["b@example.org"], b""), "")],
            script,
        );
        assert_eq!(outcomes, [[failed("5.1.8", "550 5.1.8 Unknown sender")]]);
    }
}

#[test]
fn an_old_server_gets_helo() {
    run(
        options(),
        vec![],
        "S: 220 mx
         C: EHLO client.example
         S: 502 What?
         C: HELO client.example
         S: 250 mx
         C: QUIT",
    );
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let options = Options {
        protocol: Protocol::Lmtp,
        ..options()
    };
    let recipients = ["b@example.org", "c@example.org", "d@example.org"];
    let outcomes = run(
        options,
        vec![(message(&recipients, b"x"), "x")],
        "S: 220 store
         C: LHLO client.example
         S: 250-store
         S: 250 PIPELINING
         C: MAIL FROM:<a@example.com>
         C: RCPT TO:<b@example.org>
         C: RCPT TO:<c@example.org>
         C: RCPT TO:<d@example.org>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 550 5.1.1 No
         S: 250 ok
         S: 354 go
         C: x
         C: .
         S: 250 2.0.0 Saved
         S: 452 4.2.2 Full
         C: QUIT
         S: 221 bye
         C: (close)",
    );
    assert_eq!(
        outcomes,
        [[
            delivered("250 2.0.0 Saved"),
            failed("5.1.1", "550 5.1.1 No"),
            deferred("4.2.2", "452 4.2.2 Full")
        ]]
    );
}

#[test]
fn a_group_has_a_bound() {
    let mut client = Client::new(options());
    let _ = client.receive(&mut b"220 mx\r\n".as_slice());
    let Some(Step::Ready(ready)) = client.receive(&mut b"250-mx\r\n250 PIPELINING\r\n".as_slice())
    else {
        panic!("not ready")
    };
    let recipients: Vec<String> = (0..1000)
        .map(|n| format!("recipient-{n}@example.org"))
        .collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let Step::Send(mut octets) = client.transmit(ready, message(&recipients, b"")) else {
        panic!("nothing sent")
    };
    let mut commands = 0;
    loop {
        assert!(octets.len() < 5000);
        let lines = octets.split(|&octet| octet == b'\n').count() - 1;
        commands += lines;
        let replies = match octets.ends_with(b"DATA\r\n") {
            true => "250 ok\r\n".repeat(lines - 1) + "354 go\r\n",
            false => "250 ok\r\n".repeat(lines),
        };
        octets = match client.receive(&mut replies.as_bytes()) {
            Some(Step::Send(octets)) => octets,
            Some(Step::Transmit(_)) => break,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(commands, 1002);
}
