//! The dialogue with the daemon: SMTP, from the side that has one message and waits for each reply.

use super::letter::Letter;
use super::{EX_DATAERR, EX_TEMPFAIL, Failure};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use vsmtp::mail::Address;

const EX_NOUSER: u8 = 67;
const EX_UNAVAILABLE: u8 = 69;

/// How long the daemon may take for a reply: as long as the disk may to make a message durable.
const REPLY_TIMEOUT: Duration = Duration::from_secs(600);
/// Octets of the longest line of a reply that is still believed to be one.
const LINE_MAX: u64 = 4096;

/// What the sender wishes to hear of it (RFC 3461), as the command line says.
pub(super) struct Wishes<'a> {
    pub notify: Option<&'a str>,
    pub returns: Option<&'a str>,
    pub envelope_id: Option<&'a str>,
}

/// A session with the daemon.
pub(super) struct Conversation {
    replies: BufReader<UnixStream>,
    commands: BufWriter<UnixStream>,
    /// How the daemon names itself: the domain of local users.
    name: String,
}

/// The code of a reply, and its text.
struct Reply {
    code: u16,
    text: String,
}

impl Conversation {
    /// Hears the greeting, and says EHLO.
    pub fn begin(stream: UnixStream) -> Result<Self, Failure> {
        stream.set_read_timeout(Some(REPLY_TIMEOUT)).map_err(gone)?;
        let commands = BufWriter::new(stream.try_clone().map_err(gone)?);
        let mut conversation = Self {
            replies: BufReader::new(stream),
            commands,
            name: String::new(),
        };
        let greeting = conversation.reply()?.expect(2, EX_TEMPFAIL)?;
        let name = greeting.split(' ').nth(1).unwrap_or_default();
        name.clone_into(&mut conversation.name);
        conversation
            .command("EHLO localhost")?
            .expect(2, EX_TEMPFAIL)?;
        Ok(conversation)
    }

    /// What a user means by a text: a name without domain is one of this machine.
    pub fn address(&self, text: &str) -> Result<Address, Failure> {
        let address = match text.contains('@') {
            true => Address::parse(text),
            false => Address::parse(&format!("{text}@{}", self.name)),
        };
        address.map_err(|error| Failure::new(EX_DATAERR, format!("{text}: {error}")))
    }

    /// One transaction; what the daemon says in the end.
    pub fn hand_in(
        &mut self,
        sender: Option<&Address>,
        recipients: &[Address],
        wishes: &Wishes<'_>,
        letter: &mut Letter,
    ) -> Result<String, Failure> {
        let path = sender.map_or("", Address::as_str);
        let mut mail = format!("MAIL FROM:<{path}>");
        if !letter.is_ascii() {
            mail += " BODY=8BITMIME";
        }
        if sender
            .into_iter()
            .chain(recipients)
            .any(|address| !address.is_ascii())
        {
            mail += " SMTPUTF8";
        }
        if let Some(returns) = wishes.returns {
            mail += &format!(" RET={}", parameter(returns)?);
        }
        if let Some(id) = wishes.envelope_id {
            mail += &format!(" ENVID={}", xtext(id));
        }
        self.command(&mail)?.expect(2, EX_UNAVAILABLE)?;
        for recipient in recipients {
            let mut rcpt = format!("RCPT TO:<{recipient}>");
            if let Some(notify) = wishes.notify {
                rcpt += &format!(" NOTIFY={}", parameter(notify)?);
            }
            let reply = self.command(&rcpt)?;
            let code = if reply.text.starts_with("550 5.1.1 ") {
                EX_NOUSER
            } else {
                EX_UNAVAILABLE
            };
            reply.expect(2, code).map_err(|failure| {
                let what = format!("{recipient}: {}: nothing is sent", failure.what);
                Failure::new(failure.code, what)
            })?;
        }
        self.command("DATA")?.expect(3, EX_UNAVAILABLE)?;
        self.content(letter).map_err(gone)?;
        let said = self.reply()?.expect(2, EX_DATAERR)?;
        // The message is theirs, whatever becomes of this.
        let _ = self.command("QUIT");
        Ok(said)
    }

    /// The content in its transparency (RFC 5321 §4.5.2), and its end.
    fn content(&mut self, letter: &mut Letter) -> io::Result<()> {
        let mut content = letter.octets()?;
        let mut at_start = true;
        loop {
            let octets = content.fill_buf()?;
            let end = octets.iter().position(|octet| *octet == b'\n');
            let line = octets.get(..end.map_or(octets.len(), |end| end + 1));
            let line = line.unwrap_or_default();
            if line.is_empty() {
                break;
            }
            if at_start && line.starts_with(b".") {
                self.commands.write_all(b".")?;
            }
            self.commands.write_all(line)?;
            at_start = line.ends_with(b"\n");
            let length = line.len();
            content.consume(length);
        }
        self.commands.write_all(b".\r\n")?;
        self.commands.flush()
    }

    fn command(&mut self, line: &str) -> Result<Reply, Failure> {
        let sent = write!(self.commands, "{line}\r\n").and_then(|()| self.commands.flush());
        sent.map_err(gone)?;
        self.reply()
    }

    fn reply(&mut self) -> Result<Reply, Failure> {
        loop {
            let mut line = String::new();
            let mut limited = io::Read::take(&mut self.replies, LINE_MAX);
            limited.read_line(&mut line).map_err(gone)?;
            let text = line.trim_end().to_owned();
            let code = text.get(..3).and_then(|code| code.parse().ok());
            match (code, text.as_bytes().get(3)) {
                (Some(_), Some(b'-')) => {}
                (Some(code), _) => return Ok(Reply { code, text }),
                (None, _) if text.is_empty() => {
                    return Err(gone(io::ErrorKind::UnexpectedEof.into()));
                }
                // It speaks no SMTP with those who are too many.
                (None, _) => {
                    let what = "the daemon serves too many others: try again";
                    return Err(Failure::new(EX_TEMPFAIL, what));
                }
            }
        }
    }
}

impl Reply {
    /// Its text, where its first digit is `class`; what else it is, `code` says where it is for good.
    fn expect(self, class: u16, code: u8) -> Result<String, Failure> {
        match self.code / 100 {
            found if found == class => Ok(self.text),
            4 => Err(Failure::new(EX_TEMPFAIL, self.text)),
            _ => Err(Failure::new(code, self.text)),
        }
    }
}

/// The daemon is gone, or does not answer: whether it has the message nobody knows, but it has said nothing of the kind.
fn gone(error: io::Error) -> Failure {
    let what = format!("the daemon has gone away: {error}");
    Failure::new(EX_TEMPFAIL, what)
}

/// A word of the command line as a parameter: nothing but what the words of RFC 3461 are made of.
fn parameter(word: &str) -> Result<String, Failure> {
    let is_plain = |c: char| c.is_ascii_alphabetic() || c == ',';
    if word.is_empty() || !word.chars().all(is_plain) {
        return Err(Failure::new(
            super::EX_USAGE,
            format!("{word}: no word of RFC 3461"),
        ));
    }
    Ok(word.to_ascii_uppercase())
}

/// `xtext` of RFC 3461 §4.
fn xtext(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'!'..=b'~' if !matches!(octet, b'+' | b'=') => encoded.push(octet.into()),
            // Writing to a String cannot fail.
            _ => drop(write!(encoded, "+{octet:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{parameter, xtext};

    #[test]
    fn no_word_is_more_than_a_parameter() {
        assert_eq!(
            parameter("success,delay").ok().as_deref(),
            Some("SUCCESS,DELAY")
        );
        for word in ["", "full x", "hdrs\r\nRCPT TO:<a@b>", "never="] {
            assert_eq!(
                parameter(word).err().map(|failure| failure.code),
                Some(64),
                "{word:?}"
            );
        }
        assert_eq!(xtext("a+b=c d\r\n\u{e9}"), "a+2Bb+3Dc+20d+0D+0A+C3+A9");
    }
}
