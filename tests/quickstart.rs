//! The one command: every command that it prints is run as printed, and the mail lies where it says.

use crate::support::{Client, Handshake, Output, PROGRAM, is_root, run, trial_with, wait_for};
use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial_with(
            &["openssl", "swaks"],
            "quickstart::every_printed_command",
            commands,
        ),
        trial_with(&[], "quickstart::again_on_the_same_folder", again),
        trial_with(&[], "quickstart::leaves_other_folders_alone", foreign),
    ];
    let unreachable = trial_with(&[], "quickstart::root_needs_a_folder_for_all", unreachable);
    trials.push(if is_root() {
        unreachable
    } else {
        unreachable.with_kind("needs root").with_ignored_flag(true)
    });
    trials
}

/// A running `vsmtp quickstart --dir DIR`, and what it has printed.
struct Quickstart {
    child: Child,
    guide: String,
}

impl Quickstart {
    fn start(dir: &Path) -> Self {
        // Two at once could choose the same ports.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let printed = dir.parent().unwrap().join("printed");
        let mut child = quickstart(dir)
            .stdin(Stdio::null())
            .stdout(File::create(&printed).unwrap())
            .stderr(File::create(dir.parent().unwrap().join("log")).unwrap())
            .spawn()
            .unwrap();
        let guide = wait_for("the guide", || {
            let ended = child.try_wait().unwrap();
            let log = || fs::read_to_string(dir.parent().unwrap().join("log"));
            assert!(ended.is_none(), "{ended:?}: {:?}", log());
            let text = fs::read_to_string(&printed).unwrap();
            text.contains("config show").then_some(text)
        });
        Self { child, guide }
    }

    /// The lines to copy: those that are neither prose nor comment.
    fn commands(&self) -> Vec<&str> {
        self.guide
            .lines()
            .skip(1)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect()
    }

    /// Each `127.0.0.1:PORT` of the guide.
    fn addresses(&self) -> Vec<SocketAddr> {
        let words = self.guide.split([' ', '\n', ':', '.']);
        let ports = words.filter_map(|word| word.parse().ok());
        let mut addresses: Vec<_> = ports
            .filter(|port: &u16| *port > 1023)
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .collect();
        addresses.dedup();
        addresses
    }

    fn stop(mut self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
        let status = wait_for("its end", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn quickstart(dir: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("quickstart").arg("--dir").arg(dir);
    command
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM");
    command
}

/// A folder that everybody can enter, and the demo's place in it, with a name that a shell would misread.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let dir = folder.path().join("a demo");
    (folder, dir)
}

fn shell(command: &str) -> Output {
    // Q is how the operator leaves s_client; others do not read.
    run(Command::new("sh").arg("-c").arg(command), "Q\n")
}

fn commands() {
    let (_folder, dir) = place();
    for round in 1..=2 {
        let demo = Quickstart::start(&dir);
        let commands = demo.commands();
        assert_eq!(commands.len(), 10, "{}", demo.guide);
        for command in commands {
            expect(command, shell(command), round);
        }
        demo.stop();
    }
}

/// What each printed command must do.
fn expect(command: &str, output: Output, round: usize) {
    let (program, arguments) = command.split_once(' ').unwrap();
    let last = arguments.rsplit(' ').next().unwrap();
    match program {
        "openssl" => {
            let subject = match last {
                "example.com" => "example.com",
                "mail.example.org" => "example.org",
                _ => "localhost",
            };
            Handshake::parse(output).shows(subject);
        }
        "printf" => assert!(output.success().contains("250 2.0.0"), "{command}"),
        "swaks" if arguments.contains("--tls") => {
            output.success();
        }
        "swaks" => {
            assert!(!output.status.success(), "{command}: {output:#?}");
            assert!(
                output.both().contains("451 5.7.3"),
                "{command}: {output:#?}"
            );
        }
        "ls" => {
            let listed = wait_for("the mail in its place", || {
                let output = shell(command);
                let files = |text: &str| text.lines().filter(|line| line.contains('.')).count();
                // Two folders with a heading each, and in each round two messages for john, one for jenny.
                (files(&output.stdout) == 2 + 3 * round).then_some(output)
            });
            listed.success();
        }
        _ => {
            assert!(arguments.starts_with("config show"), "what is {command}?");
            assert!(output.success().contains("handshake_timeout"));
        }
    }
}

fn again() {
    let (_folder, dir) = place();
    let demo = Quickstart::start(&dir);
    let addresses = demo.addresses();
    assert_eq!(addresses.len(), 2, "{}", demo.guide);
    let deliver = || {
        let mut client = Client::hello_tls(addresses[1], Some("mail.example.com"));
        let content = b"Subject: hi\r\n\r\nhello\r\n";
        let reply = client.deliver("you@example.net", "john@example.com", content);
        reply.expect("250");
        client.quit();
    };
    let mail = dir.join("mail/example.com/john/new");
    let count = || fs::read_dir(&mail).map_or(0, Iterator::count);
    deliver();
    wait_for("the first message", || (count() == 1).then_some(()));
    demo.stop();
    let edited = "// edited\n#{}\n";
    fs::write(dir.join("filter.vsl"), edited).unwrap();

    let demo = Quickstart::start(&dir);
    assert_eq!(demo.addresses(), addresses, "the ports stay");
    deliver();
    wait_for("the second message", || (count() == 2).then_some(()));
    demo.stop();
    assert_eq!(fs::read_to_string(dir.join("filter.vsl")).unwrap(), edited);
}

fn foreign() {
    let (_folder, dir) = place();
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("thesis.txt"), "years of work").unwrap();
    let output = run(&mut quickstart(&dir), "");
    assert!(!output.status.success());
    assert!(output.stderr.contains("--dir"), "{}", output.stderr);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
}

fn unreachable() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let output = run(&mut quickstart(&folder.path().join("demo")), "");
    assert!(!output.status.success());
    let expected = folder.path().display().to_string();
    assert!(output.stderr.contains(&expected), "{}", output.stderr);
    assert!(output.stderr.contains("--dir"), "{}", output.stderr);
}
