//! Servers that do not know what they do.

use super::*;
use proptest::prelude::*;

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
