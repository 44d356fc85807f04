//! Handshakes as `openssl s_client` sees them, over STARTTLS and from the first octet: which certificate, which
//! version, which cipher suite, and how long the server waits for one.

use crate::support::{Certificate, Client, Configuration, Daemon, KeyKind, SClient, trial_with};
use libtest_mimic::Trial;
use std::time::{Duration, Instant};

/// The server name asked for, and the subject of the certificate that comes: without `root`, and with it.
const NAMES: [(&str, Option<&str>, Option<&str>, &str); 9] = [
    ("no_name", None, None, ROOT),
    (
        "a_domain",
        Some("example.com"),
        Some("example.com"),
        "example.com",
    ),
    (
        "another_domain",
        Some("example.org"),
        Some("example.org"),
        "example.org",
    ),
    (
        "a_name_of_a_certificate",
        Some("mail.example.com"),
        Some("example.com"),
        "example.com",
    ),
    (
        "a_name_under_a_wildcard",
        Some("mx1.example.org"),
        Some("example.org"),
        "example.org",
    ),
    (
        "two_labels_under_a_wildcard",
        Some("a.b.example.org"),
        None,
        ROOT,
    ),
    (
        "upper_case",
        Some("MAIL.Example.COM"),
        Some("example.com"),
        "example.com",
    ),
    (
        "a_trailing_dot",
        Some("example.com."),
        Some("example.com"),
        "example.com",
    ),
    ("an_unknown_name", Some("example.net"), None, ROOT),
];

const ROOT: &str = "root.example.test";

const KEYS: [(&str, KeyKind); 5] = [
    ("rsa_pkcs1", KeyKind::RsaPkcs1),
    ("rsa_pkcs8", KeyKind::RsaPkcs8),
    ("ec_sec1", KeyKind::EcSec1),
    ("ec_pkcs8", KeyKind::EcPkcs8),
    ("ed25519", KeyKind::Ed25519),
];

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, asked, without_root, with_root) in NAMES {
        trials.push(openssl(format!("without_root::{name}"), move || {
            names(two_domains(), asked, without_root);
        }));
        trials.push(openssl(format!("with_root::{name}"), move || {
            let root = Certificate::new(&[ROOT]);
            names(
                two_domains().root_certificate(&root),
                asked,
                Some(with_root),
            );
        }));
    }
    for (name, kind) in KEYS {
        trials.push(openssl(format!("key::{name}"), move || key(kind)));
    }
    trials.extend([
        openssl("version::tls_1_1_is_refused", old_version),
        openssl("version::both_by_default", both_versions),
        openssl("version::root", version_of_root),
        openssl("version::domain", version_of_domain),
        openssl("cipher_suite::others_are_refused", cipher_suites),
        openssl("cipher_suite::order_of_the_client", || order(false)),
        openssl("cipher_suite::order_of_the_server", || order(true)),
        openssl(
            "starttls::is_not_offered_without_certificate",
            no_certificate,
        ),
        plain("timeout::implicit_tls", silence_on_submissions),
        plain("timeout::starttls", silence_after_starttls),
        plain("timeout::trickle", trickle),
        plain("garbage::implicit_tls", garbage_on_submissions),
        plain("garbage::starttls", garbage_after_starttls),
        plain(
            "garbage::plain_smtp_on_the_tls_port",
            plain_smtp_on_the_tls_port,
        ),
    ]);
    trials
}

fn openssl(name: impl AsRef<str>, test: impl FnOnce() + Send + 'static) -> Trial {
    trial_with(&["openssl"], format!("handshake::{}", name.as_ref()), test)
}

fn plain(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    trial_with(&[], format!("handshake::{name}"), test)
}

fn two_domains() -> Configuration {
    Configuration::new()
        .domain_with(
            "example.com",
            &Certificate::new(&["example.com", "mail.example.com"]),
        )
        .domain_with(
            "example.org",
            &Certificate::new(&["example.org", "*.example.org"]),
        )
}

/// One client over STARTTLS and one over implicit TLS.
fn both(daemon: &mut Daemon) -> [SClient; 2] {
    [
        SClient::starttls(daemon.smtp()),
        SClient::implicit(daemon.submissions()),
    ]
}

fn names(configuration: Configuration, asked: Option<&str>, subject: Option<&str>) {
    let mut daemon = Daemon::start(configuration);
    for client in both(&mut daemon) {
        let handshake = client.server_name(asked).run();
        match subject {
            Some(subject) => handshake.shows(subject),
            None => handshake.is_refused(),
        };
    }
    daemon.stop();
}

fn key(kind: KeyKind) {
    let certificate = Certificate::with_key(&["example.com"], kind);
    let mut daemon = Daemon::start(Configuration::new().domain_with("example.com", &certificate));
    for version in ["-tls1_2", "-tls1_3"] {
        for client in both(&mut daemon) {
            let client = client.server_name(Some("example.com"));
            client.arguments(&[version]).run().shows("example.com");
        }
    }
}

fn old_version() {
    let mut daemon = Daemon::start(two_domains());
    for client in both(&mut daemon) {
        let old = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
        let handshake = client
            .server_name(Some("example.com"))
            .arguments(&old)
            .run();
        handshake.is_refused();
        let text = handshake.output.both();
        // It is the server that refuses, not openssl.
        assert!(text.contains("SSL alert number"), "{text}");
    }
}

fn both_versions() {
    let mut daemon = Daemon::start(two_domains());
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        for client in both(&mut daemon) {
            let client = client.server_name(Some("example.com"));
            let handshake = client.arguments(&[version]).run();
            assert_eq!(
                handshake.shows("example.com").protocol.as_deref(),
                Some(name)
            );
        }
    }
}

fn version_of_root() {
    for (configured, open, shut) in [
        ("\"TLSv1.2\"", "-tls1_2", "-tls1_3"),
        ("[\"TLSv1_3\"]", "-tls1_3", "-tls1_2"),
    ] {
        let configuration = two_domains().set("server.tls.protocol_version", configured);
        let mut daemon = Daemon::start(configuration);
        for client in both(&mut daemon) {
            let client = client.server_name(Some("example.com"));
            client.arguments(&[open]).run().shows("example.com");
        }
        for client in both(&mut daemon) {
            let client = client.server_name(Some("example.com"));
            client.arguments(&[shut]).run().is_refused();
        }
    }
}

fn version_of_domain() {
    let strict = Certificate::new(&["strict.example"]);
    let configuration = two_domains().domain("strict.example", |domain| {
        domain
            .certificate(&strict)
            .tls("protocol_version", "[\"TLSv1.3\"]")
    });
    let mut daemon = Daemon::start(configuration);
    for (name, version, served) in [
        ("strict.example", "-tls1_2", false),
        ("strict.example", "-tls1_3", true),
        ("example.com", "-tls1_2", true),
    ] {
        for client in both(&mut daemon) {
            let handshake = client.server_name(Some(name)).arguments(&[version]).run();
            if served {
                handshake.shows(name);
            } else {
                handshake.is_refused();
            }
        }
    }
}

fn cipher_suites() {
    let configuration = two_domains().set(
        "server.tls.cipher_suite",
        "[\"AES_128_GCM_SHA256\", \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]",
    );
    let mut daemon = Daemon::start(configuration);
    let mut try_with = |arguments: &[&str]| {
        both(&mut daemon).map(|client| {
            let client = client.server_name(Some("example.com"));
            client.arguments(arguments).run()
        })
    };
    for handshake in try_with(&["-tls1_3"]) {
        handshake.shows("example.com");
        assert_eq!(handshake.cipher.as_deref(), Some("TLS_AES_128_GCM_SHA256"));
    }
    for handshake in try_with(&["-tls1_2"]) {
        handshake.shows("example.com");
        let expected = Some("ECDHE-ECDSA-AES128-GCM-SHA256");
        assert_eq!(handshake.cipher.as_deref(), expected);
    }
    for refused in [
        ["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
        ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
    ] {
        for handshake in try_with(&refused) {
            handshake.is_refused();
        }
    }
}

fn order(of_the_server: bool) {
    let configuration = two_domains()
        .set(
            "server.tls.cipher_suite",
            "[\"TLS_AES_128_GCM_SHA256\", \"TLS_AES_256_GCM_SHA384\"]",
        )
        .set("server.tls.preempt_cipherlist", &of_the_server.to_string());
    let mut daemon = Daemon::start(configuration);
    for client in both(&mut daemon) {
        let handshake = client
            .server_name(Some("example.com"))
            .arguments(&[
                "-ciphersuites",
                "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
            ])
            .run();
        let expected = if of_the_server {
            "TLS_AES_128_GCM_SHA256"
        } else {
            "TLS_AES_256_GCM_SHA384"
        };
        handshake.shows("example.com");
        assert_eq!(handshake.cipher.as_deref(), Some(expected));
    }
}

fn no_certificate() {
    let mut daemon = Daemon::start(Configuration::new().domain("example.com", |domain| domain));
    SClient::starttls(daemon.smtp()).run().is_refused();
    let mut client = Client::connect(daemon.smtp());
    client.reply().expect("220");
    assert!(!client.ehlo().has_line("STARTTLS"));
    client.command("STARTTLS").expect("454");
    client.quit();
}

/// What the tests below configure. The end may come late on a busy machine, but never early.
const TIMEOUT: Duration = Duration::from_millis(600);
const LATE: Duration = Duration::from_secs(2);

fn impatient() -> Daemon {
    let text = format!("\"{}ms\"", TIMEOUT.as_millis());
    Daemon::start(two_domains().set("server.tls.handshake_timeout", &text))
}

/// Waits until the server gives up; fails when it is too early, too late or unsaid.
fn gives_up(daemon: &Daemon, mut client: Client, start: Instant) {
    client.rest();
    let elapsed = start.elapsed();
    assert!(elapsed >= TIMEOUT, "too early: {elapsed:?}");
    assert!(elapsed < TIMEOUT + LATE, "too late: {elapsed:?}");
    daemon.wait_for_log(&[&client.local_address().to_string(), "handshake"]);
}

fn silence_on_submissions() {
    let mut daemon = impatient();
    let address = daemon.submissions();
    let start = Instant::now();
    gives_up(&daemon, Client::connect(address), start);
}

fn silence_after_starttls() {
    let mut daemon = impatient();
    let mut client = Client::hello(daemon.smtp());
    let start = Instant::now();
    client.command("STARTTLS").expect("220");
    gives_up(&daemon, client, start);
}

/// The deadline is for the handshake as a whole, not for each octet.
fn trickle() {
    let mut daemon = impatient();
    let address = daemon.submissions();
    let start = Instant::now();
    let mut client = Client::connect(address);
    // A record header that promises 512 octets of handshake, and then one octet at a time.
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    while start.elapsed() < TIMEOUT + LATE && client.try_send(b"\0").is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
    gives_up(&daemon, client, start);
}

/// Closed at once, not when the time is up; and the next client is served.
fn closes(mut daemon: Daemon, mut client: Client, garbage: &[u8]) {
    let start = Instant::now();
    // The server may close before it has read all.
    let _ = client.try_send(garbage);
    let answer = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(!answer.contains("250"), "a command was run: {answer}");
    assert!(start.elapsed() < LATE, "{:?}", start.elapsed());
    daemon.wait_for_log(&[&client.local_address().to_string(), "handshake"]);
    Client::hello_tls(daemon.submissions(), Some("example.com")).quit();
    daemon.stop();
}

fn patient() -> Daemon {
    let configuration = two_domains()
        .set("server.tls.handshake_timeout", "\"20s\"")
        .set("server.client_count_max", "1");
    Daemon::start(configuration)
}

fn garbage_on_submissions() {
    let mut daemon = patient();
    let client = Client::connect(daemon.submissions());
    closes(
        daemon,
        client,
        b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
    );
}

fn garbage_after_starttls() {
    let mut daemon = patient();
    let mut client = Client::hello(daemon.smtp());
    client.command("STARTTLS").expect("220");
    closes(daemon, client, &[0x80; 64]);
}

fn plain_smtp_on_the_tls_port() {
    let mut daemon = patient();
    let client = Client::connect(daemon.submissions());
    closes(daemon, client, b"EHLO client.example.net\r\nNOOP\r\n");
}
