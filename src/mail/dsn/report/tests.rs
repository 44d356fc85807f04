use super::*;
use jiff::Timestamp;
use jiff::tz::TimeZone;

fn zoned(seconds: i64) -> Zoned {
    Timestamp::from_second(seconds)
        .unwrap()
        .to_zoned(TimeZone::UTC)
}

fn recipient(address: &str, action: Action) -> RecipientReport {
    RecipientReport {
        address: Address::parse(address).unwrap(),
        original: None,
        action,
        status: Status::new(5, 1, 1),
        reason: "550 5.1.1 No such user".to_owned(),
        remote: Some("mx.example.org".to_owned()),
        last_attempt: Some(zoned(1_800_000_600)),
        retry_until: None,
    }
}

const ORIGINAL: &[u8] = b"From: a@example.com\r\nSubject: x\r\n\r\nbody\r\n";

fn compose(recipients: &[RecipientReport], content: &[u8], wanted: Option<Return>) -> Composed {
    let id = EnvelopeId::parse("QQ+20314").unwrap();
    Report {
        reporting_mta: "mail.example.com",
        id: "00ff",
        date: &zoned(1_800_000_700),
        arrival: &zoned(1_800_000_000),
        to: &Address::parse("a@example.com").unwrap(),
        envelope_id: Some(&id),
        wanted,
        recipients,
        original: Original {
            content,
            whole: true,
        },
    }
    .compose()
}

fn text(composed: &Composed) -> &str {
    std::str::from_utf8(&composed.content).unwrap()
}

#[test]
fn what_was_done_is_the_subject() {
    for (actions, subject) in [
        (
            &[Action::Delivered, Action::Failed][..],
            "Your message could not be delivered",
        ),
        (
            &[Action::Delivered, Action::Delayed],
            "Your message is delayed",
        ),
        (
            &[Action::Relayed, Action::Delivered],
            "Your message was delivered",
        ),
        (
            &[Action::Relayed, Action::Expanded],
            "Your message was passed on",
        ),
    ] {
        let of = |action: &Action| recipient("b@example.org", *action);
        let recipients: Vec<_> = actions.iter().map(of).collect();
        let composed = compose(&recipients, ORIGINAL, None);
        let field = format!("Subject: {subject}\r\n");
        assert!(text(&composed).contains(&field), "{actions:?}");
    }
}

#[test]
fn a_failure_as_rfc_3464_writes_it() {
    let mut failed = recipient("b@example.org", Action::Failed);
    failed.original = Some(OriginalRecipient::parse("rfc822;B+2Bx@example.org").unwrap());
    let composed = compose(&[failed], ORIGINAL, None);
    let expected = "Date: Fri, 15 Jan 2027 08:11:40 +0000\r\n\
        From: Mail Delivery System <postmaster@mail.example.com>\r\n\
        To: <a@example.com>\r\n\
        Subject: Your message could not be delivered\r\n\
        Message-ID: <00ff.report@mail.example.com>\r\n\
        Auto-Submitted: auto-replied\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: multipart/report; report-type=delivery-status;\r\n \
        boundary=\"=_00ff_0_=\"\r\n\
        \r\n\
        --=_00ff_0_=\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\
        \r\n\
        This is the mail server mail.example.com.\r\n\
        \r\n\
        The message that you sent on Fri, 15 Jan 2027 08:00:00 +0000 could not\r\n\
        be delivered to the recipients below. It will not be tried again.\r\n\
        \r\n  b@example.org\r\n    \
        mx.example.org said: 550 5.1.1 No such user\r\n\
        \r\n    \
        There is no such address. Look for a mistake in it, or ask the\r\n    \
        recipient for the right one by other means.\r\n\
        \r\n\r\n\
        --=_00ff_0_=\r\n\
        Content-Type: message/delivery-status\r\n\
        \r\n\
        Original-Envelope-Id: QQ 314\r\n\
        Reporting-MTA: dns; mail.example.com\r\n\
        Arrival-Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n\
        \r\n\
        Original-Recipient: rfc822; B+x@example.org\r\n\
        Final-Recipient: rfc822; b@example.org\r\n\
        Action: failed\r\n\
        Status: 5.1.1\r\n\
        Remote-MTA: dns; mx.example.org\r\n\
        Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n\
        Last-Attempt-Date: Fri, 15 Jan 2027 08:10:00 +0000\r\n\
        \r\n\r\n\
        --=_00ff_0_=\r\n\
        Content-Type: text/rfc822-headers\r\n\
        \r\n\
        From: a@example.com\r\n\
        Subject: x\r\n\
        \r\n\
        --=_00ff_0_=--\r\n";
    assert_eq!(text(&composed), expected);
    assert_eq!((composed.body, composed.smtputf8), (Body::SevenBit, false));
}

#[test]
fn the_whole_message_returns_when_it_is_wanted() {
    let failed = [recipient("b@example.org", Action::Failed)];
    let whole = compose(&failed, ORIGINAL, Some(Return::Full));
    assert!(text(&whole).contains("Content-Type: message/rfc822\r\n\r\nFrom: a@example.com\r\n"));
    assert!(text(&whole).contains("\r\n\r\nbody\r\n"));
    // RFC 3461 §4.3: RET applies to reports of failure only.
    let delayed = [recipient("b@example.org", Action::Delayed)];
    let headers = compose(&delayed, ORIGINAL, Some(Return::Full));
    assert!(!text(&headers).contains("\r\nbody\r\n"));
    assert!(text(&headers).contains("Subject: Your message is delayed\r\n"));
}

#[test]
fn no_value_of_a_stranger_makes_a_field() {
    let mut failed = recipient("b@example.org", Action::Failed);
    failed.reason = "550 a\r\nBcc: evil@example.net\r\n\r\n--=_00ff_0_=".to_owned();
    failed.remote = Some("mx\r\nX-Evil: 1".to_owned());
    let composed = compose(&[failed], ORIGINAL, None);
    assert!(!text(&composed).contains("\nBcc:") && !text(&composed).contains("\nX-Evil"));
}

#[test]
fn the_boundary_is_in_no_part() {
    let failed = [recipient("b@example.org", Action::Failed)];
    let content = b"Subject: --=_00ff_0_=\r\nX: --=_00ff_1_=--\r\n\r\n";
    let composed = compose(&failed, content, None);
    assert!(text(&composed).contains("boundary=\"=_00ff_2_=\""));
    assert_eq!(text(&composed).matches("--=_00ff_2_=").count(), 4);
}

#[test]
fn eight_bit_and_utf8_are_declared() {
    let failed = [recipient("b@example.org", Action::Failed)];
    let latin = compose(&failed, b"Subject: caf\xe9\r\n\r\n", None);
    assert_eq!((latin.body, latin.smtputf8), (Body::SevenBit, false));
    assert!(text(&latin).contains(
        "text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nSubject: caf=E9\r\n"
    ));
    let whole = compose(&failed, b"\r\ncaf\xe9\r\n", Some(Return::Full));
    assert_eq!((whole.body, whole.smtputf8), (Body::EightBitMime, false));
    let unicode = compose(&failed, "Subject: caf\u{e9}\r\n\r\n".as_bytes(), None);
    assert!(text(&unicode).contains("message/global-headers\r\nContent-Transfer-Encoding: 8bit"));
    assert!(text(&unicode).contains("message/delivery-status\r\n"));
    let mut words = recipient("b@example.org", Action::Failed);
    words.reason = "550 caf\u{e9}".to_owned();
    let words = compose(&[words], ORIGINAL, None);
    assert!(text(&words).contains("Diagnostic-Code: smtp; 550 caf??\r\n"));
    let mut utf8 = recipient("j\u{f6}rg@example.org", Action::Failed);
    utf8.remote = None;
    let utf8 = compose(&[utf8], ORIGINAL, None);
    assert!(utf8.smtputf8);
    assert!(text(&utf8).contains("Final-Recipient: utf-8; j\u{f6}rg@example.org\r\n"));
    assert!(text(&utf8).contains("message/global-delivery-status"));
}

#[test]
fn content_without_a_body_or_without_a_header_is_no_trouble() {
    let failed = [recipient("b@example.org", Action::Failed)];
    for content in [
        b"".as_slice(),
        b"\r\nbody\r\n",
        b"Subject: x\r\n",
        b"no end",
    ] {
        for wanted in [None, Some(Return::Full)] {
            let composed = compose(&failed, content, wanted);
            assert!(text(&composed).ends_with("--=_00ff_0_=--\r\n"));
        }
    }
}
