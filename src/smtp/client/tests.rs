use super::*;
use crate::mail::dsn::{EnvelopeId, Notify, OriginalRecipient, Return};
use crate::mail::{Address, Login, ReversePath};
use proptest::prelude::*;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn message(recipients: &[&str], content: &[u8]) -> Message {
    Message {
        reverse_path: ReversePath(Some(address("a@example.com"))),
        recipients: recipients.iter().map(|r| address(r).into()).collect(),
        survey: Survey::of(content),
        smtputf8: false,
        wanted: None,
        envelope_id: None,
    }
}

fn options() -> Options {
    Options {
        protocol: Protocol::Smtp,
        name: "client.example".to_owned(),
        starttls: StartTls::Offered,
        login: None,
        confidential: false,
    }
}

/// Runs a client against a script: `S:` what the server says, `C:` what the client must say, `T:` what it must ask of
/// its caller. Gives the outcomes of the messages.
fn run(options: Options, messages: Vec<(Message, &str)>, script: &str) -> Vec<Vec<Outcome>> {
    let mut client = Client::new(options);
    let mut messages = messages.into_iter();
    let mut content = "";
    let mut said = String::new();
    let mut outcomes = Vec::new();
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (kind, text) = line.split_at(2);
        let text = text.trim_start();
        match kind {
            "C:" => {
                let (first, rest) = said
                    .split_once("\r\n")
                    .unwrap_or_else(|| panic!("nothing said: {line}"));
                assert_eq!(first, text);
                said = rest.to_owned();
            }
            "S:" => {
                assert_eq!(said, "", "before {line}");
                let octets = format!("{text}\r\n");
                let mut step = client.receive(&mut octets.as_bytes());
                while let Some(now) = step.take() {
                    let ready = match now {
                        Step::Send(octets) => {
                            said.push_str(std::str::from_utf8(&octets).unwrap());
                            continue;
                        }
                        Step::Secure(handshake) => {
                            said.push_str("(handshake)\r\n");
                            step = Some(client.secured(handshake));
                            continue;
                        }
                        Step::Transmit(token) => {
                            let mut wire = Vec::new();
                            let mut encoder = Encoder::default();
                            encoder.encode(content.as_bytes(), &mut wire);
                            encoder.finish(&mut wire);
                            said.push_str(std::str::from_utf8(&wire).unwrap());
                            client.transmitted(token);
                            continue;
                        }
                        Step::Unusable(outcome) => {
                            outcomes.push(vec![outcome]);
                            said.push_str("(unusable)\r\n");
                            continue;
                        }
                        Step::Close => {
                            said.push_str("(close)\r\n");
                            continue;
                        }
                        Step::Ready(ready) => Some(ready),
                        Step::Done(decided, ready) => {
                            outcomes.push(decided);
                            ready
                        }
                    };
                    step = match (ready, messages.next()) {
                        (None, _) => {
                            said.push_str("(over)\r\n");
                            None
                        }
                        (Some(ready), Some((message, octets))) => {
                            content = octets;
                            Some(client.transmit(ready, message))
                        }
                        (Some(ready), None) => Some(client.quit(ready)),
                    };
                }
            }
            _ => panic!("{line}"),
        }
    }
    assert_eq!(said, "", "at the end");
    outcomes
}

fn delivered(text: &str) -> Outcome {
    Outcome::Delivered(text.to_owned())
}

fn failed(status: &str, text: &str) -> Outcome {
    Outcome::Failed(Status::parse(status).unwrap(), text.to_owned())
}

fn deferred(status: &str, text: &str) -> Outcome {
    Outcome::Deferred(Status::parse(status).unwrap(), text.to_owned())
}

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
fn after_starttls_everything_is_asked_again() {
    let outcomes = run(
        options(),
        vec![(message(&["b@example.org"], b""), "")],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250-PIPELINING
         S: 250 STARTTLS
         C: STARTTLS
         S: 220 go
         C: (handshake)
         C: EHLO client.example
         S: 250 mx
         C: MAIL FROM:<a@example.com>
         S: 421 4.3.2 Shutting down
         C: (over)",
    );
    assert_eq!(outcomes, [[deferred("4.3.2", "421 4.3.2 Shutting down")]]);
}

#[test]
fn octets_behind_the_reply_to_starttls_are_thrown_away() {
    let mut client = Client::new(options());
    let mut input = b"220 mx\r\n".as_slice();
    assert!(matches!(client.receive(&mut input), Some(Step::Send(_))));
    let mut input = b"250-mx\r\n250 STARTTLS\r\n".as_slice();
    assert!(matches!(client.receive(&mut input), Some(Step::Send(_))));
    let mut input = b"220 go\r\n250-mx\r\n250 AUTH PLAIN\r\n25".as_slice();
    let Some(Step::Secure(handshake)) = client.receive(&mut input) else {
        panic!("no handshake")
    };
    assert!(client.receive(&mut input).is_none() && input.is_empty());
    assert!(matches!(client.secured(handshake), Step::Send(_)));
    let mut input = b"250 mx\r\n".as_slice();
    assert!(matches!(client.receive(&mut input), Some(Step::Ready(_))));
}

#[test]
fn required_tls_is_not_done_without() {
    for (script, text) in [
        (
            "S: 220 mx\nC: EHLO client.example\nS: 250 mx\nC: (unusable)",
            "TLS",
        ),
        (
            "S: 220 mx\nC: EHLO client.example\nS: 502 mx\nC: (unusable)",
            "TLS",
        ),
        (
            "S: 220 mx\nC: EHLO client.example\nS: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 no\nC: (unusable)",
            "TLS",
        ),
    ] {
        let options = Options {
            starttls: StartTls::Required,
            ..options()
        };
        let outcomes = run(options, vec![], script);
        let [outcome] = outcomes.concat().try_into().unwrap();
        assert!(
            matches!(&outcome, Outcome::Deferred(status, why) if status.subject == 7 && why.contains(text))
        );
    }
}

#[test]
fn credentials_are_shown_to_those_who_may_see_them() {
    let with = |confidential| Options {
        login: Some(Login::new("tim", "secret").unwrap()),
        confidential,
        ..options()
    };
    run(
        with(true),
        vec![],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250 AUTH LOGIN
         C: AUTH LOGIN
         S: 334 VXNlcm5hbWU6
         C: dGlt
         S: 334 UGFzc3dvcmQ6
         C: c2VjcmV0
         S: 235 2.7.0 ok
         C: QUIT",
    );
    for (confidential, script) in [
        (
            false,
            "S: 220 mx\nC: EHLO client.example\nS: 250-mx\nS: 250 AUTH PLAIN\nC: (unusable)",
        ),
        (
            true,
            "S: 220 mx\nC: EHLO client.example\nS: 250-mx\nS: 250 AUTH GSSAPI\nC: (unusable)",
        ),
        (
            true,
            "S: 220 mx\nC: EHLO client.example\nS: 250-mx\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AHRpbQBzZWNyZXQ=\nS: 535 5.7.8 no\nC: (unusable)",
        ),
        (
            true,
            "S: 220 mx\nC: EHLO client.example\nS: 250-mx\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AHRpbQBzZWNyZXQ=\nS: 334 more\nC: (unusable)",
        ),
    ] {
        let outcomes = run(with(confidential), vec![], script).concat();
        assert!(matches!(
            &outcomes[..],
            [Outcome::Deferred(
                Status {
                    class: 4,
                    subject: 7,
                    detail: 8
                },
                _
            )]
        ));
    }
}

#[test]
fn wishes_go_to_servers_that_know_them() {
    let mut wished = message(&["b@example.org"], b"");
    wished.wanted = Some(Return::Headers);
    wished.envelope_id = Some(EnvelopeId::parse("a+2Bb").unwrap());
    wished.recipients[0].notify = Some(Notify::parse("SUCCESS,DELAY").unwrap());
    wished.recipients[0].original = Some(OriginalRecipient::parse("rfc822;B@example.org").unwrap());
    run(
        options(),
        vec![(wished.clone(), "")],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250 DSN
         C: MAIL FROM:<a@example.com> RET=HDRS ENVID=a+2Bb
         S: 250 ok
         C: RCPT TO:<b@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B@example.org
         S: 450 no
         C: QUIT",
    );
    run(
        options(),
        vec![(wished, "")],
        "S: 220 mx
         C: EHLO client.example
         S: 250 mx
         C: MAIL FROM:<a@example.com>
         S: 250 ok
         C: RCPT TO:<b@example.org>
         S: 450 no
         C: QUIT",
    );
}

#[test]
fn what_a_server_lacks_is_not_sent() {
    let mut international = message(&["b@example.org", "\u{fc}@example.org"], b"a: b\r\n\r\n");
    let utf8 = "the server takes no addresses outside ASCII (it lacks SMTPUTF8)";
    let script = "S: 220 mx
         C: EHLO client.example
         S: 250 mx
         C: MAIL FROM:<a@example.com>
         S: 250 ok
         C: RCPT TO:<b@example.org>
         S: 250 ok
         C: DATA
         S: 451 4.3.0 Later
         C: QUIT";
    let outcomes = run(options(), vec![(international.clone(), "")], script);
    assert_eq!(
        outcomes,
        [[deferred("4.3.0", "451 4.3.0 Later"), failed("5.6.7", utf8)]]
    );

    let silent = "S: 220 mx\nC: EHLO client.example\nS: 250-mx\nS: 250 SIZE 10\nC: QUIT";
    international.smtputf8 = true;
    international.survey = Survey::of("a: \u{e9}\r\n\r\n".as_bytes());
    let statuses = |messages| -> Vec<String> {
        let outcomes = run(options(), messages, silent).concat();
        let status = |outcome: &Outcome| match outcome {
            Outcome::Failed(status, _) => status.to_string(),
            other => format!("{other:?}"),
        };
        outcomes.iter().map(status).collect()
    };
    assert_eq!(statuses(vec![(international, "")]), ["5.6.7", "5.6.7"]);
    assert_eq!(
        statuses(vec![(message(&["b@example.org"], b"\r\n\xe9"), "")]),
        ["5.6.3"]
    );
    assert_eq!(
        statuses(vec![(message(&["b@example.org"], b"01234567890"), "")]),
        ["5.3.4"]
    );
}

#[test]
fn extensions_are_used_where_they_are_needed() {
    run(
        options(),
        vec![
            (message(&["b@example.org"], b"\r\n\xe9"), ""),
            (message(&["\u{fc}@example.org"], b""), ""),
        ],
        "S: 220 mx
         C: EHLO client.example
         S: 250-mx
         S: 250-8BITMIME
         S: 250 SMTPUTF8
         C: MAIL FROM:<a@example.com> BODY=8BITMIME
         S: 450 no
         C: RSET
         S: 250 ok
         C: MAIL FROM:<a@example.com> SMTPUTF8
         S: 450 no
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
fn a_server_that_makes_no_sense_defers() {
    let head = "S: 220 mx\nC: EHLO client.example\nS: 250 mx\nC: MAIL FROM:<a@example.com>\n";
    for tail in [
        "S: nonsense\nC: (over)",
        "S: 250-ok\nS: 550 not\nC: (over)",
        "S: 354 too early\nC: (over)",
        "S: 250 ok\nC: RCPT TO:<b@example.org>\nS: 250 ok\nC: DATA\nS: 250 what?\nC: (over)",
        "S: 250 ok\nC: RCPT TO:<b@example.org>\nS: 250 ok\nC: DATA\nS: 354 go\nC: .\nS: 354 again\nC: (over)",
        "S: 300 odd\nC: QUIT",
    ] {
        let message = message(&["b@example.org"], b"");
        let outcomes = run(options(), vec![(message, "")], &format!("{head}{tail}"));
        assert!(
            matches!(&outcomes.concat()[..], [Outcome::Deferred(..)]),
            "{tail}: {outcomes:?}"
        );
    }
    for script in [
        "S: SSH-2.0-OpenSSH\nC: (unusable)",
        "S: 554 5.7.1 blocked\nC: (unusable)",
        "S: 220 mx\nC: EHLO client.example\nS: 421 busy\nC: (unusable)",
        "S: 220 mx\nC: EHLO client.example\nS: 502 x\nC: HELO client.example\nS: 550 x\nC: (unusable)",
    ] {
        let outcomes = run(options(), vec![], script);
        assert!(
            matches!(&outcomes.concat()[..], [Outcome::Deferred(..)]),
            "{script}: {outcomes:?}"
        );
    }
}

#[test]
fn a_loss_after_the_dot_leaves_a_doubt() {
    let mut client = Client::new(options());
    let feed = |client: &mut Client, octets: &str| client.receive(&mut octets.as_bytes());
    let _ = feed(&mut client, "220 mx\r\n");
    let Some(Step::Ready(ready)) = feed(&mut client, "250 mx\r\n") else {
        panic!("not ready")
    };
    let _ = client.transmit(ready, message(&["b@example.org", "c@example.org"], b""));
    assert_eq!(client.awaiting(), Awaiting::Command);
    let _ = feed(&mut client, "250 ok\r\n");
    let _ = feed(&mut client, "550 no\r\n");
    let _ = feed(&mut client, "250 ok\r\n");
    assert_eq!(client.awaiting(), Awaiting::Data);
    let Some(Step::Transmit(content)) = feed(&mut client, "354 go\r\n") else {
        panic!("no content wanted")
    };
    assert!(!client.is_in_doubt());
    client.transmitted(content);
    assert!(client.is_in_doubt());
    assert_eq!(client.awaiting(), Awaiting::Content);
    let Step::Done(outcomes, None) = client.lost("the server closed the connection") else {
        panic!("not done")
    };
    assert!(client.is_in_doubt());
    assert_eq!(
        outcomes,
        [
            failed("5.0.0", "550 no"),
            deferred("4.4.2", "the server closed the connection")
        ]
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

proptest! {
    /// Whatever a server says, in whatever pieces, the client neither panics nor says anything but whole lines.
    #[test]
    fn no_server_confuses_it(
        lines in prop::collection::vec(
            prop::sample::select(vec!["220 x", "250 x", "250-x", "250 STARTTLS", "354 x", "421 x", "450 x", "550 5.1.1 x",
                "334 x", "235 x", "x", "", "250 PIPELINING", "221 x", "552 x"]), 0..25),
        piece in 1_usize..30,
    ) {
        let octets = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
        let mut client = Client::new(options());
        let mut left = 2;
        for mut input in octets.as_bytes().chunks(piece) {
            let mut step = client.receive(&mut input);
            while let Some(now) = step.take() {
                step = match now {
                    Step::Send(octets) => {
                        prop_assert!(octets.ends_with(b"\r\n"));
                        client.receive(&mut input)
                    }
                    Step::Secure(handshake) => Some(client.secured(handshake)),
                    Step::Ready(ready) | Step::Done(_, Some(ready)) if left > 0 => {
                        left -= 1;
                        Some(client.transmit(ready, message(&["b@example.org", "c@example.org"], b"x")))
                    }
                    Step::Ready(ready) | Step::Done(_, Some(ready)) => Some(client.quit(ready)),
                    Step::Transmit(content) => {
                        client.transmitted(content);
                        client.receive(&mut input)
                    }
                    Step::Done(outcomes, None) => {
                        prop_assert_eq!(outcomes.len(), 2);
                        None
                    }
                    Step::Unusable(outcome) => {
                        prop_assert!(matches!(outcome, Outcome::Deferred(..)));
                        None
                    }
                    Step::Close => None,
                };
            }
        }
    }
}
