//! What passes between a session and its caller: limits and answers in, steps and questions out.

use super::{Authentication, Reply, replies};
use crate::mail::{Address, Helo};

/// What a session allows (`server.smtp`, `server.message_size_limit`).
#[derive(Clone, Debug)]
pub struct Limits {
    /// The octets of a message's content.
    pub message_size: u64,
    /// The recipients of one transaction.
    pub recipients: usize,
    /// From so many errors on, the caller delays each reply; `None` never.
    pub soft_errors: Option<u32>,
    /// At so many errors the session ends with 421; `None` never.
    pub hard_errors: Option<u32>,
    /// Who may try to authenticate, how, and how often.
    pub authentication: Authentication,
}

/// What the caller does next.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// Write the reply and go on.
    Send(Reply),
    /// Let policy decide, then call [`Session::answer`](super::Session::answer).
    Ask(Ask),
    /// Write the reply, throw away everything already read, do the handshake, then call
    /// [`Session::secured`](super::Session::secured).
    Secure(Reply),
    /// Write the reply (354): what [`Session::receive`](super::Session::receive) takes from now on is content.
    Receive(Reply),
    /// Write the reply and close.
    Close(Reply),
}

/// A question for policy. Consumed by its answer, so that answering twice does not compile; until then the session
/// takes nothing more.
#[derive(Debug)]
#[must_use]
pub enum Ask {
    /// May this client talk to us? Nothing was sent yet.
    Connect(Token),
    /// Is this EHLO or HELO welcome? It stands in the connection; the one before it comes back when it is refused.
    Helo(Token<Option<Helo>>),
    /// Are these credentials good? They stand in the transaction until the answer, and only a yes to credentials that
    /// were confirmed authenticates the client.
    Authenticate(Token),
    /// May this reverse-path open a transaction? It stands in the transaction's envelope. Give the transaction its id
    /// and its time.
    Mail(Token),
    /// May this recipient be added? It is the last in the transaction's envelope.
    Recipient(Token<(Address, usize)>),
    /// The content has arrived whole. Make it durable before answering yes.
    Message(Token),
}

/// Makes an [`Ask`] something that only a session can make, and holds what its answer needs.
#[derive(Debug)]
pub struct Token<T = ()>(pub(super) T);

/// What a session waits for, so that its caller knows how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaiting {
    /// EHLO or HELO.
    Helo,
    /// MAIL.
    Mail,
    /// The first RCPT.
    Recipient,
    /// Another RCPT, or DATA.
    Data,
    /// More content.
    Content,
}

/// Policy's decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes, with the usual reply.
    Proceed,
    /// Yes, with this reply. To connect, EHLO and HELO its first line of text goes behind our name.
    ProceedWith(Reply),
    /// No, with this reply; 421 closes (RFC 5321 §3.8).
    Refuse(Reply),
}

/// The reply to a yes, where policy gave one, or the reply to a no.
pub(super) type Decision = Result<Option<Reply>, Reply>;

impl Answer {
    /// A reply that says the contrary of its answer is replaced, for it would make the client lose a message or send it
    /// twice.
    pub(super) fn decision(self) -> Decision {
        match self {
            Self::Proceed => Ok(None),
            Self::ProceedWith(reply) => Ok(Some(reply).filter(Reply::is_positive)),
            Self::Refuse(reply) if reply.is_positive() => Err(replies::REFUSED),
            Self::Refuse(reply) => Err(reply),
        }
    }
}
