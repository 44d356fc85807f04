use super::mailboxes;
use crate::mail::Address;
use crate::mail::header::{FieldError, HeaderSection};
use proptest::prelude::*;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn edited<T>(
    section: &str,
    edit: impl FnOnce(&mut HeaderSection) -> Result<T, FieldError>,
) -> String {
    let mut section = HeaderSection::parse(section.as_bytes());
    edit(&mut section).unwrap();
    String::from_utf8(section.octets()).unwrap()
}

#[test]
fn finds_addresses_in_any_syntax() {
    for (list, expected) in [
        (" a@x", "a@x"),
        (" a@x, b@x,c@x", "a@x b@x c@x"),
        (" A <a@x>, \"b, <c@x>\" <b@x>", "a@x b@x"),
        (" (b@x, c@x) a@x (d@x)", "a@x"),
        (" (nested (comment), \\) ) <a@x>", "a@x"),
        (" \"a, b\"@x", "\"a, b\"@x"),
        (" \"q\\\",\" <a@x>, b@x", "a@x b@x"),
        (
            " a@[192.0.2.1], b@[IPv6:2001:db8::1]",
            "a@[192.0.2.1] b@[IPv6:2001:db8::1]",
        ),
        (" Group: a@x, B <b@x>; , c@x", "a@x b@x c@x"),
        (" undisclosed-recipients:;", ""),
        (" john . smith @ x", "john.smith@x"),
        (" john (who) . smith@x", "john.smith@x"),
        (" John Smith a@x", "?"),
        (" <@r,@s:a@x>", "a@x"),
        (" < a@x >", "a@x"),
        ("\r\n\tA\r\n <a@x>,\r\n b@x\r\n", "a@x b@x"),
        (" a@x,, b@x,", "a@x b@x"),
        (" nobody", "?"),
        (" <>", ""),
        ("", ""),
        (" (unclosed a@x", ""),
        (" <unclosed a@x", "?"),
        (" \"unclosed a@x", "?"),
    ] {
        let field = format!("To:{list}");
        let found: Vec<_> = mailboxes(field.as_bytes())
            .iter()
            .map(|mailbox| {
                let address = mailbox.address.as_ref();
                address.map_or("?".to_owned(), Address::to_string)
            })
            .collect();
        assert_eq!(found.join(" "), expected, "{list:?}");
    }
}

#[test]
fn rewrites_the_author() {
    for (section, expected) in [
        ("From: a@x\r\n", "From: n@y\r\n"),
        (
            "FROM :\r\n A <a@x>(c)\r\nTo: a@x\r\n",
            "FROM :\r\n A <n@y>(c)\r\nTo: a@x\r\n",
        ),
        ("From: A <a@x>, B <b@x>\r\n", "From: A <n@y>\r\n"),
        ("From: G: a@x;\r\n", "From: G: n@y;\r\n"),
        ("From: A\r\n", "From: n@y\r\n"),
        ("From: <>\r\n", "From: n@y\r\n"),
        ("To: b@x\r\n", "To: b@x\r\nFrom: n@y\r\n"),
    ] {
        let edit = |section: &mut HeaderSection| section.rewrite_author(&address("n@y"));
        assert_eq!(edited(section, edit), expected, "{section:?}");
    }
}

#[test]
fn rewrites_recipients() {
    for (section, expected) in [
        ("To: a@x\r\n", "To: n@y\r\n"),
        ("To: A <a@X>, b@x\r\n", "To: A <n@y>, b@x\r\n"),
        (
            "To: a@x, a@x\r\nCc: \"a@x\" <a@x>\r\n",
            "To: n@y, n@y\r\nCc: \"a@x\" <n@y>\r\n",
        ),
        (
            "To: G:\r\n a@x;\r\nBcc: a@x\r\n",
            "To: G:\r\n n@y;\r\nBcc: a@x\r\n",
        ),
        ("To: b@x\r\n", "To: b@x\r\n"),
    ] {
        let edit = |section: &mut HeaderSection| {
            section.rewrite_recipient(&address("a@x"), &address("n@y"))
        };
        assert_eq!(edited(section, edit), expected, "{section:?}");
    }
}

#[test]
fn adds_recipients() {
    let long = format!("To: {}@example.com", "l".repeat(60));
    let folded = format!("{long},\r\n n@y\r\n");
    let long = format!("{long}\r\n");
    for (section, expected) in [
        ("To: a@x\r\n", "To: a@x, n@y\r\n"),
        ("To: a@x,\r\n\tb@x\r\n", "To: a@x,\r\n\tb@x, n@y\r\n"),
        ("To:\r\n", "To: n@y\r\n"),
        (
            "To: undisclosed-recipients:;\r\n",
            "To: undisclosed-recipients:;, n@y\r\n",
        ),
        ("Cc: N <n@y>\r\n", "Cc: N <n@y>\r\n"),
        ("Subject: a\r\n", "Subject: a\r\nTo: n@y\r\n"),
        (&long, &folded),
    ] {
        let edit = |section: &mut HeaderSection| section.add_recipient(&address("n@y"));
        assert_eq!(edited(section, edit), expected, "{section:?}");
    }
}

#[test]
fn removes_recipients() {
    for (section, expected) in [
        ("To: a@x\r\nSubject: a\r\n", "Subject: a\r\n"),
        ("To: a@x, b@x\r\n", "To: b@x\r\n"),
        ("To: A <a@x>,\r\n b@x\r\n", "To: b@x\r\n"),
        ("To: b@x,\r\n a@x (A)\r\n", "To: b@x\r\n"),
        ("To: b@x, a@x, c@x\r\n", "To: b@x, c@x\r\n"),
        ("To: a@x, b@x, a@x\r\nCc: a@x\r\n", "To: b@x\r\n"),
        ("To: a@x, G: b@x;\r\n", "To: G: b@x;\r\n"),
        ("To: G: a@x;\r\n", "To: G: ;\r\n"),
        ("To: a@x, a@x\r\n", ""),
        ("To: a@x, a@x, b@x\r\n", "To: b@x\r\n"),
        ("To: b@x, G: a@x, c@x;, a@x\r\n", "To: b@x, G: c@x;\r\n"),
        ("To: b@x\r\nCc:\r\n", "To: b@x\r\nCc:\r\n"),
    ] {
        let edit = |section: &mut HeaderSection| section.remove_recipient(&address("a@x"));
        assert_eq!(edited(section, edit), expected, "{section:?}");
    }
}

proptest! {
    #[test]
    fn any_list_is_read_and_edited(list in "([a@x., <>()\\[\\]:;\"\\\\\t]|\r\n |a@x,|<a@x>){0,40}") {
        let section = HeaderSection::parse(format!("To:{list}\r\nSubject: s\r\n").as_bytes());
        let (old, new) = (address("a@x"), address("n@y"));
        let mut renamed = section.clone();
        let found = renamed.rewrite_recipient(&old, &new).unwrap();
        prop_assert_eq!(found, renamed != section);
        prop_assert_eq!(renamed.rewrite_recipient(&old, &new), Ok(false));
        let mut removed = section.clone();
        prop_assert_eq!(removed.remove_recipient(&old), Ok(found));
        prop_assert_eq!(removed.named("Subject").count(), 1);
        prop_assert!(removed.fields().count() <= 2);
    }
}

#[test]
fn a_list_names_mailboxes_of_this_machine_too() {
    for (list, expected) in [
        ("root", &["root"][..]),
        (
            " john , \"Q. Smith\" <q@b.org>,, (x) jane ",
            &["john", "q@b.org", "jane"],
        ),
        ("friends: a@b.org, c;", &["a@b.org", "c"]),
        ("<>", &[]),
        ("", &[]),
        ("\"a b\"@c.org", &["\"a b\"@c.org"]),
    ] {
        assert_eq!(super::mailboxes_of(list.as_bytes()), expected, "{list}");
    }
}
