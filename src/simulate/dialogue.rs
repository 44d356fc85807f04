//! A dialogue as data, written as in RFC 5321 appendix D, and the player that plays it over any [`Wire`].
//!
//! ```text
//! # A comment.
//! P: client 192.0.2.7                a setting: what it means is for whoever plays the dialogue to say
//! C: EHLO client.example.org         the client sends this and CRLF
//! C\: NOOP\r\nNO                     the client sends just this: \r \n \t \0 \\ \xHH, \{x*600} repeats x
//! S: 250 2.0.0 Ok                    the server sends this line; * stands for any text
//! S/clear: 250-STARTTLS              the same, only where TLS is not active
//! S: 250...                          the server sends a whole reply with this code, of any number of lines
//! S: <silence>                       the server says nothing before the client goes on
//! S: <close>                         the server closes
//! T: starttls                        the handshake; a server name (SNI) may stand behind it
//! T: connect                         the client leaves, and comes back on a new connection
//! T: wait 2s                         time passes
//! ```
//!
//! The server may never say more than is written: before each `C:` and at the end there has to be silence. A dialogue
//! without any `S:` line expects nothing, and only asks what would happen.

use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// One end of a connection to a server.
pub trait Wire {
    /// Sends all of `octets`.
    fn send(&mut self, octets: &[u8]);
    /// The next line from the server, without its CRLF; `None` when it has closed.
    ///
    /// # Errors
    /// Nothing comes.
    fn line(&mut self) -> Result<Option<String>, String>;
    /// Whether the server has nothing more to say for now.
    fn is_silent(&mut self) -> bool;
    /// Does the handshake, and asks for this server name.
    fn start_tls(&mut self, name: Option<&str>);
    /// Closes the connection and opens another one.
    fn reconnect(&mut self);
}

/// A whole dialogue.
#[derive(Clone, Debug)]
pub struct Dialogue {
    /// Where it was read.
    pub file: PathBuf,
    /// The `P:` lines, with their numbers.
    pub settings: Vec<(usize, String)>,
    /// The other lines, with their numbers.
    pub turns: Vec<(usize, Turn)>,
}

/// One line of a dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// `C:`, `C\:`
    Client(Vec<u8>),
    /// `S:`
    Server(String),
    /// `S/clear:`
    ServerInClear(String),
    /// `S: 250...`
    WholeReply(String),
    /// `S: <silence>`
    Silence,
    /// `S: <close>`
    Close,
    /// `T: starttls`
    StartTls(Option<String>),
    /// `T: connect`
    Reconnect,
    /// `T: wait 2s`
    Wait(Duration),
}

/// A line that is none of a dialogue, or one that went otherwise: `file:line: what`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// The dialogue.
    pub file: PathBuf,
    /// From 1; the last line for what is said after it.
    pub line: usize,
    /// What was expected and what came, or what is wrong with the line.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

impl Dialogue {
    /// Reads a dialogue.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Fault> {
        let mut dialogue = Self {
            file: file.to_owned(),
            settings: Vec::new(),
            turns: Vec::new(),
        };
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let empty = line.strip_suffix(':').map(|who| (who, ""));
            match line.split_once(": ").or(empty) {
                Some(("P", setting)) => dialogue.settings.push((number, setting.to_owned())),
                who_and_what => {
                    let turn = who_and_what.and_then(|(who, what)| Turn::parse(who, what));
                    let turn = turn.ok_or_else(|| {
                        dialogue.fault(number, "this is no line of a dialogue".to_owned())
                    })?;
                    dialogue.turns.push((number, turn));
                }
            }
        }
        Ok(dialogue)
    }

    /// Plays the dialogue over `wire`.
    ///
    /// # Errors
    /// The first line that went otherwise.
    pub fn play(&self, wire: &mut dyn Wire) -> Result<(), Fault> {
        let mut secured = false;
        for (number, turn) in &self.turns {
            if !self.expects() {
                while !wire.is_silent() && matches!(wire.line(), Ok(Some(_))) {}
            }
            turn.play(wire, &mut secured)
                .map_err(|what| self.fault(*number, what))?;
        }
        self.expect_silence(wire)
    }

    /// The server has nothing to say after the last line.
    ///
    /// # Errors
    /// It has.
    pub fn expect_silence(&self, wire: &mut dyn Wire) -> Result<(), Fault> {
        if !self.expects() || wire.is_silent() {
            return Ok(());
        }
        let last = self.turns.last().map_or(0, |(number, _)| *number);
        Err(self.fault(last, format!("at the end: {:?}", wire.line())))
    }

    /// Whether it says what the server has to say.
    pub fn expects(&self) -> bool {
        let server = |turn: &Turn| {
            !matches!(
                turn,
                Turn::Client(_) | Turn::StartTls(_) | Turn::Reconnect | Turn::Wait(_)
            )
        };
        self.turns.iter().any(|(_, turn)| server(turn))
    }

    /// What is to be said of a line.
    pub fn fault(&self, line: usize, what: String) -> Fault {
        Fault {
            file: self.file.clone(),
            line,
            what,
        }
    }
}

impl Turn {
    fn parse(who: &str, what: &str) -> Option<Self> {
        Some(match (who, what) {
            ("C", _) => Self::Client([what.as_bytes(), b"\r\n"].concat()),
            ("C\\", _) => Self::Client(unescaped(what)?),
            ("S", "<silence>") => Self::Silence,
            ("S", "<close>") => Self::Close,
            ("S", _) => match what.strip_suffix("...") {
                Some(code) => Self::WholeReply(code.to_owned()),
                None => Self::Server(what.to_owned()),
            },
            ("S/clear", _) => Self::ServerInClear(what.to_owned()),
            ("T", "connect") => Self::Reconnect,
            ("T", "starttls") => Self::StartTls(None),
            ("T", _) if what.starts_with("wait ") => {
                Self::Wait(humantime::parse_duration(what.strip_prefix("wait ")?).ok()?)
            }
            ("T", _) => Self::StartTls(Some(what.strip_prefix("starttls ")?.to_owned())),
            _ => return None,
        })
    }

    /// Plays this line over `wire`. `secured`: whether TLS is active, kept up to date.
    ///
    /// # Errors
    /// What was expected and what came.
    pub fn play(&self, wire: &mut dyn Wire, secured: &mut bool) -> Result<(), String> {
        match self {
            Self::Client(octets) => wire.send(octets),
            Self::Server(pattern) => expect(wire, pattern)?,
            Self::ServerInClear(pattern) if !*secured => expect(wire, pattern)?,
            Self::ServerInClear(_) => (),
            Self::WholeReply(code) => whole_reply(wire, code)?,
            Self::Silence if wire.is_silent() => (),
            Self::Silence => return Err(format!("not silent: {:?}", wire.line())),
            Self::Close => match wire.line()? {
                None => (),
                Some(line) => return Err(format!("not closed: {line:?}")),
            },
            Self::StartTls(name) => {
                if !wire.is_silent() {
                    return Err(format!("before the handshake: {:?}", wire.line()));
                }
                wire.start_tls(name.as_deref());
                *secured = true;
            }
            Self::Reconnect => {
                wire.reconnect();
                *secured = false;
            }
            Self::Wait(time) => thread::sleep(*time),
        }
        Ok(())
    }
}

/// Reads one reply of any number of lines with this code.
///
/// # Errors
/// What came in its place.
pub fn whole_reply(wire: &mut dyn Wire, code: &str) -> Result<(), String> {
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

/// Reads one line that fits `pattern`.
///
/// # Errors
/// What came in its place.
pub fn expect(wire: &mut dyn Wire, pattern: &str) -> Result<(), String> {
    match wire.line() {
        Ok(Some(line)) if matches(pattern, &line) => Ok(()),
        Ok(Some(line)) => Err(format!("expected {pattern:?}, got {line:?}")),
        Ok(None) => Err(format!(
            "expected {pattern:?}, got the end of the connection"
        )),
        Err(nothing) => Err(format!("expected {pattern:?}: {nothing}")),
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
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        octets.extend_from_slice(plain.as_bytes());
        let letter = escape.chars().next()?;
        rest = escape.get(letter.len_utf8()..)?;
        match letter {
            'r' => octets.push(b'\r'),
            'n' => octets.push(b'\n'),
            't' => octets.push(b'\t'),
            '0' => octets.push(0),
            '\\' => octets.push(b'\\'),
            'x' => {
                let (digits, after) = rest.split_at_checked(2)?;
                octets.push(u8::from_str_radix(digits, 16).ok()?);
                rest = after;
            }
            '{' => {
                let (repeat, after) = rest.split_once('}')?;
                let (what, times) = repeat.rsplit_once('*')?;
                octets.extend(what.repeat(times.parse().ok()?).as_bytes());
                rest = after;
            }
            _ => return None,
        }
    }
    octets.extend_from_slice(rest.as_bytes());
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_turns() {
        for (line, expected) in [
            ("C: NOOP", Some(Turn::Client(b"NOOP\r\n".to_vec()))),
            ("C:", Some(Turn::Client(b"\r\n".to_vec()))),
            (
                r"C\: a\r\n\x41\{xy*2}\\",
                Some(Turn::Client(b"a\r\nAxyxy\\".to_vec())),
            ),
            ("S: 250...", Some(Turn::WholeReply("250".to_owned()))),
            ("S: 250 Ok", Some(Turn::Server("250 Ok".to_owned()))),
            ("T: starttls", Some(Turn::StartTls(None))),
            (
                "T: starttls mx.example",
                Some(Turn::StartTls(Some("mx.example".to_owned()))),
            ),
            ("T: connect", Some(Turn::Reconnect)),
            ("T: wait 2s", Some(Turn::Wait(Duration::from_secs(2)))),
            ("T: wait long", None),
            (r"C\: \y", None),
            (r"C\: \x4", None),
            (r"C\: \{x}", None),
            ("X: what", None),
            ("nothing", None),
        ] {
            let dialogue = Dialogue::parse(Path::new("a.smtp"), &format!("# a\n\n{line}\n"));
            match (dialogue, expected) {
                (Ok(dialogue), Some(expected)) => assert_eq!(dialogue.turns, [(3, expected)]),
                (Err(fault), None) => {
                    assert_eq!(fault.to_string(), "a.smtp:3: this is no line of a dialogue");
                }
                (dialogue, _) => panic!("{line}: {dialogue:?}"),
            }
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches("250 2.1.0 *", "250 2.1.0 Ok"));
        assert!(matches("250*o*e", "250 one"));
        assert!(!matches("250 *x", "250 one"));
        assert!(!matches("250 one", "250 one more"));
    }
}
