//! `xtext` (RFC 3461 §4): text made safe for a parameter of MAIL or RCPT.
//!
//! ```text
//! xtext   = *( xchar / hexchar )
//! xchar   = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "="
//! hexchar = ASCII "+" immediately followed by two upper case hexadecimal digits
//! ```

use std::fmt::Write;

/// `text` as `xtext`.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        if is_xchar(octet) {
            encoded.push(char::from(octet));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "+{octet:02X}");
        }
    }
    encoded
}

/// What `xtext` stands for; `None` when it is malformed, or stands for anything but printable ASCII and spaces.
pub(super) fn decode(xtext: &str) -> Option<String> {
    let mut decoded = String::with_capacity(xtext.len());
    let mut octets = xtext.bytes();
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b'+' => hexadecimal(octets.next()?)? << 4 | hexadecimal(octets.next()?)?,
            _ if is_xchar(octet) => octet,
            _ => return None,
        };
        if !matches!(octet, b' '..=b'~') {
            return None;
        }
        decoded.push(char::from(octet));
    }
    Some(decoded)
}

fn is_xchar(octet: u8) -> bool {
    matches!(octet, b'!'..=b'~') && !matches!(octet, b'+' | b'=')
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use proptest::prelude::*;

    #[test]
    fn decodes_printable_text_only() {
        for (xtext, text) in [
            ("", ""),
            ("QQ314159", "QQ314159"),
            ("a+2Bb+3Dc", "a+b=c"),
            ("a+20b", "a b"),
        ] {
            assert_eq!(decode(xtext).as_deref(), Some(text), "{xtext}");
        }
        for bad in [
            "a b",
            "a=b",
            "+",
            "+4",
            "+4g",
            "+2b",
            "+0D+0A",
            "+00",
            "+7F",
            "+C3+A9",
            "caf\u{e9}",
            "a\r\nb",
        ] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn decodes_what_it_encodes(text in "[ -~]{0,60}") {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|octet| octet.is_ascii_graphic()));
            prop_assert_eq!(decode(&encoded), Some(text));
        }
    }
}
