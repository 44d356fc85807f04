//! mboxrd: how the lines of a message stand in a file of messages, so that none looks like the start of another.

/// Turns content into what stands in the file: lines end in LF, and those that begin with any number of `>` and `From `
/// get one `>` more.
#[derive(Debug)]
pub(super) struct Escaper {
    position: Position,
    /// The line has begun: the last octet was no LF.
    open: bool,
    /// A CR is held back: it goes where a LF follows.
    carriage_return: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// At the start of a line, after any number of `>` and so many octets of [`FROM`], which are held back.
    Start(usize),
    Text,
}

const FROM: &[u8] = b"From ";

impl Default for Escaper {
    fn default() -> Self {
        Self {
            position: Position::Start(0),
            open: false,
            carriage_return: false,
        }
    }
}

impl Escaper {
    pub(super) fn escape(&mut self, content: &[u8], escaped: &mut Vec<u8>) {
        for &octet in content {
            if std::mem::take(&mut self.carriage_return) && octet != b'\n' {
                self.text(b'\r', escaped);
            }
            match octet {
                b'\r' => self.carriage_return = true,
                _ => self.text(octet, escaped),
            }
        }
    }

    /// Ends the last line, and the message with an empty one.
    pub(super) fn finish(mut self, escaped: &mut Vec<u8>) {
        if self.carriage_return {
            self.text(b'\r', escaped);
        }
        if self.open {
            self.text(b'\n', escaped);
        }
        escaped.push(b'\n');
    }

    fn text(&mut self, octet: u8, escaped: &mut Vec<u8>) {
        self.open = octet != b'\n';
        if let Position::Start(matched) = self.position {
            if FROM.get(matched) == Some(&octet) {
                self.position = Position::Start(matched + 1);
                if matched + 1 == FROM.len() {
                    // Behind the others it is as good as before them.
                    escaped.push(b'>');
                    escaped.extend_from_slice(FROM);
                    self.position = Position::Text;
                }
                return;
            }
            escaped.extend_from_slice(FROM.get(..matched).unwrap_or_default());
            self.position = match (matched, octet) {
                (0, b'>') => Position::Start(0),
                _ => Position::Text,
            };
        }
        escaped.push(octet);
        if octet == b'\n' {
            self.position = Position::Start(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Escaper;
    use proptest::prelude::*;

    /// What a reader takes back: the message between its separator and the empty line.
    fn unescaped(escaped: &str) -> String {
        let lines = escaped.strip_suffix('\n').unwrap().split_inclusive('\n');
        lines
            .map(
                |line| match line.trim_start_matches('>').starts_with("From ") {
                    true => line.strip_prefix('>').unwrap(),
                    false => line,
                },
            )
            .collect()
    }

    proptest! {
        #[test]
        fn escaping_can_be_taken_back(
            words in prop::collection::vec(prop::sample::select(vec!["From ", ">", "\r\n", "F", "rom ", "x", "From"]), 0..25),
            piece in 1_usize..9,
        ) {
            let content = words.concat();
            let mut escaper = Escaper::default();
            let mut escaped = Vec::new();
            for piece in content.as_bytes().chunks(piece) {
                escaper.escape(piece, &mut escaped);
            }
            escaper.finish(&mut escaped);
            let escaped = String::from_utf8(escaped).unwrap();
            prop_assert!(!escaped.starts_with("From ") && !escaped.contains("\nFrom "));
            let mut expected = content.replace("\r\n", "\n");
            if !expected.is_empty() && !expected.ends_with('\n') {
                expected.push('\n');
            }
            prop_assert_eq!(unescaped(&escaped), expected);
        }
    }
}
