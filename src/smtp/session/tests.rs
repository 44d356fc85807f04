//! What a dialogue cannot show: what rules do to the envelope meanwhile, and questions left unanswered.

use super::{Answer, Ask, Awaiting, Limits, Reply, Session, Step};
use crate::mail::{Address, Connection, Recipient, Service};
use crate::smtp::Authentication;
use std::sync::Arc;

fn greeted() -> Session {
    let limits = Limits {
        message_size: 1000,
        recipients: 3,
        soft_errors: Some(1),
        hard_errors: Some(3),
        authentication: Authentication {
            mechanisms: Vec::new(),
            in_clear: false,
            attempts_max: 3,
        },
    };
    let connection = Connection {
        client: "192.0.2.1:4000".parse().unwrap(),
        server: "192.0.2.2:25".parse().unwrap(),
        service: Service::Relay,
        opened: jiff::Timestamp::UNIX_EPOCH,
        server_name: "mx.example.com".into(),
        tls: None,
        helo: None,
        authenticated: None,
    };
    let (mut session, step) = Session::new(Arc::new(limits), connection, true);
    proceed(&mut session, Some(step));
    session
}

fn receive(session: &mut Session, mut octets: &[u8]) -> Option<Step> {
    session.receive(&mut octets, &mut Vec::new())
}

fn ask(session: &mut Session, line: &str) -> Ask {
    match receive(session, format!("{line}\r\n").as_bytes()) {
        Some(Step::Ask(ask)) => ask,
        other => panic!("{line}: {other:?}"),
    }
}

fn code(step: Step) -> u16 {
    match step {
        Step::Send(reply) | Step::Close(reply) | Step::Receive(reply) | Step::Secure(reply) => {
            reply.code()
        }
        Step::Ask(ask) => panic!("{ask:?}"),
    }
}

fn proceed(session: &mut Session, step: Option<Step>) -> u16 {
    match step.expect("a step") {
        Step::Ask(ask) => code(session.answer(ask, Answer::Proceed)),
        step => code(step),
    }
}

/// Sends `line`, with a policy that allows everything.
fn command(session: &mut Session, line: &str) -> u16 {
    let step = receive(session, format!("{line}\r\n").as_bytes());
    proceed(session, step)
}

fn recipients(session: &mut Session) -> &mut Vec<Recipient> {
    &mut session.transaction().envelope.as_mut().unwrap().recipients
}

fn recipient(address: &str) -> Recipient {
    Address::parse(address).unwrap().into()
}

fn in_transaction() -> Session {
    let mut session = greeted();
    for line in ["EHLO x", "MAIL FROM:<>", "RCPT TO:<a@x>"] {
        assert_eq!(command(&mut session, line), 250);
    }
    session
}

fn refuse(session: &mut Session, ask: Ask) -> u16 {
    let refusal: Reply = "550 5.7.1 no".parse().unwrap();
    code(session.answer(ask, Answer::Refuse(refusal)))
}

#[test]
fn a_refused_recipient_goes_whatever_rules_made_of_the_list() {
    type Edit = fn(&mut Vec<Recipient>);
    let edits: [(Edit, &[&str]); 5] = [
        (|_| (), &["a@x"]),
        (|list| list.push(recipient("c@x")), &["a@x", "c@x"]),
        (|list| drop(list.remove(0)), &[]),
        (|list| drop(list.remove(1)), &["a@x"]),
        (|list| list[1] = recipient("c@x"), &["a@x"]),
    ];
    for (edit, expected) in edits {
        let mut session = in_transaction();
        let ask = ask(&mut session, "RCPT TO:<b@x>");
        edit(recipients(&mut session));
        assert_eq!(refuse(&mut session, ask), 550);
        let left: Vec<_> = recipients(&mut session)
            .iter()
            .map(|r| r.address.as_str())
            .collect();
        assert_eq!(left, expected);
    }
}

#[test]
fn recipients_that_rules_dropped_are_no_recipients() {
    let mut session = in_transaction();
    assert_eq!(session.awaiting(), Awaiting::Data);
    recipients(&mut session).clear();
    assert_eq!(session.awaiting(), Awaiting::Recipient);
    assert_eq!(command(&mut session, "DATA"), 554);
}

#[test]
fn a_refused_helo_changes_nothing() {
    let mut session = in_transaction();
    let ask = ask(&mut session, "EHLO y");
    assert_eq!(refuse(&mut session, ask), 550);
    assert_eq!(
        session.transaction().connection.helo.as_ref().unwrap().name,
        "x"
    );
    assert_eq!(command(&mut session, "DATA"), 354);
}

#[test]
fn nothing_is_taken_while_policy_is_asked() {
    let mut session = in_transaction();
    let ask = ask(&mut session, "RCPT TO:<b@x>");
    assert!(receive(&mut session, b"DATA\r\n").is_none());
    drop(ask);
    assert!(receive(&mut session, b"DATA\r\n").is_none());
}

#[test]
fn no_reply_contradicts_its_answer() {
    let mut session = in_transaction();
    let yes: Reply = "250 2.0.0 yes".parse().unwrap();
    let no: Reply = "550 5.0.0 no".parse().unwrap();
    for (answer, expected) in [(Answer::Refuse(yes), 554), (Answer::ProceedWith(no), 250)] {
        let ask = ask(&mut session, "RCPT TO:<b@x>");
        assert_eq!(code(session.answer(ask, answer)), expected);
    }
}

#[test]
fn errors_make_suspect_and_then_close() {
    let mut session = greeted();
    assert!(!session.is_suspect());
    assert_eq!(command(&mut session, "WHAT"), 500);
    assert!(session.is_suspect());
    assert_eq!(command(&mut session, "DATA"), 503);
    let last = receive(&mut session, b"WHAT\r\n");
    assert!(matches!(last, Some(Step::Close(reply)) if reply.code() == 421));
    assert!(receive(&mut session, b"NOOP\r\n").is_none());
}

#[test]
fn a_refusal_with_421_closes() {
    let mut session = in_transaction();
    let ask = ask(&mut session, "RCPT TO:<b@x>");
    let refusal: Reply = "421 4.7.0 go away".parse().unwrap();
    let step = session.answer(ask, Answer::Refuse(refusal));
    assert!(matches!(step, Step::Close(_)));
}
