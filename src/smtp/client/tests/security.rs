//! TLS and credentials.

use super::*;
use crate::mail::Login;

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
