//! The configurations that people copy, `tests/examples/NAME`: their dialogues by `vsmtp simulate`, and again on the daemon.
//!
//! In the dialogues clients come from 192.0.2.0/24, which is nobody's. No client of the daemon can, so there 127.0.2.0/24
//! stands for it, in dialogues and rules alike.

use crate::support::{
    Certificate, Client, Configuration, Daemon, PROGRAM, run, trial_with, wait_for,
};
use libtest_mimic::Trial;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use vsmtp::simulate::dialogue::{Dialogue, Wire};

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for example in sorted(&folder()) {
        let name = example.file_name().unwrap().to_str().unwrap().to_owned();
        let root = example.clone();
        trials.push(trial_with(
            &[],
            format!("examples::{name}::simulated"),
            move || simulated(&root),
        ));
        for dialogue in sorted(&example.join("dialogues")) {
            let stem = dialogue.file_stem().unwrap().to_str().unwrap().to_owned();
            let (root, name) = (example.clone(), name.clone());
            trials.push(trial_with(
                &[],
                format!("examples::{name}::{stem}"),
                move || on_the_daemon(&root, &name, &dialogue),
            ));
        }
    }
    trials
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples")
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// As its first file says: `vsmtp simulate --config . dialogues`.
fn simulated(root: &Path) {
    let output = run(
        Command::new(PROGRAM)
            .args(["simulate", "--config", ".", "--quiet", "dialogues"])
            .current_dir(root),
        "",
    );
    let said = output.both();
    let dialogues = sorted(&root.join("dialogues")).len();
    assert!(output.status.success(), "{said}");
    assert!(
        said.ends_with(&format!("{dialogues} passed, 0 failed\n")),
        "{said}"
    );
    let rules = fs::read_to_string(root.join("filter.vsl")).unwrap();
    assert!(rules.contains("\n//   vsmtp simulate --config . dialogues\n"));
}

fn on_the_daemon(root: &Path, name: &str, dialogue: &Path) {
    let adapt = |text: String| text.replace("192.0.2.", "127.0.2.");
    let text = adapt(fs::read_to_string(dialogue).unwrap());
    let dialogue = Dialogue::parse(dialogue, &text).unwrap();
    let mut configuration = Configuration::copy(root, adapt);
    let certificate = Certificate::new(&["mx.example.com"]);
    configuration.file("certs/fullchain.pem", &certificate.pem());
    configuration.file("certs/privkey.pem", &certificate.key_pem());
    configuration = configuration.set("server.name", "\"mx.example.com\"");
    let mut source = Ipv4Addr::LOCALHOST;
    for (_, setting) in &dialogue.settings {
        let words: Vec<&str> = setting.split(' ').collect();
        configuration = match words.as_slice() {
            ["client", address] => {
                source = address.parse().unwrap();
                configuration
            }
            ["user", user, password] => configuration.user(user, password),
            _ => panic!("{setting} means nothing to a daemon"),
        };
    }
    let mut daemon = Daemon::start(configuration);
    let address = daemon.smtp();
    let client = Client::connect_from(source, address);
    let mut wire = Socket {
        client,
        source,
        address,
    };
    if let Err(difference) = dialogue.play(&mut wire) {
        panic!("{difference}\n{}", daemon.log());
    }
    afterwards(name, &daemon);
    daemon.stop();
}

/// What has become of the messages, beyond what a client can see.
fn afterwards(name: &str, daemon: &Daemon) {
    let delivered = |user: &str| daemon.maildir("example.com", user).wait_one();
    match name {
        "header-rewriting" => {
            let message = delivered("john");
            assert!(
                message.ends_with(
                    "From: Jane <jane@example.org>\r\n\
                     Subject: [external] a hello that is folded\r\n\
                     X-Original-Author: Jane\r\n\
                     X-Arrived-By: clear\r\n\
                     \r\n\
                     X-Spam-Flag: this is body\r\n"
                ),
                "{message}"
            );
        }
        "quarantine" => {
            let message = delivered("john");
            assert!(message.ends_with("\r\n\r\nthree\r\n"), "{message}");
            let app = daemon.configuration().state().join("app");
            for (folder, body) in [("bait", "one"), ("wording", "two")] {
                let folder = app.join("quarantine").join(folder);
                let kept = wait_for("a message in quarantine", || {
                    let entry = fs::read_dir(&folder).ok()?.next()?.unwrap().path();
                    let whole = entry.extension().is_none_or(|end| end != "tmp");
                    whole.then(|| fs::read_to_string(entry).unwrap())
                });
                assert!(kept.ends_with(&format!("\n\n{body}\n")), "{kept}");
            }
            assert_eq!(sorted(&app.join("no-message-id")).len(), 1);
        }
        _ => {}
    }
}

/// A client that says what a dialogue says.
struct Socket {
    client: Client,
    source: Ipv4Addr,
    address: SocketAddr,
}

impl Wire for Socket {
    fn send(&mut self, octets: &[u8]) {
        // The server may have closed; whether it should have is for what is read to tell.
        let _ = self.client.try_send(octets);
    }

    fn line(&mut self) -> Result<Option<String>, String> {
        use io::ErrorKind::{ConnectionReset, UnexpectedEof};
        match self.client.line() {
            Ok(line) => Ok(Some(line)),
            Err(e) if matches!(e.kind(), UnexpectedEof | ConnectionReset) => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }

    fn is_silent(&mut self) -> bool {
        self.client.is_silent(Duration::from_millis(10))
    }

    fn start_tls(&mut self, name: Option<&str>) {
        self.client.handshake(name).unwrap();
    }

    fn reconnect(&mut self) {
        self.client = Client::connect_from(self.source, self.address);
    }
}
