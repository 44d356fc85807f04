//! The content on its way out: dots doubled (RFC 5321 §4.5.2), lines ended by CRLF and by nothing else (§2.3.8).
//!
//! Whatever the content is, what comes out holds no bare CR, no bare LF, and `CRLF . CRLF` at its end only. A bare CR or
//! a bare LF becomes CRLF rather than a reason to refuse: a session lets none in, so that one can only come from a rule
//! or a content filter of ours, and to bounce a stranger's mail for it would punish the wrong one. The line end is made
//! before dots are doubled, so that `CR . CR` cannot turn into an end. All other octets pass as they are, NUL included.

use memchr::memchr2;

/// The encoder of one message.
#[derive(Debug)]
pub struct Encoder {
    line_start: bool,
    /// The last octet taken was a CR, which has gone out as CRLF: a LF behind it is part of it.
    carriage_return: bool,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            line_start: true,
            carriage_return: false,
        }
    }
}

impl Encoder {
    /// Appends the next `content` to `wire`.
    pub fn encode(&mut self, content: &[u8], wire: &mut Vec<u8>) {
        let mut rest = content;
        if self.carriage_return {
            if let [b'\n', after @ ..] = rest {
                rest = after;
            }
            if !content.is_empty() {
                self.carriage_return = false;
            }
        }
        while !rest.is_empty() {
            if self.line_start && rest.first() == Some(&b'.') {
                wire.push(b'.');
            }
            let Some(at) = memchr2(b'\r', b'\n', rest) else {
                wire.extend_from_slice(rest);
                self.line_start = false;
                return;
            };
            let (text, from_line_end) = rest.split_at(at);
            wire.extend_from_slice(text);
            wire.extend_from_slice(b"\r\n");
            self.line_start = true;
            rest = match from_line_end {
                [b'\r', b'\n', after @ ..] => after,
                [b'\r'] => {
                    self.carriage_return = true;
                    &[]
                }
                [_, after @ ..] => after,
                [] => &[],
            };
        }
    }

    /// Appends the end of the content: the line end that the last line may lack, and the dot.
    pub fn finish(self, wire: &mut Vec<u8>) {
        if !self.line_start {
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::Encoder;
    use crate::smtp::content::{Content, Outcome};
    use proptest::prelude::*;

    fn encode(pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoder = Encoder::default();
        let mut wire = Vec::new();
        for piece in pieces {
            encoder.encode(piece, &mut wire);
        }
        encoder.finish(&mut wire);
        wire
    }

    #[test]
    fn only_the_end_is_an_end() {
        for (content, wire) in [
            ("", ".\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            ("..\r\n", "...\r\n.\r\n"),
            ("a\r\n.\r\nMAIL", "a\r\n..\r\nMAIL\r\n.\r\n"),
            ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r.\rb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r\n.\rb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r", "a\r\n.\r\n"),
            ("a\r\r\n", "a\r\n\r\n.\r\n"),
            ("a\0b\r\n.\0\r\n", "a\0b\r\n..\0\r\n.\r\n"),
            ("\n\n", "\r\n\r\n.\r\n"),
        ] {
            assert_eq!(
                encode(&[content.as_bytes()]).escape_ascii().to_string(),
                wire.as_bytes().escape_ascii().to_string(),
                "{content:?}"
            );
        }
    }

    /// What `content` is once each line end is CRLF.
    fn normal(content: &[u8]) -> Vec<u8> {
        let mut normal = Vec::new();
        let mut octets = content.iter().peekable();
        while let Some(&octet) = octets.next() {
            match octet {
                b'\r' => {
                    octets.next_if(|&&next| next == b'\n');
                    normal.extend_from_slice(b"\r\n");
                }
                b'\n' => normal.extend_from_slice(b"\r\n"),
                _ => normal.push(octet),
            }
        }
        if !normal.is_empty() && !normal.ends_with(b"\r\n") {
            normal.extend_from_slice(b"\r\n");
        }
        normal
    }

    proptest! {
        #[test]
        fn any_content_arrives_whole(
            pieces in prop::collection::vec(
                prop::collection::vec(prop::sample::select(b"\r\n.a\0\xff".to_vec()), 0..12), 0..8)
        ) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let wire = encode(&pieces);
            let mut decoded = Vec::new();
            let mut input = wire.as_slice();
            let end = Content::new(u64::MAX).decode(&mut input, &mut decoded);
            prop_assert_eq!(end, Some(Outcome::Whole));
            prop_assert!(input.is_empty());
            prop_assert_eq!(decoded, normal(&pieces.concat()));
        }
    }
}
