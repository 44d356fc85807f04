//! What is asked of the next server's TLS, and who vouches for it: authorities, an operator's own, or the signed DNS.

use crate::support::{Certificate, Configuration, Daemon, Hop, PROGRAM, SignedZone, trial_with};
use crate::transport::{home, send, told};
use libtest_mimic::Trial;
use std::process::Command;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_certificate_is_required", required),
        trial("a_password_is_shown_to_the_server_alone", password),
        trial("dane_goes_by_the_signed_dns", dane),
        trial("authorities_that_are_none_stop_a_start", no_authorities),
    ]
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    trial_with(&[], format!("outbound_tls::{name}"), test)
}

/// A server with TLS for `127.0.0.1` and mail for `far.example`, which knows a user `tim`.
fn far(certificate: &Certificate) -> Configuration {
    Configuration::new()
        .root_certificate(certificate)
        .user("tim", "s3cret/@")
        .filter(r#"#{ authenticate: [ rule "users" || auth::unix_users() ] }"#)
        .domain("far.example", |domain| domain)
}

/// A server that takes everything and hands mail for `far.example` to `transport`, believing `certificate`.
fn near(transport: &str, certificate: &Certificate) -> Configuration {
    let near = home("#{}")
        .filter(r#"#{ connect: [ rule "everybody" || state::faccept() ] }"#)
        .domain("far.example", |domain| {
            domain.set("transport", &format!("{transport:?}"))
        });
    let (ca, _) = certificate.write(&near.root().join("certs"), "ca");
    near.set("server.delivery.tls.ca", &format!("{ca:?}"))
}

fn required() {
    let certificate = Certificate::new(&["127.0.0.1"]);
    let stranger = Certificate::new(&["127.0.0.1"]);
    let mut far = Daemon::start(far(&certificate));
    let (smtp, smtps) = (far.smtp(), far.submissions());
    for (transport, reason) in [
        (
            format!("smtp://{smtp}?tls=required"),
            "security=required by the configuration",
        ),
        (
            format!("smtps://{smtps}"),
            "security=TLS from the first octet, by the configuration",
        ),
    ] {
        let mut trusting = Daemon::start(near(&transport, &certificate));
        send(&mut trusting, &["john@far.example"]);
        trusting.wait_for_log(&["result=\"relayed\"", "tls=\"TLSv1.3\"", reason]);
        trusting.stop();
        let mut doubting = Daemon::start(near(&transport, &stranger));
        send(&mut doubting, &["jim@far.example"]);
        doubting.wait_for_log(&["to=jim@far.example", "result=\"deferred\"", "4.7.5"]);
        doubting.kill();
    }
    far.maildir("far.example", "john").wait(2);
    assert!(far.maildir("far.example", "jim").messages().is_empty());
    far.stop();
    let clear = Hop::start(|_, _| None);
    let transport = format!("smtp://{}?tls=required", clear.address());
    let mut near = Daemon::start(near(&transport, &certificate));
    send(&mut near, &["jim@far.example"]);
    near.wait_for_log(&["to=jim@far.example", "result=\"deferred\"", "4.7.4"]);
    near.kill();
    assert!(told(&clear).is_empty());
}

fn password() {
    let certificate = Certificate::new(&["127.0.0.1"]);
    let mut far = Daemon::start(far(&certificate));
    let transport = format!("smtps://tim:s3cret%2F%40@{}", far.submissions());
    let mut near = Daemon::start(near(&transport, &certificate));
    send(&mut near, &["john@far.example"]);
    let message = far.maildir("far.example", "john").wait_one();
    assert!(message.contains("with ESMTPSA"), "{message}");
    let shown = Command::new(PROGRAM)
        .args(["config", "show", "--config"])
        .arg(near.configuration().root())
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("smtps://tim:***@127.0.0.1"), "{shown}");
    let log = near.stop().log;
    far.stop();
    for text in [&shown, &log] {
        assert!(!text.contains("s3cret"), "{text}");
    }
}

fn dane() {
    const VALIDATE: &str = ", validate: true, trust_anchor: \"root.key\"";
    let certificate = Certificate::new(&["somebody.else.example"]);
    let mut far = Daemon::start(far(&certificate));
    let port = far.smtp().port();
    let name = format!("_{port}._tcp.mx.far.example");
    let digest = certificate.key_digest();
    let zone = || SignedZone::new().with_address("mx.far.example", [127, 0, 0, 1].into());
    for (to, zone, options, expected) in [
        (
            "a",
            zone().with_tlsa(&name, &digest),
            VALIDATE,
            ["result=\"relayed\"", "security=DANE: TLSA records"],
        ),
        (
            "b",
            zone().with_tlsa(&name, &[1; 32]),
            VALIDATE,
            ["result=\"deferred\"", "failed (DANE: TLSA records)"],
        ),
        (
            "c",
            zone().with_forged_tlsa(&name, &digest),
            VALIDATE,
            ["result=\"deferred\"", "DANE: _"],
        ),
        (
            "d",
            zone().with_tlsa(&name, &[1; 32]),
            "",
            ["result=\"relayed\"", "security=opportunistic"],
        ),
    ] {
        let transport = format!("smtp://mx.far.example:{port}");
        let near = near(&transport, &certificate);
        near.file("root.key", &zone.anchor());
        let dns = format!(
            r#"#{{
              type: "custom", config: #{{ name_servers: "{}" }},
              options: #{{ ip_strategy: "Ipv4Only", attempts: 1{options} }}
            }}"#,
            zone.serve()
        );
        let mut near = Daemon::start(near.set("server.dns", &dns));
        let to = format!("{to}@far.example");
        send(&mut near, &[&to]);
        near.wait_for_log(&[&format!("to={to}"), expected[0], expected[1]]);
        near.kill();
    }
    for (user, count) in [("a", 1), ("b", 0), ("c", 0), ("d", 1)] {
        let messages = far.maildir("far.example", user).messages();
        assert_eq!(messages.len(), count, "{user}");
    }
    far.stop();
}

fn no_authorities() {
    let options = |name| format!("#{{ validate: true, trust_anchor: {name:?} }}");
    let ca = |name| format!("{name:?}");
    for (key, value, text, expected) in [
        ("delivery.tls.ca", ca("missing.pem"), None, "missing.pem"),
        (
            "delivery.tls.ca",
            ca("bad.pem"),
            Some("nothing\n"),
            "holds no certificate",
        ),
        ("dns.options", options("missing.key"), None, "missing.key"),
        (
            "dns.options",
            options("bad.key"),
            Some("; nothing\n"),
            "holds no DNSKEY",
        ),
    ] {
        let configuration = home("#{}").set(&format!("server.{key}"), &value);
        if let Some(text) = text {
            configuration.file("bad.pem", text);
            configuration.file("bad.key", text);
        }
        configuration.write();
        let checked = Command::new(PROGRAM)
            .args(["check", "--config"])
            .arg(configuration.root())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(78), "{said}");
        for part in ["conf.d/config.vsl:", key, expected] {
            assert!(said.contains(part), "no {part} in {said}");
        }
    }
}
