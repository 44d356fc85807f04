//! The README makes no claim that is not run: its configuration is loaded, its commands are known to the tests.

use crate::support::{Certificate, Configuration, Daemon, PROGRAM, run, trial_with, wait_for};
use libtest_mimic::Trial;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../README.md");
const CI: &str = include_str!("../.ci/run");

pub fn trials() -> Vec<Trial> {
    vec![
        trial_with(&[], "readme::configuration_is_accepted", configuration),
        trial_with(&[], "readme::commands_are_run", commands),
        trial_with(&[], "readme::tools_are_run", tools),
        trial_with(&[], "readme::opens_with_the_one_command", opening),
        trial_with(&[], "readme::files_exist", files),
    ]
}

/// Every fenced block: what stands behind the fence, and the text.
fn blocks() -> Vec<(&'static str, &'static str)> {
    README
        .split("\n```")
        .skip(1)
        .step_by(2)
        .map(|block| block.split_once('\n').expect("a fence ends its line"))
        .collect()
}

/// The lines of all console blocks, without their prompt.
fn console() -> Vec<&'static str> {
    blocks()
        .into_iter()
        .filter(|(language, _)| *language == "console")
        .flat_map(|(_, text)| text.lines())
        .map(|line| line.strip_prefix("$ ").expect("a command"))
        .collect()
}

/// The README's own files, where a folder stands for `/etc/vsmtp`.
fn folder() -> Configuration {
    let configuration = Configuration::bare();
    let root = configuration.root().display().to_string();
    let mut files = 0;
    for (info, text) in blocks() {
        if let Some(path) = info.strip_prefix("vsl ") {
            configuration.file(path, &text.replace("/etc/vsmtp", &root));
            files += 1;
        }
    }
    assert_eq!(files, 3);
    let certificate = Certificate::new(&["example.com"]);
    configuration.file("certs/fullchain.pem", &certificate.pem());
    configuration.file("certs/privkey.pem", &certificate.key_pem());
    configuration
}

fn configuration() {
    let configuration = folder();
    let mut command = Command::new(PROGRAM);
    command
        .arg("check")
        .arg("--config")
        .arg(configuration.root());
    let output = run(&mut command, "");
    let said = output.both();
    output.success();
    assert!(!said.contains("warning"), "{said}");
}

fn commands() {
    let configuration = folder();
    let root = configuration.root().display().to_string();
    for command in console() {
        match command {
            // What it runs is in tests/quickstart.rs.
            "cargo run --release -- quickstart" => {}
            "cargo test --release" => assert!(CI.lines().any(|line| line.contains(command))),
            // Every test of the daemon does.
            "vsmtp serve --config /etc/vsmtp" => {}
            _ if is_for_a_daemon(command) => {}
            _ => {
                let words = command.replace("/etc/vsmtp", &root);
                let mut words = words.split(' ');
                assert_eq!(words.next(), Some("vsmtp"), "{command} is not known");
                run(Command::new(PROGRAM).args(words), "").success();
            }
        }
    }
}

/// Whether a command asks a daemon that runs.
fn is_for_a_daemon(command: &str) -> bool {
    command.starts_with("vsmtp queue ") || command.contains("sendmail ")
}

fn tools() {
    let configuration = Configuration::new()
        .set("server.queues.delivery.retry_min", "\"1h\"")
        .domain("example.com", |domain| {
            domain.set("aliases", "#{ root: [\"root@example.net\"] }")
        })
        .domain("example.net", |domain| {
            domain.set("transport", "\"smtp://127.0.0.1:1\"")
        })
        .set("server.name", "\"example.com\"");
    let daemon = Daemon::start(configuration);
    let root = daemon.configuration().root();
    let folder = daemon.configuration().scratch().join("bin");
    fs::create_dir(&folder).unwrap();
    for (name, words) in [
        ("vsmtp", "\"$@\" --config"),
        ("sendmail", "sendmail \"$@\" -C"),
    ] {
        let script = format!("#!/bin/sh\nexec {PROGRAM} {words} {}\n", root.display());
        let path = folder.join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let shell = |command: &str| {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).env("PATH", &path);
        run(&mut shell, "").success()
    };
    let mut commands = console();
    commands.retain(|command| is_for_a_daemon(command));
    let (tools, mail): (Vec<_>, Vec<_>) = commands.iter().partition(|c| c.starts_with("vsmtp"));
    assert_eq!((tools.len(), mail.len()), (10, 1));
    shell(mail[0]);
    let id = wait_for("a message that waits", || {
        let listed = shell("vsmtp queue list");
        let id = listed.split(' ').next().unwrap_or_default().to_owned();
        listed.contains("deferred").then_some(id)
    });
    let exported = daemon.configuration().scratch().join("exported");
    for command in tools {
        shell(
            &command
                .replace("ID", &id)
                .replace("DIR", exported.to_str().unwrap()),
        );
    }
    assert!(shell("vsmtp queue list").starts_with("0 messages"));
}

fn opening() {
    assert_eq!(
        console()[..2],
        ["cargo run --release -- quickstart", "cargo test --release"]
    );
}

/// Files and folders that the text names must be there.
fn files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let quoted = README.split('`').skip(1).step_by(2);
    let named: Vec<&str> = quoted
        .filter(|text| text.starts_with("src/") || text.starts_with("tests/"))
        .collect();
    assert!(named.len() > 5, "{named:?}");
    for path in named {
        assert!(fs::exists(root.join(path)).unwrap(), "there is no {path}");
    }
}
