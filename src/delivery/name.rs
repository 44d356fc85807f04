//! File names for what a peer or a rule chose: no two names share a file, and none is anything but a name.

use std::fmt::Write;

/// What a file system takes.
const LENGTH_MAX: usize = 255;

/// The file name for a name. Letters and digits of any script and `_ + = @ - .` stand for themselves, save a `-` or `.`
/// in front; every other octet is written `%XX`. Two names give two file names. `None`: too long for a file system.
pub(super) fn encode(name: &str) -> Option<String> {
    // Unlike any encoded octet.
    if name.is_empty() {
        return Some("%".to_owned());
    }
    let mut encoded = String::with_capacity(name.len());
    for (at, character) in name.char_indices() {
        let plain = character.is_alphanumeric()
            || matches!(character, '_' | '+' | '=' | '@')
            || (at > 0 && matches!(character, '-' | '.'));
        if plain {
            encoded.push(character);
            continue;
        }
        for octet in character.encode_utf8(&mut [0; 4]).bytes() {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{octet:02X}");
        }
    }
    (encoded.len() <= LENGTH_MAX).then_some(encoded)
}

#[cfg(test)]
mod tests {
    use super::encode;
    use proptest::prelude::*;

    #[test]
    fn names_are_literal_text() {
        let long = "a".repeat(255);
        for (name, expected) in [
            ("jones", "jones"),
            ("jones.smith+news", "jones.smith+news"),
            ("jürgen", "jürgen"),
            ("../../x", "%2E.%2F..%2Fx"),
            ("a/b", "a%2Fb"),
            (".", "%2E"),
            ("..", "%2E."),
            (".forward", "%2Eforward"),
            ("-rf", "%2Drf"),
            ("~root", "%7Eroot"),
            ("%2F", "%252F"),
            ("a\0b", "a%00b"),
            ("\"a b\"", "%22a%20b%22"),
            ("$(id)", "%24%28id%29"),
            ("", "%"),
            (&long, &long),
        ] {
            assert_eq!(encode(name).as_deref(), Some(expected), "{name:?}");
        }
        assert_eq!(encode(&"a".repeat(256)), None);
        assert_eq!(encode(&"/".repeat(86)), None);
    }

    proptest! {
        #[test]
        fn two_names_have_two_files(a: String, b: String) {
            prop_assert!(a == b || encode(&a).is_none() || encode(&a) != encode(&b));
        }

        #[test]
        fn an_encoded_name_leads_nowhere_else(name: String) {
            let encoded = encode(&name).unwrap_or_else(|| "x".into());
            prop_assert!(!encoded.contains(['/', '\0']) && !encoded.starts_with(['.', '-', '~']));
        }
    }
}
