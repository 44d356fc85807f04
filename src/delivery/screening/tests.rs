//! What becomes of a message by what rules say.

use super::*;
use crate::mail::{Address, Domain, Mailboxes, Transport};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn entry(to: &[&str]) -> Entry {
    let json = r#"{"id":1,"reverse_path":"jane@example.net","arrived":"2026-08-01T12:00:00Z","pending":[]}"#;
    let mut entry: Entry = serde_json::from_str(json).unwrap();
    let recipients = to.iter().map(|to| Recipient::from(address(to)));
    let pending = recipients.map(|r| Pending::new(r, Screening::Ahead, entry.arrived));
    entry.pending = pending.collect();
    entry
}

/// What rules make of `members`: `to` instead, under the header section `header`.
fn ruling(members: &[usize], to: &[&str], header: &str) -> Ruling {
    let edition = (!header.is_empty()).then(|| Edition {
        header: header.into(),
        replaces: 0,
    });
    Ruling {
        members: members.to_vec(),
        fate: Fate::Proceed,
        reverse_path: ReversePath(Some(address("jane@example.net"))),
        recipients: to.iter().map(|to| Recipient::from(address(to))).collect(),
        edition: edition.map(Arc::new),
    }
}

fn refusal(members: &[usize]) -> Ruling {
    let fate = Fate::Refuse("550 5.7.1 no".parse().unwrap());
    Ruling {
        fate,
        ..ruling(members, &[], "")
    }
}

fn domains() -> Domains {
    Domains::new([Domain {
        name: "example.com".to_owned(),
        mailboxes: Mailboxes::All,
        aliases: [(
            "team".to_owned(),
            vec![address("ann@example.com"), address("bob@example.com")],
        )]
        .into(),
        transport: Transport::Maildir,
    }])
}

fn shown(entry: &Entry) -> String {
    let due = entry.pending.iter().filter(|pending| pending.due.is_some());
    let to: Vec<_> = due.map(|p| p.recipient.address.local_part()).collect();
    let header = entry.edition.as_ref().map(|e| e.header.clone());
    let header = String::from_utf8(header.unwrap_or_default()).unwrap();
    format!("{} {header}", to.join(","))
}

/// What the queue is told to hold after `rulings` at `postq`, `id to header`, and what is refused then.
fn postq(to: &[&str], rulings: Vec<Ruling>) -> (Vec<String>, Vec<usize>) {
    let entry = entry(to);
    let now = entry.arrived;
    let mut screened = Screened::new(entry, now);
    let asked = screened.asked(Stage::Postq);
    screened.apply(Stage::Postq, &asked, rulings, false, &domains());
    let mut ids = (2..).map(MessageId);
    let secret = || Secret([0; 16]);
    let revisions = screened.divided(Stage::Postq, || ids.next().unwrap(), secret);
    let mut held = Vec::new();
    if let Some(revisions) = revisions {
        for Revision { entry, edition } in &revisions {
            let mut entry = entry.clone();
            entry.edition.clone_from(edition);
            held.push(format!("{} {}", entry.id.0, shown(&entry)));
        }
        if let Some(first) = revisions.into_iter().next() {
            screened.continue_with(Stage::Postq, first.entry);
        }
    }
    let refused = screened.clear().refused;
    (held, refused.iter().map(|attempt| attempt.index).collect())
}

#[test]
fn the_queue_holds_what_postq_decided() {
    let to = ["a@example.com", "b@example.com", "c@example.com"];
    let cases: [(Vec<Ruling>, &[&str], &[usize]); 10] = [
        (vec![], &[], &[]),
        (vec![ruling(&[0, 1, 2], &to, "")], &[], &[]),
        (vec![ruling(&[0, 1, 2], &to, "X")], &["1 a,b,c X"], &[]),
        (
            vec![
                ruling(&[0, 2], &[to[0], to[2]], "X"),
                ruling(&[1], &[to[1]], "Y"),
            ],
            &["1 a,c X", "2 b Y"],
            &[],
        ),
        (
            vec![
                ruling(&[0], &[to[0]], "X"),
                ruling(&[1, 2], &[to[1], to[2]], ""),
            ],
            &["1 b,c ", "2 a X"],
            &[],
        ),
        (
            vec![ruling(&[0], &[to[0]], "X"), refusal(&[1, 2])],
            &["1 b,c ", "2 a X"],
            &[0, 1],
        ),
        (
            vec![refusal(&[0, 1]), ruling(&[2], &[to[2]], "")],
            &[],
            &[0, 1],
        ),
        (
            vec![ruling(&[0], &["team@example.com", "c@example.com"], "")],
            &["1 b,c,ann,bob "],
            &[],
        ),
        (
            vec![
                ruling(&[0], &[to[0], to[2]], "X"),
                ruling(&[1, 2], &[to[1], to[2]], ""),
            ],
            &["1 b,c ", "2 a X"],
            &[],
        ),
        (vec![ruling(&[0, 1, 2], &[], "")], &[], &[]),
    ];
    for (number, (rulings, held, refused)) in cases.into_iter().enumerate() {
        let found = postq(&to, rulings);
        let held = held.iter().map(ToString::to_string).collect();
        assert_eq!(found, (held, refused.to_vec()), "case {number}");
    }
}

#[test]
fn an_attempt_goes_out_once_for_each_edition() {
    let mut entry = entry(&[
        "a@example.com",
        "b@example.com",
        "c@example.com",
        "d@example.com",
    ]);
    for (index, pending) in entry.pending.iter_mut().enumerate() {
        pending.screening = Screening::Attempts;
        pending.due = pending.due.filter(|_| index != 3);
    }
    let now = entry.arrived;
    let mut screened = Screened::new(entry, now);
    let asked = screened.asked(Stage::Delivery);
    assert_eq!(asked, [0, 1, 2]);
    let rulings = vec![
        ruling(&[0], &["a@example.com"], "X"),
        ruling(&[1], &["b@example.com", "d@example.com"], ""),
        refusal(&[2]),
    ];
    screened.apply(Stage::Delivery, &asked, rulings, true, &domains());
    let unnamed = || -> MessageId { panic!("no other message is made") };
    assert!(
        screened
            .divided(Stage::Delivery, unnamed, || panic!("nor delegated"))
            .is_none()
    );
    let cleared = screened.clear();
    let outgoing: Vec<_> = cleared.outgoing.iter().map(|entry| shown(entry)).collect();
    assert_eq!(outgoing, ["a X", "b "]);
    assert_eq!(cleared.refused.len(), 1);
    assert_eq!(cleared.refused[0].index, 2);
    let screenings: Vec<_> = cleared.entry.pending.iter().map(|p| p.screening).collect();
    use Screening::{Attempts, Over};
    assert_eq!(screenings, [Over, Over, Attempts, Over]);
}
