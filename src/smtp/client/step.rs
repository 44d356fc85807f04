//! What passes between a client and its caller: options in, steps out.

use super::Outcome;
use crate::mail::Login;

/// Which protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 5321.
    Smtp,
    /// RFC 2033: LHLO, and one reply for each recipient after the content.
    Lmtp,
}

/// Whether to ask for TLS (RFC 3207).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTls {
    /// Not even when it is offered: it is active already, or has failed before.
    Never,
    /// When it is offered.
    Offered,
    /// Always: without it no message is given away.
    Required,
}

/// What a client is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which protocol.
    pub protocol: Protocol,
    /// How we name ourselves: a domain name or an address literal.
    pub name: String,
    /// Whether to ask for TLS.
    pub starttls: StartTls,
    /// Who to be, before any message is given away.
    pub login: Option<Login>,
    /// Whether nobody else can read the connection, by TLS from the first octet or because it stays on this machine;
    /// without that, or TLS, a password is not shown.
    pub confidential: bool,
}

/// What the caller does next.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// Write the octets.
    Send(Vec<u8>),
    /// Throw away everything already read, do the handshake, then call [`Client::secured`](super::Client::secured).
    Secure(Handshake),
    /// Give a message to [`Client::transmit`](super::Client::transmit), or call [`Client::quit`](super::Client::quit).
    Ready(Ready),
    /// Write the content, in the form that an [`Encoder`](super::Encoder) gives it, then call [`Client::transmitted`](super::Client::transmitted).
    Transmit(Content),
    /// What became of each recipient, in their order; without [`Ready`] the session is over.
    Done(Vec<Outcome>, Option<Ready>),
    /// This server takes no message now; the session is over.
    Unusable(Outcome),
    /// QUIT was answered.
    Close,
}

/// A handshake that the server waits for.
#[derive(Debug)]
pub struct Handshake(pub(super) ());

/// A session without a transaction. Consumed by the next message, so that two at once do not compile.
#[derive(Debug)]
pub struct Ready(pub(super) ());

/// A transaction whose content the server waits for.
#[derive(Debug)]
pub struct Content(pub(super) ());

/// What a client waits for, so that its caller knows how long (RFC 5321 §4.5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaiting {
    /// The greeting.
    Greeting,
    /// The reply to EHLO, MAIL, RCPT, RSET, STARTTLS or AUTH.
    Command,
    /// The reply to DATA.
    Data,
    /// The reply to the content.
    Content,
    /// The reply to QUIT.
    Quit,
}
