//! Clients that somebody else wrote: swaks and Python's smtplib, in clear, over STARTTLS and with TLS from the first
//! octet. What they send lies in the Maildir octet for octet.

use crate::support::{Certificate, Configuration, Daemon, run, trial_with};
use libtest_mimic::Trial;
use std::net::SocketAddr;
use std::process::Command;

/// How the client connects.
#[derive(Clone, Copy, Debug)]
enum Way {
    Clear,
    Starttls,
    Tls,
}

const WAYS: [(&str, Way); 3] = [
    ("clear", Way::Clear),
    ("starttls", Way::Starttls),
    ("tls", Way::Tls),
];

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, way) in WAYS {
        trials.push(trial_with(
            &["swaks"],
            format!("clients::swaks::{name}"),
            move || swaks(way),
        ));
        trials.push(trial_with(
            &["swaks"],
            format!("clients::swaks::attachment::{name}"),
            move || swaks_attachment(way),
        ));
        for (what, script) in [
            ("dots", DOTS),
            ("eight_bit", EIGHT_BIT),
            ("smtputf8", SMTPUTF8),
            ("some_megabytes", MEGABYTES),
            ("three_messages", THREE_MESSAGES),
        ] {
            trials.push(trial_with(
                &["python3"],
                format!("clients::smtplib::{what}::{name}"),
                move || smtplib(way, script),
            ));
        }
    }
    trials
}

fn daemon() -> Daemon {
    let certificate = Certificate::new(&["example.com"]);
    Daemon::start(
        Configuration::new()
            .root_certificate(&certificate)
            .domain_with("example.com", &certificate),
    )
}

impl Way {
    fn address(self, daemon: &mut Daemon) -> SocketAddr {
        match self {
            Self::Clear | Self::Starttls => daemon.smtp(),
            Self::Tls => daemon.submissions(),
        }
    }
}

/// The arguments that every call of swaks has.
fn swaks_to(way: Way, daemon: &mut Daemon) -> Command {
    let mut command = Command::new("swaks");
    command
        .arg("--server")
        .arg(way.address(daemon).to_string())
        .args(["--helo", "client.example.net"])
        .args(["--from", "jane@example.net", "--to", "john@example.com"]);
    match way {
        Way::Clear => {}
        Way::Starttls => {
            command.arg("--tls");
        }
        Way::Tls => {
            command.arg("--tls-on-connect");
        }
    }
    command
}

fn swaks(way: Way) {
    let mut daemon = daemon();
    let mut command = swaks_to(way, &mut daemon);
    command.args([
        "--header",
        "Subject: swaks says hi",
        "--body",
        "hello\n.\n..\nbye",
    ]);
    run(&mut command, "").success();
    let message = daemon.maildir("example.com", "john").wait_one();
    assert!(
        message.starts_with("Return-Path: <jane@example.net>"),
        "{message}"
    );
    assert!(
        message.contains("Delivered-To: john@example.com"),
        "{message}"
    );
    assert!(message.contains("from client.example.net"), "{message}");
    assert!(message.contains("Subject: swaks says hi\r\n"), "{message}");
    assert!(
        message.contains("\r\n\r\nhello\r\n.\r\n..\r\nbye\r\n"),
        "{message}"
    );
    let protocol = match way {
        Way::Clear => "with ESMTP",
        Way::Starttls | Way::Tls => "with ESMTPS",
    };
    assert!(message.contains(protocol), "{message}");
    daemon.stop();
}

fn swaks_attachment(way: Way) {
    let mut daemon = daemon();
    let file = daemon.configuration().scratch().join("attachment.bin");
    let octets: Vec<u8> = (0..3_000_000_u64).map(|n| (n * n % 251) as u8).collect();
    std::fs::write(&file, octets).unwrap();
    let mut command = swaks_to(way, &mut daemon);
    command.arg("--suppress-data");
    command.arg("--attach").arg(format!("@{}", file.display()));
    run(&mut command, "").success();
    let message = daemon.maildir("example.com", "john").wait_one();
    // Base64 adds a third.
    assert!(message.len() > 4_000_000, "{}", message.len());
    assert!(message.contains("attachment.bin"));
    daemon.stop();
}

/// `session()` gives a session; `send` puts what it sends into the file `expected`, for the comparison.
const PRELUDE: &str = r#"
import smtplib, ssl, sys
way, host, port, expected = sys.argv[1:5]
trusting = ssl.create_default_context()
trusting.check_hostname = False
trusting.verify_mode = ssl.CERT_NONE

def session():
    if way == "Tls":
        return smtplib.SMTP_SSL(host, int(port), "client.example.net", context=trusting, timeout=20)
    session = smtplib.SMTP(host, int(port), "client.example.net", timeout=20)
    if way == "Starttls":
        session.starttls(context=trusting)
    return session

def send(session, content, sender="jane@example.net", recipient="john@example.com", options=()):
    with open(expected, "ab") as file:
        file.write(content + b"\0")
    refused = session.sendmail(sender, [recipient], content, options)
    assert refused == {}, refused

with session() as smtp:
"#;

const DOTS: &str = r#"
    lines = [b"Subject: dots", b"", b".", b"..", b".hidden", b"...", b"", b" .", b"x.", b".\t", b"end"]
    send(smtp, b"\r\n".join(lines) + b"\r\n")
"#;

const EIGHT_BIT: &str = r#"
    smtp.ehlo_or_helo_if_needed()
    assert smtp.has_extn("8bitmime")
    content = "Subject: 8 bit\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n".encode()
    content += bytes(octet for octet in range(1, 256) if octet not in (10, 13)) + b"\r\n"
    send(smtp, content, options=["BODY=8BITMIME"])
"#;

const SMTPUTF8: &str = r#"
    smtp.ehlo_or_helo_if_needed()
    assert smtp.has_extn("smtputf8")
    content = "Subject: grüße\r\nFrom: jürgen@example.net\r\n\r\n日本語\r\n".encode()
    send(smtp, content, "jürgen@example.net", "john@example.com", ["SMTPUTF8", "BODY=8BITMIME"])
"#;

const MEGABYTES: &str = r#"
    line = bytes(33 + n % 94 for n in range(76)) + b"\r\n"
    send(smtp, b"Subject: large\r\n\r\n" + line * 60000)
"#;

const THREE_MESSAGES: &str = r#"
    for number in range(3):
        send(smtp, b"Subject: one of three\r\n\r\n%d\r\n" % number)
"#;

fn smtplib(way: Way, script: &str) {
    let mut daemon = daemon();
    let address = way.address(&mut daemon);
    let expected = daemon.configuration().scratch().join("expected");
    let mut command = Command::new("python3");
    command
        .arg("-c")
        .arg(format!("{PRELUDE}{script}"))
        .arg(format!("{way:?}"))
        .arg(address.ip().to_string())
        .arg(address.port().to_string())
        .arg(&expected);
    run(&mut command, "").success();
    let sent = std::fs::read(expected).unwrap();
    let sent: Vec<&[u8]> = sent
        .split(|octet| *octet == 0)
        .filter(|s| !s.is_empty())
        .collect();
    let messages = daemon.maildir("example.com", "john").wait(sent.len());
    for content in sent {
        let text = String::from_utf8_lossy(&content[..content.len().min(400)]);
        assert!(
            messages.iter().any(|m| m.ends_with(content)),
            "missing: {text}"
        );
    }
    daemon.stop();
}
