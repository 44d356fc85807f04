//! What is asked of TLS, of whoever vouches for the server, and of credentials.

use super::*;

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
        vec![Say("220 go"), Flood(b"x")],
        vec![Say("220 go"), Drip(b"\x16\x03\x03\x40\x00\x02")],
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
