//! A dialogue, and the player that plays it over any [`Wire`].

use std::fmt;
use vsmtp::smtp::Reply;

/// The name of the server in every dialogue.
pub const SERVER_NAME: &str = "mx.example.com";
/// The one domain that is the server's own.
pub const DOMAIN: &str = "example.com";
/// The mailboxes of [`DOMAIN`], besides postmaster. Senders come from elsewhere, save for a client that is authenticated.
pub const MAILBOXES: [&str; 3] = ["jones", "brown", "smith"];

/// One end of a connection to the server.
pub trait Wire {
    /// Sends all of `octets`.
    fn send(&mut self, octets: &[u8]);
    /// The next line from the server, without its CRLF; `None` when it has closed. An error when nothing comes.
    fn line(&mut self) -> Result<Option<String>, String>;
    /// Whether the server has nothing more to say for now.
    fn is_silent(&mut self) -> bool;
    /// Does the handshake.
    fn start_tls(&mut self);
}

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
    turns: Vec<(usize, Turn)>,
}

#[derive(Clone, Debug)]
enum Turn {
    Client(Vec<u8>),
    Server(String),
    ServerInClear(String),
    WholeReply(String),
    Silence,
    Close,
    StartTls,
}

impl Dialogue {
    /// Reads a dialogue. Panics on a line that is none, with its number.
    pub fn parse(name: &str, text: &str) -> Self {
        let mut dialogue = Self {
            name: name.to_owned(),
            setup: Setup::default(),
            has_setup: false,
            turns: Vec::new(),
        };
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (who, what) = line
                .split_once(": ")
                .unwrap_or_else(|| panic!("{name}:{number}: {line}"));
            let turn = match (who, what) {
                ("P", _) => {
                    dialogue.has_setup = true;
                    dialogue.setup.read(what);
                    continue;
                }
                ("C", _) => Turn::Client([what.as_bytes(), b"\r\n"].concat()),
                ("C\\", _) => Turn::Client(unescaped(what)),
                ("S", "<silence>") => Turn::Silence,
                ("S", "<close>") => Turn::Close,
                ("S", _) => match what.strip_suffix("...") {
                    Some(code) => Turn::WholeReply(code.to_owned()),
                    None => Turn::Server(what.to_owned()),
                },
                ("S/clear", _) => Turn::ServerInClear(what.to_owned()),
                ("T", "starttls") => Turn::StartTls,
                _ => panic!("{name}:{number}: {line}"),
            };
            dialogue.turns.push((number, turn));
        }
        dialogue
    }

    /// Whether the dialogue makes sense over `transport`: one about STARTTLS, or without a greeting, only in clear.
    pub fn runs_over(&self, transport: Transport) -> bool {
        let about_tls = self.turns.iter().any(|(_, turn)| match turn {
            Turn::StartTls => true,
            Turn::Client(octets) => octets.to_ascii_uppercase().starts_with(b"STARTTLS"),
            _ => false,
        });
        let clear_only = self.setup.no_starttls || self.setup.rules.iter().any(|rule| rule.clear);
        let greeted =
            matches!(self.turns.first(), Some((_, Turn::Server(line))) if line.starts_with("220"));
        transport == Transport::Clear || (greeted && !about_tls && !clear_only)
    }

    /// Plays the dialogue over `wire`; an error tells which line went otherwise.
    pub fn play(&self, wire: &mut dyn Wire, transport: Transport) -> Result<(), String> {
        let mut secured = transport == Transport::Implicit;
        for (index, (number, turn)) in self.turns.iter().enumerate() {
            if index == 1 && transport == Transport::StartTls {
                start_tls_first(wire)?;
                secured = true;
            }
            self.take(turn, wire, &mut secured)
                .map_err(|error| format!("{}.smtp:{number}: {error}", self.name))?;
        }
        if wire.is_silent() {
            Ok(())
        } else {
            Err(format!("{}: at its end: {:?}", self.name, wire.line()))
        }
    }

    fn take(&self, turn: &Turn, wire: &mut dyn Wire, secured: &mut bool) -> Result<(), String> {
        match turn {
            Turn::Client(octets) => wire.send(octets),
            Turn::Server(pattern) => expect(wire, pattern)?,
            Turn::ServerInClear(pattern) if !*secured => expect(wire, pattern)?,
            Turn::ServerInClear(_) => (),
            Turn::WholeReply(code) => whole_reply(wire, code)?,
            Turn::Silence if wire.is_silent() => (),
            Turn::Silence => return Err(format!("not silent: {:?}", wire.line())),
            Turn::Close => match wire.line()? {
                None => (),
                Some(line) => return Err(format!("not closed: {line:?}")),
            },
            Turn::StartTls => {
                if !wire.is_silent() {
                    return Err(format!("before the handshake: {:?}", wire.line()));
                }
                wire.start_tls();
                *secured = true;
            }
        }
        Ok(())
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
    wire.start_tls();
    Ok(())
}

fn whole_reply(wire: &mut dyn Wire, code: &str) -> Result<(), String> {
    while let Some(line) = wire.line()? {
        if line == code || line.starts_with(&format!("{code} ")) {
            return Ok(());
        }
        if !line.starts_with(&format!("{code}-")) {
            return Err(format!("expected {code}, got {line:?}"));
        }
    }
    Err(format!("expected {code}, got the end of the connection"))
}

fn expect(wire: &mut dyn Wire, pattern: &str) -> Result<(), String> {
    match wire.line()? {
        Some(line) if matches(pattern, &line) => Ok(()),
        Some(line) => Err(format!("expected {pattern:?}, got {line:?}")),
        None => Err(format!(
            "expected {pattern:?}, got the end of the connection"
        )),
    }
}

/// Whether `line` is `pattern`, in which each `*` stands for any text.
fn matches(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == line;
    };
    line.strip_prefix(start).is_some_and(|line| {
        (0..=line.len()).any(|at| line.get(at..).is_some_and(|line| matches(rest, line)))
    })
}

/// Reads the escapes of a `C\:` line.
fn unescaped(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        octets.extend_from_slice(plain.as_bytes());
        let (letter, after) = escape.split_at(1);
        rest = after;
        match letter {
            "r" => octets.push(b'\r'),
            "n" => octets.push(b'\n'),
            "t" => octets.push(b'\t'),
            "0" => octets.push(0),
            "\\" => octets.push(b'\\'),
            "x" => {
                let (digits, after) = after.split_at(2);
                octets.push(u8::from_str_radix(digits, 16).unwrap());
                rest = after;
            }
            "{" => {
                let (repeat, after) = after.split_once('}').unwrap();
                let (what, times) = repeat.rsplit_once('*').unwrap();
                octets.extend(what.repeat(times.parse().unwrap()).as_bytes());
                rest = after;
            }
            _ => panic!("\\{escape}"),
        }
    }
    octets.extend_from_slice(rest.as_bytes());
    octets
}
