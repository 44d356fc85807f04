use super::{Transport, TransportError, without_password};
use proptest::prelude::*;

fn shown(read: Result<Transport, TransportError>) -> String {
    read.map_or_else(
        |error| format!("! {error}"),
        |transport| transport.to_string(),
    )
}

#[test]
fn each_form_is_read_into_its_one_spelling() {
    for (written, expected) in [
        ("maildir", "maildir"),
        ("mbox", "mbox"),
        ("lmtp:unix:/run/dovecot/lmtp", "lmtp:unix:/run/dovecot/lmtp"),
        ("lmtp:127.0.0.1:24", "lmtp:127.0.0.1:24"),
        ("lmtp:Store.example:24", "lmtp:store.example:24"),
        ("lmtp:[::1]:24", "lmtp:[::1]:24"),
        ("smtp://mx.example.com:26", "smtp://mx.example.com:26"),
        ("smtp://MX.example.com", "smtp://mx.example.com:25"),
        ("smtp://localhost/", "smtp://localhost:25"),
        ("smtp://192.0.2.1", "smtp://192.0.2.1:25"),
        ("smtp://[2001:db8:0::1]:587", "smtp://[2001:db8::1]:587"),
        (
            "smtp://mx.example?tls=opportunistic",
            "smtp://mx.example:25",
        ),
        (
            "smtp://mx.example?tls=none",
            "smtp://mx.example:25?tls=none",
        ),
        (
            "smtp://mx.example?tls=required",
            "smtp://mx.example:25?tls=required",
        ),
        ("smtp://mx.example?tls=tunnel", "smtps://mx.example:465"),
        ("smtps://mx.example", "smtps://mx.example:465"),
        (
            "smtps://mx.example:4650?tls=tunnel",
            "smtps://mx.example:4650",
        ),
        (
            "smtp://tim:secret@mx.example",
            "smtp://tim:***@mx.example:25",
        ),
        (
            "smtp://tim:secret@mx.example?tls=opportunistic",
            "smtp://tim:***@mx.example:25?tls=opportunistic",
        ),
        (
            "smtp://t%40x.org:p%3A@mx.example:587",
            "smtp://t%40x%2Eorg:***@mx.example:587",
        ),
        (
            "smtps://tim:secret@mx.example",
            "smtps://tim:***@mx.example:465",
        ),
        (
            "smtp://tim:secret@127.0.0.1?tls=none",
            "smtp://tim:***@127.0.0.1:25?tls=none",
        ),
    ] {
        assert_eq!(shown(Transport::parse(written)), expected, "{written}");
    }
}

#[test]
fn what_is_none_says_why_and_tells_no_secret() {
    for (written, expected) in [
        ("", "no such transport"),
        ("Maildir", "no such transport"),
        ("pigeon", "no such transport"),
        ("smtp:mx.example", "no such transport"),
        ("lmtp:unix:relative", "not absolute"),
        ("lmtp:unix:", "not absolute"),
        ("lmtp:host", "no port"),
        ("lmtp:host:0", "\"0\" is no port"),
        ("lmtp:host:lmtp", "\"lmtp\" is no port"),
        ("lmtp:::1:24", "is no host"),
        ("lmtp:a b:24", "is no host"),
        ("smtp://", "is no host"),
        ("smtp://:25", "empty host"),
        ("smtp://a b:25", "invalid"),
        ("smtp://a\nb:25", "invalid"),
        ("smtp://host:smtp", "invalid port"),
        ("smtp://host:0", "is no port"),
        ("smtp://a_b", "is no host"),
        ("smtp://host?tls=maybe", "there is no tls=maybe"),
        ("smtp://host?starttls=yes", "nothing may follow"),
        ("smtp://host?tls=none&tls=required", "nothing may follow"),
        ("smtp://host/path", "nothing may follow"),
        ("smtp://host#x", "nothing may follow"),
        ("smtps://host?tls=none", "tls=tunnel and nothing else"),
        ("smtp://tim@host", "is empty"),
        ("smtp://:secret@host", "is empty"),
        ("smtp://tim:se%00cret@host", "holds NUL"),
        ("smtp://tim:secret%FF@host", "not UTF-8"),
        ("smtp://tim:secret@host?tls=none", "under TLS only"),
        ("smtp://tim:secret/secret@host", "invalid port"),
        ("smtp://tim:25#secret@host", "nothing may follow"),
    ] {
        let error = shown(Transport::parse(written));
        assert!(
            error.starts_with('!') && error.contains(expected),
            "{written:?}: {error}"
        );
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_rule_may_write_less() {
    for (target, expected) in [
        ("mx.example", "smtp://mx.example:25"),
        ("mx.example:2525", "smtp://mx.example:2525"),
        ("192.0.2.1", "smtp://192.0.2.1:25"),
        ("2001:db8::1", "smtp://[2001:db8::1]:25"),
        ("smtps://mx.example", "smtps://mx.example:465"),
        ("lmtp:unix:/run/lmtp", "lmtp:unix:/run/lmtp"),
        ("a b", "! invalid domain character"),
        ("", "! \"\" is no host; IPv6 addresses stand in [ ]"),
        ("pigeon://x", "! there is no such transport"),
    ] {
        assert_eq!(shown(Transport::forward(target)), expected, "{target}");
    }
    for store in ["unix:/run/lmtp", "lmtp:unix:/run/lmtp"] {
        assert_eq!(shown(Transport::lmtp(store)), "lmtp:unix:/run/lmtp");
    }
    assert_eq!(shown(Transport::lmtp("maildir")), "! it has no port");
}

#[test]
fn the_queue_keeps_what_nobody_is_shown() {
    let written = "smtp://t%40x:p%3A%2F%C3%A9@mx.example:587";
    let transport = Transport::parse(written).unwrap();
    assert_eq!(
        format!("{transport} {transport:?}").matches("p:/é").count(),
        0
    );
    let kept = serde_json::to_string(&transport).unwrap();
    assert_eq!(kept, format!("{written:?}"));
    let Transport::Smtp(to) = serde_json::from_str(&kept).unwrap() else {
        panic!("{kept}");
    };
    assert_eq!(to.login.unwrap().password(), "p:/é");
}

#[test]
fn passwords_are_hidden_in_what_cannot_be_read() {
    for (text, expected) in [
        ("smtp://tim:secret@host:x", "smtp://tim:***@host:x"),
        ("smtp://tim:se@cret@host", "smtp://tim:***@host"),
        ("smpt://tim:se/cret@host", "smpt://tim:***@host"),
        ("smtp://host:25", "smtp://host:25"),
        ("mbox", "mbox"),
    ] {
        assert_eq!(without_password(text), expected);
    }
}

proptest! {
    #[test]
    fn what_is_kept_comes_back(
        text in "(smtps?|lmtp)://?[a-z:@%/?#.\\[\\]0-9]{0,12}|smtps?://([a-z%@0-9]{1,4}:[a-z%:0-9]{1,4}@)?[A-Za-z0-9.-]{1,8}(:[0-9]{1,5})?([?]tls=(none|opportunistic|required|tunnel))?|.{0,20}"
    ) {
        let read = [Transport::parse(&text), Transport::forward(&text), Transport::lmtp(&text)];
        for transport in read.into_iter().flatten() {
            let kept = String::from(transport.clone());
            prop_assert_eq!(Transport::parse(&kept), Ok(transport), "{}", kept);
        }
    }
}
