//! Replies (RFC 5321 §4.2) with enhanced status codes (RFC 2034).
//!
//! What a reply may hold is settled when it is made, so that none ever puts a raw octet of somebody's choosing on the
//! wire. The replies that the server makes by itself stand in [`replies`](super::replies).

use super::replies::CONTINUE;
use crate::mail::Status;
use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::str::FromStr;

/// Characters of text on one line: 512 octets (RFC 5321 §4.5.3.1.5) less code, separator, the longest enhanced status
/// code with its space, and CRLF.
const TEXT_MAX: usize = 512 - 4 - 10 - 2;

/// A reply: code, enhanced status code, and one or more lines of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    status: Option<Status>,
    /// Lines parted by LF, which is the only control character besides the tab; none longer than [`TEXT_MAX`].
    text: Cow<'static, str>,
}

/// Why a text is not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// It does not begin with three digits and a space.
    #[error("a reply begins with a code of three digits, as in \"550 5.7.1 text\"")]
    Malformed,
    /// Not `2yz` to `5yz` with a second digit of 0 to 5 (RFC 5321 §4.2).
    #[error("{0} is no reply code")]
    Code(u16),
    /// The text holds a control character other than tab and line break.
    #[error("the text of a reply cannot hold {0:?}")]
    ControlCharacter(char),
}

impl Reply {
    /// A reply with `text`, one line for each of its lines. A line break at its end is dropped.
    ///
    /// # Errors
    /// `code` is no reply code, or `text` holds a control character other than tab and line break.
    pub fn new(code: u16, status: Option<Status>, text: &str) -> Result<Self, ReplyError> {
        // Reply-code = %x32-35 %x30-35 %x30-39
        if !(200..600).contains(&code) || code / 10 % 10 > 5 {
            return Err(ReplyError::Code(code));
        }
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text
            .strip_suffix('\r')
            .unwrap_or(text)
            .replace("\r\n", "\n");
        let forbidden = |c: &char| c.is_control() && !matches!(c, '\t' | '\n');
        if let Some(c) = text.chars().find(forbidden) {
            return Err(ReplyError::ControlCharacter(c));
        }
        Ok(Self {
            code,
            status,
            text: Cow::Owned(wrapped(text)),
        })
    }

    /// A reply whose text is known to be one printable line.
    pub const fn fixed(code: u16, status: Option<Status>, text: &'static str) -> Self {
        let text = Cow::Borrowed(text);
        Self { code, status, text }
    }

    /// A reply from parts that may hold anything: control characters become question marks.
    pub(super) fn composed(code: u16, status: Option<Status>, text: &str) -> Self {
        let printable = text.replace(|c: char| c.is_control() && !matches!(c, '\t' | '\n'), "?");
        Self {
            code,
            status,
            text: Cow::Owned(wrapped(printable)),
        }
    }

    /// The reply code.
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code.
    pub const fn status(&self) -> Option<Status> {
        self.status
    }

    /// The lines of text, without code, status and line ends. There is at least one.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split('\n')
    }

    /// Whether it says yes (`2yz`) or go on (`3yz`).
    pub const fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// Puts the reply on the wire.
    ///
    /// ```text
    /// Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
    /// ```
    ///
    /// A question mark stands for each character outside ASCII: few clients have asked for more (RFC 6531 §3.7.4.2).
    pub fn write_to(&self, wire: &mut Vec<u8>) {
        let mut lines = self.lines().peekable();
        while let Some(line) = lines.next() {
            let separator = if lines.peek().is_some() { "-" } else { " " };
            // Writing to a Vec cannot fail.
            let _ = match self.status {
                Some(status) => write!(wire, "{}{separator}{status} ", self.code),
                None => write!(wire, "{}{separator}", self.code),
            };
            let ascii = |c: char| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?');
            wire.extend(line.chars().map(ascii));
            // A line that ends in a space has no text after it.
            if wire.last() == Some(&b' ') && self.code != CONTINUE {
                wire.pop();
            }
            wire.extend_from_slice(b"\r\n");
        }
    }
}

/// `text` with a line break at the last space, or else anywhere, before a line is longer than [`TEXT_MAX`].
fn wrapped(text: String) -> String {
    if text.len() <= TEXT_MAX {
        return text;
    }
    let mut wrapped = String::with_capacity(text.len() + text.len() / TEXT_MAX + 1);
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            wrapped.push('\n');
        }
        let mut rest = line;
        while let Some((end, _)) = rest.char_indices().nth(TEXT_MAX) {
            let (full, _) = rest.split_at(end);
            let (piece, next) = match full.rsplit_once(' ') {
                Some((piece, _)) if !piece.is_empty() => (piece, piece.len() + 1),
                _ => (full, end),
            };
            wrapped.push_str(piece);
            wrapped.push('\n');
            rest = rest.get(next..).unwrap_or_default();
        }
        wrapped.push_str(rest);
    }
    wrapped
}

/// Reads the form in which rules write a reply: `550 5.7.1 text`, where the enhanced status code may be left out.
impl FromStr for Reply {
    type Err = ReplyError;

    fn from_str(text: &str) -> Result<Self, ReplyError> {
        let text = text.trim_end_matches(['\r', '\n']);
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        if code.len() != 3 || !code.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(ReplyError::Malformed);
        }
        let code = code.parse().map_err(|_| ReplyError::Malformed)?;
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        match Status::parse(word) {
            Some(status) => Self::new(code, Some(status), after),
            None => Self::new(code, None, rest),
        }
    }
}

/// Writes the form that [`FromStr`] reads.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        if !self.text.is_empty() {
            write!(f, " {}", self.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Reply, ReplyError, Status, TEXT_MAX};

    fn wire(reply: &Reply) -> String {
        let mut octets = Vec::new();
        reply.write_to(&mut octets);
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn reads_what_rules_write() {
        for (text, expected) in [
            ("550 5.7.1 No", "550 5.7.1 No\r\n"),
            ("550 No", "550 No\r\n"),
            ("550", "550\r\n"),
            ("250 2.0.0", "250 2.0.0\r\n"),
            ("550 5.7 odd", "550 5.7 odd\r\n"),
            (
                "451 5.7.3 Must issue a STARTTLS command first\r\n",
                "451 5.7.3 Must issue a STARTTLS command first\r\n",
            ),
            (
                "550 5.7.1 a\r\nb\nc",
                "550-5.7.1 a\r\n550-5.7.1 b\r\n550 5.7.1 c\r\n",
            ),
            ("550 a\n\nb", "550-a\r\n550-\r\n550 b\r\n"),
            ("550 5.7.1 caf\u{e9}\ttab", "550 5.7.1 caf?\ttab\r\n"),
        ] {
            let reply: Reply = text.parse().unwrap();
            assert_eq!(wire(&reply), expected, "{text:?}");
            assert_eq!(reply.to_string().parse(), Ok(reply), "{text:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_reply() {
        for (text, error) in [
            ("", ReplyError::Malformed),
            ("no", ReplyError::Malformed),
            ("55 x", ReplyError::Malformed),
            ("+50 x", ReplyError::Malformed),
            ("5500 x", ReplyError::Malformed),
            ("550-x", ReplyError::Malformed),
            ("199 x", ReplyError::Code(199)),
            ("560 x", ReplyError::Code(560)),
            ("650 x", ReplyError::Code(650)),
            ("550 a\rb", ReplyError::ControlCharacter('\r')),
            ("550 a\0b", ReplyError::ControlCharacter('\0')),
            ("550 a\u{1b}[2J", ReplyError::ControlCharacter('\u{1b}')),
            ("550 a\u{85}b", ReplyError::ControlCharacter('\u{85}')),
        ] {
            assert_eq!(text.parse::<Reply>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn what_the_server_composes_breaks_no_line() {
        let reply = Reply::composed(421, None, "evil\r name\0");
        assert_eq!(wire(&reply), "421 evil? name?\r\n");
    }

    #[test]
    fn no_line_is_longer_than_512_octets() {
        let words = "word ".repeat(300);
        let block = "x".repeat(3 * TEXT_MAX + 1);
        for text in [words.trim_end(), &block, &format!("{words}\n{block}")] {
            let written = wire(&Reply::new(550, Status::parse("5.123.123"), text).unwrap());
            assert!(
                written
                    .split_inclusive("\r\n")
                    .all(|line| line.len() <= 512)
            );
            let letters = |text: &str| text.matches(['x', 'w']).count();
            assert_eq!(letters(&written), letters(text));
        }
    }
}
