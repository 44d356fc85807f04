//! Properties of the protocol, over many random inputs.

use crate::dialogs::bare::Bare;
use crate::dialogs::dialogue::{Setup, Transport, Wire};
use libtest_mimic::{Failed, Trial};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use vsmtp::mail::{Address, Envelope};

/// One trial for each property.
pub fn trials() -> Vec<Trial> {
    vec![
        property("split_anywhere_changes_nothing", 200, traffic, |octets| {
            let whole = outcome(&octets, usize::MAX);
            for piece in [1, 2, 3, 7, 64] {
                prop_assert_eq!(&outcome(&octets, piece), &whole);
            }
            Ok(())
        }),
        property(
            "arbitrary_octets_are_answered",
            400,
            || vec(any::<u8>(), 0..600),
            |octets| {
                let mut wire = server(64);
                wire.send(&octets);
                assert_replies(&wire.unread())
            },
        ),
        property("traffic_is_answered", 400, traffic, |octets| {
            let mut wire = server(64);
            wire.send(&octets);
            assert_replies(&wire.unread())
        }),
        property("transparency_is_undone", 200, content, |content| {
            let mut wire = server(64);
            wire.send(TRANSACTION);
            wire.send(&transparent(&content));
            wire.send(b".\r\nQUIT\r\n");
            prop_assert!(wire.closed);
            prop_assert_eq!(&wire.accepted[0].1, &content);
            Ok(())
        }),
        property(
            "an_address_reads_what_it_writes",
            2000,
            address_like,
            |text| {
                if let Ok(address) = Address::parse(&text) {
                    let again = Address::parse(address.as_str());
                    prop_assert_eq!(again.as_ref().map(Address::as_str), Ok(address.as_str()));
                    prop_assert_eq!(again, Ok(address));
                }
                Ok(())
            },
        ),
        property(
            "odd_addresses_are_refused_or_accepted",
            100,
            || vec(address_like(), 100),
            |addresses| {
                let mut wire = server(usize::MAX);
                wire.send(b"EHLO x\r\nMAIL FROM:<>\r\n");
                for address in addresses {
                    wire.unread();
                    wire.send(format!("RCPT TO:<{address}>\r\n").as_bytes());
                    let reply = wire.unread();
                    let fits = reply.starts_with("250 2.1.5") || reply.starts_with('5');
                    prop_assert!(fits && !wire.closed, "{:?}: {:?}", address, reply);
                }
                Ok(())
            },
        ),
    ]
}

const TRANSACTION: &[u8] =
    b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<jones@example.com>\r\nDATA\r\n";

fn property<S>(
    name: &str,
    cases: u32,
    strategy: impl Fn() -> S + Send + 'static,
    test: impl Fn(S::Value) -> Result<(), TestCaseError> + Send + 'static,
) -> Trial
where
    S: Strategy,
{
    Trial::test(format!("properties::{name}"), move || {
        let config = Config {
            cases,
            failure_persistence: None,
            ..Config::default()
        };
        TestRunner::new(config)
            .run(&strategy(), &test)
            .map_err(|error| Failed::from(error.to_string()))
    })
}

fn server(piece: usize) -> Bare {
    Bare::new(Setup::default(), Transport::Clear, piece)
}

/// All that came of `octets`: replies, accepted messages, and whether the server has closed.
fn outcome(octets: &[u8], piece: usize) -> (String, Vec<(Envelope, Vec<u8>)>, bool) {
    let mut wire = server(piece);
    wire.send(octets);
    (wire.unread(), wire.accepted, wire.closed)
}

/// Whether `text` is nothing but reply lines of RFC 5321 §4.2.
fn assert_replies(text: &str) -> Result<(), TestCaseError> {
    for line in text.split_inclusive("\r\n") {
        let line = line.strip_suffix("\r\n");
        prop_assert!(line.is_some(), "{:?}", text);
        let line = line.unwrap_or_default();
        prop_assert!(
            line.bytes().all(|octet| (b' '..=b'~').contains(&octet)),
            "{:?}",
            line
        );
        let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
        prop_assert!(
            code.is_some_and(|code| (200..600).contains(&code)),
            "{:?}",
            line
        );
        prop_assert!(
            matches!(line.as_bytes().get(3), None | Some(b' ' | b'-')),
            "{:?}",
            line
        );
    }
    Ok(())
}

/// Octets that have a good chance to get somewhere.
fn traffic() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(TRANSACTION),
        Just(&b"EHLO x\r\n"[..]),
        Just(&b"MAIL FROM:<a@example.org> SIZE=5\r\n"[..]),
        Just(&b"RCPT TO:<jones@example.com>\r\n"[..]),
        Just(&b"DATA\r\n"[..]),
        Just(&b"RSET\r\n"[..]),
        Just(&b"text"[..]),
        Just(&b"\r\n"[..]),
        Just(&b"\r\n"[..]),
        Just(&b"\r\n.\r\n"[..]),
        Just(&b"."[..]),
        Just(&b"\0"[..]),
        Just(&b"\xff"[..]),
        Just(&b"\r"[..]),
        Just(&b"\n"[..]),
        Just(&[b'x'; 700][..]),
    ];
    vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// Content whose only line ends are CRLF, and which ends in one.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let line = vec(prop_oneof![Just(b'.'), any::<u8>()], 0..5).prop_map(|line| {
        line.into_iter()
            .filter(|o| !b"\r\n".contains(o))
            .collect::<Vec<u8>>()
    });
    vec(line, 0..20).prop_map(|lines| {
        lines
            .into_iter()
            .flat_map(|line| [line, b"\r\n".to_vec()].concat())
            .collect()
    })
}

/// What a client does to content before it sends it (RFC 5321 §4.5.2).
fn transparent(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for line in content.split_inclusive(|&octet| octet == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire
}

/// Texts made of what addresses are made of.
fn address_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("@"),
        Just("@example.com"),
        Just("jones"),
        Just("a"),
        Just("."),
        Just("\""),
        Just("\\"),
        Just(" "),
        Just("<"),
        Just(">"),
        Just(":"),
        Just(","),
        Just("%"),
        Just("-"),
        Just("["),
        Just("]"),
        Just("[192.0.2.1]"),
        Just("[IPv6:::1]"),
        Just("\u{e9}"),
        Just("\u{85}"),
        Just("\0"),
        Just("\t"),
        Just("$(id)"),
        Just("../"),
    ];
    let pieces = vec(piece, 0..8).prop_map(|pieces| pieces.concat());
    let text = any::<String>().prop_map(|text| text.replace(['\r', '\n'], "?"));
    prop_oneof![4 => pieces, 1 => text]
}
