//! The other side of a session: a client that hands messages to a server (RFC 5321), or to a mailbox store by LMTP
//! (RFC 2033). No socket, no clock, no policy, as in [`Session`](super::Session): octets of the server go in, a [`Step`]
//! comes out.
//!
//! Nothing that the server says is believed beyond what it was asked: a reply that is none, or that comes unasked, ends
//! the session and defers what is undecided. Nothing that it says makes the client grow: one reply is held at a time,
//! and a long one is cut off. What leaves the client is made of [`Address`](crate::mail::Address)es, printable wishes
//! and base64; the content passes an [`Encoder`].
//!
//! A session that ended well can take the next message: RSET goes first (RFC 5321 §4.1.1.5), which costs no time where
//! the server takes commands in groups (RFC 2920).

mod authentication;
mod encoder;
mod message;
mod offer;
mod reader;
mod step;
mod transaction;

pub use encoder::Encoder;
pub use message::{Forward, Message, Outcome, Survey};
pub use step::{Awaiting, Content, Handshake, Options, Protocol, Ready, StartTls, Step};

use self::authentication::Exchange;
use self::offer::Offer;
use self::reader::Reader;
use self::transaction::Transaction;
use super::Reply;
use crate::mail::Status;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Handshake,
    Authentication(Exchange),
    Ready,
    Transaction,
    Quit,
    Closed,
}

/// The state of one session.
#[derive(Debug)]
pub struct Client {
    options: Options,
    state: State,
    reader: Reader,
    offer: Offer,
    secured: bool,
    transaction: Option<Transaction>,
    /// A transaction was begun before: RSET goes first.
    used: bool,
    /// The last transaction ended without an answer to its content.
    in_doubt: bool,
}

impl Client {
    /// A client on a fresh connection. The server speaks first.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            state: State::Greeting,
            reader: Reader::default(),
            offer: Offer::default(),
            secured: false,
            transaction: None,
            used: false,
            in_doubt: false,
        }
    }

    /// Takes octets from the front of `input`. `None`: all were taken, and more are needed.
    pub fn receive(&mut self, input: &mut &[u8]) -> Option<Step> {
        while !input.is_empty() {
            if matches!(self.state, State::Handshake | State::Closed) {
                *input = &[];
                return None;
            }
            let step = match self.reader.next(input)? {
                Ok(reply) => self.reply(reply),
                Err(error) => Some(self.violated(&error.to_string())),
            };
            if step.is_some() {
                return step;
            }
        }
        None
    }

    /// The handshake is done: all that was said before it is forgotten (RFC 3207 §4.2).
    pub fn secured(&mut self, _handshake: Handshake) -> Step {
        self.secured = true;
        self.reader = Reader::default();
        self.hello()
    }

    /// Sends a message. Its recipients may be decided without a word to the server, where it said that it cannot take
    /// such a message.
    pub fn transmit(&mut self, _ready: Ready, message: Message) -> Step {
        let lmtp = self.options.protocol == Protocol::Lmtp;
        let transaction = Transaction::new(message, &self.offer, lmtp, self.used);
        self.state = State::Transaction;
        self.in_doubt = false;
        let transaction = self.transaction.insert(transaction);
        match transaction.commands() {
            Some(octets) => {
                self.used = true;
                Step::Send(octets)
            }
            None => self.done(true),
        }
    }

    /// The content was written whole, [`Encoder::finish`] included.
    pub fn transmitted(&mut self, _content: Content) {
        if let Some(transaction) = &mut self.transaction {
            transaction.transmitted();
        }
    }

    /// The connection was lost or given up. `cause` says how, in words for a log and a report.
    pub fn lost(&mut self, cause: &str) -> Step {
        self.in_doubt = self.is_in_doubt();
        self.end(&Outcome::Deferred(Status::new(4, 4, 2), cause.to_owned()))
    }

    /// Ends a session well.
    pub fn quit(&mut self, _ready: Ready) -> Step {
        self.state = State::Quit;
        Step::Send(b"QUIT\r\n".to_vec())
    }

    /// What the server is expected to send next.
    pub fn awaiting(&self) -> Awaiting {
        match (self.state, &self.transaction) {
            (State::Greeting, _) => Awaiting::Greeting,
            (State::Quit, _) => Awaiting::Quit,
            (_, Some(transaction)) => transaction.awaiting(),
            _ => Awaiting::Command,
        }
    }

    /// Whether the server may have taken the message though it did not say so: the content has gone out whole, and no
    /// answer that makes sense has come, or will ever come. Sending it elsewhere might deliver it twice.
    pub fn is_in_doubt(&self) -> bool {
        let transaction = self.transaction.as_ref();
        transaction.map_or(self.in_doubt, Transaction::is_in_doubt)
    }

    /// Whether the server passes wishes for notifications on (RFC 3461); if not, a success that was to be told is told
    /// by us, as relayed (§5.2.2).
    pub fn passes_wishes(&self) -> bool {
        self.offer.dsn
    }

    fn reply(&mut self, reply: Reply) -> Option<Step> {
        // RFC 5321 §3.8: to any command, and the server closes.
        if reply.code() == 421 && self.state != State::Quit {
            return Some(self.end(&Outcome::refused(&reply)));
        }
        match self.state {
            State::Greeting => Some(self.greeted(&reply)),
            State::Ehlo => Some(self.ehlo_answered(&reply)),
            State::Helo => Some(match reply.code() {
                250 => self.authenticate(),
                _ => self.end(&Outcome::unusable(&reply)),
            }),
            State::StartTls => Some(self.starttls_answered(&reply)),
            State::Authentication(exchange) => Some(self.authentication_answered(exchange, &reply)),
            State::Transaction => self.transaction_answered(&reply),
            State::Quit => {
                self.state = State::Closed;
                Some(Step::Close)
            }
            State::Ready => Some(self.violated("a reply to no command")),
            State::Handshake | State::Closed => None,
        }
    }

    fn greeted(&mut self, reply: &Reply) -> Step {
        match reply.code() {
            220 => self.hello(),
            _ => self.end(&Outcome::unusable(reply)),
        }
    }

    fn hello(&mut self) -> Step {
        self.state = State::Ehlo;
        let verb = match self.options.protocol {
            Protocol::Smtp => "EHLO",
            Protocol::Lmtp => "LHLO",
        };
        self.say_hello(verb)
    }

    /// A name holds nothing but printable characters, wherever it came from.
    fn say_hello(&self, verb: &str) -> Step {
        let name = self.options.name.chars().filter(char::is_ascii_graphic);
        let name: String = name.collect();
        Step::Send(format!("{verb} {name}\r\n").into_bytes())
    }

    fn ehlo_answered(&mut self, reply: &Reply) -> Step {
        match reply.code() {
            250 => {
                self.offer = Offer::read(reply);
                self.consider_tls()
            }
            // A server from before RFC 1869. TLS and authentication need EHLO.
            500..=599 if self.options.protocol == Protocol::Smtp => {
                self.offer = Offer::default();
                if self.options.starttls == StartTls::Required && !self.secured {
                    return self.without_tls();
                }
                self.state = State::Helo;
                self.say_hello("HELO")
            }
            _ => self.end(&Outcome::unusable(reply)),
        }
    }

    fn consider_tls(&mut self) -> Step {
        match (self.options.starttls, self.offer.starttls) {
            _ if self.secured => self.authenticate(),
            (StartTls::Offered | StartTls::Required, true) => {
                self.state = State::StartTls;
                Step::Send(b"STARTTLS\r\n".to_vec())
            }
            (StartTls::Required, false) => self.without_tls(),
            (StartTls::Never, _) | (StartTls::Offered, false) => self.authenticate(),
        }
    }

    fn starttls_answered(&mut self, reply: &Reply) -> Step {
        match (reply.code(), self.options.starttls) {
            (220, _) => {
                self.state = State::Handshake;
                self.offer = Offer::default();
                Step::Secure(Handshake(()))
            }
            (_, StartTls::Required) => self.without_tls(),
            _ => self.authenticate(),
        }
    }

    fn without_tls(&mut self) -> Step {
        let text = "the server offers no TLS, which is required here".to_owned();
        self.end(&Outcome::Deferred(Status::new(4, 7, 4), text))
    }

    fn authenticate(&mut self) -> Step {
        let Some(login) = &self.options.login else {
            return self.ready();
        };
        if !self.secured && !self.options.confidential {
            return self.unauthenticated("credentials are not shown on a connection without TLS");
        }
        match Exchange::begin(&self.offer) {
            Some(exchange) => {
                self.state = State::Authentication(exchange);
                Step::Send(exchange.command(login))
            }
            None => self.unauthenticated("the server offers no way to authenticate that we know"),
        }
    }

    fn authentication_answered(&mut self, exchange: Exchange, reply: &Reply) -> Step {
        let Some(login) = &self.options.login else {
            return self.ready();
        };
        match (reply.code(), exchange.next()) {
            (235, _) => self.ready(),
            (334, Some(next)) => {
                self.state = State::Authentication(next);
                Step::Send(next.command(login))
            }
            _ => {
                let text = format!("our credentials were refused: {}", message::flat(reply));
                self.unauthenticated(&text)
            }
        }
    }

    /// A wrong password of ours is no fault of the message: it waits until an operator has mended it.
    fn unauthenticated(&mut self, text: &str) -> Step {
        self.end(&Outcome::Deferred(Status::new(4, 7, 8), text.to_owned()))
    }

    fn ready(&mut self) -> Step {
        self.state = State::Ready;
        Step::Ready(Ready(()))
    }

    fn transaction_answered(&mut self, reply: &Reply) -> Option<Step> {
        let transaction = self.transaction.as_mut()?;
        match transaction.answered(reply) {
            Ok(transaction::Next::Read) => None,
            Ok(transaction::Next::Send(octets)) => Some(Step::Send(octets)),
            Ok(transaction::Next::Transmit) => Some(Step::Transmit(Content(()))),
            Ok(transaction::Next::Done) => Some(self.done(true)),
            Err(violation) => Some(self.violated(violation)),
        }
    }

    fn done(&mut self, usable: bool) -> Step {
        let outcomes = self.transaction.take().map(Transaction::outcomes);
        let outcomes = outcomes.unwrap_or_default();
        self.state = if usable { State::Ready } else { State::Closed };
        Step::Done(outcomes, usable.then_some(Ready(())))
    }

    /// The server does not speak the protocol.
    fn violated(&mut self, how: &str) -> Step {
        self.in_doubt = self.is_in_doubt();
        let text = format!("the server does not speak SMTP: {how}");
        self.end(&Outcome::Deferred(Status::new(4, 5, 0), text))
    }

    /// Ends the session; `outcome` is that of every recipient that is undecided.
    fn end(&mut self, outcome: &Outcome) -> Step {
        self.state = State::Closed;
        match &mut self.transaction {
            Some(transaction) => {
                transaction.decide_rest(outcome);
                self.done(false)
            }
            None => Step::Unusable(outcome.clone()),
        }
    }
}

#[cfg(test)]
mod against_session;
#[cfg(test)]
mod tests;
