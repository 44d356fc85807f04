//! One transaction as the client drives it (RFC 5321 §3.3): commands go out one by one, or in groups where the server
//! takes them (RFC 2920); replies come back in the order of the commands.

use super::super::Reply;
use super::Awaiting;
use super::message::{Forward, Message, Outcome, flat};
use super::offer::Offer;
use crate::mail::Status;
use std::collections::VecDeque;
use std::fmt::Write;

/// Octets after which a group is sent: below what any send buffer holds, so that neither side waits for the other with
/// its buffers full (RFC 2920 §3.1).
const GROUP_MAX: usize = 4096;

/// A command whose reply is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Rset,
    Mail,
    Rcpt(usize),
    Data,
    /// The content, for every recipient that was accepted.
    Content,
    /// The content, for this recipient (RFC 2033 §4.2).
    ContentFor(usize),
}

/// What the client does next.
#[derive(Debug)]
pub(super) enum Next {
    Read,
    Send(Vec<u8>),
    Transmit,
    Done,
}

#[derive(Debug)]
pub(super) struct Transaction {
    message: Message,
    lmtp: bool,
    pipelining: bool,
    /// MAIL and its parameters.
    mail: String,
    dsn: bool,
    /// What is sent next; `None`: everything was sent.
    next: Option<Command>,
    awaited: VecDeque<Command>,
    mail_accepted: bool,
    accepted: Vec<usize>,
    outcomes: Vec<Option<Outcome>>,
    in_doubt: bool,
}

impl Transaction {
    /// Decides at once what the server said that it cannot take. `reset`: another transaction went before.
    pub(super) fn new(message: Message, offer: &Offer, lmtp: bool, reset: bool) -> Self {
        let outcomes = message
            .recipients
            .iter()
            .map(|recipient| obstacle(&message, recipient, offer))
            .collect();
        let mut transaction = Self {
            lmtp,
            pipelining: offer.pipelining,
            mail: String::new(),
            dsn: offer.dsn,
            next: Some(if reset { Command::Rset } else { Command::Mail }),
            awaited: VecDeque::new(),
            mail_accepted: false,
            accepted: Vec::new(),
            outcomes,
            in_doubt: false,
            message,
        };
        transaction.mail = transaction.mail_command(offer);
        transaction
    }

    /// The next command or group of commands; `None`: there is nothing to say, since every recipient is decided.
    pub(super) fn commands(&mut self) -> Option<Vec<u8>> {
        if self.outcomes.iter().all(Option::is_some) {
            self.next = None;
        }
        let mut octets = String::new();
        while let Some(command) = self.next {
            self.awaited.push_back(command);
            self.next = match command {
                Command::Rset => {
                    octets.push_str("RSET\r\n");
                    Some(Command::Mail)
                }
                Command::Mail => {
                    octets.push_str(&self.mail);
                    Some(self.following(0))
                }
                Command::Rcpt(index) => {
                    self.write_rcpt(index, &mut octets);
                    Some(self.following(index + 1))
                }
                Command::Data | Command::Content | Command::ContentFor(_) => {
                    octets.push_str("DATA\r\n");
                    None
                }
            };
            if !self.pipelining || octets.len() >= GROUP_MAX {
                break;
            }
        }
        (!octets.is_empty()).then(|| octets.into_bytes())
    }

    /// Takes the reply to the command that has waited longest. An error says how the reply makes no sense.
    pub(super) fn answered(&mut self, reply: &Reply) -> Result<Next, &'static str> {
        let command = self.awaited.pop_front().ok_or("a reply to no command")?;
        let positive = (200..300).contains(&reply.code());
        if reply.code() == 354 && command != Command::Data {
            return Err("354 to a command that is not DATA");
        }
        match command {
            // RFC 5321 §4.3.2 knows no refusal of RSET but that the server closes.
            Command::Rset if !positive => return Err("a refusal of RSET"),
            Command::Rset => {}
            Command::Mail if positive => self.mail_accepted = true,
            Command::Mail => {
                self.decide_rest(&Outcome::refused(reply));
                // What was sent along is answered still; nothing more is sent.
                self.next = None;
            }
            Command::Rcpt(index) if positive && self.mail_accepted => self.accepted.push(index),
            Command::Rcpt(index) => self.decide(index, rcpt_refused(reply)),
            Command::Data => return self.data_answered(reply),
            Command::Content => {
                self.in_doubt = false;
                let outcome = content_answered(reply);
                self.decide_rest(&outcome);
            }
            Command::ContentFor(index) => self.decide(index, content_answered(reply)),
        }
        Ok(self.go_on())
    }

    /// The content has gone out whole: what follows are the replies to it.
    pub(super) fn transmitted(&mut self) {
        self.in_doubt = true;
        if self.lmtp {
            let accepted = self.accepted.iter().copied();
            self.awaited.extend(accepted.map(Command::ContentFor));
        } else {
            self.awaited.push_back(Command::Content);
        }
    }

    pub(super) fn awaiting(&self) -> Awaiting {
        match self.awaited.front() {
            Some(Command::Data) => Awaiting::Data,
            Some(Command::Content | Command::ContentFor(_)) => Awaiting::Content,
            _ => Awaiting::Command,
        }
    }

    pub(super) const fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// `outcome` is that of every recipient that is undecided.
    pub(super) fn decide_rest(&mut self, outcome: &Outcome) {
        for undecided in self.outcomes.iter_mut().filter(|o| o.is_none()) {
            *undecided = Some(outcome.clone());
        }
    }

    /// Of every recipient, in their order.
    pub(super) fn outcomes(self) -> Vec<Outcome> {
        let undecided = || Outcome::Deferred(Status::new(4, 0, 0), "not tried".to_owned());
        let decided = self.outcomes.into_iter();
        decided.map(|o| o.unwrap_or_else(undecided)).collect()
    }

    fn go_on(&mut self) -> Next {
        if !self.awaited.is_empty() {
            return Next::Read;
        }
        // A transaction left open here is ended by the RSET of the next.
        let wanted = !self.accepted.is_empty() || self.next != Some(Command::Data);
        match self.next {
            Some(_) if wanted => self.commands().map_or(Next::Done, Next::Send),
            _ => Next::Done,
        }
    }

    fn data_answered(&mut self, reply: &Reply) -> Result<Next, &'static str> {
        match (reply.code(), self.accepted.is_empty()) {
            (354, false) => Ok(Next::Transmit),
            // RFC 2920 §3.1: the server wants content for nobody; it gets an empty one.
            (354, true) => {
                self.awaited.push_back(Command::Content);
                Ok(Next::Send(b".\r\n".to_vec()))
            }
            (200..=299, _) => Err("a reply to DATA that is neither yes nor no"),
            _ => {
                self.decide_rest(&Outcome::refused(reply));
                Ok(self.go_on())
            }
        }
    }

    fn decide(&mut self, index: usize, outcome: Outcome) {
        if let Some(undecided @ None) = self.outcomes.get_mut(index) {
            *undecided = Some(outcome);
        }
        self.in_doubt &= self.outcomes.iter().any(Option::is_none);
    }

    /// RCPT for the first recipient from `index` on that is undecided, or else DATA.
    fn following(&self, index: usize) -> Command {
        let undecided = |index: &usize| matches!(self.outcomes.get(*index), Some(None));
        (index..self.outcomes.len())
            .find(undecided)
            .map_or(Command::Data, Command::Rcpt)
    }

    /// MAIL with the parameters of RFC 1870, 6152, 6531 and 3461, each where the server knows it.
    fn mail_command(&self, offer: &Offer) -> String {
        let message = &self.message;
        let mut line = format!("MAIL FROM:<{}>", message.reverse_path);
        // Writing to a String cannot fail.
        if offer.size.is_some() {
            let _ = write!(line, " SIZE={}", message.survey.size);
        }
        if offer.eight_bit_mime && message.survey.eight_bit {
            line.push_str(" BODY=8BITMIME");
        }
        if offer.smtp_utf8 && self.wants_utf8() {
            line.push_str(" SMTPUTF8");
        }
        if let (true, Some(wanted)) = (offer.dsn, message.wanted) {
            let _ = write!(line, " RET={wanted}");
        }
        if let (true, Some(id)) = (offer.dsn, &message.envelope_id) {
            let _ = write!(line, " ENVID={id}");
        }
        line.push_str("\r\n");
        line
    }

    fn wants_utf8(&self) -> bool {
        let message = &self.message;
        let sender = message.reverse_path.0.as_ref();
        message.is_international()
            || sender.is_some_and(|address| !address.is_ascii())
            || message.recipients.iter().any(|r| !r.address.is_ascii())
    }

    fn write_rcpt(&self, index: usize, line: &mut String) {
        let Some(recipient) = self.message.recipients.get(index) else {
            return;
        };
        // Writing to a String cannot fail.
        let _ = write!(line, "RCPT TO:<{}>", recipient.address);
        if let (true, Some(notify)) = (self.dsn, recipient.notify) {
            let _ = write!(line, " NOTIFY={notify}");
        }
        if let (true, Some(original)) = (self.dsn, &recipient.original) {
            let _ = write!(line, " ORCPT={original}");
        }
        line.push_str("\r\n");
    }
}

/// Why `recipient` cannot be told to a server that offers no more than `offer`.
fn obstacle(message: &Message, recipient: &Forward, offer: &Offer) -> Option<Outcome> {
    let failed = |status, text: &str| Some(Outcome::Failed(status, text.to_owned()));
    if let Some(Some(limit)) = offer.size {
        let size = message.survey.size;
        if size > limit {
            let text = format!("the message has {size} octets, the server takes {limit}");
            return failed(Status::new(5, 3, 4), &text);
        }
    }
    if !offer.smtp_utf8 {
        let sender = message.reverse_path.0.as_ref();
        if !recipient.address.is_ascii() || sender.is_some_and(|address| !address.is_ascii()) {
            let text = "the server takes no addresses outside ASCII (it lacks SMTPUTF8)";
            return failed(Status::new(5, 6, 7), text);
        }
        if message.is_international() {
            let text = "the server takes no header fields in UTF-8 (it lacks SMTPUTF8)";
            return failed(Status::new(5, 6, 7), text);
        }
    }
    // RFC 6152 §3: convert or bounce. Converting would break every signature over the body.
    if message.survey.eight_bit && !offer.eight_bit_mime {
        let text = "the message has 8-bit content, the server takes ASCII only (it lacks 8BITMIME)";
        return failed(Status::new(5, 6, 3), text);
    }
    None
}

/// RFC 5321 §4.5.3.1.10: 552 to RCPT means too many recipients unless its enhanced status code says otherwise.
fn rcpt_refused(reply: &Reply) -> Outcome {
    match (reply.code(), reply.status()) {
        (552, None) => Outcome::Deferred(Status::new(4, 5, 3), flat(reply)),
        _ => Outcome::refused(reply),
    }
}

fn content_answered(reply: &Reply) -> Outcome {
    match reply.code() {
        200..=299 => Outcome::Delivered(flat(reply)),
        _ => Outcome::refused(reply),
    }
}
