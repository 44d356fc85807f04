//! The dialogues of `tests/dialogs` once more, on the daemon: in clear, after STARTTLS, and with TLS from the first octet.

use crate::dialogs::dialogue::{
    DOMAIN, Dialogue, MAILBOXES, Rule, SERVER_NAME, Setup, Transport, Wire,
};
use crate::dialogs::{self, smuggling};
use crate::support::{Certificate, Client, Configuration, Daemon};
use libtest_mimic::Trial;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

const TRANSPORTS: [Transport; 3] = [Transport::Clear, Transport::StartTls, Transport::Implicit];

/// How long silence is listened to. Too short a time makes no failure: whatever came too late is heard next.
const SILENCE: Duration = Duration::from_millis(10);

pub fn trials() -> Vec<Trial> {
    let usual = Arc::new(Usual::default());
    let generated: Arc<[Dialogue]> = smuggling::dialogues().into();
    let names: HashSet<String> = generated.iter().map(|d| d.name.clone()).collect();
    let mut trials = Vec::new();
    for transport in TRANSPORTS {
        for dialogue in dialogs::all() {
            if names.contains(&dialogue.name) || !dialogue.runs_over(transport) {
                continue;
            }
            let usual = Arc::clone(&usual);
            let name = format!("wire::{transport}::{}", dialogue.name);
            trials.push(Trial::test(name, move || {
                if dialogue.has_setup {
                    let mut daemon = Daemon::start(configuration(&dialogue.setup));
                    play(&dialogue, &mut daemon, transport)?;
                    daemon.stop();
                    return Ok(());
                }
                let address = usual.address(transport);
                Ok(dialogue.play(&mut Socket::connect(address, transport), transport)?)
            }));
        }
        let (usual, generated) = (Arc::clone(&usual), Arc::clone(&generated));
        trials.push(Trial::test(
            format!("wire::{transport}::smuggling"),
            move || {
                Ok(all_at_once(
                    &generated,
                    usual.address(transport),
                    transport,
                )?)
            },
        ));
    }
    trials
}

/// The one daemon for every dialogue that wants nothing special. It ends with the last of the trials that hold it.
#[derive(Default)]
struct Usual(OnceLock<Mutex<Daemon>>);

impl Usual {
    fn address(&self, transport: Transport) -> SocketAddr {
        let start = || Mutex::new(Daemon::start(configuration(&Setup::default())));
        let mut daemon = self.0.get_or_init(start).lock().unwrap();
        address(&mut daemon, transport)
    }
}

fn address(daemon: &mut Daemon, transport: Transport) -> SocketAddr {
    match transport {
        Transport::Clear | Transport::StartTls => daemon.smtp(),
        Transport::Implicit => daemon.submissions(),
    }
}

fn play(dialogue: &Dialogue, daemon: &mut Daemon, transport: Transport) -> Result<(), String> {
    let address = address(daemon, transport);
    dialogue.play(&mut Socket::connect(address, transport), transport)
}

/// Dialogues that mostly wait, side by side.
fn all_at_once(
    dialogues: &[Dialogue],
    address: SocketAddr,
    transport: Transport,
) -> Result<(), String> {
    let size = dialogues.len().div_ceil(16);
    thread::scope(|scope| {
        let players: Vec<_> = dialogues
            .chunks(size)
            .map(|chunk| {
                scope.spawn(move || {
                    chunk.iter().try_for_each(|dialogue| {
                        dialogue.play(&mut Socket::connect(address, transport), transport)
                    })
                })
            })
            .collect();
        players.into_iter().try_for_each(|p| p.join().unwrap())
    })
}

/// A client that says what the dialogue says.
struct Socket(Client);

impl Socket {
    fn connect(address: SocketAddr, transport: Transport) -> Self {
        let mut client = Client::connect(address);
        if transport == Transport::Implicit {
            client.handshake(Some(DOMAIN)).unwrap();
        }
        Self(client)
    }
}

impl Wire for Socket {
    fn send(&mut self, octets: &[u8]) {
        // The server may have closed; whether it should have is for what is read to tell.
        let _ = self.0.try_send(octets);
    }

    fn line(&mut self) -> Result<Option<String>, String> {
        use io::ErrorKind::{ConnectionReset, UnexpectedEof};
        match self.0.line() {
            Ok(line) => Ok(Some(line)),
            // A reset is how a close looks to who has sent more than was read.
            Err(e) if matches!(e.kind(), UnexpectedEof | ConnectionReset) => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }

    fn is_silent(&mut self) -> bool {
        self.0.is_silent(SILENCE)
    }

    fn start_tls(&mut self, name: Option<&str>) {
        self.0.handshake(name.or(Some(DOMAIN))).unwrap();
    }

    fn reconnect(&mut self) {
        panic!("none of these dialogues comes back");
    }
}

/// What the dialogues suppose, and what this one wants besides.
fn configuration(setup: &Setup) -> Configuration {
    // From RCPT on, whose mail it is tells which file runs.
    let (early, late): (Vec<_>, Vec<_>) = setup.rules.iter().partition(|rule| {
        ["connect", "helo", "authenticate", "mail"].contains(&rule.stage.as_str())
    });
    let all = [early, late.clone()].concat();
    let number = |value: Option<u32>| value.map_or("-1".to_owned(), |n| n.to_string());
    let mut configuration = Configuration::new()
        .set("server.name", &format!("{SERVER_NAME:?}"))
        .set("server.smtp.error.soft_count", "-1")
        .set("server.smtp.error.hard_count", &number(setup.hard_errors))
        .set(
            "server.smtp.auth.mechanisms",
            r#"["PLAIN", "CRAM-MD5", "LOGIN"]"#,
        )
        .filter(&rules(&all, setup.user.is_some()))
        .domain(DOMAIN, |domain| {
            let domain = domain
                .set("mailboxes", &format!("{MAILBOXES:?}"))
                .rules("incoming.vsl", &rules(&late, false));
            match setup.no_starttls {
                true => domain,
                false => domain.certificate(&Certificate::new(&[DOMAIN])),
            }
        });
    if let Some(size) = setup.size {
        configuration = configuration.set("server.message_size_limit", &size.to_string());
    }
    if let Some(recipients) = setup.recipients {
        configuration = configuration.set("server.smtp.rcpt_count_max", &recipients.to_string());
    }
    if let Some((name, password)) = &setup.user {
        configuration = configuration.user(name, password);
    }
    if setup.auth_in_clear {
        configuration = configuration.set(
            "server.smtp.auth.enable_dangerous_mechanism_in_clair",
            "true",
        );
    }
    if let Some(attempts) = setup.attempts {
        configuration =
            configuration.set("server.smtp.auth.attempt_count_max", &attempts.to_string());
    }
    configuration
}

/// The `P:` lines as a rule file: a list of rules for each stage. `users`: those of the machine may authenticate.
fn rules(rules: &[&Rule], users: bool) -> String {
    let mut stages: BTreeMap<&str, String> = BTreeMap::new();
    if users {
        let rule = "rule \"a user of the machine\" || auth::unix_users(),";
        stages.insert("authenticate", rule.to_owned());
    }
    for (number, rule) in rules.iter().enumerate() {
        let stage = match rule.stage.as_str() {
            "message" => "preq",
            stage => stage,
        };
        let mut reply = Vec::new();
        rule.reply.write_to(&mut reply);
        let reply = String::from_utf8(reply).unwrap();
        let state = if rule.accept { "accept" } else { "deny" };
        let mut condition = String::from("true");
        if rule.clear {
            condition += " && !ctx::is_secured()";
        }
        if let Some(address) = &rule.address {
            let _ = write!(condition, " && ctx::rcpt() == {address:?}");
        }
        let _ = writeln!(
            stages.entry(stage).or_default(),
            "    rule \"{number}\" || {{
      if {condition} {{ state::{state}({:?}) }} else {{ state::next() }}
    }},",
            reply.trim_end()
        );
    }
    let stages: String = stages
        .iter()
        .map(|(stage, rules)| format!("  {stage}: [\n{rules}  ],\n"))
        .collect();
    format!("#{{\n{stages}}}\n")
}
