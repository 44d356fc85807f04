//! Connections that serve more than one message.

use super::*;

/// What follows a transaction when the connection is used again.
fn again() -> Vec<Act> {
    let mut acts = vec![Hear("RSET"), Say("250 ok")];
    acts.extend(good().drain(3..11));
    acts
}

/// [`good`], and what happens on the same connection afterwards.
fn good_and_then(rest: Vec<Act>) -> Vec<Act> {
    [good().drain(..11).collect(), rest].concat()
}

#[tokio::test]
async fn a_connection_serves_many_messages() {
    let leave = vec![Hear("QUIT"), Say("221 bye")];
    let script = good_and_then([again(), again(), leave].concat());
    let (fake, at) = Fake::start(1, 0, vec![script]).await;
    let relay = relay(zone(), at.port(), nobody());
    for _ in 0..3 {
        let deliveries = deliver(&relay, &["b@example.org"]).await;
        assert_eq!(statuses(&deliveries), ["delivered"]);
    }
    relay.close().await;
    let heard = fake.heard();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert_eq!(heard[0].matches("MAIL FROM").count(), 3);
    assert!(heard[0].ends_with("QUIT\r\n"), "{heard:?}");
}

#[tokio::test]
async fn a_connection_serves_so_many_messages() {
    let mut script = good_and_then(vec![]);
    for _ in 1..100 {
        script.extend(again());
    }
    script.extend([Hear("QUIT"), Say("221 bye")]);
    let (fake, at) = Fake::start(1, 0, vec![script, good()]).await;
    let relay = relay(zone(), at.port(), nobody());
    for (number, connections) in (1..=101).map(|number| (number, 1 + usize::from(number > 100))) {
        let deliveries = deliver(&relay, &["b@example.org"]).await;
        assert_eq!(statuses(&deliveries), ["delivered"], "{number}");
        assert_eq!(fake.heard().len(), connections, "{number}");
    }
    assert!(fake.heard()[0].ends_with("QUIT\r\n"));
}

#[tokio::test]
async fn a_server_that_left_meanwhile_costs_no_attempt() {
    for left in [
        vec![],
        vec![Say("421 4.4.2 Idle for too long")],
        vec![Hear("RSET")],
        vec![Hear("RSET"), Say("421 4.4.2 Idle for too long")],
        vec![Hear("RSET"), Say("250 ok"), Hear("MAIL")],
        vec![
            Hear("RSET"),
            Say("250 ok"),
            Hear("MAIL"),
            Say("421 4.3.2 Going down"),
        ],
    ] {
        let number = left.len();
        let (fake, at) = Fake::start(1, 0, vec![good_and_then(left), good()]).await;
        // Nobody else is there: an attempt that counted would fail.
        let relay = relay(zone(), at.port(), nobody());
        for _ in 0..2 {
            let deliveries = deliver(&relay, &["b@example.org"]).await;
            assert_eq!(statuses(&deliveries), ["delivered"], "{number} acts");
        }
        assert_eq!(fake.heard().len(), 2, "{number} acts");
    }
}

#[tokio::test]
async fn a_doubt_is_no_leave() {
    let lost = [again(), vec![]].concat();
    let lost = lost[..lost.len() - 1].to_vec();
    let (fake, at) = Fake::start(1, 0, vec![good_and_then(lost), good()]).await;
    let relay = relay(zone(), at.port(), nobody());
    assert_eq!(
        statuses(&deliver(&relay, &["b@example.org"]).await),
        ["delivered"]
    );
    assert_eq!(
        statuses(&deliver(&relay, &["b@example.org"]).await),
        ["4.4.2"]
    );
    assert_eq!(fake.heard().len(), 1);
}

#[tokio::test]
async fn who_took_nothing_is_not_kept_waiting() {
    let refusing = vec![
        Say("220 mx"),
        Hear("EHLO"),
        Say("250 mx"),
        Hear("MAIL"),
        Say("250 ok"),
        Hear("RCPT"),
        Say("550 5.1.1 No such user"),
        Hear("QUIT"),
    ];
    let (fake, at) = Fake::start(1, 0, vec![refusing]).await;
    let relay = relay(zone(), at.port(), nobody());
    for _ in 0..2 {
        let deliveries = deliver(&relay, &["b@example.org"]).await;
        assert_eq!(statuses(&deliveries), ["5.1.1"]);
    }
    assert_eq!(fake.heard().len(), 2);
}

#[tokio::test]
async fn a_connection_is_kept_for_so_long() {
    let (fake, at) = Fake::start(1, 0, vec![good(), good()]).await;
    let mut relay = relay(zone(), at.port(), nobody());
    relay.pool = Pool::new(Duration::from_millis(10));
    assert_eq!(
        statuses(&deliver(&relay, &["b@example.org"]).await),
        ["delivered"]
    );
    while !fake.heard()[0].ends_with("QUIT\r\n") {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        statuses(&deliver(&relay, &["b@example.org"]).await),
        ["delivered"]
    );
    assert_eq!(fake.heard().len(), 2);
}

#[tokio::test]
async fn a_connection_is_kept_for_those_who_ask_the_same() {
    let identity = Identity::new("mx1.example.org");
    let authenticated = |tls: &TlsMode| {
        let mut script = match tls {
            TlsMode::Tunnel => vec![Secure(identity.clone())],
            _ => vec![],
        };
        script.extend([
            Say("220 mx"),
            Hear("EHLO"),
            Say("250-mx"),
            Say("250 AUTH PLAIN"),
        ]);
        script
    };
    let to = |tls, login: Option<&str>| Forwarder {
        host: "mx1.example.org".to_owned(),
        port: 0,
        protocol: Protocol::Smtp,
        tls,
        login: login.map(|user| Login::new(user, "secret").unwrap()),
    };
    let rest = good().split_off(3);
    let plain = [authenticated(&TlsMode::None), rest.clone()].concat();
    let tunnel = [authenticated(&TlsMode::Tunnel), rest.clone()].concat();
    let tunnel_as = [
        authenticated(&TlsMode::Tunnel),
        vec![Hear("AUTH"), Say("235 2.7.0 ok")],
        rest,
    ]
    .concat();
    let scripts = vec![plain.clone(), plain, tunnel, tunnel_as.clone(), tunnel_as];
    let (fake, at) = Fake::start(1, 0, scripts).await;
    let relay = relay(zone(), at.port(), Trust::new(identity.roots()).unwrap());
    for (number, forwarder) in [
        to(TlsMode::None, None),
        to(TlsMode::Opportunistic, None),
        to(TlsMode::Tunnel, None),
        to(TlsMode::Tunnel, Some("tim")),
        to(TlsMode::Tunnel, Some("tom")),
    ]
    .into_iter()
    .enumerate()
    {
        let forwarder = Forwarder {
            port: at.port(),
            ..forwarder
        };
        let destination = Destination::Forwarder(forwarder);
        let deliveries = deliver_to(&relay, &destination, &["b@example.org"]).await;
        assert_eq!(statuses(&deliveries), ["delivered"], "{number}");
        assert_eq!(fake.heard().len(), number + 1);
    }
}
