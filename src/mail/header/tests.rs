use super::{FieldError, HeaderSection, SECTION_MAX, end};
use proptest::prelude::*;

const SECTION: &str = "Received: from a\r\n\tby b; Mon\r\n\
    received : from c\r\n\
    no field\r\n\
    X-Received: no\r\n\
    RECEIVED:\r\n Received: folded \r\n\
    Subject: =?utf-8?q?=C3=A9?= \u{e9}\r\n";

fn section() -> HeaderSection {
    HeaderSection::parse(SECTION.as_bytes())
}

fn text(section: &HeaderSection) -> String {
    String::from_utf8(section.octets()).unwrap()
}

#[test]
fn ends_before_the_empty_line() {
    for (content, expected) in [
        ("", None),
        ("a: b\r\n", None),
        ("\r\nbody\r\n\r\n", Some(0)),
        ("a: b\r\n\r\nbody\r\n\r\n", Some(6)),
        ("no header\r\n\r\n", Some(11)),
    ] {
        let from = expected.unwrap_or(content.len());
        for searched in 0..=from {
            let end = end(content.as_bytes(), searched);
            assert_eq!(end, expected, "{content:?} {searched}");
        }
    }
}

#[test]
fn finds_fields_by_name_without_case() {
    let section = section();
    let values = |name: &str| -> Vec<String> {
        let fields = section.named(name);
        let value = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        fields.map(|field| value(&field.value())).collect()
    };
    assert_eq!(
        values("Received"),
        ["from a\tby b; Mon", "from c", "Received: folded"]
    );
    assert_eq!(values("subject"), ["=?utf-8?q?=C3=A9?= é"]);
    assert_eq!(values("Receive"), [""; 0]);
    assert_eq!(values("no field"), [""; 0]);
    assert_eq!(section.fields().count(), 5);
    let first = section.named("RECEIVED").next().unwrap();
    assert_eq!(first.octets(), b"Received: from a\r\n\tby b; Mon\r\n");
}

type Edit = fn(&mut HeaderSection) -> Result<(), FieldError>;

#[test]
fn edits_what_they_are_for() {
    for (before, edit, after) in [
        (
            "A: 1\r\n",
            (|s| s.append("B", "2")) as Edit,
            "A: 1\r\nB: 2\r\n",
        ),
        (
            "A: 1\r\nno field\r\n",
            |s| s.append("B", "2"),
            "A: 1\r\nB: 2\r\nno field\r\n",
        ),
        ("", |s| s.append("B", "2"), "B: 2\r\n"),
        (
            "no header\r\n",
            |s| s.append("B", "2"),
            "B: 2\r\nno header\r\n",
        ),
        (
            " no header\r\n",
            |s| s.append("B", "2"),
            " no header\r\nB: 2\r\n",
        ),
        ("A: 1", |s| s.append("B", "2"), "A: 1\r\nB: 2\r\n"),
        ("A: 1\r\n", |s| s.prepend("B", "2"), "B: 2\r\nA: 1\r\n"),
        (
            " to nothing\r\nA: 1\r\n",
            |s| s.prepend("B", "2"),
            " to nothing\r\nB: 2\r\nA: 1\r\n",
        ),
        ("", |s| s.prepend("B", "2"), "B: 2\r\n"),
        (
            "A: 1\r\nB : 2\r\n 3\r\nC: 4\r\nb: 5\r\n",
            |s| s.set("b", "n"),
            "A: 1\r\nb: n\r\nC: 4\r\n",
        ),
        ("A: 1\r\n", |s| s.set("b", "n"), "A: 1\r\nb: n\r\n"),
        (
            "A : 1\r\n 2\r\nB: 3\r\na: 4\r\n",
            |s| s.rename("a", "New", None).map(drop),
            "New: 1\r\n 2\r\nB: 3\r\nNew: 4\r\n",
        ),
        (
            "A: 1\r\na: 2\r\n",
            |s| s.rename("a", "New", Some(1)).map(drop),
            "A: 1\r\nNew: 2\r\n",
        ),
        (
            "A: 1\r\nB: 2\r\na: 3\r\n 4\r\n",
            |s| {
                s.remove("a", None);
                Ok(())
            },
            "B: 2\r\n",
        ),
        (
            "A: 1\r\nB: 2\r\na: 3\r\n",
            |s| {
                s.remove("a", Some(1));
                Ok(())
            },
            "A: 1\r\nB: 2\r\n",
        ),
    ] {
        let mut section = HeaderSection::parse(before.as_bytes());
        edit(&mut section).unwrap();
        assert_eq!(text(&section), after, "{before:?}");
        assert!(section.is_edited());
    }
}

#[test]
fn refused_edits_and_vain_ones_change_nothing() {
    let huge = "x ".repeat(SECTION_MAX / 2);
    let mut section = section();
    for (result, expected) in [
        (section.append("A", "1\r\nBcc: 2"), Err(FieldError::Line)),
        (section.prepend("A B", "1"), Err(FieldError::Name)),
        (section.set("Subject", "\0"), Err(FieldError::Line)),
        (
            section.set("Subject", &huge),
            Err(FieldError::SectionTooLong),
        ),
        (
            section.rename("Received", "A:", None).map(drop),
            Err(FieldError::Name),
        ),
        (
            section.rename("Received", &"n".repeat(995), None).map(drop),
            Err(FieldError::LineTooLong),
        ),
        (section.rename("None", "B", None).map(drop), Ok(())),
        (section.rename("Subject", "B", Some(1)).map(drop), Ok(())),
    ] {
        assert_eq!(result, expected);
    }
    assert_eq!(section.remove("None", None), 0);
    assert_eq!(section.remove("Received", Some(3)), 0);
    assert!(!section.is_edited());
    assert_eq!(text(&section), SECTION);
}

/// Header sections as SMTP could bring them: any lines without a bare CR or LF, none of them empty.
fn sections() -> impl Strategy<Value = Vec<u8>> {
    let octets = prop::collection::vec(
        any::<u8>().prop_filter("line end", |octet| !matches!(octet, b'\r' | b'\n')),
        1..30,
    );
    let field = (
        "(A|b|To|X-Long-Name)",
        "[ \t]?:",
        "[ -~]{0,20}(\r\n[ \t][ -~]{0,20}){0,2}",
    );
    let field = field.prop_map(|(name, colon, body)| [name, colon, body].concat().into_bytes());
    let lines = prop::collection::vec(prop_oneof![3 => field, 1 => octets], 0..8);
    lines.prop_map(|lines| {
        let ended = lines
            .into_iter()
            .map(|line| [line, b"\r\n".to_vec()].concat());
        ended.collect::<Vec<_>>().concat()
    })
}

proptest! {
    #[test]
    fn without_edits_the_octets_are_the_same(octets in sections()) {
        let section = HeaderSection::parse(&octets);
        prop_assert_eq!(section.octets(), octets);
        prop_assert!(!section.is_edited());
    }

    #[test]
    fn edits_leave_other_fields_alone(octets in sections(), edit in 0..6, value in "[ -~]{0,100}") {
        let before = HeaderSection::parse(&octets);
        let mut after = before.clone();
        match edit {
            0 => after.append("A", &value).unwrap(),
            1 => after.prepend("A", &value).unwrap(),
            2 => after.set("A", &value).unwrap(),
            3 => drop(after.rename("A", "a", None).unwrap()),
            4 => drop(after.remove("A", None)),
            _ => drop(after.remove("A", Some(0))),
        }
        let others = |section: &HeaderSection| -> Vec<Vec<u8>> {
            let fields = section.fields.iter().filter(|field| !field.is_named("A"));
            fields.map(|field| field.octets.clone()).collect()
        };
        prop_assert_eq!(others(&before), others(&after));
        // And what is read again is what was meant.
        let read = HeaderSection::parse(&after.octets());
        prop_assert_eq!(read.fields, after.fields);
    }
}
