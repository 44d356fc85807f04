//! Text in ASCII (RFC 2045 §6.7), for servers that take nothing else.

use std::fmt::Write;

/// The length that no line may exceed, the `=` of a soft line break included.
const LINE_MAX: usize = 76;

/// `text` with lines that end in CRLF, and every octet that some server may change spelled out.
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let mut encoded = String::with_capacity(text.len() + text.len() / 8);
    let mut lines = text.split(|octet| *octet == b'\n').peekable();
    while let Some(line) = lines.next() {
        let whole = lines.peek().is_some();
        let line = match line {
            [line @ .., b'\r'] if whole => line,
            line => line,
        };
        encode_line(line, &mut encoded);
        if whole {
            encoded.push_str("\r\n");
        }
    }
    encoded.into_bytes()
}

fn encode_line(line: &[u8], encoded: &mut String) {
    let mut column = 0;
    let mut octets = line.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        let literal = match octet {
            // White space at the end of a line is what servers like to take away.
            b' ' | b'\t' => octets.peek().is_some(),
            b'=' => false,
            _ => octet.is_ascii_graphic(),
        };
        let width = if literal { 1 } else { 3 };
        if column + width >= LINE_MAX {
            encoded.push_str("=\r\n");
            column = 0;
        }
        column += width;
        if literal {
            encoded.push(char::from(octet));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "={octet:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_MAX, encode};
    use proptest::prelude::*;

    fn encoded(text: &str) -> String {
        String::from_utf8(encode(text.as_bytes())).unwrap()
    }

    #[test]
    fn spells_out_what_does_not_travel() {
        for (text, expected) in [
            ("", ""),
            ("Subject: caf\u{e9}\r\n", "Subject: caf=C3=A9\r\n"),
            ("a = b \r\nc\t\r\n", "a =3D b=20\r\nc=09\r\n"),
            ("no end", "no end"),
            ("\r\n\r\n", "\r\n\r\n"),
            ("a\rb\nc\r", "a=0Db\r\nc=0D"),
        ] {
            assert_eq!(encoded(text), expected, "{text:?}");
        }
        let long = encoded(&"x".repeat(100));
        assert_eq!(long, format!("{}=\r\n{}", "x".repeat(75), "x".repeat(25)));
    }

    fn decoded(text: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(text.to_vec())
            .unwrap()
            .replace("=\r\n", "");
        let mut pieces = text.split('=');
        let mut octets = pieces.next().unwrap().as_bytes().to_vec();
        for piece in pieces {
            octets.push(u8::from_str_radix(&piece[..2], 16).unwrap());
            octets.extend_from_slice(&piece.as_bytes()[2..]);
        }
        octets
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>().prop_filter("a line", |o| *o != b'\n'), 0..200), 1..5)
        ) {
            let text = lines.join(&b"\r\n"[..]);
            let encoded = encode(&text);
            prop_assert!(encoded.is_ascii());
            let short = encoded.split(|o| *o == b'\n').all(|line| line.len() <= LINE_MAX + 1);
            prop_assert!(short);
            prop_assert_eq!(decoded(&encoded), text);
        }
    }
}
