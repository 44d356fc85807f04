//! `sendmail`, as the programs of a machine run it, against the real daemon.

use crate::support::{
    Configuration, Daemon, Output, PROGRAM, is_root, run, unprivileged, wait_for,
};
use libtest_mimic::Trial;
use nix::unistd::{User, getuid};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("cron_sends_what_a_job_prints", cron),
        trial("recipients_stand_in_the_header", header),
        trial("a_dot_ends_the_message_or_not", dots),
        trial("smtp_on_standard_streams", smtp),
        trial("exit_codes_say_what_to_do", exit_codes),
        trial("without_a_daemon_try_again_later", down),
        trial("a_restart_is_waited_for", restart),
        trial("what_was_handed_in_survives_a_crash", crash),
        trial("rules_of_the_network_are_not_for_local_mail", rules),
        trial("senders_hear_what_they_wish", wishes),
        trial("large_and_eight_bit", large),
        trial("anybody_may_send_and_nobody_looks", strangers),
        trial("other_names_of_the_same", names),
    ]
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(format!("sendmail::{name}"), || {
        test();
        Ok(())
    })
}

/// A machine whose users have mailboxes.
fn machine() -> Configuration {
    Configuration::new()
        .set("server.name", "\"mx.home.example\"")
        .set("server.queues.delivery.retry_min", "\"1h\"")
        .domain("home.example", |domain| {
            domain
                .set("mailboxes", "[\"john\", \"jane\"]")
                .set("aliases", "#{ root: [\"john@home.example\"] }")
        })
}

fn sendmail(configuration: &Configuration, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("sendmail").arg("-C").arg(configuration.root());
    command.args(arguments);
    command
}

#[track_caller]
fn sends(daemon: &Daemon, arguments: &[&str], message: &str) {
    let output = run(&mut sendmail(daemon.configuration(), arguments), message);
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:#?}"
    );
    output.success();
}

#[track_caller]
fn fails(output: Output, code: i32, complaint: &str) {
    assert_eq!(output.status.code(), Some(code), "{output:#?}");
    assert!(output.stderr.starts_with("sendmail: "), "{output:#?}");
    assert!(output.stderr.contains(complaint), "{output:#?}");
}

/// The user who runs the tests.
fn me() -> String {
    User::from_uid(getuid()).unwrap().unwrap().name
}

fn cron() {
    let daemon = Daemon::start(machine());
    let arguments = ["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "-odi", "root"];
    sends(
        &daemon,
        &arguments,
        "Subject: Cron <root@mx> job\nX-Cron: yes\n\n10%\r20%\r\ndone",
    );
    let message = daemon.maildir("home.example", "john").wait_one();
    let me = me();
    for part in [
        &format!("Return-Path: <{me}@mx.home.example>\r\n"),
        &format!(
            "Received: by mx.home.example (from user {me}, uid {}) id ",
            getuid()
        ),
        "\r\nX-Cron: yes\r\n",
        &format!("\r\nFrom: \"CronDaemon\" <{me}@mx.home.example>\r\n"),
        "\r\nDate: ",
        "\r\nMessage-ID: <",
        "@mx.home.example>\r\n\r\n10%\r\n20%\r\ndone\r\n",
    ] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
    assert_eq!(message.matches("\r\nFrom: ").count(), 1, "{message}");
    let line = daemon.wait_for_log(&["message accepted", "submission{uid="]);
    assert!(!line.contains("user="), "{line}");
}

fn header() {
    let daemon = Daemon::start(machine());
    let message = "From: jane@home.example\nTo: John <john@home.example>\n\
        Bcc: jane,\n (x) john@home.example\nDate: today\nMessage-ID: <a@b>\n\nhello\n";
    sends(&daemon, &["-t", "-oi", "-f", "jane@home.example"], message);
    for user in ["john", "jane"] {
        let message = daemon.maildir("home.example", user).wait_one();
        let start = format!("Return-Path: <jane@home.example>\r\nDelivered-To: {user}@");
        assert!(message.starts_with(&start), "{message}");
        let end = "From: jane@home.example\r\nTo: John <john@home.example>\r\n\
            Date: today\r\nMessage-ID: <a@b>\r\n\r\nhello\r\n";
        assert!(message.ends_with(end), "{message}");
        assert!(!message.contains("Bcc"), "{message}");
    }
}

fn dots() {
    let daemon = Daemon::start(machine());
    sends(
        &daemon,
        &["-f", "<>", "john"],
        "Subject: a\n\n.\nnot sent\n",
    );
    let message = daemon.maildir("home.example", "john").wait_one();
    assert!(message.starts_with("Return-Path: <>\r\n"), "{message}");
    assert!(
        message.contains("\r\nFrom: postmaster@mx.home.example\r\n"),
        "{message}"
    );
    assert!(message.ends_with("\r\n\r\n"), "{message}");
    sends(&daemon, &["-oi", "jane"], "hello\n.\n..\n.x\n");
    let message = daemon.maildir("home.example", "jane").wait_one();
    assert!(
        message.ends_with("\r\n\r\nhello\r\n.\r\n..\r\n.x\r\n"),
        "{message}"
    );
}

fn smtp() {
    let daemon = Daemon::start(machine());
    let dialogue = "EHLO localhost\r\nMAIL FROM:<jane@home.example>\r\nRCPT TO:<nobody@home.example>\r\n\
        RCPT TO:<john@home.example>\r\nDATA\r\nSubject: a\r\n\r\n..hello\r\n.\r\nQUIT\r\n";
    let said = run(&mut sendmail(daemon.configuration(), &["-bs"]), dialogue).success();
    let replies: Vec<&str> = said
        .lines()
        .filter(|line| line.as_bytes()[3] == b' ')
        .collect();
    let expected = [
        "220 mx.home.example ",
        "250 ",
        "250 2.1.0 ",
        "550 5.1.1 No such mailbox",
        "250 2.1.5 ",
        "354 ",
        "250 2.0.0 ",
        "221 ",
    ];
    assert_eq!(replies.len(), expected.len(), "{said}");
    for (reply, expected) in replies.iter().zip(expected) {
        assert!(reply.starts_with(expected), "{expected} {said}");
    }
    assert!(
        !said.contains("STARTTLS") && !said.contains("AUTH"),
        "{said}"
    );
    let message = daemon.maildir("home.example", "john").wait_one();
    assert!(
        message.contains("\r\nFrom: jane@home.example\r\n"),
        "{message}"
    );
    assert!(message.ends_with("\r\n\r\n.hello\r\n"), "{message}");
    // Whoever hangs up has sent nothing.
    let half = "HELO me\r\nMAIL FROM:<>\r\nRCPT TO:<jane@home.example>\r\nDATA\r\nhalf a mess";
    run(&mut sendmail(daemon.configuration(), &["-bs"]), half).success();
    daemon.wait_for_log(&["its end did not arrive"]);
}

fn exit_codes() {
    let daemon = Daemon::start(machine().set("server.message_size_limit", "\"10kB\""));
    let say = |arguments: &[&str], message: &str| {
        run(&mut sendmail(daemon.configuration(), arguments), message)
    };
    let large = "0123456789\n".repeat(2000);
    for (arguments, message, code, complaint) in [
        (&[][..], "a", 64, "no recipient is named"),
        (&["-t"], "Subject: a\n\n", 64, "no recipient is named"),
        (&["-bd"], "", 64, "vsmtp serve"),
        (&["-bx"], "", 64, "-bx is not known"),
        (&["-N", "a b", "john"], "a", 64, "RFC 3461"),
        (&["a@b@c"], "a", 65, "a@b@c: malformed domain"),
        (
            &["-f", "a b", "john"],
            "a",
            65,
            "a b@mx.home.example: malformed",
        ),
        (&["john"], &large, 65, "552 5.3.4"),
        (
            &["john", "nobody"],
            "a",
            67,
            "nobody@mx.home.example: 550 5.1.1 No such mailbox: nothing is sent",
        ),
    ] {
        let complaint = complaint.replace("a b@mx.home.example", "a b");
        fails(say(arguments, message), code, &complaint);
    }
    let unknown = say(&["-Z", "john"], "a");
    assert_eq!(unknown.status.code(), Some(64), "{unknown:#?}");
    let help = say(&["--help"], "").success();
    assert!(help.contains("-f <ADDRESS>"), "{help}");
    assert!(
        !daemon
            .configuration()
            .state()
            .join("mail/home.example")
            .exists()
    );
}

fn down() {
    let configuration = Daemon::start(machine()).stop().configuration;
    let start = Instant::now();
    let output = run(&mut sendmail(&configuration, &["john"]), "a");
    fails(output, 75, "the daemon is not running");
    assert!(
        start.elapsed() > Duration::from_secs(4),
        "a restart takes longer"
    );
    let output = run(&mut sendmail(&configuration, &["-bs"]), "QUIT\r\n");
    assert_eq!(output.stdout, "421 4.3.2 Service not available\r\n");
    fails(output, 75, "the daemon is not running");
}

fn restart() {
    let configuration = Daemon::start(machine()).stop().configuration;
    let mut command = sendmail(&configuration, &["john"]);
    let sending = std::thread::spawn(move || run(&mut command, "hello\n"));
    let daemon = Daemon::start(configuration);
    sending.join().unwrap().success();
    daemon.maildir("home.example", "john").wait_one();
}

fn crash() {
    // Nobody answers where the domain's mail goes, so that it stays in the queue.
    let daemon = Daemon::start(machine().domain("far.example", |domain| {
        domain.set("transport", "\"smtp://127.0.0.1:1\"")
    }));
    sends(&daemon, &["john@far.example"], "Subject: kept\n\nhello\n");
    let configuration = daemon.kill();
    let daemon = Daemon::start(configuration);
    let mut list = Command::new(PROGRAM);
    list.args(["queue", "cat"]);
    let listed = listed(&daemon);
    let id = listed.split_whitespace().next().unwrap();
    list.arg(id)
        .arg("--config")
        .arg(daemon.configuration().root());
    let octets = run(&mut list, "").success();
    assert!(octets.contains("\r\nSubject: kept\r\n"), "{octets}");
    assert!(octets.ends_with("\r\n\r\nhello\r\n"), "{octets}");
}

/// What `mailq` prints.
fn listed(daemon: &Daemon) -> String {
    run(&mut sendmail(daemon.configuration(), &["-bp"]), "").success()
}

fn rules() {
    let refuse = r#"#{
        connect: [ rule "nobody" || state::deny() ],
        preq: [ rule "nothing" || state::deny() ],
    }"#;
    let mark = r#"#{
        rcpt: [ rule "nobody" || state::deny() ],
        postq: [ rule "mark" || {
            msg::append_header("X-Authenticated", `${auth::is_authenticated()}`);
            msg::append_header("X-Client", `${ctx::client_ip()}`);
        } ],
    }"#;
    let configuration = machine()
        .filter(refuse)
        .domain("home.example", |domain| domain.rules("incoming.vsl", mark));
    let daemon = Daemon::start(configuration);
    sends(&daemon, &["-f", "joe@else.example", "john"], "hello\n");
    // Who it is from is not asked, and where it goes neither: it waits for a DNS that knows the way.
    sends(
        &daemon,
        &["-f", "jane@home.example", "joe@elsewhere.invalid"],
        "hello\n",
    );
    let message = daemon.maildir("home.example", "john").wait_one();
    assert!(
        message.starts_with("Return-Path: <joe@else.example>\r\n"),
        "{message}"
    );
    assert!(
        message.contains("\r\nX-Authenticated: false\r\nX-Client: 127.0.0.1\r\n"),
        "{message}"
    );
    daemon.wait_for_log(&["to=joe@elsewhere.invalid"]);
}

fn wishes() {
    let daemon = Daemon::start(machine());
    let arguments = [
        "-f",
        "jane@home.example",
        "-N",
        "success",
        "-R",
        "hdrs",
        "-V",
        "my id",
        "john",
    ];
    sends(&daemon, &arguments, "Subject: wish\n\nhello\n");
    daemon.maildir("home.example", "john").wait_one();
    let report = daemon.maildir("home.example", "jane").wait_one();
    for part in [
        "Action: delivered",
        "Original-Envelope-Id: my id",
        "Subject: wish",
    ] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
}

fn large() {
    let daemon = Daemon::start(machine());
    let body = "caf\u{e9} 0123456789\n".repeat(100_000);
    sends(
        &daemon,
        &["-i", "john"],
        &format!("Subject: \u{e9}\n\n{body}"),
    );
    let message = daemon.maildir("home.example", "john").wait_one();
    assert!(message.ends_with(&body.replace('\n', "\r\n")));
    assert!(message.contains("\r\nSubject: \u{e9}\r\n"));
}

fn strangers() {
    if !is_root() {
        return;
    }
    let daemon = Daemon::start(machine());
    let configuration = daemon.configuration();
    let copy = configuration.scratch().join("sendmail");
    std::fs::copy(PROGRAM, &copy).unwrap();
    // What is in the configuration is not for everybody: what it says of the socket is not found there, then.
    let nobody = User::from_name(&unprivileged().0).unwrap().unwrap();
    let uid = nobody.uid.as_raw() - 1;
    let stranger = |arguments: &[&str], message: &str| {
        let mut command = Command::new(&copy);
        command
            .uid(uid)
            .gid(uid)
            .arg("-C")
            .arg(configuration.root());
        run(command.args(arguments), message)
    };
    stranger(&["john"], "hello\n").success();
    let message = daemon.maildir("home.example", "john").wait_one();
    assert!(message.contains(&format!("uid {uid}) id ")), "{message}");
    let user = User::from_uid(uid.into())
        .unwrap()
        .map_or(format!("uid{uid}"), |user| user.name);
    assert!(
        message.starts_with(&format!("Return-Path: <{user}@mx.home.example>")),
        "{message}"
    );
    let refused = stranger(&["-bp"], "");
    assert_eq!(refused.status.code(), Some(77), "{refused:#?}");
    let state = configuration.state();
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();
    fails(stranger(&["john"], "hello\n"), 75, "Permission denied");
}

fn names() {
    let daemon = Daemon::start(machine());
    let configuration = daemon.configuration();
    let folder = configuration.scratch().join("bin");
    std::fs::create_dir(&folder).unwrap();
    let called = |name: &str, arguments: &[&str], message: &str| {
        let link = folder.join(name);
        symlink(PROGRAM, &link).unwrap();
        let mut command = Command::new(link);
        command.arg("-C").arg(configuration.root()).args(arguments);
        run(&mut command, message).success()
    };
    assert_eq!(called("mailq", &[], ""), "0 messages, 0 recipients\n");
    assert_eq!(called("newaliases", &[], ""), "");
    assert_eq!(called("sendmail", &["-it", "-q"], "").lines().count(), 1);
    std::fs::remove_file(folder.join("sendmail")).unwrap();
    assert_eq!(called("sendmail", &["--", "john"], "hello\n"), "");
    wait_for("the message", || {
        (!daemon.maildir("home.example", "john").messages().is_empty()).then_some(())
    });
}
