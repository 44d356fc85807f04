//! The dialogues of these tests: what their server is told besides, and how they are played over each transport.

use std::fmt;
use std::path::Path;
use vsmtp::simulate::dialogue::{self, Turn, expect, whole_reply};
use vsmtp::smtp::Reply;

pub use vsmtp::simulate::dialogue::Wire;

/// The name of the server in every dialogue.
pub const SERVER_NAME: &str = "mx.example.com";
/// The one domain that is the server's own.
pub const DOMAIN: &str = "example.com";
/// The mailboxes of [`DOMAIN`], besides postmaster. Senders come from elsewhere, save for a client that is authenticated.
pub const MAILBOXES: [&str; 3] = ["jones", "brown", "smith"];

/// How the client comes to speak SMTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Without TLS, unless the dialogue itself asks for it.
    Clear,
    /// After STARTTLS, which the player does before the dialogue goes on.
    StartTls,
    /// With TLS from the first octet.
    Implicit,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clear => "clear",
            Self::StartTls => "starttls",
            Self::Implicit => "tls",
        })
    }
}

/// What a dialogue wants of its server beyond the usual (`P:` lines). Errors never delay and, unless `hard_errors` says
/// so, never close.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// `P: size N`: `server.message_size_limit`, in octets.
    pub size: Option<u64>,
    /// `P: recipients N`: `server.smtp.rcpt_count_max`.
    pub recipients: Option<usize>,
    /// `P: hard_errors N`: `server.smtp.error.hard_count`.
    pub hard_errors: Option<u32>,
    /// `P: no starttls`: no certificate.
    pub no_starttls: bool,
    /// `P: user NAME PASSWORD`: a rule at authenticate lets this user of the machine in.
    pub user: Option<(String, String)>,
    /// `P: auth_in_clear yes`: `server.smtp.auth.enable_dangerous_mechanism_in_clair`.
    pub auth_in_clear: bool,
    /// `P: attempts N`: `server.smtp.auth.attempt_count_max`.
    pub attempts: Option<u32>,
    /// `P: refuse|accept [clear] STAGE [<address>] REPLY`: rules.
    pub rules: Vec<Rule>,
}

/// What policy answers.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `accept` rather than `refuse`.
    pub accept: bool,
    /// Only while TLS is not active.
    pub clear: bool,
    /// `connect`, `helo`, `authenticate`, `mail`, `rcpt` or `message`.
    pub stage: String,
    /// Only for this recipient.
    pub address: Option<String>,
    /// With this reply.
    pub reply: Reply,
}

/// A whole dialogue.
#[derive(Clone, Debug)]
pub struct Dialogue {
    /// What its test is called.
    pub name: String,
    /// What its server is told.
    pub setup: Setup,
    /// Whether its server needs more than the usual: any `P:` line.
    pub has_setup: bool,
    script: dialogue::Dialogue,
}

impl Dialogue {
    /// Reads a dialogue. Panics on a line that is none, with its number.
    pub fn parse(name: &str, text: &str) -> Self {
        let file = format!("{name}.smtp");
        let script = dialogue::Dialogue::parse(Path::new(&file), text).unwrap();
        let mut setup = Setup::default();
        for (_, setting) in &script.settings {
            setup.read(setting);
        }
        Self {
            name: name.to_owned(),
            setup,
            has_setup: !script.settings.is_empty(),
            script,
        }
    }

    /// Whether the dialogue makes sense over `transport`: one about STARTTLS, or without a greeting, only in clear.
    pub fn runs_over(&self, transport: Transport) -> bool {
        let about_tls = self.script.turns.iter().any(|(_, turn)| match turn {
            Turn::StartTls(_) => true,
            Turn::Client(octets) => octets.to_ascii_uppercase().starts_with(b"STARTTLS"),
            _ => false,
        });
        let clear_only = self.setup.no_starttls || self.setup.rules.iter().any(|rule| rule.clear);
        let greeted = matches!(self.script.turns.first(), Some((_, Turn::Server(line))) if line.starts_with("220"));
        transport == Transport::Clear || (greeted && !about_tls && !clear_only)
    }

    /// Plays the dialogue over `wire`; an error tells which line went otherwise.
    pub fn play(&self, wire: &mut dyn Wire, transport: Transport) -> Result<(), String> {
        let mut secured = transport == Transport::Implicit;
        for (index, (number, turn)) in self.script.turns.iter().enumerate() {
            if index == 1 && transport == Transport::StartTls {
                start_tls_first(wire)?;
                secured = true;
            }
            turn.play(wire, &mut secured)
                .map_err(|what| self.script.fault(*number, what).to_string())?;
        }
        self.script
            .expect_silence(wire)
            .map_err(|fault| fault.to_string())
    }
}

impl Setup {
    /// Whether there is a rule at authenticate.
    pub fn takes_credentials(&self) -> bool {
        self.user.is_some() || self.rules.iter().any(|rule| rule.stage == "authenticate")
    }

    fn read(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap();
        match word {
            "size" => self.size = Some(rest.parse().unwrap()),
            "recipients" => self.recipients = Some(rest.parse().unwrap()),
            "hard_errors" => self.hard_errors = Some(rest.parse().unwrap()),
            "user" => {
                let (name, password) = rest.split_once(' ').unwrap();
                self.user = Some((name.to_owned(), password.to_owned()));
            }
            "auth_in_clear" => self.auth_in_clear = rest == "yes",
            "attempts" => self.attempts = Some(rest.parse().unwrap()),
            "no" if rest == "starttls" => self.no_starttls = true,
            "refuse" | "accept" => self.rules.push(Rule::parse(word == "accept", rest)),
            _ => panic!("{line}"),
        }
    }
}

impl Rule {
    fn parse(accept: bool, text: &str) -> Self {
        let (clear, text) = match text.strip_prefix("clear ") {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (stage, text) = text.split_once(' ').unwrap();
        let (address, reply) = match text.strip_prefix('<').and_then(|t| t.split_once("> ")) {
            Some((address, reply)) => (Some(address.to_owned()), reply),
            None => (None, text),
        };
        let reply = reply.parse().unwrap();
        let stage = stage.to_owned();
        Self {
            accept,
            clear,
            stage,
            address,
            reply,
        }
    }
}

/// What the client does before a dialogue that is played over STARTTLS.
fn start_tls_first(wire: &mut dyn Wire) -> Result<(), String> {
    wire.send(b"EHLO before.example.org\r\n");
    whole_reply(wire, "250")?;
    wire.send(b"STARTTLS\r\n");
    expect(wire, "220 *")?;
    wire.start_tls(None);
    Ok(())
}
