//! Command lines, cut out of octets as they arrive.
//!
//! Only CRLF ends a line (RFC 5321 §2.3.8): a bare CR or a bare LF is never taken for a line end, since a peer that
//! sends one and a peer that believes it would see different commands.

use memchr::memchr2;
use std::mem;

/// Octets of a command line without its CRLF. RFC 5321 §4.5.3.1.4 asks for 510, and for more where extensions add
/// parameters; those offered here add about 600, most of them for ORCPT (RFC 3461 §4.2).
pub(super) const COMMAND_MAX: usize = 2048 - 2;

/// Octets of a client's line in an AUTH exchange without its CRLF (RFC 4954 §4).
pub(super) const RESPONSE_MAX: usize = 12288 - 2;

/// Why a line is no command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    /// A CR or a LF stands alone: where the line ends cannot be told.
    #[error("bare carriage return or line feed")]
    BareLineEnd,
    /// The line was longer than it may be. All of it was discarded.
    #[error("line too long")]
    TooLong,
}

/// What has arrived of a line that goes on.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The octets, no more of them than the line may have, without CR.
    partial: Vec<u8>,
    /// More octets have come than that.
    too_long: bool,
    /// The last octet was a CR, whose LF is still to come.
    carriage_return: bool,
    /// The line in `partial` was handed out: the next call begins another.
    ended: bool,
}

impl Lines {
    /// Takes octets from the front of `input`, through the end of the first line, which it returns without CRLF and which
    /// may have `max` octets. `None`: all octets were taken, and the line goes on.
    pub(super) fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
        max: usize,
    ) -> Option<Result<&'a [u8], LineError>> {
        if mem::take(&mut self.ended) {
            self.partial.clear();
        }
        let octets = mem::take(input);
        let text_length = match memchr2(b'\r', b'\n', octets) {
            _ if self.carriage_return => 0,
            at => at.unwrap_or(octets.len()),
        };
        let (text, from_line_end) = octets.split_at(text_length);
        match (self.carriage_return, from_line_end) {
            (false, [b'\r', b'\n', rest @ ..]) | (true, [b'\n', rest @ ..]) => {
                *input = rest;
                Some(self.end(text, max))
            }
            (false, [b'\r']) => {
                self.carriage_return = true;
                self.keep(text, max);
                None
            }
            (_, []) => {
                self.keep(text, max);
                None
            }
            _ => Some(Err(LineError::BareLineEnd)),
        }
    }

    /// The whole line, of which `text` is the last piece. One that came in one piece is not copied.
    fn end<'a>(&'a mut self, text: &'a [u8], max: usize) -> Result<&'a [u8], LineError> {
        self.ended = true;
        self.carriage_return = false;
        let whole = self.partial.is_empty();
        if !whole || text.len() > max {
            self.keep(text, max);
        }
        if mem::take(&mut self.too_long) {
            return Err(LineError::TooLong);
        }
        Ok(if whole { text } else { &self.partial })
    }

    fn keep(&mut self, text: &[u8], max: usize) {
        if self.partial.len() + text.len() > max {
            self.too_long = true;
        } else {
            self.partial.extend_from_slice(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{COMMAND_MAX as LINE_MAX, LineError, Lines};
    use proptest::collection::vec;
    use proptest::prelude::*;

    type Line = Result<Vec<u8>, LineError>;

    /// The lines of `pieces`, up to the first bare line end.
    fn lines(pieces: &[&[u8]]) -> Vec<Line> {
        let mut splitter = Lines::default();
        let mut lines = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(line) = splitter.next(&mut input, LINE_MAX) {
                lines.push(line.map(<[u8]>::to_vec));
                if lines.last() == Some(&Err(LineError::BareLineEnd)) {
                    return lines;
                }
            }
            assert!(input.is_empty());
            assert!(splitter.partial.len() <= LINE_MAX);
        }
        lines
    }

    fn text(line: &str) -> Line {
        Ok(line.into())
    }

    #[test]
    fn only_crlf_ends_a_line() {
        let bare = Err(LineError::BareLineEnd);
        for (octets, expected) in [
            ("A\r\n\r\nB", vec![text("A"), text("")]),
            ("A\r\nB\r\n", vec![text("A"), text("B")]),
            ("A\nB\r\n", vec![bare.clone()]),
            ("A\rB\r\n", vec![bare.clone()]),
            ("A\r\r\n", vec![bare.clone()]),
            ("A\r\n\n", vec![text("A"), bare]),
            ("A\0B\r\n", vec![text("A\0B")]),
            ("A\r", vec![]),
        ] {
            assert_eq!(lines(&[octets.as_bytes()]), expected, "{octets:?}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_discarded_through_its_end() {
        for (length, expected) in [
            (LINE_MAX, Ok(vec![b'x'; LINE_MAX])),
            (LINE_MAX + 1, Err(LineError::TooLong)),
            (LINE_MAX * 9, Err(LineError::TooLong)),
        ] {
            let mut octets = vec![b'x'; length];
            octets.extend_from_slice(b"\r\nNOOP\r\n");
            for piece in [7, 4096, octets.len()] {
                let pieces: Vec<_> = octets.chunks(piece).collect();
                assert_eq!(lines(&pieces), [expected.clone(), text("NOOP")]);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn splitting_the_input_changes_nothing(
            octets in vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'x')], 0..40),
            piece in 1_usize..5,
        ) {
            let pieces: Vec<_> = octets.chunks(piece).collect();
            prop_assert_eq!(lines(&pieces), lines(&[&octets]));
        }
    }
}
