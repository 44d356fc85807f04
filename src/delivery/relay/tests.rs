mod reuse;

use super::fake::Act::{Content, Flood, Hang, Hear, Octets, Say, Tls as Secure};
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

/// A session that goes on under TLS.
fn secured(identity: &Identity) -> Vec<Act> {
    let clear = vec![
        Say("220 mx"),
        Hear("EHLO"),
        Say("250-mx"),
        Say("250 STARTTLS"),
        Hear("STARTTLS"),
        Say("220 go"),
        Secure(identity.clone()),
    ];
    let rest = good().split_off(1);
    [clear, rest].concat()
}

#[tokio::test]
async fn opportunistic_tls_asks_for_no_name() {
    let identity = Identity::new("somebody.else.example");
    let (fake, at) = Fake::start(1, 0, vec![secured(&identity)]).await;
    let relay = relay(zone(), at.port(), nobody());
    let deliveries = deliver(&relay, &["b@example.org"]).await;
    assert_eq!(statuses(&deliveries), ["delivered"]);
    let remote = deliveries[0].remote.as_ref().unwrap();
    assert_eq!(remote.tls.as_ref().unwrap().version, "TLSv1.3");
    assert!(fake.heard().concat().contains("SNI:mx1.example.org EHLO"));
}

#[tokio::test]
async fn opportunistic_tls_that_fails_falls_back_to_clear() {
    let start = [
        Say("220 mx"),
        Hear("EHLO"),
        Say("250-mx"),
        Say("250 STARTTLS"),
        Hear("STARTTLS"),
    ];
    for end in [
        vec![Say("220 go"), Say("this is no ServerHello")],
        vec![Say("220 go")],
        vec![Say("220 go"), Hang],
    ] {
        let broken = [start.to_vec(), end].concat();
        let (fake, at) = Fake::start(1, 0, vec![broken, good()]).await;
        let relay = relay(zone(), at.port(), nobody());
        let deliveries = deliver(&relay, &["b@example.org"]).await;
        assert_eq!(statuses(&deliveries), ["delivered"], "{:?}", fake.heard());
        let remote = deliveries[0].remote.as_ref().unwrap();
        assert!(
            remote.tls.is_none() && remote.security.contains("in clear"),
            "{remote:?}"
        );
    }
}

#[tokio::test]
async fn a_required_certificate_is_required() {
    let identity = Identity::new("mx1.example.org");
    let stranger = Identity::new("mx1.example.org");
    let misnamed = Identity::new("mx2.example.org");
    let trust = || Trust::new(identity.roots()).unwrap();
    for (tls, shown, trust, expected) in [
        (TlsMode::Required, &identity, trust(), "delivered"),
        (TlsMode::Tunnel, &identity, trust(), "delivered"),
        (TlsMode::Required, &stranger, trust(), "4.7.5"),
        (TlsMode::Tunnel, &stranger, trust(), "4.7.5"),
        (
            TlsMode::Required,
            &misnamed,
            Trust::new(misnamed.roots()).unwrap(),
            "4.7.5",
        ),
    ] {
        let script = match tls {
            TlsMode::Tunnel => [vec![Secure(shown.clone())], good()].concat(),
            _ => secured(shown),
        };
        let (fake, at) = Fake::start(1, 0, vec![script]).await;
        let relay = relay(zone(), at.port(), trust);
        let forwarder = Destination::Forwarder(Forwarder {
            host: "mx1.example.org".to_owned(),
            port: at.port(),
            protocol: Protocol::Smtp,
            tls,
            login: None,
        });
        let deliveries = deliver_to(&relay, &forwarder, &["b@example.org"]).await;
        assert_eq!(statuses(&deliveries), [expected], "{tls:?}");
        assert!(!fake.heard().concat().contains("MAIL") || expected == "delivered");
    }
    let (_fake, at) = Fake::start(1, 0, vec![good()]).await;
    let relay = relay(zone(), at.port(), trust());
    let forwarder = Destination::Forwarder(Forwarder {
        host: "127.0.0.1".to_owned(),
        port: at.port(),
        protocol: Protocol::Smtp,
        tls: TlsMode::Required,
        login: None,
    });
    let deliveries = deliver_to(&relay, &forwarder, &["b@example.org"]).await;
    assert_eq!(statuses(&deliveries), ["4.7.4"]);
}

#[tokio::test]
async fn a_smart_host_gets_credentials() {
    let identity = Identity::new("mx1.example.org");
    let mut script = vec![
        Secure(identity.clone()),
        Say("220 mx"),
        Hear("EHLO"),
        Say("250-mx"),
        Say("250 AUTH PLAIN"),
        Hear("AUTH PLAIN AHRpbQBzZWNyZXQ="),
        Say("235 2.7.0 ok"),
    ];
    script.extend(good().split_off(3));
    let (_fake, at) = Fake::start(1, 0, vec![script]).await;
    let relay = relay(zone(), at.port(), Trust::new(identity.roots()).unwrap());
    let forwarder = Destination::Forwarder(Forwarder {
        host: "mx1.example.org".to_owned(),
        port: at.port(),
        protocol: Protocol::Smtp,
        tls: TlsMode::Tunnel,
        login: Some(Login::new("tim", "secret").unwrap()),
    });
    let deliveries = deliver_to(&relay, &forwarder, &["b@example.org"]).await;
    assert_eq!(statuses(&deliveries), ["delivered"]);
}

#[tokio::test]
async fn dane_believes_the_dns_and_nobody_else() {
    let identity = Identity::new("somebody.else.example");
    let (_, parsed) = x509_parser::parse_x509_certificate(&identity.leaf).unwrap();
    let key = parsed.tbs_certificate.subject_pki.raw;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key);
    for (data, script, expected) in [
        (digest.as_ref().to_vec(), secured(&identity), "delivered"),
        (vec![0; 32], secured(&identity), "4.7.5"),
        (digest.as_ref().to_vec(), good(), "4.7.4"),
    ] {
        let (_fake, at) = Fake::start(1, 0, vec![script]).await;
        let record = Tlsa {
            usage: 3,
            selector: 1,
            matching: 1,
            data,
        };
        let name = format!("_{}._tcp.mx1.example.org", at.port());
        let zone = Zone::default()
            .with_mx("example.org", 10, "mx1.example.org")
            .with_address("mx1.example.org", [127, 0, 0, 1])
            .with_tlsa(&name, record)
            .secure("example.org");
        let relay = relay(zone, at.port(), nobody());
        let deliveries = deliver(&relay, &["b@example.org"]).await;
        assert_eq!(statuses(&deliveries), [expected]);
        if let Some(remote) = &deliveries[0].remote {
            assert!(remote.security.starts_with("DANE"), "{remote:?}");
        }
    }
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

#[tokio::test]
async fn authorities_of_the_operator_are_for_hosts_of_the_operator() {
    let identity = Identity::new("mx1.example.org");
    for (tls, expected) in [
        (TlsMode::Required, "delivered"),
        (TlsMode::Tunnel, "delivered"),
    ] {
        let script = match tls {
            TlsMode::Tunnel => [vec![Secure(identity.clone())], good()].concat(),
            _ => secured(&identity),
        };
        let (_fake, at) = Fake::start(1, 0, vec![script]).await;
        let trust = nobody().with_named(identity.roots()).unwrap();
        let relay = relay(zone(), at.port(), trust);
        let forwarder = Destination::Forwarder(Forwarder {
            host: "mx1.example.org".to_owned(),
            port: at.port(),
            protocol: Protocol::Smtp,
            tls,
            login: None,
        });
        let deliveries = deliver_to(&relay, &forwarder, &["b@example.org"]).await;
        assert_eq!(statuses(&deliveries), [expected], "{tls:?}");
    }
    let trust = nobody().with_named(identity.roots()).unwrap();
    let system = trust.config(&trust::Verification::Authorities).unwrap();
    let named = trust.config(&trust::Verification::Named).unwrap();
    assert!(!Arc::ptr_eq(&system, &named));
}

#[tokio::test]
async fn dane_is_for_hosts_of_the_operator_too() {
    let identity = Identity::new("somebody.else.example");
    let (_, parsed) = x509_parser::parse_x509_certificate(&identity.leaf).unwrap();
    let key = parsed.tbs_certificate.subject_pki.raw;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key);
    for (signed, data, security) in [
        (
            "example.org",
            digest.as_ref().to_vec(),
            "DANE: TLSA records",
        ),
        ("example.net", vec![0; 32], "opportunistic"),
    ] {
        let (_fake, at) = Fake::start(1, 0, vec![secured(&identity)]).await;
        let name = format!("_{}._tcp.mx1.example.org", at.port());
        let record = Tlsa {
            usage: 3,
            selector: 1,
            matching: 1,
            data,
        };
        let zone = zone().with_tlsa(&name, record).secure(signed);
        let relay = relay(zone, at.port(), nobody());
        let forwarder = Destination::Forwarder(Forwarder {
            host: "mx1.example.org".to_owned(),
            port: at.port(),
            protocol: Protocol::Smtp,
            tls: TlsMode::Opportunistic,
            login: None,
        });
        let deliveries = deliver_to(&relay, &forwarder, &["b@example.org"]).await;
        assert_eq!(statuses(&deliveries), ["delivered"]);
        assert_eq!(deliveries[0].remote.as_ref().unwrap().security, security);
    }
}
