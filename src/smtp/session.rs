//! One SMTP session as a state machine: RFC 5321 §4.1.4 has the order of commands.
//!
//! Octets go in through [`Session::receive`], a [`Step`] comes out; where policy has a say the step is an [`Ask`], and
//! [`Session::answer`] goes on from there. Nothing here waits, and nothing a client sends makes it grow: it holds one
//! partial command line and the envelope.
//!
//! A transaction begins with an accepted MAIL and ends with every end of data, accepted or refused, and with RSET, EHLO,
//! HELO, STARTTLS or QUIT.

use super::command::{Command, CommandError, Rcpt};
use super::content::{Content, Outcome};
use super::line::{COMMAND_MAX, LineError, Lines};
use super::sasl::Exchange;
use super::step::{Decision, Token};
use super::{Answer, Ask, Awaiting, Limits, Reply, Step, extension, replies};
use crate::mail::{Address, Connection, Envelope, Helo, Recipient, TlsSession, Transaction};
use std::sync::Arc;

/// How far the session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The client has not said who it is.
    Start,
    /// No transaction.
    Ready,
    /// After MAIL.
    Transaction,
    /// After DATA.
    Content,
    /// After STARTTLS: what comes in clear is nobody's.
    Handshake,
    Closed,
}

/// The state of one session.
#[derive(Debug)]
pub struct Session {
    limits: Arc<Limits>,
    starttls: bool,
    state: State,
    /// An [`Ask`] is out: nothing is taken until its answer.
    asked: bool,
    transaction: Transaction,
    lines: Lines,
    content: Content,
    errors: u32,
    /// Policy can decide about credentials.
    authenticates: bool,
    /// The AUTH exchange that goes on: the next line is a response and no command.
    exchange: Option<Exchange>,
    /// How many attempts to authenticate have failed.
    failures: u32,
}

impl Session {
    /// A session on a fresh connection, and its first question. `starttls`: whether to offer STARTTLS, which is not
    /// offered where TLS is active already.
    pub fn new(limits: Arc<Limits>, connection: Connection, starttls: bool) -> (Self, Step) {
        let mut session = Self {
            content: Content::new(limits.message_size),
            limits,
            starttls,
            state: State::Start,
            asked: false,
            transaction: Transaction::new(connection),
            lines: Lines::default(),
            errors: 0,
            authenticates: false,
            exchange: None,
            failures: 0,
        };
        let step = session.ask(Ask::Connect(Token(())));
        (session, step)
    }

    /// Takes octets from the front of `input`: a command line, or content, which is appended to `content` with its
    /// transparency undone. `None`: all that can be taken was taken.
    ///
    /// What stands in `content` is a message only when [`Ask::Message`] comes; after a refusal it is nothing.
    /// After [`Step::Secure`] and [`Step::Close`] whatever comes is thrown away.
    pub fn receive(&mut self, input: &mut &[u8], content: &mut Vec<u8>) -> Option<Step> {
        if self.asked {
            return None;
        }
        match self.state {
            State::Handshake | State::Closed => {
                *input = &[];
                None
            }
            State::Content => {
                let outcome = self.content.decode(input, content)?;
                Some(self.end_of_data(outcome))
            }
            State::Start | State::Ready | State::Transaction => {
                if let Some(exchange) = self.exchange.take() {
                    return self.response(exchange, input);
                }
                let command = self.lines.next(input, COMMAND_MAX)?.map(Command::parse);
                Some(match command {
                    Ok(Ok(command)) => self.obey(command),
                    Ok(Err(error @ CommandError::OtherProtocol)) => self.close(error.into()),
                    Ok(Err(error)) => self.send(error.into()),
                    Err(error @ LineError::BareLineEnd) => self.close(error.into()),
                    Err(error @ LineError::TooLong) => self.send(error.into()),
                })
            }
        }
    }

    /// Policy's answer to `ask`.
    pub fn answer(&mut self, ask: Ask, answer: Answer) -> Step {
        self.asked = false;
        let decision = answer.decision();
        match ask {
            Ask::Connect(_) => self.connect_decided(decision),
            Ask::Helo(Token(previous)) => self.helo_decided(previous, decision),
            Ask::Authenticate(_) => self.authentication_decided(decision),
            Ask::Mail(_) => self.mail_decided(decision),
            Ask::Recipient(Token((address, place))) => {
                self.recipient_decided(&address, place, decision)
            }
            Ask::Message(_) => self.message_decided(decision),
        }
    }

    /// The handshake is done: all that was said before it is forgotten (RFC 3207 §4.2).
    pub fn secured(&mut self, tls: TlsSession) {
        self.transaction.reset();
        self.transaction.connection.helo = None;
        self.transaction.connection.authenticated = None;
        self.transaction.connection.tls = Some(tls);
        self.state = State::Start;
    }

    /// Connection and transaction as rules see them.
    pub fn transaction(&mut self) -> &mut Transaction {
        &mut self.transaction
    }

    /// What the client is expected to send next.
    pub fn awaiting(&self) -> Awaiting {
        match self.state {
            State::Start | State::Handshake | State::Closed => Awaiting::Helo,
            State::Ready => Awaiting::Mail,
            State::Transaction if self.has_recipients() => Awaiting::Data,
            State::Transaction => Awaiting::Recipient,
            State::Content => Awaiting::Content,
        }
    }

    /// How many 4yz and 5yz replies the client has earned.
    pub fn errors(&self) -> u32 {
        self.errors
    }

    /// Whether each reply is now to be delayed (`server.smtp.error.soft_count`).
    pub fn is_suspect(&self) -> bool {
        self.limits
            .soft_errors
            .is_some_and(|soft| self.errors >= soft)
    }

    /// 421 for a client that kept us waiting (RFC 5321 §4.5.3.2). Write it and close, as the next two.
    pub fn timed_out(&self) -> Reply {
        replies::timed_out(self.server_name())
    }

    /// 421 for a client that has to come back later (RFC 5321 §3.8).
    pub fn shutting_down(&self) -> Reply {
        replies::shutting_down(self.server_name())
    }

    /// 421 instead of a greeting.
    pub fn too_many_clients(&self) -> Reply {
        replies::too_many_clients(self.server_name())
    }

    fn obey(&mut self, command: Command) -> Step {
        match (command, self.state) {
            (Command::Ehlo(name), _) => self.hello(name, true),
            (Command::Helo(name), _) => self.hello(name, false),
            (Command::Rset, _) => self.rset(),
            (Command::Noop, _) => self.send(replies::OK),
            (Command::Help, _) => self.send(replies::HELP),
            (Command::Vrfy, _) => self.send(replies::CANNOT_VERIFY),
            (Command::Quit, _) => self.quit(),
            (_, State::Start) => self.send(replies::HELLO_FIRST),
            (Command::StartTls, _) => self.starttls(),
            (Command::Auth { mechanism, initial }, _) => self.auth(&mechanism, initial.as_ref()),
            (Command::Mail(envelope), State::Ready) => self.mail(envelope),
            (Command::Mail(_), _) => self.send(replies::NESTED_MAIL),
            (Command::Rcpt(rcpt), State::Transaction) => self.rcpt(rcpt),
            (Command::Data, State::Transaction) => self.data(),
            (Command::Rcpt(_) | Command::Data, _) => self.send(replies::MAIL_FIRST),
        }
    }

    /// RFC 5321 §3.1: a greeting, or a refusal in its place.
    fn connect_decided(&mut self, decision: Decision) -> Step {
        match decision {
            Ok(welcome) => self.send(replies::greeting(self.server_name(), welcome)),
            Err(refusal) => self.close(refusal),
        }
    }

    /// EHLO and HELO: RFC 5321 §4.1.1.1.
    fn hello(&mut self, name: String, extended: bool) -> Step {
        let helo = Helo { name, extended };
        let previous = self.transaction.connection.helo.replace(helo);
        self.ask(Ask::Helo(Token(previous)))
    }

    /// Accepted, it resets as RSET does; refused, the session stays where it was (RFC 5321 §4.1.4).
    fn helo_decided(&mut self, previous: Option<Helo>, decision: Decision) -> Step {
        let welcome = match decision {
            Ok(welcome) => welcome,
            Err(refusal) => {
                self.transaction.connection.helo = previous;
                return self.send(refusal);
            }
        };
        self.end_transaction();
        let connection = &self.transaction.connection;
        let name = &connection.server_name;
        if connection.helo.as_ref().is_some_and(|helo| helo.extended) {
            let starttls = self.starttls && connection.tls.is_none();
            let mechanisms = self.mechanisms();
            let extensions = extension::offered(self.limits.message_size, starttls, mechanisms);
            self.send(replies::ehlo(name, welcome, extensions))
        } else {
            self.send(replies::helo(name, welcome))
        }
    }

    /// STARTTLS: RFC 3207 §4.
    fn starttls(&mut self) -> Step {
        if self.transaction.connection.tls.is_some() {
            return self.send(replies::TLS_ALREADY_ACTIVE);
        }
        if self.state == State::Transaction {
            return self.send(replies::TLS_IN_TRANSACTION);
        }
        if !self.starttls {
            return self.send(replies::TLS_NOT_AVAILABLE);
        }
        self.state = State::Handshake;
        Step::Secure(replies::READY_TO_START_TLS)
    }

    /// MAIL: RFC 5321 §4.1.1.2.
    fn mail(&mut self, envelope: Envelope) -> Step {
        let sender = envelope.reverse_path.0.as_ref();
        if !envelope.smtputf8 && sender.is_some_and(|address| !address.is_ascii()) {
            return self.send(replies::SMTPUTF8_REQUIRED);
        }
        if envelope
            .declared_size
            .is_some_and(|size| size > self.limits.message_size)
        {
            return self.send(replies::MESSAGE_TOO_LARGE);
        }
        self.transaction.envelope = Some(envelope);
        self.ask(Ask::Mail(Token(())))
    }

    fn mail_decided(&mut self, decision: Decision) -> Step {
        match decision {
            Ok(reply) => {
                self.state = State::Transaction;
                self.send(reply.unwrap_or(replies::SENDER_OK))
            }
            Err(refusal) => {
                self.end_transaction();
                self.send(refusal)
            }
        }
    }

    /// RCPT: RFC 5321 §4.1.1.3.
    fn rcpt(&mut self, rcpt: Rcpt) -> Step {
        let address = match rcpt.path.mailbox(self.server_name()) {
            Ok(address) => address,
            Err(error) => return self.send(CommandError::ForwardPath(error).into()),
        };
        let Some(envelope) = &mut self.transaction.envelope else {
            return self.send(replies::MAIL_FIRST);
        };
        if !envelope.smtputf8 && (rcpt.international || !address.is_ascii()) {
            return self.send(replies::SMTPUTF8_REQUIRED);
        }
        if envelope.recipients.len() >= self.limits.recipients {
            return self.send(replies::TOO_MANY_RECIPIENTS);
        }
        let place = envelope.recipients.len();
        envelope.recipients.push(Recipient {
            wishes: rcpt.wishes,
            ..address.clone().into()
        });
        self.ask(Ask::Recipient(Token((address, place))))
    }

    fn recipient_decided(&mut self, address: &Address, place: usize, decision: Decision) -> Step {
        match decision {
            Ok(reply) => self.send(reply.unwrap_or(replies::RECIPIENT_OK)),
            Err(refusal) => {
                self.remove_recipient(address, place);
                self.send(refusal)
            }
        }
    }

    /// DATA: RFC 5321 §4.1.1.4.
    fn data(&mut self) -> Step {
        if !self.has_recipients() {
            return self.send(replies::NO_VALID_RECIPIENTS);
        }
        self.state = State::Content;
        self.content = Content::new(self.limits.message_size);
        Step::Receive(replies::START_MAIL_INPUT)
    }

    /// The content has ended (RFC 5321 §4.1.1.4), and the transaction with it unless policy is to decide.
    fn end_of_data(&mut self, outcome: Outcome) -> Step {
        let refusal = match outcome {
            Outcome::Whole => return self.ask(Ask::Message(Token(()))),
            Outcome::BareLineEnd => replies::BARE_LINE_END_IN_CONTENT,
            Outcome::TooLarge => replies::MESSAGE_TOO_LARGE,
        };
        self.end_transaction();
        self.send_verdict(refusal)
    }

    fn message_decided(&mut self, decision: Decision) -> Step {
        let id = self.transaction.id;
        self.end_transaction();
        match decision {
            Ok(reply) => self.send(reply.unwrap_or_else(|| replies::queued(id))),
            Err(refusal) => self.send_verdict(refusal),
        }
    }

    /// RSET: RFC 5321 §4.1.1.5. Before EHLO it changes nothing.
    fn rset(&mut self) -> Step {
        if self.state != State::Start {
            self.end_transaction();
        }
        self.send(replies::OK)
    }

    /// QUIT: RFC 5321 §4.1.1.10.
    fn quit(&mut self) -> Step {
        self.close(replies::closing(self.server_name()))
    }

    fn end_transaction(&mut self) {
        self.transaction.reset();
        self.state = State::Ready;
    }

    /// Takes a refused recipient out again, whatever rules did to the list meanwhile: the last that bears its address,
    /// or else, since it was rewritten or removed, whatever stands in its place.
    fn remove_recipient(&mut self, address: &Address, place: usize) {
        if let Some(envelope) = &mut self.transaction.envelope {
            let recipients = &mut envelope.recipients;
            let last = recipients.iter().rposition(|r| r.address == *address);
            let refused = last.unwrap_or(place);
            if refused < recipients.len() {
                recipients.remove(refused);
            }
        }
    }

    fn has_recipients(&self) -> bool {
        let envelope = self.transaction.envelope.as_ref();
        envelope.is_some_and(|envelope| !envelope.recipients.is_empty())
    }

    fn server_name(&self) -> &str {
        &self.transaction.connection.server_name
    }

    fn ask(&mut self, ask: Ask) -> Step {
        self.asked = true;
        Step::Ask(ask)
    }

    /// Every reply that does not close by itself goes through here, so that every error counts.
    fn send(&mut self, reply: Reply) -> Step {
        if reply.code() == 421 {
            return self.close(reply);
        }
        if !reply.is_positive() {
            self.errors += 1;
            if self
                .limits
                .hard_errors
                .is_some_and(|hard| self.errors >= hard)
            {
                return self.close(replies::too_many_errors(self.server_name()));
            }
        }
        Step::Send(reply)
    }

    /// The reply to a refused message is never traded for 421: the client would send it again.
    fn send_verdict(&mut self, refusal: Reply) -> Step {
        match self.send(refusal.clone()) {
            Step::Close(_) => self.close(refusal),
            step => step,
        }
    }

    fn close(&mut self, reply: Reply) -> Step {
        self.state = State::Closed;
        Step::Close(reply)
    }
}

mod authentication;
#[cfg(test)]
mod tests;
