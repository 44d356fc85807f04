//! The content that follows DATA, taken out of its transparency (RFC 5321 §4.5.2) as it arrives.
//!
//! Only `CRLF . CRLF` ends it. A CR or a LF that stands alone anywhere makes the whole message unacceptable (RFC 5321
//! §2.3.8), for what ends a line to one server and not to the next is how messages are smuggled (CVE-2023-51764). Such
//! a message, and one over the size limit, is still read to its true end: nothing in it is ever taken for a command.
//! All other octets are kept as they are, NUL and 8-bit ones included.

use memchr::memchr2;

/// How content ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of it was given out.
    Whole,
    /// It held a bare CR or a bare LF.
    BareLineEnd,
    /// It was longer than the limit.
    TooLarge,
}

/// Where in a line the next octet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// After CRLF, or at the very front: the CRLF of the DATA command counts.
    LineStart,
    /// After a dot at the start of a line, which is never content.
    Dot,
    /// After a dot at the start of a line, and a CR.
    DotCarriageReturn,
    Text,
    CarriageReturn,
}

/// The decoder of one message.
#[derive(Debug)]
pub(super) struct Content {
    position: Position,
    bare_line_end: bool,
    /// Octets that may still be given out, until `too_large`.
    room: u64,
    too_large: bool,
}

impl Content {
    /// For a message of at most `limit` octets, counted as in RFC 1870 §3: decoded, line ends included.
    pub(super) const fn new(limit: u64) -> Self {
        Self {
            position: Position::LineStart,
            bare_line_end: false,
            room: limit,
            too_large: false,
        }
    }

    /// Takes octets from the front of `input`, through the end of the content, and appends what they stand for to
    /// `content`. `None`: all octets were taken, and the content goes on.
    pub(super) fn decode(&mut self, input: &mut &[u8], content: &mut Vec<u8>) -> Option<Outcome> {
        use Position::{CarriageReturn, Dot, DotCarriageReturn, LineStart, Text};
        let octets = *input;
        let mut at = 0;
        // From here up to `at`, octets are content that was not given out yet.
        let mut from = 0;
        loop {
            let rest = octets.get(at..).unwrap_or_default();
            if self.position == Text {
                at += memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            }
            let Some(octet) = octets.get(at) else { break };
            at += 1;
            self.position = match (self.position, octet) {
                (DotCarriageReturn, b'\n') => {
                    *input = octets.get(at..).unwrap_or_default();
                    return Some(self.end());
                }
                (CarriageReturn, b'\n') => LineStart,
                (LineStart, b'.') => {
                    self.give(octets.get(from..at - 1), content);
                    from = at;
                    Dot
                }
                (Dot, b'\r') => {
                    from = at;
                    DotCarriageReturn
                }
                (LineStart | Text, b'\r') => CarriageReturn,
                (CarriageReturn | DotCarriageReturn, b'\r') => {
                    self.bare_line_end = true;
                    CarriageReturn
                }
                (CarriageReturn | DotCarriageReturn, _) | (_, b'\n') => {
                    self.bare_line_end = true;
                    Text
                }
                (LineStart | Dot | Text, _) => Text,
            };
        }
        self.give(octets.get(from..), content);
        *input = &[];
        None
    }

    fn end(&self) -> Outcome {
        if self.bare_line_end {
            Outcome::BareLineEnd
        } else if self.too_large {
            Outcome::TooLarge
        } else {
            Outcome::Whole
        }
    }

    /// Gives `octets` out, as far as the limit lets; none of a message that is known to be refused.
    fn give(&mut self, octets: Option<&[u8]>, content: &mut Vec<u8>) {
        let octets = octets.unwrap_or_default();
        if self.bare_line_end {
            return;
        }
        let length = octets.len() as u64;
        self.too_large |= length > self.room;
        if self.too_large {
            return;
        }
        self.room -= length;
        content.extend_from_slice(octets);
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, Outcome};

    /// How `octets` end and what they stand for, fed in pieces of `piece` octets; then the octets left over.
    fn decode(octets: &[u8], limit: u64, piece: usize) -> (Option<Outcome>, Vec<u8>, usize) {
        let mut decoder = Content::new(limit);
        let mut content = Vec::new();
        let mut left = octets.len();
        for piece in octets.chunks(piece) {
            let mut input = piece;
            let end = decoder.decode(&mut input, &mut content);
            left -= piece.len() - input.len();
            if end.is_some() {
                return (end, content, left);
            }
        }
        (None, content, left)
    }

    #[test]
    fn undoes_transparency_wherever_the_input_is_split() {
        for (wire, content) in [
            (".\r\n", ""),
            ("\r\n.\r\n", "\r\n"),
            ("a\r\n.\r\n", "a\r\n"),
            ("..\r\n.\r\n", ".\r\n"),
            ("a\r\n..b\r\n...\r\n.\r\n", "a\r\n.b\r\n..\r\n"),
            (".a\r\n.\r\n", "a\r\n"),
            ("a.\r\n.\r\n", "a.\r\n"),
            ("\r\n\0.\r\n\u{e9}\r\n.\r\n", "\r\n\0.\r\n\u{e9}\r\n"),
        ] {
            for piece in 1..=wire.len() {
                let decoded = decode(wire.as_bytes(), 100, piece);
                assert_eq!(
                    decoded,
                    (Some(Outcome::Whole), content.into(), 0),
                    "{wire:?}"
                );
            }
        }
    }

    #[test]
    fn a_bare_line_end_is_no_line_end() {
        for wire in [
            "a\n.\r\nb\r\n.\r\n",
            "a\r.\r\nb\r\n.\r\n",
            "a\r\n.\nb\r\n.\r\n",
            "a\r\n.\rb\r\n.\r\n",
            "a\r\n.\r\r\nb\r\n.\r\n",
            "a\n.\nb\r\n.\r\n",
            "a\r.\rb\r\n.\r\n",
            "\n.\r\n\r\n.\r\n",
            ".\n\r\n.\r\n",
            "a\r\r\n.\r\n",
        ] {
            for piece in 1..=wire.len() {
                let (end, _, left) = decode(wire.as_bytes(), 100, piece);
                assert_eq!((end, left), (Some(Outcome::BareLineEnd), 0), "{wire:?}");
            }
        }
    }

    #[test]
    fn what_follows_the_end_is_left_alone() {
        let (end, content, left) = decode(b"a\r\n.\r\nQUIT\r\n", 100, 100);
        assert_eq!(
            (end, content, left),
            (Some(Outcome::Whole), b"a\r\n".to_vec(), 6)
        );
    }

    #[test]
    fn the_limit_counts_decoded_octets() {
        let wire = b"..a\r\n..b\r\n.\r\n";
        for piece in 1..=wire.len() {
            assert_eq!(decode(wire, 8, piece).0, Some(Outcome::Whole));
            assert_eq!(decode(wire, 7, piece).0, Some(Outcome::TooLarge));
            assert!(decode(wire, 7, piece).1.len() <= 7);
        }
    }
}
