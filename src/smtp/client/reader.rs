//! Replies, cut out of octets as they arrive and read strictly (RFC 5321 §4.2).
//!
//! ```text
//! Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
//! Reply-code = %x32-35 %x30-35 %x30-39
//! ```

use super::super::Reply;
use super::super::line::{LineError, Lines};
use crate::mail::Status;

/// Octets of a reply. The longest honest ones answer EHLO and HELP.
const REPLY_MAX: usize = 16 * 1024;
/// Octets of one of its lines without CRLF: RFC 5321 §4.5.3.1.5 has 510, and servers say more.
const LINE_MAX: usize = 2048 - 2;

/// Why octets are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReaderError {
    /// See [`LineError`].
    #[error("{0} in a reply")]
    Line(LineError),
    /// A line does not begin with a reply code.
    #[error("a line that is no reply")]
    Malformed,
    /// The lines of one reply have several codes.
    #[error("a reply with two codes")]
    TwoCodes,
    /// More than 16 KiB.
    #[error("a reply that has no end")]
    TooLong,
}

/// The part of a reply that has arrived.
#[derive(Debug, Default)]
pub(super) struct Reader {
    lines: Lines,
    code: Option<u16>,
    status: Option<Status>,
    text: String,
    /// Its octets.
    length: usize,
}

impl Reader {
    /// Takes octets from the front of `input`, through the end of the first reply. `None`: all octets were taken, and
    /// the reply goes on.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Option<Result<Reply, ReaderError>> {
        loop {
            let before = input.len();
            let mut lines = std::mem::take(&mut self.lines);
            let line = lines.next(input, LINE_MAX).map(|line| match line {
                Ok(line) => self.add(line),
                Err(error) => Err(ReaderError::Line(error)),
            });
            self.lines = lines;
            self.length += before - input.len();
            // A line without end counts as well.
            if self.length > REPLY_MAX {
                return Some(Err(ReaderError::TooLong));
            }
            match line? {
                Ok(false) => {}
                Ok(true) => return Some(Ok(self.end())),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Whether `line` was the last of its reply.
    fn add(&mut self, line: &[u8]) -> Result<bool, ReaderError> {
        let (code, rest) = code(line).ok_or(ReaderError::Malformed)?;
        let (last, text) = match rest {
            [] => (true, rest),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return Err(ReaderError::Malformed),
        };
        let first = self.code.is_none();
        if *self.code.get_or_insert(code) != code {
            return Err(ReaderError::TwoCodes);
        }
        let text = String::from_utf8_lossy(text);
        let (status, text) = split_status(code, &text);
        if first {
            self.status = status;
        } else {
            self.text.push('\n');
        }
        self.text.push_str(text);
        Ok(last)
    }

    fn end(&mut self) -> Reply {
        let code = self.code.take().unwrap_or_default();
        let text = std::mem::take(&mut self.text);
        self.length = 0;
        Reply::composed(code, self.status.take(), &text)
    }
}

fn code(line: &[u8]) -> Option<(u16, &[u8])> {
    match line {
        [a @ b'2'..=b'5', b @ b'0'..=b'5', c @ b'0'..=b'9', rest @ ..] => {
            let digit = |octet: &u8| u16::from(octet - b'0');
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), rest))
        }
        _ => None,
    }
}

/// The enhanced status code at the front of `text`, where it has one that does not contradict the reply code
/// (RFC 2034 §4), and what follows it.
fn split_status(code: u16, text: &str) -> (Option<Status>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match Status::parse(word).filter(|status| u16::from(status.class) == code / 100) {
        Some(status) => (Some(status), rest),
        None => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::{REPLY_MAX, Reader, ReaderError, Reply};
    use crate::smtp::line::LineError;
    use proptest::prelude::*;

    fn read(octets: &[u8], piece: usize) -> Vec<Result<Reply, ReaderError>> {
        let mut reader = Reader::default();
        let mut replies = Vec::new();
        for mut piece in octets.chunks(piece) {
            while let Some(reply) = reader.next(&mut piece) {
                let failed = reply.is_err();
                replies.push(reply);
                if failed {
                    return replies;
                }
            }
        }
        replies
    }

    #[test]
    fn reads_replies_however_they_are_cut() {
        let octets = b"220 mx ready\r\n250-mx\r\n250-SIZE 10\r\n250 DSN\r\n550-5.1.1 No\r\n550 5.1.1 such user\r\n\
            250\r\n354 go\r\n550 2.1.1 contradiction\r\n";
        for piece in 1..octets.len() {
            let shown: Vec<String> = read(octets, piece)
                .into_iter()
                .map(|r| r.unwrap().to_string())
                .collect();
            assert_eq!(
                shown,
                [
                    "220 mx ready",
                    "250 mx\nSIZE 10\nDSN",
                    "550 5.1.1 No\nsuch user",
                    "250",
                    "354 go",
                    "550 2.1.1 contradiction"
                ],
                "{piece}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_reply() {
        for (octets, error) in [
            ("hello\r\n", ReaderError::Malformed),
            ("\r\n", ReaderError::Malformed),
            ("HTTP/1.1 400 Bad Request\r\n", ReaderError::Malformed),
            ("150 x\r\n", ReaderError::Malformed),
            ("260 x\r\n", ReaderError::Malformed),
            ("250x\r\n", ReaderError::Malformed),
            ("250\tx\r\n", ReaderError::Malformed),
            ("250-a\r\n251 b\r\n", ReaderError::TwoCodes),
            ("250-a\r\nb\r\n", ReaderError::Malformed),
            ("250 a\n", ReaderError::Line(LineError::BareLineEnd)),
            ("250 a\rb\r\n", ReaderError::Line(LineError::BareLineEnd)),
        ] {
            assert_eq!(read(octets.as_bytes(), 99), [Err(error)], "{octets:?}");
        }
    }

    #[test]
    fn a_reply_without_end_is_cut_off() {
        let lines = "250-x\r\n".repeat(REPLY_MAX);
        assert_eq!(read(lines.as_bytes(), 4096), [Err(ReaderError::TooLong)]);
        let line = [b'2'; 2 * REPLY_MAX];
        assert_eq!(read(&line, 4096), [Err(ReaderError::TooLong)]);
        let line = [&line[..3000], b"\r\n"].concat();
        assert_eq!(
            read(&line, 99),
            [Err(ReaderError::Line(LineError::TooLong))]
        );
    }

    #[test]
    fn control_characters_reach_nobody() {
        let replies = read(b"550 a\x1b[2J\x00\xff\r\n", 99);
        let reply = replies.first().unwrap().as_ref().unwrap();
        assert_eq!(reply.to_string(), "550 a?[2J?\u{fffd}");
    }

    proptest! {
        #[test]
        fn never_panics(octets in prop::collection::vec(any::<u8>(), 0..300), piece in 1_usize..50) {
            read(&octets, piece);
        }
    }
}
