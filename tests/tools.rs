//! The queue's tools, as an operator runs them, against the real daemon and its real queue.

use crate::support::{
    Client, Configuration, Daemon, Hop, PATIENCE, PROGRAM, Start, is_root, run, unprivileged,
    wait_for,
};
use libtest_mimic::Trial;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};
use vsmtp::mail::{Address, Envelope};
use vsmtp::queue::{Options, Outcome, Queue, Schedule, State};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_deferred_message_is_listed_and_shown", deferred),
        trial("octets_come_as_they_are_sent", octets),
        trial("retry_does_not_wait", retry),
        trial("what_is_held_stays_held_over_a_restart", held),
        trial("a_domain_stands_for_its_recipients", domains),
        trial("remove_forgets_and_tells_nobody", remove),
        trial(
            "names_may_be_cut_short_while_they_are_unique",
            abbreviations,
        ),
        trial("stats_counts_by_destination_and_age", stats),
        trial("vqueue_is_another_name", vqueue),
        trial("without_a_daemon_nothing_is_changed", down),
        trial(
            "without_a_daemon_the_queue_is_read_and_left_as_it_is",
            offline,
        ),
        trial("a_queue_that_somebody_has_is_left_alone", locked),
        trial("export_writes_files_and_none_over_another", export),
        trial("strangers_learn_nothing", strangers),
        trial("quarantines_are_looked_after", quarantine),
        trial("thousands_are_listed_at_once", thousands),
        trial("the_socket_comes_and_goes_with_the_daemon", socket),
        trial("whoever_misbehaves_holds_up_nobody", misbehaviour),
    ]
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(format!("tools::{name}"), || {
        test();
        Ok(())
    })
}

const TRUSTING: &str = r#"#{ connect: [ rule "everybody" || state::faccept() ] }"#;
const CONTENT: &[u8] = b"Subject: far away\r\n\r\n.hello\r\n";

/// A server that tries mail for far.example and other.example at a port where nobody listens, and then not for an hour.
fn waiting_at(address: SocketAddr) -> Configuration {
    let transport = format!("\"smtp://{address}\"");
    Configuration::new()
        .filter(TRUSTING)
        .set("server.queues.delivery.retry_min", "\"1h\"")
        .domain("home.example", |domain| domain)
        .domain("far.example", |domain| domain.set("transport", &transport))
        .domain("other.example", |domain| {
            domain.set("transport", &transport)
        })
}

/// A port at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn send(daemon: &mut Daemon, recipients: &[&str]) {
    let mut client = Client::hello(daemon.smtp());
    client
        .command("MAIL FROM:<jane@home.example>")
        .expect("250");
    for recipient in recipients {
        client
            .command(&format!("RCPT TO:<{recipient}>"))
            .expect("250");
    }
    client.data(CONTENT).expect("250");
    client.quit();
}

/// `vsmtp queue` with `arguments`.
fn tool(configuration: &Configuration, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("queue").args(arguments);
    command.arg("--config").arg(configuration.root());
    command
}

/// What it prints; it must be content.
#[track_caller]
fn queue(configuration: &Configuration, arguments: &[&str]) -> String {
    run(&mut tool(configuration, arguments), "").success()
}

/// What it complains about when it fails with `code`.
#[track_caller]
fn fails(command: &mut Command, code: i32) -> String {
    let output = run(command, "");
    assert_eq!(output.status.code(), Some(code), "{command:?} {output:#?}");
    output.stderr
}

fn list(configuration: &Configuration, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["list", "--json"], arguments].concat();
    let printed = queue(configuration, &arguments);
    let lines = printed.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The messages of the queue, once there are so many and each recipient is in `state`.
fn wait_until(configuration: &Configuration, count: usize, state: &str) -> Vec<Value> {
    wait_for(&format!("{count} messages, {state}"), || {
        let messages = list(configuration, &[]);
        let states = messages
            .iter()
            .flat_map(|m| m["recipients"].as_array().unwrap());
        let all = states
            .into_iter()
            .all(|recipient| recipient["state"] == state);
        (messages.len() == count && all).then_some(messages)
    })
}

fn id(message: &Value) -> &str {
    message["id"].as_str().unwrap()
}

fn deferred() {
    let address = nobody();
    let mut daemon = Daemon::start(waiting_at(address));
    let configuration = daemon.configuration();
    assert_eq!(
        queue(configuration, &["list"]),
        "0 messages, 0 recipients\n"
    );
    send(&mut daemon, &["john@far.example", "jim@far.example"]);
    let configuration = daemon.configuration();
    let messages = wait_until(configuration, 1, "deferred");
    let message = &messages[0];
    assert_eq!(message["sender"], "jane@home.example");
    let john = &message["recipients"][0];
    assert_eq!(john["address"], "john@far.example");
    assert_eq!(john["attempts"], 1);
    assert_eq!(john["error"]["status"], "4.4.1", "{john}");
    let id = id(message);

    let text = queue(configuration, &["list"]);
    assert!(text.starts_with(id), "{text}");
    for part in [
        "<jane@home.example>",
        "    john@far.example  deferred, 1 attempt, next in ",
        "    jim@far.example  deferred, 1 attempt, next in ",
        ": 4.4.1 ",
        "\n1 message, 2 recipients\n",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let text = queue(configuration, &["show", id]);
    let field = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    for (name, value) in [
        ("Message", id),
        ("Sender", "<jane@home.example>"),
        ("Expires", "(in 4d)"),
        ("Size", " octets"),
        ("Recipient", "john@far.example"),
        ("State", "deferred"),
        ("Attempts", "1"),
        ("Next", "(in "),
        ("Because", "4.4.1 "),
    ] {
        assert!(field(name).contains(value), "{name}: {text}");
    }
    let shown: Value =
        serde_json::from_str(&queue(configuration, &["show", id, "--json"])).unwrap();
    let octets = queue(configuration, &["cat", id]);
    assert_eq!(shown["size"], octets.len());
}

fn octets() {
    let mut daemon = Daemon::start(waiting_at(nobody()));
    send(&mut daemon, &["john@far.example"]);
    let mut client = Client::hello(daemon.smtp());
    let large = [
        b"Subject: large\r\n\r\n".to_vec(),
        b"0123456789abcdef\r\n".repeat(20_000),
    ]
    .concat();
    client
        .deliver("jane@home.example", "john@far.example", &large)
        .expect("250");
    let configuration = daemon.configuration();
    let messages = wait_until(configuration, 2, "deferred");
    let small = queue(configuration, &["cat", id(&messages[0])]);
    assert!(
        small.starts_with("Received: from client.example.net"),
        "{small}"
    );
    assert!(
        small.ends_with("\r\nSubject: far away\r\n\r\n.hello\r\n"),
        "{small}"
    );
    let whole = queue(configuration, &["cat", id(&messages[1])]);
    assert!(whole.ends_with(std::str::from_utf8(&large).unwrap()));
    let json = queue(configuration, &["cat", "--json", id(&messages[0])]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["id"], messages[0]["id"]);
    use base64::Engine;
    let octets = base64::engine::general_purpose::STANDARD.decode(json["base64"].as_str().unwrap());
    assert_eq!(octets.unwrap(), small.as_bytes());
}

fn retry() {
    let address = nobody();
    let mut daemon = Daemon::start(waiting_at(address));
    send(&mut daemon, &["john@far.example"]);
    send(&mut daemon, &["john@far.example"]);
    let configuration = daemon.configuration();
    let messages = wait_until(configuration, 2, "deferred");
    let said = queue(configuration, &["retry", id(&messages[0])]);
    assert_eq!(said, "due now: 1 message for 1 recipient\n");
    wait_for("a second attempt", || {
        let messages = list(configuration, &[]);
        (messages[0]["recipients"][0]["attempts"] == 2).then_some(())
    });
    let hop = Hop::start_at(TcpListener::bind(address).unwrap(), |_, _| None);
    wait_until(configuration, 2, "deferred");
    let said: Value = serde_json::from_str(&queue(configuration, &["retry", "--json"])).unwrap();
    assert_eq!((&said["messages"], &said["seen"]), (&2.into(), &2.into()));
    wait_until(configuration, 0, "");
    assert_eq!(hop.sessions().concat().matches("RCPT").count(), 2);
}

fn held() {
    let address = nobody();
    let mut daemon = Daemon::start(waiting_at(address));
    send(&mut daemon, &["john@far.example"]);
    send(&mut daemon, &["john@other.example"]);
    let configuration = daemon.configuration();
    let messages = wait_until(configuration, 2, "deferred");
    let said = queue(configuration, &["hold"]);
    assert_eq!(said, "held: 2 messages for 2 recipients\n");
    assert_eq!(
        queue(configuration, &["hold"]),
        "held: 0 messages for 0 recipients\n"
    );
    daemon.wait_for_log(&["messages held by an operator"]);

    let mut daemon = Daemon::start(daemon.stop().configuration);
    let hop = Hop::start_at(TcpListener::bind(address).unwrap(), |_, _| None);
    let configuration = daemon.configuration();
    assert_eq!(
        queue(configuration, &["retry"]),
        "due now: 0 messages for 0 recipients\n"
    );
    // What comes now goes, and shows that the daemon delivers.
    send(&mut daemon, &["jim@far.example"]);
    let configuration = daemon.configuration();
    let held = wait_until(configuration, 2, "held");
    assert_eq!(hop.sessions().concat().matches("RCPT").count(), 1);
    assert_eq!(
        [id(&held[0]), id(&held[1])],
        [id(&messages[0]), id(&messages[1])]
    );

    queue(configuration, &["release", id(&held[1])]);
    wait_until(configuration, 1, "held");
    queue(configuration, &["release"]);
    wait_until(configuration, 0, "");
    assert_eq!(hop.sessions().concat().matches("RCPT").count(), 3);
}

fn domains() {
    let mut daemon = Daemon::start(waiting_at(nobody()));
    send(&mut daemon, &["john@far.example", "jim@other.example"]);
    send(&mut daemon, &["john@other.example"]);
    let configuration = daemon.configuration();
    wait_until(configuration, 2, "deferred");
    assert_eq!(list(configuration, &["FAR.example"]).len(), 1);
    assert_eq!(list(configuration, &["other.example"]).len(), 2);
    let said = queue(configuration, &["hold", "other.example"]);
    assert_eq!(said, "held: 2 messages for 2 recipients\n");
    let states = |message: &Value| {
        let states = message["recipients"].as_array().unwrap().iter();
        states
            .map(|r| r["state"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let messages = list(configuration, &[]);
    assert_eq!(states(&messages[0]), ["deferred", "held"]);
    assert_eq!(states(&messages[1]), ["held"]);
    let said = queue(configuration, &["remove", "@other.example"]);
    assert_eq!(said, "removed: 2 messages for 2 recipients\n");
    let messages = list(configuration, &[]);
    assert_eq!(messages.len(), 1);
    assert_eq!(states(&messages[0]), ["deferred"]);
}

fn remove() {
    let mut daemon = Daemon::start(waiting_at(nobody()));
    for _ in 0..3 {
        send(&mut daemon, &["john@far.example"]);
    }
    let mut client = Client::hello(daemon.smtp());
    let large = [b"\r\n".to_vec(), b"0123456789abcdef\r\n".repeat(20_000)].concat();
    client
        .deliver("jane@home.example", "john@far.example", &large)
        .expect("250");
    let configuration = daemon.configuration();
    let messages = wait_until(configuration, 4, "deferred");
    let bodies = configuration.state().join("bodies");
    assert_eq!(std::fs::read_dir(&bodies).unwrap().count(), 1);
    queue(
        configuration,
        &["remove", id(&messages[0]), id(&messages[3])],
    );
    assert_eq!(std::fs::read_dir(&bodies).unwrap().count(), 0);
    let left = list(configuration, &[]);
    assert_eq!(
        [id(&left[0]), id(&left[1])],
        [id(&messages[1]), id(&messages[2])]
    );
    // Everything only when that is said.
    fails(&mut tool(configuration, &["remove"]), 2);
    let said = queue(configuration, &["remove", "--all"]);
    assert_eq!(said, "removed: 2 messages for 2 recipients\n");
    let daemon = Daemon::start(daemon.stop().configuration);
    assert_eq!(list(daemon.configuration(), &[]).len(), 0);
    assert!(!daemon.log().contains("notification"), "{}", daemon.log());
}

fn abbreviations() {
    let mut daemon = Daemon::start(waiting_at(nobody()));
    send(&mut daemon, &["john@far.example"]);
    send(&mut daemon, &["john@far.example"]);
    let configuration = daemon.configuration();
    let messages = wait_until(configuration, 2, "deferred");
    let (first, second) = (id(&messages[0]), id(&messages[1]));
    let common = first
        .bytes()
        .zip(second.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let unique = &second[..=common];
    let shown = queue(configuration, &["show", unique]);
    assert!(shown.contains(second), "{shown}");
    for (arguments, code, complaint) in [
        (["show", &first[..common]], 65, "several messages begin so"),
        (["cat", "ffff"], 66, "no such message: ffff"),
        (["show", "far.example"], 66, "no such message: @far.example"),
        (["retry", "ffff"], 66, "no such message"),
        (["hold", &first[..common]], 65, "several messages begin so"),
        (["retry", "spam/"], 74, "released or removed"),
        (["release", "spam/"], 66, "no such message: spam/"),
        (["list", "a@b.org"], 2, "neither a message's id"),
    ] {
        let complaints = fails(&mut tool(configuration, &arguments), code);
        assert!(
            complaints.contains(complaint),
            "{arguments:?}: {complaints}"
        );
    }
}

fn stats() {
    let mut daemon = Daemon::start(waiting_at(nobody()));
    send(
        &mut daemon,
        &["john@far.example", "jim@far.example", "joe@other.example"],
    );
    let configuration = daemon.configuration();
    wait_until(configuration, 1, "deferred");
    let text = queue(configuration, &["stats"]);
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0][..3], ["T", "5", "10"], "{text}");
    assert_eq!(rows[1][..4], ["TOTAL", "3", "3", "0"], "{text}");
    assert_eq!(rows[2][..3], ["far.example", "2", "2"], "{text}");
    assert_eq!(rows[3][..3], ["other.example", "1", "1"], "{text}");
    let json: Value = serde_json::from_str(&queue(configuration, &["stats", "--json"])).unwrap();
    assert_eq!(json["destinations"][1]["domain"], "other.example");
    assert_eq!(json["ages"][0], 3);
}

fn vqueue() {
    let daemon = Daemon::start(waiting_at(nobody()));
    let configuration = daemon.configuration();
    let link = configuration.scratch().join("vqueue");
    symlink(PROGRAM, &link).unwrap();
    let mut command = Command::new(link);
    command
        .arg("list")
        .arg("--config")
        .arg(configuration.root());
    assert_eq!(
        run(&mut command, "").success(),
        "0 messages, 0 recipients\n"
    );
}

fn down() {
    let daemon = Daemon::start(waiting_at(nobody()));
    let configuration = daemon.stop().configuration;
    for arguments in [
        &["retry"][..],
        &["hold"],
        &["release"],
        &["remove", "--all"],
    ] {
        let complaint = fails(&mut tool(&configuration, arguments), 69);
        assert!(
            complaint.contains("while the daemon is down"),
            "{complaint}"
        );
    }
}

/// Every file below `folder`: its name, its content, and when it was changed.
fn files(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.is_file() {
            let changed = path.metadata().unwrap().modified().unwrap();
            files.insert(path.clone(), (std::fs::read(&path).unwrap(), changed));
        }
    }
    files
}

fn offline() {
    let quarantined = r#"#{
        rcpt: [ rule "q" || if ctx::rcpt().local_part == "q" { state::quarantine("q") } ],
    }"#;
    let configuration = waiting_at(nobody())
        .filter(r#"#{ mail: [ rule "anybody" || state::accept() ] }"#)
        .domain("home.example", |domain| {
            domain.rules("incoming.vsl", quarantined)
        });
    let mut daemon = Daemon::start(configuration);
    let mut client = Client::hello(daemon.smtp());
    client
        .deliver("a@b.example", "q@home.example", CONTENT)
        .expect("250");
    for _ in 0..20 {
        send(&mut daemon, &["john@far.example", "jim@other.example"]);
    }
    let large = [b"\r\n".to_vec(), b"0123456789abcdef\r\n".repeat(20_000)].concat();
    client
        .deliver("a@b.example", "john@far.example", &large)
        .expect("250");
    let configuration = daemon.configuration();
    let online = wait_until(configuration, 21, "deferred");
    let kept = wait_for("a message in quarantine", || {
        list(configuration, &["--quarantine"]).pop()
    });
    let name = format!("q/{}", id(&kept));
    let commands = [
        &["list"][..],
        &["list", "--json", "other.example"],
        &["show", "--json", id(&online[3])],
        &["cat", id(&online[0])],
        &["cat", id(&online[20])],
        &["cat", &name],
        &["stats"],
    ];
    let answers = commands.map(|arguments| queue(configuration, arguments));
    // An orderly end, and a crash.
    let configuration = daemon.stop().configuration;
    let stopped = commands.map(|arguments| offline_answer(&configuration, arguments));
    let configuration = Daemon::start(configuration).kill();
    let killed = commands.map(|arguments| offline_answer(&configuration, arguments));
    for (index, online) in answers.iter().enumerate() {
        for offline in [&stopped[index], &killed[index]] {
            let arguments = commands[index];
            // Ages have changed meanwhile.
            let same = match arguments[0] {
                "list" if arguments.len() == 1 => offline.lines().count() == online.lines().count(),
                _ => offline == online,
            };
            assert!(same, "{arguments:?}: {online} {offline}");
        }
    }
    let daemon = Daemon::start(configuration);
    assert_eq!(list(daemon.configuration(), &[]).len(), 21);
}

fn offline_answer(configuration: &Configuration, arguments: &[&str]) -> String {
    let before = files(&configuration.state());
    let output = run(&mut tool(configuration, arguments), "");
    assert!(
        output.stderr.contains("the daemon is not running"),
        "{output:#?}"
    );
    assert!(
        files(&configuration.state()) == before,
        "{arguments:?} has changed the spool"
    );
    output.success()
}

fn locked() {
    let mut daemon = Daemon::start(waiting_at(nobody()));
    send(&mut daemon, &["john@far.example"]);
    wait_until(daemon.configuration(), 1, "deferred");
    let configuration = daemon.stop().configuration;
    let lock = std::fs::File::open(configuration.state().join("lock")).unwrap();
    lock.lock().unwrap();
    let complaint = fails(&mut tool(&configuration, &["list"]), 75);
    assert!(
        complaint.contains("a daemon has this queue, but nobody answers"),
        "{complaint}"
    );
    drop(lock);
    assert_eq!(list(&configuration, &[]).len(), 1);
    std::fs::remove_dir_all(configuration.state()).unwrap();
    let complaint = fails(&mut tool(&configuration, &["list"]), 69);
    assert!(
        complaint.contains("the daemon is not running"),
        "{complaint}"
    );
}

fn export() {
    let mut daemon = Daemon::start(waiting_at(nobody()));
    send(&mut daemon, &["john@far.example"]);
    send(&mut daemon, &["jim@other.example"]);
    let configuration = daemon.configuration();
    let messages = wait_until(configuration, 2, "deferred");
    let first = configuration.scratch().join("first/folder");
    let first = first.to_str().unwrap();
    let said = queue(configuration, &["export", first]);
    assert_eq!(said, format!("2 messages in {first}\n"));
    let complaint = fails(&mut tool(configuration, &["export", first]), 74);
    assert!(complaint.contains("File exists"), "{complaint}");
    let octets = queue(configuration, &["cat", id(&messages[0])]);

    let configuration = daemon.stop().configuration;
    let second = configuration.scratch().join("second");
    let said = queue(
        &configuration,
        &[
            "export",
            "--json",
            second.to_str().unwrap(),
            "other.example",
        ],
    );
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["id"], messages[1]["id"]);
    assert_eq!(std::fs::read_dir(&second).unwrap().count(), 2);
    let file = |folder: &Path, message: &Value, kind: &str| {
        let path = folder.join(id(message)).with_extension(kind);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::read_to_string(path).unwrap()
    };
    assert_eq!(file(Path::new(first), &messages[0], "eml"), octets);
    for folder in [Path::new(first), &second] {
        let envelope: Value = serde_json::from_str(&file(folder, &messages[1], "json")).unwrap();
        assert_eq!(envelope["recipients"], messages[1]["recipients"]);
        assert_eq!(envelope["size"], file(folder, &messages[1], "eml").len());
    }
}

/// The program where everybody can execute it, to be run by somebody without rights who is not the daemon either.
fn stranger(configuration: &Configuration) -> Command {
    let copy = configuration.scratch().join("stranger");
    if !copy.exists() {
        std::fs::copy(PROGRAM, &copy).unwrap();
    }
    let (user, _) = unprivileged();
    let daemon = nix::unistd::User::from_name(&user).unwrap().unwrap();
    let mut command = Command::new(copy);
    let uid = daemon.uid.as_raw() - 1;
    command.uid(uid).gid(uid);
    command
}

fn strangers() {
    if !is_root() {
        return;
    }
    let mut daemon = Daemon::start(waiting_at(nobody()));
    send(&mut daemon, &["john@far.example"]);
    let configuration = daemon.configuration();
    let messages = wait_until(configuration, 1, "deferred");
    for arguments in [
        &["list"][..],
        &["stats"],
        &["cat", id(&messages[0])],
        &["remove", "--all"],
    ] {
        let mut command = stranger(configuration);
        command.arg("queue").args(arguments);
        command.arg("--config").arg(configuration.root());
        let complaint = fails(&mut command, 77);
        assert!(
            complaint.contains("only root and the user of the daemon"),
            "{complaint}"
        );
    }
    let mut own = stranger(configuration);
    let user = nix::unistd::User::from_name(&unprivileged().0)
        .unwrap()
        .unwrap();
    own.uid(user.uid.as_raw())
        .args(["queue", "list", "--config"]);
    own.arg(configuration.root());
    let listed = run(&mut own, "").success();
    assert!(listed.contains(id(&messages[0])), "{listed}");

    // A spool that is closed is closed to them altogether.
    let state = configuration.state();
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();
    let mut command = stranger(configuration);
    command
        .args(["queue", "list", "--config"])
        .arg(configuration.root());
    let complaint = fails(&mut command, 77);
    assert!(complaint.contains("state/control"), "{complaint}");
}

fn quarantine() {
    let rules = r#"#{ postq: [ rule "spam" || state::quarantine("Spam.more") ] }"#;
    let configuration =
        Configuration::new().domain("home.example", |domain| domain.rules("incoming.vsl", rules));
    let mut daemon = Daemon::start(configuration);
    let mut client = Client::hello(daemon.smtp());
    for number in 0..3 {
        client.command("MAIL FROM:<joe@else.example>").expect("250");
        client.command("RCPT TO:<john@home.example>").expect("250");
        client.command("RCPT TO:<jim@home.example>").expect("250");
        let content = format!("Subject: {number}\r\n\r\ncaf\u{e9}\r\n\r\n");
        client.data(content.as_bytes()).expect("250");
    }
    let configuration = daemon.configuration();
    let messages = wait_for("three messages in quarantine", || {
        Some(list(configuration, &["--quarantine"])).filter(|messages| messages.len() == 3)
    });
    wait_until(configuration, 0, "");
    assert_eq!(messages[0]["sender"], "joe@else.example");
    assert_eq!(messages[0]["recipients"][1]["address"], "jim@home.example");
    assert_eq!(messages[0]["recipients"][1]["state"], "quarantined");
    let folder = messages[0]["quarantine"].as_str().unwrap();
    assert_eq!(
        list(configuration, &[&format!("--quarantine={folder}")]),
        messages
    );
    let names: Vec<String> = messages
        .iter()
        .map(|m| format!("{folder}/{}", id(m)))
        .collect();

    let text = queue(configuration, &["list", "--quarantine"]);
    assert!(text.starts_with(&names[0]), "{text}");
    let text = queue(configuration, &["show", &names[1]]);
    assert!(text.contains("jim@home.example"), "{text}");
    let octets = queue(configuration, &["cat", &names[1]]);
    assert!(octets.starts_with("Received: from client"), "{octets}");
    assert!(
        octets.ends_with("\r\nSubject: 1\r\n\r\ncaf\u{e9}\r\n\r\n"),
        "{octets}"
    );

    queue(configuration, &["remove", &names[0]]);
    let said = queue(configuration, &["release", &names[1]]);
    assert_eq!(said, "released: 1 message for 2 recipients\n");
    for user in ["john", "jim"] {
        let message = daemon.maildir("home.example", user).wait_one();
        assert!(
            message.starts_with("Return-Path: <joe@else.example>\r\n"),
            "{message}"
        );
        assert!(
            message.ends_with("\r\nSubject: 1\r\n\r\ncaf\u{e9}\r\n\r\n"),
            "{message}"
        );
    }
    assert_eq!(list(configuration, &["--quarantine"]).len(), 1);
    fails(&mut tool(configuration, &["show", &names[1]]), 66);
    queue(configuration, &["remove", &format!("{folder}/")]);
    assert_eq!(list(configuration, &["--quarantine"]).len(), 0);
}

/// Fills the spool of a daemon that is not running with messages that wait for their next attempt.
fn fill(configuration: &Configuration, count: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let hour = Duration::from_secs(3600);
        let options = Options {
            dirpath: configuration.state(),
            schedule: Schedule {
                retry_min: hour,
                retry_max: hour,
                lifetime: hour * 48,
                warn_after: hour * 48,
                attempts_max: None,
            },
        };
        let queue = Queue::open(&options).unwrap();
        let mut commits = tokio::task::JoinSet::new();
        for number in 0..count {
            let queue = queue.clone();
            commits.spawn(async move {
                let to =
                    Address::parse(&format!("user{number}@host{}.example", number % 7)).unwrap();
                let mut draft = queue.draft(queue.next_id());
                draft.append(CONTENT).await.unwrap();
                let envelope = Envelope {
                    recipients: vec![to.into()],
                    ..Envelope::default()
                };
                queue.commit(draft, String::new(), envelope).await.unwrap();
                let entry = queue.next_due().await;
                let deferred = Outcome {
                    index: 0,
                    state: State::Deferred,
                };
                queue.settle(&entry, &[deferred]).await.unwrap();
            });
        }
        while let Some(done) = commits.join_next().await {
            done.unwrap();
        }
    });
    drop(runtime);
    if is_root() {
        let (user, group) = unprivileged();
        let mut chown = Command::new("chown");
        chown
            .arg("-R")
            .arg(format!("{user}:{group}"))
            .arg(configuration.state());
        run(&mut chown, "").success();
    }
}

fn thousands() {
    const COUNT: usize = 5000;
    let configuration = waiting_at(nobody());
    fill(&configuration, COUNT);
    let daemon = Daemon::start(configuration);
    let configuration = daemon.configuration();
    let start = Instant::now();
    let messages = list(configuration, &[]);
    assert_eq!(messages.len(), COUNT);
    assert!(messages.windows(2).all(|pair| id(&pair[0]) < id(&pair[1])));
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    let said = queue(configuration, &["hold", "host3.example"]);
    assert!(said.starts_with("held: 714 messages"), "{said}");
    let text = queue(configuration, &["stats", "--rows", "2"]);
    assert!(text.contains("\nand 5 destinations\n"), "{text}");
    let start = Instant::now();
    let said = queue(configuration, &["remove", "--all"]);
    assert_eq!(said, "removed: 5000 messages for 5000 recipients\n");
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(list(configuration, &[]).len(), 0);
}

fn socket() {
    let daemon = Daemon::start(waiting_at(nobody()));
    let path = daemon.configuration().state().join("control");
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let configuration = daemon.stop().configuration;
    assert!(!path.exists());

    // What a crash leaves behind gives way.
    let daemon = Daemon::start(configuration);
    let configuration = daemon.kill();
    assert!(path.exists());
    let daemon = Daemon::start(configuration);
    queue(daemon.configuration(), &["list"]);
    let configuration = daemon.stop().configuration;

    // Another daemon's socket does not, and nobody takes its queue for ours.
    let _other = UnixListener::bind(&path).unwrap();
    let exit = Start::new(configuration).exit();
    assert_eq!(exit.status.code(), Some(73), "{}", exit.log);
    assert!(
        exit.log.contains("another daemon answers there"),
        "{}",
        exit.log
    );
    let other = Daemon::start(waiting_at(nobody()));
    std::fs::remove_file(&path).unwrap();
    symlink(other.configuration().state().join("control"), &path).unwrap();
    let complaint = fails(&mut tool(&exit.configuration, &["retry"]), 69);
    assert!(
        complaint.contains("while the daemon is down"),
        "{complaint}"
    );
}

fn misbehaviour() {
    use std::io::{Read, Write};
    let mut daemon = Daemon::start(waiting_at(nobody()));
    let path = daemon.configuration().state().join("control");
    let connect = || {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let said = |request: &[u8]| {
        let mut stream = connect();
        // The answer may come before all of the question is read.
        let _ = stream.write_all(request);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let long = [b"{\"op\":\"".to_vec(), vec![b'x'; 100_000], b"\n".to_vec()].concat();
    for request in [
        &b"\n"[..],
        b"list\n",
        b"{\"op\":\"fly\"}\n",
        b"{\"op\":\"show\",\"target\":\"a b\"}\n",
    ] {
        let answer = said(request);
        assert!(answer.contains("\"malformed\""), "{answer}");
    }
    assert!(!said(&long).contains("done"));
    // More than are served at a time who say nothing, and one that never reads: whoever comes next waits a little.
    let idle: Vec<UnixStream> = (0..70).map(|_| connect()).collect();
    let mut deaf = connect();
    deaf.write_all(b"{\"op\":\"list\",\"targets\":[]}\n")
        .unwrap();
    send(&mut daemon, &["john@home.example"]);
    daemon.maildir("home.example", "john").wait_one();
    queue(daemon.configuration(), &["list"]);
    drop((idle, deaf));
    daemon.stop();
}
