use super::CommandError::{
    ControlCharacter, EightBit, ForwardPath as ToPath, InvalidParameter, NotImplemented,
    OtherProtocol, ReversePath as FromPath, Syntax, UnknownParameter, Unrecognized,
};
use super::{Command, CommandError, ForwardPath, Rcpt, Response};
use crate::mail::dsn::Return;
use crate::mail::{AddressError, Body, Envelope};

fn error(line: &str) -> Option<CommandError> {
    match Command::parse(line.as_bytes()).err() {
        Some(Syntax(_)) => Some(Syntax("")),
        error => error,
    }
}

fn auth(mechanism: &str, initial: Option<&str>) -> Command {
    Command::Auth {
        mechanism: mechanism.to_owned(),
        initial: initial.map(Response::new),
    }
}

fn envelope(line: &str) -> Envelope {
    match Command::parse(line.as_bytes()) {
        Ok(Command::Mail(envelope)) => envelope,
        other => panic!("{line}: {other:?}"),
    }
}

fn rcpt(line: &str) -> Rcpt {
    match Command::parse(line.as_bytes()) {
        Ok(Command::Rcpt(rcpt)) => rcpt,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn reads_each_verb_without_case() {
    for (line, command) in [
        ("EHLO mx.example", Command::Ehlo("mx.example".into())),
        ("ehlo [192.0.2.1]", Command::Ehlo("[192.0.2.1]".into())),
        ("Helo my_pc", Command::Helo("my_pc".into())),
        ("DATA", Command::Data),
        ("data \t ", Command::Data),
        ("RSET", Command::Rset),
        ("NOOP", Command::Noop),
        ("NOOP whatever you say", Command::Noop),
        ("HELP MAIL", Command::Help),
        ("VRFY smith", Command::Vrfy),
        ("QUIT", Command::Quit),
        ("StartTLS", Command::StartTls),
        ("auth plain", auth("plain", None)),
        ("AUTH X-2_3 =", auth("X-2_3", Some("="))),
    ] {
        assert_eq!(Command::parse(line.as_bytes()), Ok(command), "{line}");
    }
}

#[test]
fn reads_paths() {
    for (path, expected) in [("<>", ""), ("<a@b>", "a@b"), ("<@r:a@b>", "a@b")] {
        let read = envelope(&format!("mail from:{path}")).reverse_path;
        assert_eq!(read.to_string(), expected, "{path}");
    }
    assert_eq!(rcpt("RCPT TO:<Postmaster>").path, ForwardPath::Postmaster);
}

#[test]
fn reads_parameters() {
    let envelope = envelope("MAIL FROM:<a@b> SIZE=18446744073709551615 body=8bitmime SMTPUTF8");
    assert_eq!(envelope.declared_size, Some(u64::MAX));
    assert_eq!(envelope.body, Body::EightBitMime);
    assert!(envelope.smtputf8);
    for submitter in ["<>", "a@b", "e+3Dmc2@example.com"] {
        let line = format!("MAIL FROM:<a@b> AUTH={submitter}");
        assert!(Command::parse(line.as_bytes()).is_ok(), "{line}");
    }
}

#[test]
fn reads_wishes() {
    let envelope = envelope("MAIL FROM:<a@b> ret=hdrs ENVID=QQ+2B314");
    assert_eq!(envelope.wanted, Some(Return::Headers));
    assert_eq!(envelope.envelope_id.unwrap().as_str(), "QQ+314");
    let read = rcpt("RCPT TO:<a@b> NOTIFY=SUCCESS,DELAY orcpt=rfc822;A+2Bx@b");
    assert_eq!(read.wishes.notify.unwrap().to_string(), "SUCCESS,DELAY");
    assert_eq!(read.wishes.original.unwrap().address(), "A+x@b");
    assert!(!read.international && rcpt("RCPT TO:<a@b>").wishes.is_empty());
    let read = rcpt("RCPT TO:<a@b> ORCPT=utf-8;\u{e9}@b");
    assert_eq!(read.wishes.original.unwrap().address(), "\\x{E9}@b");
    assert!(read.international);
}

#[test]
fn refuses_what_is_malformed() {
    let long_name = format!("EHLO {}", "x".repeat(256));
    for (line, expected) in [
        ("", Unrecognized),
        ("EHLOx", Unrecognized),
        ("MAILFROM:<a@b>", Unrecognized),
        (" NOOP", Unrecognized),
        ("\u{e9}HLO", Unrecognized),
        ("EXPN list", NotImplemented),
        ("BDAT 5 LAST", NotImplemented),
        ("GET / HTTP/1.1", OtherProtocol),
        ("post /", OtherProtocol),
        ("EHLO", Syntax("")),
        ("EHLO a b", Syntax("")),
        ("EHLO \u{e9}", Syntax("")),
        (&long_name, Syntax("")),
        ("EHLO a\0b", ControlCharacter),
        ("HELO a\u{7f}", ControlCharacter),
        ("MAIL FROM:<a\0@b>", ControlCharacter),
        ("NOOP \u{e9}", EightBit),
        ("DATA now", Syntax("")),
        ("QUIT now", Syntax("")),
        ("STARTTLS now", Syntax("")),
        ("VRFY", Syntax("")),
        ("AUTH", Syntax("")),
        ("AUTH  PLAIN", Syntax("")),
        ("AUTH PLAIN  AA==", Syntax("")),
        ("AUTH PLAIN AA== AA==", Syntax("")),
        ("AUTH PL.AIN", Syntax("")),
        ("AUTH ABCDEFGHIJKLMNOPQRSTU", Syntax("")),
        ("MAIL", Syntax("")),
        ("MAIL FROM", Syntax("")),
        ("MAIL FROM:", Syntax("")),
        ("MAIL FROM:a@b", Syntax("")),
        ("MAIL FROM: <a@b>", Syntax("")),
        ("MAIL FROM :<a@b>", Syntax("")),
        ("MAIL  FROM:<a@b>", Syntax("")),
        ("MAIL TO:<a@b>", Syntax("")),
        ("MAIL FROM:<a@b", Syntax("")),
        ("MAIL FROM:<a@b>x", Syntax("")),
        ("MAIL FROM:<a@b>>", Syntax("")),
        ("MAIL FROM:<\"a@b>", Syntax("")),
        ("MAIL FROM:\u{e9}\u{e9}\u{e9}", Syntax("")),
        ("MAIL FROM:<postmaster>", FromPath(AddressError::Incomplete)),
        ("MAIL FROM:<\"q\"x@b>", FromPath(AddressError::LocalPart)),
        ("MAIL FROM:<@[1.2.3.4]:a@b>", FromPath(AddressError::Domain)),
        ("MAIL FROM:<@r a@b>", FromPath(AddressError::Incomplete)),
        ("RCPT TO:<>", ToPath(AddressError::Incomplete)),
        ("RCPT TO:<a@[1.2.3>", ToPath(AddressError::Domain)),
        ("RCPT TO:<a@ours.>", ToPath(AddressError::Domain)),
        ("RCPT TO:<a@ok> <b@other>", InvalidParameter),
        ("RCPT TO:<a@b> NOTIFY", InvalidParameter),
        ("RCPT TO:<a@b> NOTIFY=", InvalidParameter),
        ("RCPT TO:<a@b> NOTIFY=NEVER,SUCCESS", InvalidParameter),
        ("RCPT TO:<a@b> NOTIFY=DELAY notify=DELAY", InvalidParameter),
        ("RCPT TO:<a@b> ORCPT=a@b", InvalidParameter),
        ("RCPT TO:<a@b> ORCPT=rfc822;a+0D+0Ab", InvalidParameter),
        ("RCPT TO:<a@b> ORCPT=rfc822;\u{e9}@b", InvalidParameter),
        ("RCPT TO:<a@b> ORCPT", InvalidParameter),
        ("RCPT TO:<a@b> SIZE=1", UnknownParameter),
        ("MAIL FROM:<a@b> NOTIFY=NEVER", UnknownParameter),
        ("MAIL FROM:<a@b> RET", InvalidParameter),
        ("MAIL FROM:<a@b> RET=HALF", InvalidParameter),
        ("MAIL FROM:<a@b> RET=FULL RET=HDRS", InvalidParameter),
        ("MAIL FROM:<a@b> ENVID=", InvalidParameter),
        ("MAIL FROM:<a@b> ENVID=a+0D+0Ab", InvalidParameter),
        ("MAIL FROM:<a@b> ENVID=\u{e9}", InvalidParameter),
        ("MAIL FROM:<a@b> SIZE", InvalidParameter),
        ("MAIL FROM:<a@b> SIZE=", InvalidParameter),
        ("MAIL FROM:<a@b> SIZE=-1", InvalidParameter),
        ("MAIL FROM:<a@b> SIZE=+1", InvalidParameter),
        (
            "MAIL FROM:<a@b> SIZE=18446744073709551616",
            InvalidParameter,
        ),
        (
            "MAIL FROM:<a@b> SIZE=0000000000000000000000001",
            InvalidParameter,
        ),
        ("MAIL FROM:<a@b> SIZE=1 size=1", InvalidParameter),
        ("MAIL FROM:<a@b> BODY", InvalidParameter),
        ("MAIL FROM:<a@b> BODY=BINARYMIME", InvalidParameter),
        ("MAIL FROM:<a@b> SMTPUTF8=yes", InvalidParameter),
        ("MAIL FROM:<a@b>  SIZE=1", InvalidParameter),
        ("MAIL FROM:<a@b> -X=1", InvalidParameter),
        ("MAIL FROM:<a@b> X=1=2", InvalidParameter),
        ("MAIL FROM:<a@b> X=1", UnknownParameter),
        ("MAIL FROM:<a@b> AUTH", InvalidParameter),
        ("MAIL FROM:<a@b> AUTH=a+3dc", InvalidParameter),
        ("MAIL FROM:<a@b> AUTH=a+3", InvalidParameter),
        ("MAIL FROM:<a@b> AUTH=<> AUTH=<>", InvalidParameter),
    ] {
        assert_eq!(error(line), Some(expected), "{line:?}");
    }
    assert_eq!(Command::parse(b"NOOP \xff"), Err(EightBit));
}
