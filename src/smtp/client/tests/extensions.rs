//! What is sent to a server that offers it, and to one that does not.

use super::*;
use crate::mail::dsn::{EnvelopeId, Notify, OriginalRecipient, Return};

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
