//! How a header field is written (RFC 5322 §2.2, §2.1.1).

/// The length that a line should not reach (RFC 5322 §2.1.1), less its CRLF.
pub(super) const LINE_SHOULD: usize = 78;
/// The length that a line must not exceed (RFC 5322 §2.1.1), less its CRLF.
const LINE_MUST: usize = 998;

/// Why a header field cannot be written so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A name is one or more of the printable characters of ASCII, without colon and space (RFC 5322 §3.6.8).
    #[error("not the name of a header field")]
    Name,
    /// A value has no CR, LF or NUL, except for line ends that white space follows: those are folds.
    #[error("a line end in a header field that begins no fold, or NUL")]
    Line,
    /// No line may be longer than 998 octets (RFC 5322 §2.1.1), and white space to fold it at is missing.
    #[error("a line of more than {LINE_MUST} octets in a header field")]
    LineTooLong,
    /// See [`SECTION_MAX`](super::SECTION_MAX).
    #[error("the header section is too long")]
    SectionTooLong,
}

/// The field of that name and value, folded where a line would be too long otherwise.
pub(super) fn field(name: &str, value: &str) -> Result<Vec<u8>, FieldError> {
    check_name(name)?;
    let value = unfolded(value)?;
    let mut field = format!("{name}:").into_bytes();
    let mut line_length = field.len();
    for (index, word) in words(value.trim_matches(WHITE_SPACE)).enumerate() {
        // Some readers take a field that is folded right behind its colon for an empty one.
        let most = if index == 0 { LINE_MUST } else { LINE_SHOULD };
        let space = if index == 0 { " " } else { "" };
        let length = space.len() + word.len();
        if line_length + length > most {
            field.extend_from_slice(b"\r\n");
            line_length = 0;
        }
        field.extend_from_slice(space.as_bytes());
        field.extend_from_slice(word.as_bytes());
        line_length += length;
    }
    field.extend_from_slice(b"\r\n");
    check_lines(&field).map(|()| field)
}

/// ```text
/// field-name = 1*ftext
/// ftext      = %d33-57 / %d59-126
/// ```
pub(super) fn check_name(name: &str) -> Result<(), FieldError> {
    let is_ftext = |octet: u8| matches!(octet, 33..=57 | 59..=126);
    if name.is_empty() || !name.bytes().all(is_ftext) {
        return Err(FieldError::Name);
    }
    Ok(())
}

/// Checks what is one field already.
pub(super) fn check_lines(field: &[u8]) -> Result<(), FieldError> {
    let lines = field.split(|octet| *octet == b'\n');
    // Each but the last has its CR still.
    if lines.clone().any(|line| line.len() > LINE_MUST + 1) {
        return Err(FieldError::LineTooLong);
    }
    Ok(())
}

const WHITE_SPACE: [char; 2] = [' ', '\t'];

/// `value` without the line ends of its folds.
fn unfolded(value: &str) -> Result<String, FieldError> {
    let mut unfolded = String::with_capacity(value.len());
    for (index, line) in value.split('\n').enumerate() {
        if index > 0 && !line.starts_with(WHITE_SPACE) {
            return Err(FieldError::Line);
        }
        unfolded.push_str(line.strip_suffix('\r').unwrap_or(line));
    }
    // The CR that ends the value stands before no LF.
    if value.ends_with('\r') || unfolded.contains(['\r', '\0']) {
        return Err(FieldError::Line);
    }
    Ok(unfolded)
}

/// The words of a trimmed text, each with the white space in front of it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let word = rest.find(|c| !WHITE_SPACE.contains(&c))?;
        let behind = rest.get(word..)?.find(WHITE_SPACE);
        let (first, others) = rest.split_at(behind.map_or(rest.len(), |behind| word + behind));
        rest = others;
        Some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::{FieldError, LINE_MUST, LINE_SHOULD, field};
    use crate::mail::header::HeaderSection;
    use proptest::prelude::*;

    #[test]
    fn writes_fields() {
        let long = "x".repeat(LINE_MUST - 1);
        let at_limit = format!("N:\r\n {long}\r\n");
        let too_long = "x".repeat(LINE_MUST + 1);
        for (name, value, expected) in [
            ("Subject", "hi", Ok("Subject: hi\r\n")),
            ("Subject", "", Ok("Subject:\r\n")),
            ("Subject", " \t", Ok("Subject:\r\n")),
            ("Subject", "  a  b ", Ok("Subject: a  b\r\n")),
            ("Subject", "a\r\n\tb\n c", Ok("Subject: a\tb c\r\n")),
            (
                "Subject",
                "é =?utf-8?q?=C3=A9?=",
                Ok("Subject: é =?utf-8?q?=C3=A9?=\r\n"),
            ),
            ("X!#~", "a: b", Ok("X!#~: a: b\r\n")),
            ("", "a", Err(FieldError::Name)),
            ("A B", "a", Err(FieldError::Name)),
            ("A:", "a", Err(FieldError::Name)),
            ("A\r\nB", "a", Err(FieldError::Name)),
            ("É", "a", Err(FieldError::Name)),
            ("A", "a\r\nBcc: b", Err(FieldError::Line)),
            ("A", "a\nB: b", Err(FieldError::Line)),
            ("A", "a\rB: b", Err(FieldError::Line)),
            ("A", "a\r\n\r\nbody", Err(FieldError::Line)),
            ("A", "a\r\n", Err(FieldError::Line)),
            ("A", "a\r", Err(FieldError::Line)),
            ("A", "a\r\r\n b", Err(FieldError::Line)),
            ("A", "a\0", Err(FieldError::Line)),
            ("N", &too_long, Err(FieldError::LineTooLong)),
            (&too_long, "a", Err(FieldError::LineTooLong)),
        ] {
            let written = field(name, value).map(|field| String::from_utf8(field).unwrap());
            assert_eq!(written, expected.map(str::to_owned), "{name:?} {value:?}");
        }
        assert_eq!(field("N", &long), Ok(at_limit.into_bytes()));
    }

    #[test]
    fn folds_long_values_at_white_space() {
        let value = "word ".repeat(100);
        let field = field("Subject", &value).unwrap();
        let lines: Vec<_> = field.split(|octet| *octet == b'\n').collect();
        assert!(lines.len() > 5);
        for line in &lines {
            assert!(line.len() <= LINE_SHOULD + 1, "{line:?}");
        }
        for line in &lines[1..lines.len() - 1] {
            assert!(line.starts_with(b" word"), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn a_value_is_refused_or_one_field_that_says_it(value in "([a-z é:]|\r\n|\n|\r|\t|\0|[a-z]{60}){0,80}") {
            let Ok(octets) = field("Name", &value) else { return Ok(()) };
            let section = HeaderSection::parse(&octets);
            prop_assert_eq!(section.fields().count(), 1);
            let unfolded = value.replace(['\r', '\n'], "");
            let read = section.named("name").next().unwrap().value().into_owned();
            prop_assert_eq!(read, unfolded.trim_matches([' ', '\t']).as_bytes());
        }
    }
}
