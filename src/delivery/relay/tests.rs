mod reuse;
mod security;

use super::fake::Act::{Content, Drip, Flood, Hang, Hear, Octets, Say, Tls as Secure};
use super::fake::{Act, Fake, Identity};
use super::*;
use crate::delivery::next_hops::Ourselves;
use crate::dns::{Tlsa, Zone};
use crate::mail::{Address, Login, ReversePath};
use crate::smtp::client::Survey;
use rustls::RootCertStore;
use std::net::IpAddr;
use std::time::Duration;

const CONTENT: &[u8] = b"Subject: x\r\n\r\nbody\r\n";

fn message(recipients: &[&str]) -> Message {
    let address = |text: &&str| Address::parse(text).unwrap();
    Message {
        reverse_path: ReversePath(Some(address(&"a@example.com"))),
        recipients: recipients.iter().map(|r| address(r).into()).collect(),
        survey: Survey::of(CONTENT),
        smtputf8: false,
        wanted: None,
        envelope_id: None,
    }
}

/// Servers `mx1.example.org` and `mx2.example.org` at 127.0.0.1 and 127.0.0.2.
fn zone() -> Zone {
    Zone::default()
        .with_mx("example.org", 10, "mx1.example.org")
        .with_mx("example.org", 20, "mx2.example.org")
        .with_address("mx1.example.org", [127, 0, 0, 1])
        .with_address("mx2.example.org", [127, 0, 0, 2])
}

fn timeouts() -> Timeouts {
    let short = Duration::from_millis(300);
    Timeouts {
        connect: short,
        greeting: short,
        command: short,
        data: short,
        block: short,
        content: short,
        tls: short,
        quit: short,
        idle: 200 * short,
    }
}

fn relay(zone: Zone, port: u16, trust: Trust) -> Relay {
    let options = Options {
        name: "client.example".to_owned(),
        ourselves: Ourselves::default(),
        timeouts: timeouts(),
        port,
        policy_port: 1,
    };
    Relay::new(options, Arc::new(zone), trust)
}

fn nobody() -> Trust {
    Trust::new(RootCertStore::empty()).unwrap()
}

async fn deliver(relay: &Relay, recipients: &[&str]) -> Vec<Delivery> {
    let destination = Destination::Domain("example.org".to_owned());
    deliver_to(relay, &destination, recipients).await
}

async fn deliver_to(relay: &Relay, to: &Destination, recipients: &[&str]) -> Vec<Delivery> {
    let mut content = io::Cursor::new(CONTENT);
    let message = message(recipients);
    relay.deliver(to, &message, &mut content, &mut |_| 0).await
}

/// `2.0.0`, or the status of a failure.
fn statuses(deliveries: &[Delivery]) -> Vec<String> {
    let status = |delivery: &Delivery| match &delivery.outcome {
        Outcome::Delivered(_) => "delivered".to_owned(),
        Outcome::Deferred(status, _) | Outcome::Failed(status, _) => status.to_string(),
    };
    deliveries.iter().map(status).collect()
}

/// A session in clear up to the reply to `DATA`.
fn until_data() -> Vec<Act> {
    vec![
        Say("220 mx"),
        Hear("EHLO client.example"),
        Say("250 mx"),
        Hear("MAIL FROM:<a@example.com>"),
        Say("250 ok"),
        Hear("RCPT TO:<b@example.org>"),
        Say("250 ok"),
        Hear("DATA"),
    ]
}

fn good() -> Vec<Act> {
    [
        until_data(),
        vec![
            Say("354 go"),
            Content,
            Say("250 2.0.0 taken"),
            Hear("QUIT"),
            Say("221 bye"),
        ],
    ]
    .concat()
}

/// What happens to a message for one recipient when mx1 does as `script` says and mx2 is a good server, and whether mx2
/// was asked.
async fn misbehaving(script: Vec<Act>) -> (String, bool) {
    let (_first, at) = Fake::start(1, 0, vec![script]).await;
    let (second, _) = Fake::start(2, at.port(), vec![good()]).await;
    let relay = relay(zone(), at.port(), nobody());
    let deliveries = deliver(&relay, &["b@example.org"]).await;
    (statuses(&deliveries).concat(), !second.heard().is_empty())
}

#[tokio::test]
async fn a_server_that_is_of_no_use_is_passed_over() {
    for script in [
        vec![],
        vec![Say("554 5.7.1 Go away")],
        vec![Say("421 4.3.2 Busy")],
        vec![Say("HTTP/1.1 400 Bad Request")],
        vec![Say("220-mx"), Say("250 mx")],
        vec![
            Say("220 mx"),
            Hear("EHLO"),
            Say("550 no"),
            Hear("HELO"),
            Say("550 no"),
        ],
        vec![Hang],
        vec![Say("220 mx"), Hang],
        vec![Flood(b"220-x\r\n")],
        vec![Flood(b"x")],
        vec![Flood(b"\0")],
        vec![Drip(b"220-x\r\n")],
        vec![Say("220 mx"), Hear("EHLO"), Drip(b"250-x\r\n")],
        vec![Say("220 mx"), Hear("EHLO"), Flood(b"250-x\r\n")],
        vec![Say("220 mx"), Hear("EHLO")],
        vec![
            Say("220 mx"),
            Hear("EHLO"),
            Say("250 mx"),
            Hear("MAIL"),
            Say("451 4.7.1 Greylisted"),
            Hear("QUIT"),
        ],
        vec![
            Say("220 mx"),
            Hear("EHLO"),
            Say("250 mx"),
            Hear("MAIL"),
            Flood(b"250-x\r\n"),
        ],
        [until_data(), vec![Say("451 4.3.0 Later"), Hear("QUIT")]].concat(),
        [until_data(), vec![Hang]].concat(),
        [until_data(), vec![Drip(b"354-x\r\n")]].concat(),
    ] {
        let number = script.len();
        assert_eq!(
            misbehaving(script).await,
            ("delivered".to_owned(), true),
            "{number} acts"
        );
    }
}

#[tokio::test]
async fn a_final_answer_is_final() {
    let (refused, asked) = misbehaving(vec![
        Say("220 mx"),
        Hear("EHLO"),
        Say("250 mx"),
        Hear("MAIL"),
        Say("250 ok"),
        Hear("RCPT"),
        Say("550 5.1.1 No such user"),
        Hear("QUIT"),
    ])
    .await;
    assert_eq!((refused.as_str(), asked), ("5.1.1", false));
    let spam = vec![Say("354 go"), Content, Say("554 5.7.1 Spam"), Hear("QUIT")];
    let (refused, asked) = misbehaving([until_data(), spam].concat()).await;
    assert_eq!((refused.as_str(), asked), ("5.7.1", false));
}

#[tokio::test]
async fn a_drop_in_the_content_is_no_doubt_and_one_after_it_is() {
    let drop = [until_data(), vec![Say("354 go"), Octets(5)]].concat();
    // So small a content is in the socket before the server is gone: whether it arrived cannot be known.
    let (status, _) = misbehaving(drop).await;
    assert!(status == "4.4.2", "{status}");
    for end in [
        vec![],
        vec![Hang],
        vec![Say("nonsense")],
        vec![Say("354 again")],
        vec![Flood(b"250-x\r\n")],
        vec![Flood(b"x")],
        vec![Drip(b"250-x\r\n")],
    ] {
        let script = [until_data(), vec![Say("354 go"), Content], end].concat();
        let (status, asked) = misbehaving(script).await;
        assert!(["4.4.2", "4.5.0"].contains(&status.as_str()), "{status}");
        assert!(!asked, "the message might have arrived twice");
    }
}

#[tokio::test]
async fn a_large_content_that_breaks_off_goes_to_the_next_server() {
    let (_first, at) = Fake::start(
        1,
        0,
        vec![[until_data(), vec![Say("354 go"), Octets(5)]].concat()],
    )
    .await;
    let (second, _) = Fake::start(2, at.port(), vec![good()]).await;
    let relay = relay(zone(), at.port(), nobody());
    let line = format!(".{}\r\n", "x".repeat(900));
    let content = format!("Subject: x\r\n\r\n{}", line.repeat(16_000)).into_bytes();
    let mut message = message(&["b@example.org"]);
    message.survey = Survey::of(&content);
    let to = Destination::Domain("example.org".to_owned());
    let mut source = io::Cursor::new(content);
    let deliveries = relay.deliver(&to, &message, &mut source, &mut |_| 0).await;
    assert_eq!(statuses(&deliveries), ["delivered"], "{deliveries:?}");
    assert!(second.heard().concat().contains("\r\n..xxx"));
}

#[tokio::test]
async fn each_recipient_has_its_outcome() {
    let script = vec![
        Say("220 mx"),
        Hear("EHLO"),
        Say("250-mx"),
        Say("250 PIPELINING"),
        Hear("MAIL"),
        Hear("RCPT TO:<b@"),
        Hear("RCPT TO:<c@"),
        Hear("RCPT TO:<d@"),
        Hear("DATA"),
        Say("250 ok"),
        Say("250 ok"),
        Say("550 5.1.1 No"),
        Say("450 4.2.1 Later"),
        Say("354 go"),
        Content,
        Say("250 2.0.0 taken"),
        Hear("QUIT"),
    ];
    let (_first, at) = Fake::start(1, 0, vec![script]).await;
    let relay = relay(zone(), at.port(), nobody());
    let deliveries = deliver(&relay, &["b@example.org", "c@example.org", "d@example.org"]).await;
    assert_eq!(statuses(&deliveries), ["delivered", "5.1.1", "4.2.1"]);
    let remote = deliveries[0].remote.as_ref().unwrap();
    assert_eq!(
        (remote.host.as_str(), &remote.tls),
        ("mx1.example.org", &None)
    );
}

#[tokio::test]
async fn nobody_at_home_defers() {
    let (_fake, at) = Fake::start(9, 0, vec![]).await;
    let relay = relay(zone(), at.port(), nobody());
    let deliveries = deliver(&relay, &["b@example.org", "c@example.org"]).await;
    assert_eq!(statuses(&deliveries), ["4.4.1", "4.4.1"]);
}

#[tokio::test]
async fn many_recipients_go_in_several_transactions() {
    let mut script = vec![Say("220 mx"), Hear("EHLO"), Say("250 mx")];
    for group in [100, 50] {
        if group == 50 {
            script.extend([Hear("RSET"), Say("250 ok")]);
        }
        script.extend([Hear("MAIL"), Say("250 ok")]);
        for _ in 0..group {
            script.extend([Hear("RCPT"), Say("250 ok")]);
        }
        script.extend([Hear("DATA"), Say("354 go"), Content, Say("250 ok")]);
    }
    let (fake, at) = Fake::start(1, 0, vec![script]).await;
    let relay = relay(zone(), at.port(), nobody());
    let recipients: Vec<String> = (0..150).map(|n| format!("u{n}@example.org")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let deliveries = deliver(&relay, &recipients).await;
    assert_eq!(
        statuses(&deliveries),
        vec!["delivered"; 150],
        "{:?}",
        fake.heard()
    );
}

#[tokio::test]
async fn a_mailbox_store_answers_for_each_recipient() {
    let script = vec![
        Say("220 store"),
        Hear("LHLO client.example"),
        Say("250 store"),
        Hear("MAIL"),
        Say("250 ok"),
        Hear("RCPT"),
        Say("250 ok"),
        Hear("RCPT"),
        Say("250 ok"),
        Hear("DATA"),
        Say("354 go"),
        Content,
        Say("250 2.0.0 saved"),
        Say("452 4.2.2 Mailbox full"),
        Hear("QUIT"),
    ];
    let (_fake, at) = Fake::start(1, 0, vec![script]).await;
    let relay = relay(zone(), 25, nobody());
    let store = Destination::Forwarder(Forwarder {
        host: IpAddr::from([127, 0, 0, 1]).to_string(),
        port: at.port(),
        protocol: Protocol::Lmtp,
        tls: TlsMode::None,
        login: None,
    });
    let deliveries = deliver_to(&relay, &store, &["b@example.org", "c@example.org"]).await;
    assert_eq!(statuses(&deliveries), ["delivered", "4.2.2"]);
    let missing = Destination::Unix("/nonexistent/lmtp".into());
    let deliveries = deliver_to(&relay, &missing, &["b@example.org"]).await;
    assert_eq!(statuses(&deliveries), ["4.4.1"]);
}
