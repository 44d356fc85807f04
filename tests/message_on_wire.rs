//! Messages that rules edit, through the daemon into the Maildir.

use crate::support::{Client, Configuration, Daemon};
use libtest_mimic::Trial;
use std::fs;

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("versions_of_one_message", versions),
        trial("files_from_the_daemon", files_from_the_daemon),
        trial("an_endless_header_section_is_refused", endless_header),
        trial("the_body_of_a_refused_message_goes", refused_message),
    ];
    for (name, content) in awkward() {
        trials.push(trial(&format!("delivered::{name}"), move || {
            delivered(&content);
        }));
    }
    trials
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(format!("message_on_wire::{name}"), || {
        test();
        Ok(())
    })
}

/// Contents that a parser may stumble over, small ones and ones that go to a file.
fn awkward() -> Vec<(&'static str, Vec<u8>)> {
    let headers: [(&str, &[u8]); 8] = [
        ("plain", b"From: a@b\r\nSubject: s\r\n\r\nbody\r\n"),
        (
            "folded",
            b"Subject: a\r\n b\r\n\tc\r\nX-Mark : old\r\n\r\nbody\r\n\r\nmore\r\n",
        ),
        ("no_header", b"\r\nbody\r\n"),
        ("no_body", b"Subject: s\r\n"),
        ("no_empty_line", b"no field\r\nat all\r\n"),
        (
            "eight_bit",
            b"Subject: \xe9\xff\r\nX-\xe9: a\r\n\r\n\x00\x01\xe9\r\n",
        ),
        ("dots", b"Subject: s\r\n\r\n.\r\n..\r\n.a\r\n"),
        ("empty", b""),
    ];
    let large = b"a line of a large message\r\n".repeat(10_000);
    let long_header = [b"X-Long: y\r\n".repeat(20_000), b"\r\nbody\r\n".to_vec()].concat();
    let mut contents: Vec<_> = headers
        .into_iter()
        .map(|(name, content)| (name, content.to_vec()))
        .collect();
    contents.push(("large", [b"Subject: s\r\n\r\n".as_slice(), &large].concat()));
    contents.push((
        "large_without_header",
        [b"\r\n".as_slice(), &large].concat(),
    ));
    contents.push(("large_header", long_header));
    contents
}

/// One rule edits; the Maildir has the edited header section and every other octet.
fn delivered(content: &[u8]) {
    let incoming = "#{ preq: [ action \"edit\" || {
        msg::prepend_header(\"X-First\", ctx::mail_from());
        msg::rm_header(\"X-Mark\");
        msg::append_header(\"X-Last\", \"long \".to_upper() + `value ${msg::count_header(\"Subject\")}`);
    } ] }";
    let configuration =
        Configuration::new().domain("example.com", |d| d.rules("incoming.vsl", incoming));
    let mut daemon = Daemon::start(configuration);
    let mut client = Client::hello(daemon.smtp());
    let reply = client.deliver("jane@example.net", "john@example.com", content);
    reply.expect("250");
    client.quit();
    let found = daemon.maildir("example.com", "john").wait(1).remove(0);
    daemon.stop();

    let end = match content {
        [b'\r', b'\n', ..] => 0,
        _ => (0..content.len())
            .find(|at| content[*at..].starts_with(b"\r\n\r\n"))
            .map_or(content.len(), |at| at + 2),
    };
    let (header, body) = content.split_at(end);
    let header = header.strip_suffix(b"X-Mark : old\r\n").unwrap_or(header);
    let subjects = usize::from(header.starts_with(b"Subject") || header.starts_with(b"From"));
    let first: &[u8] = b"X-First: jane@example.net\r\n";
    let last = format!("X-Last: LONG value {subjects}\r\n");
    let last = last.as_bytes();
    let edited = if header.starts_with(b"no field") {
        [first, last, header].concat()
    } else {
        [first, header, last].concat()
    };
    let expected = [&edited, body].concat();
    assert!(
        found.ends_with(&expected),
        "{}\n{}",
        String::from_utf8_lossy(&found[..found.len().min(2000)]),
        String::from_utf8_lossy(&expected[..expected.len().min(2000)]),
    );
    // In front of it stand the trace fields alone.
    let trace = String::from_utf8_lossy(&found[..found.len() - expected.len()]).into_owned();
    assert_eq!(trace.matches("Received: ").count(), 1, "{trace}");
    assert_eq!(trace.matches("X-First").count(), 0, "{trace}");
}

/// Recipients in three groups, of which two edit: three header sections in front of one body, small or large.
fn versions() {
    let mark = |name: &str| {
        format!("#{{ preq: [ action \"mark\" || msg::append_header(\"X-For\", \"{name}\") ] }}")
    };
    let configuration = Configuration::new()
        .domain("example.com", |d| d.rules("incoming.vsl", &mark("com")))
        .domain("example.org", |d| d.rules("incoming.vsl", &mark("org")))
        .domain("example.edu", |d| d);
    let mut daemon = Daemon::start(configuration);
    let mut client = Client::hello(daemon.smtp());
    for (count, lines) in [(1, 10), (2, 20_000)] {
        let body = format!("message {count}\n{}", "line\n".repeat(lines));
        client.command("MAIL FROM:<jane@example.net>").expect("250");
        for name in ["example.com", "example.org", "example.edu"] {
            let reply = client.command(&format!("RCPT TO:<john@{name}>"));
            reply.expect("250");
        }
        client.command("DATA").expect("354");
        let content = format!("Subject: s\n\n{body}.\n").replace('\n', "\r\n");
        client.send(content.as_bytes());
        client.reply().expect("250");
        for (name, header) in [
            ("example.com", "Subject: s\nX-For: com\n"),
            ("example.org", "Subject: s\nX-For: org\n"),
            ("example.edu", "Subject: s\n"),
        ] {
            let expected = format!("{header}\n{body}").replace('\n', "\r\n");
            let messages = daemon.maildir(name, "john").wait(count);
            let mut found = messages
                .iter()
                .filter(|found| found.ends_with(expected.as_bytes()));
            assert!(found.next().is_some(), "{name} {count}");
        }
    }
    client.quit();
    daemon.stop();
}

fn files_from_the_daemon() {
    let incoming =
        "#{ preq: [ action \"keep\" || { fs::write(\"copies\"); fs::dump(\"copies\"); } ] }";
    let configuration =
        Configuration::new().domain("example.com", |d| d.rules("incoming.vsl", incoming));
    let mut daemon = Daemon::start(configuration);
    let content = [
        b"Subject: s\r\n\r\n".as_slice(),
        &b"line\r\n".repeat(100_000),
    ]
    .concat();
    let mut client = Client::hello(daemon.smtp());
    let reply = client.deliver("jane@example.net", "john@example.com", &content);
    reply.expect("250");
    client.quit();
    let copies = daemon.configuration().state().join("app/copies");
    let mut files: Vec<_> = fs::read_dir(copies)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let [message, json] = files.as_slice() else {
        panic!("{files:?}");
    };
    assert!(fs::read(message).unwrap() == content);
    let json: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(json["rcpt_list"][0], "john@example.com");
    assert_eq!(json["body"].as_str().map(str::len), Some(600_000));
    daemon.stop();
}

fn endless_header() {
    let mut daemon = Daemon::start(Configuration::new().domain("example.com", |d| d));
    let mut client = Client::hello(daemon.smtp());
    let content = b"X-Long: a line of a header section\r\n".repeat(40_000);
    let reply = client.deliver("jane@example.net", "john@example.com", &content);
    reply.expect("552 5.3.4");
    let reply = client.deliver(
        "jane@example.net",
        "john@example.com",
        b"Subject: s\r\n\r\n",
    );
    reply.expect("250");
    client.quit();
    daemon.maildir("example.com", "john").wait(1);
    daemon.stop();
}

fn refused_message() {
    let incoming =
        "#{ preq: [ rule \"no\" || { msg::append_header(\"A\", \"b\"); state::deny() } ] }";
    let configuration =
        Configuration::new().domain("example.com", |d| d.rules("incoming.vsl", incoming));
    let mut daemon = Daemon::start(configuration);
    let mut client = Client::hello(daemon.smtp());
    let content = b"line: x\r\n".repeat(50_000);
    let reply = client.deliver("jane@example.net", "john@example.com", &content);
    reply.expect("554 5.7.1");
    client.quit();
    let bodies = daemon.configuration().state().join("bodies");
    let left: Vec<_> = fs::read_dir(bodies).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    daemon.stop();
}
