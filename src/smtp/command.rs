//! Commands (RFC 5321 §4.1.1), read from one line each. Syntax only: the order of commands is the session's.

use super::parameter;
use super::path::{self, ForwardPath};
use super::sasl::Response;
use crate::mail::dsn::Wishes;
use crate::mail::{AddressError, Envelope, ReversePath};
use std::str;

/// Octets of the name after EHLO or HELO (RFC 5321 §4.5.3.1.2).
const DOMAIN_MAX: usize = 255;

/// A command that is well-formed by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// The client's name for itself.
    Ehlo(String),
    /// The client's name for itself.
    Helo(String),
    /// The envelope of a transaction that has no recipient yet.
    Mail(Envelope),
    Rcpt(Rcpt),
    Data,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
    StartTls,
    Auth {
        /// The name of a SASL mechanism.
        mechanism: String,
        initial: Option<Response>,
    },
}

/// RCPT (RFC 5321 §4.1.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rcpt {
    pub path: ForwardPath,
    pub wishes: Wishes,
    /// Whether a parameter holds UTF-8, which only a transaction with SMTPUTF8 may (RFC 6531 §3.3).
    pub international: bool,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CommandError {
    #[error("unknown command")]
    Unrecognized,
    #[error("command is not implemented")]
    NotImplemented,
    /// A request line of another protocol, sent by somebody's browser or by a probe.
    #[error("not SMTP")]
    OtherProtocol,
    /// With the syntax of the command.
    #[error("syntax: {0}")]
    Syntax(&'static str),
    #[error("control character in a command")]
    ControlCharacter,
    #[error("8-bit character where none is allowed")]
    EightBit,
    #[error("reverse-path: {0}")]
    ReversePath(AddressError),
    #[error("forward-path: {0}")]
    ForwardPath(AddressError),
    /// Well-formed, but of no extension that is offered.
    #[error("unknown parameter")]
    UnknownParameter,
    /// Malformed, given twice, or with a value that it cannot have.
    #[error("invalid parameter")]
    InvalidParameter,
}

type Parsed = Result<Command, CommandError>;

/// A verb, and the reader of its argument: what follows the first space, if there is one.
type Verb = (&'static str, fn(Option<&str>) -> Parsed);

const VERBS: &[Verb] = &[
    ("EHLO", |argument| {
        Ok(Command::Ehlo(client_name(argument, "EHLO domain")?))
    }),
    ("HELO", |argument| {
        Ok(Command::Helo(client_name(argument, "HELO domain")?))
    }),
    ("MAIL", mail),
    ("RCPT", rcpt),
    ("DATA", |argument| bare(argument, Command::Data, "DATA")),
    ("RSET", |argument| bare(argument, Command::Rset, "RSET")),
    ("QUIT", |argument| bare(argument, Command::Quit, "QUIT")),
    ("STARTTLS", |argument| {
        bare(argument, Command::StartTls, "STARTTLS")
    }),
    ("NOOP", |argument| with_text(argument, Command::Noop)),
    ("HELP", |argument| with_text(argument, Command::Help)),
    ("VRFY", vrfy),
    ("AUTH", auth),
    ("EXPN", not_implemented),
    ("BDAT", not_implemented),
    ("ETRN", not_implemented),
    ("TURN", not_implemented),
    ("SEND", not_implemented),
    ("SOML", not_implemented),
    ("SAML", not_implemented),
    ("GET", other_protocol),
    ("HEAD", other_protocol),
    ("POST", other_protocol),
    ("PUT", other_protocol),
    ("DELETE", other_protocol),
    ("CONNECT", other_protocol),
    ("OPTIONS", other_protocol),
    ("TRACE", other_protocol),
    ("PATCH", other_protocol),
    ("PRI", other_protocol),
];

impl Command {
    /// Reads a line without its CRLF. Verbs go without case (RFC 5321 §2.4).
    pub(super) fn parse(line: &[u8]) -> Parsed {
        let line = str::from_utf8(line).map_err(|_| CommandError::EightBit)?;
        // RFC 5321 §4.1.1: white space before the CRLF SHOULD be tolerated.
        let line = line.trim_end_matches([' ', '\t']);
        let (verb, argument) = line
            .split_once(' ')
            .map_or((line, None), |(verb, argument)| (verb, Some(argument)));
        let (_, read_argument) = VERBS
            .iter()
            .find(|(name, _)| verb.eq_ignore_ascii_case(name))
            .ok_or(CommandError::Unrecognized)?;
        if argument.is_some_and(|argument| argument.contains(char::is_control)) {
            return Err(CommandError::ControlCharacter);
        }
        read_argument(argument)
    }
}

/// `ehlo = "EHLO" SP ( Domain / address-literal )`
///
/// Any printable ASCII is taken for a name: clients that call themselves `my_pc` or `[nonsense]` send mail too.
fn client_name(argument: Option<&str>, syntax: &'static str) -> Result<String, CommandError> {
    argument
        .filter(|name| (1..=DOMAIN_MAX).contains(&name.len()))
        .filter(|name| name.bytes().all(|octet| octet.is_ascii_graphic()))
        .map(str::to_owned)
        .ok_or(CommandError::Syntax(syntax))
}

/// A verb that stands alone.
fn bare(argument: Option<&str>, command: Command, syntax: &'static str) -> Parsed {
    match argument {
        None => Ok(command),
        Some(_) => Err(CommandError::Syntax(syntax)),
    }
}

/// A verb with an optional `SP String`, which says nothing to us.
fn with_text(argument: Option<&str>, command: Command) -> Parsed {
    match argument {
        Some(text) if !text.is_ascii() => Err(CommandError::EightBit),
        _ => Ok(command),
    }
}

/// `vrfy = "VRFY" SP String`, where RFC 6531 §3.7.4.2 lets the string be UTF-8.
fn vrfy(argument: Option<&str>) -> Parsed {
    match argument {
        Some(_) => Ok(Command::Vrfy),
        None => Err(CommandError::Syntax("VRFY user")),
    }
}

/// ```text
/// auth-command = "AUTH" SP sasl-mech [SP initial-response]
/// sasl-mech    = 1*20(UPPER-ALPHA / DIGIT / HYPHEN / UNDERSCORE)
/// ```
fn auth(argument: Option<&str>) -> Parsed {
    let is_mechanism = |name: &str| {
        let fits = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        (1..=20).contains(&name.len()) && name.bytes().all(fits)
    };
    let mut words = argument.unwrap_or_default().split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial, None) if is_mechanism(mechanism) && initial != Some("") => {
            Ok(Command::Auth {
                mechanism: mechanism.to_owned(),
                initial: initial.map(Response::new),
            })
        }
        _ => Err(CommandError::Syntax("AUTH mechanism [initial-response]")),
    }
}

fn not_implemented(_: Option<&str>) -> Parsed {
    Err(CommandError::NotImplemented)
}

fn other_protocol(_: Option<&str>) -> Parsed {
    Err(CommandError::OtherProtocol)
}

/// ```text
/// mail         = "MAIL FROM:" Reverse-path [SP Mail-parameters]
/// Reverse-path = Path / "<>"
/// ```
fn mail(argument: Option<&str>) -> Parsed {
    let (path, parameters) = path_and_parameters(argument, "FROM:")
        .ok_or(CommandError::Syntax("MAIL FROM:<address> [parameters]"))?;
    let mut envelope = Envelope::default();
    if !path.is_empty() {
        let address = path::mailbox(path).map_err(CommandError::ReversePath)?;
        envelope.reverse_path = ReversePath(Some(address));
    }
    each_once(parameters, |keyword, value| {
        parameter::mail(&mut envelope, keyword, value)
    })?;
    Ok(Command::Mail(envelope))
}

/// ```text
/// rcpt         = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters]
/// Forward-path = Path
/// ```
fn rcpt(argument: Option<&str>) -> Parsed {
    let (path, parameters) = path_and_parameters(argument, "TO:")
        .ok_or(CommandError::Syntax("RCPT TO:<address> [parameters]"))?;
    let path = ForwardPath::parse(path).map_err(CommandError::ForwardPath)?;
    let mut wishes = Wishes::default();
    let mut international = false;
    each_once(parameters, |keyword, value| {
        international |= value.is_some_and(|value| !value.is_ascii());
        parameter::rcpt(&mut wishes, keyword, value)
    })?;
    Ok(Command::Rcpt(Rcpt {
        path,
        wishes,
        international,
    }))
}

/// Has each of `parameters` taken; none may come twice.
fn each_once<'a>(
    parameters: impl Iterator<Item = &'a str>,
    mut take: impl FnMut(&'a str, Option<&'a str>) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut seen: Vec<&str> = Vec::new();
    for parameter in parameters {
        let (keyword, value) =
            parameter::esmtp_param(parameter).ok_or(CommandError::InvalidParameter)?;
        if seen.iter().any(|other| keyword.eq_ignore_ascii_case(other)) {
            return Err(CommandError::InvalidParameter);
        }
        seen.push(keyword);
        take(keyword, value)?;
    }
    Ok(())
}

/// Parts `argument` into what its angle brackets hold, and its parameters. No space stands around the colon (RFC 5321
/// §3.3).
fn path_and_parameters<'a>(
    argument: Option<&'a str>,
    prefix: &str,
) -> Option<(&'a str, impl Iterator<Item = &'a str>)> {
    let (keyword, rest) = argument?.split_at_checked(prefix.len())?;
    let (path, rest) = path::bracketed(rest)?;
    let well_formed =
        keyword.eq_ignore_ascii_case(prefix) && (rest.is_empty() || rest.starts_with(' '));
    well_formed.then(|| (path, rest.split(' ').skip(1)))
}

#[cfg(test)]
mod tests;
