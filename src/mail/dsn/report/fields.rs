//! Header fields written from values that may hold anything.

/// The length that a line should not reach (RFC 5322 §2.1.1).
const LINE_MAX: usize = 78;
/// Where a word too long for any line is cut: no line may be longer than 998 octets (RFC 5322 §2.1.1).
const WORD_MAX: usize = 900;

/// A group of fields that is being written.
#[derive(Debug, Default)]
pub(super) struct Fields {
    octets: Vec<u8>,
}

impl Fields {
    /// One more field, folded between words. Control characters in `value` become question marks.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        let mut column = name.len() + 1;
        self.octets.extend_from_slice(name.as_bytes());
        self.octets.push(b':');
        let printable = value.replace(char::is_control, "?");
        for word in printable.split(' ').filter(|word| !word.is_empty()) {
            for (number, piece) in pieces(word).enumerate() {
                let fold =
                    number > 0 || (column + 1 + piece.len() > LINE_MAX && column > name.len() + 1);
                if fold {
                    self.octets.extend_from_slice(b"\r\n");
                    column = 0;
                }
                self.octets.push(b' ');
                self.octets.extend_from_slice(piece.as_bytes());
                column += 1 + piece.len();
            }
        }
        self.octets.extend_from_slice(b"\r\n");
    }

    /// The group, with the empty line that ends it.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.octets.extend_from_slice(b"\r\n");
        self.octets
    }
}

/// `word`, cut after at most [`WORD_MAX`] octets, between characters.
pub(super) fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(rest.floor_char_boundary(WORD_MAX));
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::Fields;
    use proptest::prelude::*;

    fn written(name: &str, value: &str) -> String {
        let mut fields = Fields::default();
        fields.add(name, value);
        String::from_utf8(fields.end()).unwrap()
    }

    #[test]
    fn a_value_breaks_no_line() {
        assert_eq!(written("Status", "5.1.1"), "Status: 5.1.1\r\n\r\n");
        assert_eq!(written("A", "b\r\nBcc: c"), "A: b??Bcc: c\r\n\r\n");
        assert_eq!(written("A", ""), "A:\r\n\r\n");
        let folded = written("Diagnostic-Code", &"word ".repeat(30));
        assert!(folded.lines().all(|line| line.len() <= 78), "{folded}");
    }

    proptest! {
        #[test]
        fn each_line_is_the_field_or_a_continuation(value in any::<String>(), long in "[a-z]{0,3000}") {
            let octets = written("Name", &format!("{value}{long}"));
            let group = octets.strip_suffix("\r\n\r\n").unwrap();
            for (number, line) in group.split("\r\n").enumerate() {
                prop_assert!(!line.contains(['\r', '\n', '\0']));
                prop_assert!(line.len() <= 998);
                prop_assert!(number == 0 || line.starts_with(' ') && !line.trim().is_empty());
            }
        }
    }
}
