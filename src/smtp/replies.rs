//! Every reply that the server makes by itself: all wire text on one page. Policy brings its own.
//!
//! Texts are generic; the cause goes to the log. All carry an enhanced status code but the greeting, the replies to
//! EHLO and HELO, and 354 (RFC 2034 §3). Where the text begins with a domain, RFC 5321 §4.2 says so.

use super::Reply;
use super::command::CommandError;
use super::extension::Extension;
use super::line::LineError;
use super::sasl::SaslError;
use crate::mail::{MessageId, Status};

const fn reply(code: u16, (class, subject, detail): (u8, u16, u16), text: &'static str) -> Reply {
    Reply::fixed(code, Some(Status::new(class, subject, detail)), text)
}

// Yes.

pub(super) const OK: Reply = reply(250, (2, 0, 0), "Ok");
pub(super) const SENDER_OK: Reply = reply(250, (2, 1, 0), "Sender ok");
pub(super) const RECIPIENT_OK: Reply = reply(250, (2, 1, 5), "Recipient ok");
pub(super) const START_MAIL_INPUT: Reply =
    Reply::fixed(354, None, "Start mail input; end with <CRLF>.<CRLF>");
pub(super) const READY_TO_START_TLS: Reply = reply(220, (2, 0, 0), "Ready to start TLS");
/// RFC 5321 §3.5.3: neither confirmed nor denied.
pub(super) const CANNOT_VERIFY: Reply = reply(
    252,
    (2, 1, 5),
    "Cannot VRFY user, but will accept message and attempt delivery",
);
pub(super) const HELP: Reply = reply(
    214,
    (2, 0, 0),
    "EHLO HELO MAIL RCPT DATA RSET NOOP QUIT VRFY HELP STARTTLS AUTH: see RFC 5321",
);

// Order of commands (RFC 5321 §4.1.4).

pub(super) const HELLO_FIRST: Reply = reply(503, (5, 5, 1), "Send EHLO or HELO first");
pub(super) const MAIL_FIRST: Reply = reply(503, (5, 5, 1), "Send MAIL first");
pub(super) const NESTED_MAIL: Reply = reply(503, (5, 5, 1), "Nested MAIL command");
/// RFC 5321 §3.3: 503 or 554.
pub(super) const NO_VALID_RECIPIENTS: Reply = reply(554, (5, 5, 1), "No valid recipients");
pub(super) const TLS_ALREADY_ACTIVE: Reply = reply(503, (5, 5, 1), "TLS is already active");
pub(super) const TLS_IN_TRANSACTION: Reply = reply(
    503,
    (5, 5, 1),
    "STARTTLS is not permitted in a mail transaction",
);
/// RFC 3207 §4.
pub(super) const TLS_NOT_AVAILABLE: Reply = reply(454, (4, 7, 0), "TLS is not available");

// Authentication (RFC 4954 §4, §6).

pub(super) const AUTHENTICATED: Reply = reply(235, (2, 7, 0), "Authentication succeeded");
pub(super) const CREDENTIALS_INVALID: Reply =
    reply(535, (5, 7, 8), "Authentication credentials invalid");
pub(super) const AUTH_NEEDS_EHLO: Reply = reply(503, (5, 5, 1), "Send EHLO first");
pub(super) const AUTHENTICATED_ALREADY: Reply = reply(503, (5, 5, 1), "Already authenticated");
pub(super) const AUTH_IN_TRANSACTION: Reply = reply(
    503,
    (5, 5, 1),
    "AUTH is not permitted in a mail transaction",
);
pub(super) const MECHANISM_NOT_SUPPORTED: Reply =
    reply(504, (5, 5, 4), "Authentication mechanism not supported");
pub(super) const ENCRYPTION_REQUIRED: Reply = reply(
    538,
    (5, 7, 11),
    "Encryption required for requested authentication mechanism",
);
pub(super) const RESPONSE_TOO_LONG: Reply =
    reply(500, (5, 5, 6), "Authentication exchange line is too long");

/// `continue-req = "334" SP [base64] CRLF`
pub(super) const fn challenge(base64: &'static str) -> Reply {
    Reply::fixed(CONTINUE, None, base64)
}

/// The only reply whose text may be empty and whose space may not be left out.
pub(super) const CONTINUE: u16 = 334;

impl From<SaslError> for Reply {
    fn from(error: SaslError) -> Self {
        match error {
            SaslError::Cancelled => reply(501, (5, 7, 0), "Authentication cancelled"),
            SaslError::Base64 => reply(501, (5, 5, 2), "Response is not base64"),
            SaslError::Malformed => reply(501, (5, 5, 2), "Malformed response"),
            SaslError::OtherIdentity => CREDENTIALS_INVALID,
        }
    }
}

// Envelope and content.

/// RFC 1870 §6.1, §6.3.
pub(super) const MESSAGE_TOO_LARGE: Reply = reply(
    552,
    (5, 3, 4),
    "Message size exceeds fixed maximum message size",
);
/// RFC 5321 §4.5.3.1.10.
pub(super) const TOO_MANY_RECIPIENTS: Reply = reply(452, (4, 5, 3), "Too many recipients");
/// RFC 6531 §3.5.
pub(super) const SMTPUTF8_REQUIRED: Reply =
    reply(553, (5, 6, 7), "Non-ASCII address needs SMTPUTF8");
/// RFC 5321 §2.3.8.
pub(super) const BARE_LINE_END_IN_CONTENT: Reply = reply(
    550,
    (5, 6, 11),
    "Message contains a bare carriage return or line feed",
);
/// RFC 5321 §6.3: more `Received` fields than a message gathers without going round in circles.
pub const MAIL_LOOP: Reply = reply(554, (5, 4, 6), "Routing loop detected");
/// A header section so long that nothing could read it.
pub const HEADER_TOO_LARGE: Reply = reply(552, (5, 3, 4), "Header section is too large");
/// RFC 5321 §4.2.3: the message could not be made durable.
pub const INSUFFICIENT_STORAGE: Reply = reply(452, (4, 3, 1), "Insufficient system storage");
/// RFC 5321 §4.2.3: something here went wrong.
pub const LOCAL_ERROR: Reply = reply(451, (4, 3, 0), "Local error in processing");
/// RCPT for a mailbox of ours that does not exist.
pub const NO_SUCH_MAILBOX: Reply = reply(550, (5, 1, 1), "No such mailbox");
/// What a refusal says that gives no reason.
pub const REFUSED: Reply = reply(554, (5, 7, 1), "Refused by policy");

// The session ends.

/// RFC 5321 §3.1: the client has to wait for the greeting.
pub const SPOKE_TOO_EARLY: Reply = reply(554, (5, 5, 0), "Client must wait for the greeting");
pub(super) const NOT_IMPLEMENTED: Reply = reply(502, (5, 5, 1), "Command not implemented");
const OTHER_PROTOCOL: Reply = reply(554, (5, 5, 0), "This is an SMTP server");
const BARE_LINE_END: Reply = reply(
    500,
    (5, 5, 2),
    "Line ends in a bare carriage return or line feed",
);

pub(super) fn closing(server_name: &str) -> Reply {
    with_domain(221, (2, 0, 0), server_name, "closing connection")
}

pub(super) fn timed_out(server_name: &str) -> Reply {
    with_domain(421, (4, 4, 2), server_name, "timeout, closing connection")
}

pub(super) fn shutting_down(server_name: &str) -> Reply {
    with_domain(
        421,
        (4, 3, 2),
        server_name,
        "shutting down, closing connection",
    )
}

pub(super) fn too_many_clients(server_name: &str) -> Reply {
    with_domain(
        421,
        (4, 7, 0),
        server_name,
        "too many connections, try again later",
    )
}

pub(super) fn too_many_errors(server_name: &str) -> Reply {
    with_domain(
        421,
        (4, 7, 0),
        server_name,
        "too many errors, closing connection",
    )
}

pub(super) fn too_many_failures(server_name: &str) -> Reply {
    with_domain(
        421,
        (4, 7, 0),
        server_name,
        "too many failed authentications, closing connection",
    )
}

fn with_domain(
    code: u16,
    (class, subject, detail): (u8, u16, u16),
    server_name: &str,
    text: &str,
) -> Reply {
    let status = Status::new(class, subject, detail);
    Reply::composed(code, Some(status), &format!("{server_name} {text}"))
}

// What a session says of itself.

const ESMTP: Reply = Reply::fixed(220, None, "ESMTP");

/// `Greeting = "220 " Domain [ SP textstring ] CRLF`, with the text of policy's own greeting.
pub(super) fn greeting(server_name: &str, welcome: Option<Reply>) -> Reply {
    let welcome = welcome.unwrap_or(ESMTP);
    Reply::composed(220, None, &domain_and_welcome(server_name, Some(welcome)))
}

/// ```text
/// ehlo-ok-rsp = "250-" Domain [ SP ehlo-greet ] CRLF *( "250-" ehlo-line CRLF ) "250 " ehlo-line CRLF
/// ```
pub(super) fn ehlo(
    server_name: &str,
    welcome: Option<Reply>,
    extensions: impl Iterator<Item = Extension>,
) -> Reply {
    let mut lines = domain_and_welcome(server_name, welcome);
    for extension in extensions {
        lines.push('\n');
        lines.push_str(&extension.to_string());
    }
    Reply::composed(250, None, &lines)
}

pub(super) fn helo(server_name: &str, welcome: Option<Reply>) -> Reply {
    Reply::composed(250, None, &domain_and_welcome(server_name, welcome))
}

pub(super) fn queued(id: Option<MessageId>) -> Reply {
    id.map_or(OK, |id| {
        Reply::composed(250, OK.status(), &format!("Ok: queued as {id}"))
    })
}

/// The lines that welcome a client: our domain first.
fn domain_and_welcome(server_name: &str, welcome: Option<Reply>) -> String {
    match welcome {
        Some(welcome) => {
            let line = welcome.lines().next().unwrap_or_default();
            format!("{server_name} {line}")
        }
        None => server_name.to_owned(),
    }
}

// What is no command.

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Unrecognized => reply(500, (5, 5, 2), "Command not recognized"),
            CommandError::NotImplemented => NOT_IMPLEMENTED,
            CommandError::OtherProtocol => OTHER_PROTOCOL,
            CommandError::Syntax(syntax) => {
                let status = Status::new(5, 5, 4);
                Self::composed(501, Some(status), &format!("Syntax: {syntax}"))
            }
            CommandError::ControlCharacter => reply(501, (5, 5, 2), "Control character in command"),
            CommandError::EightBit => reply(500, (5, 5, 2), "8-bit character in command"),
            CommandError::ReversePath(_) => reply(501, (5, 1, 7), "Malformed sender address"),
            CommandError::ForwardPath(_) => reply(501, (5, 1, 3), "Malformed recipient address"),
            CommandError::UnknownParameter => reply(555, (5, 5, 4), "Parameter not recognized"),
            CommandError::InvalidParameter => reply(501, (5, 5, 4), "Invalid parameter"),
        }
    }
}

impl From<LineError> for Reply {
    fn from(error: LineError) -> Self {
        match error {
            LineError::BareLineEnd => BARE_LINE_END,
            LineError::TooLong => reply(500, (5, 5, 2), "Line too long"),
        }
    }
}
