//! AUTH: RFC 4954 §4. A session is authenticated at most once, and by nothing but a password that was verified.

use super::{Ask, Decision, LineError, Session, State, Step, Token, replies};
use crate::mail::Credentials;
use crate::smtp::Reply;
use crate::smtp::line::RESPONSE_MAX;
use crate::smtp::sasl::{Exchange, Mechanism, Progress, Response, SaslError};

impl Session {
    /// Says whether policy can decide about credentials, without which AUTH is not offered. To be said before the answer to
    /// [`Ask::Helo`], whose reply tells the client; until then it cannot.
    pub fn offer_authentication(&mut self, authenticates: bool) {
        self.authenticates = authenticates;
    }

    /// The mechanisms by which the client can authenticate now.
    pub(super) fn mechanisms(&self) -> Vec<Mechanism> {
        let authentication = &self.limits.authentication;
        let connection = &self.transaction.connection;
        match self.authenticates && connection.authenticated.is_none() && self.is_private() {
            true => authentication.offered().collect(),
            false => Vec::new(),
        }
    }

    /// Whether a password may be said. Every mechanism that works here says it in clear.
    fn is_private(&self) -> bool {
        self.transaction.connection.tls.is_some() || self.limits.authentication.in_clear
    }

    /// AUTH: RFC 4954 §4.
    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<&Response>) -> Step {
        let connection = &self.transaction.connection;
        if !connection.helo.as_ref().is_some_and(|helo| helo.extended) {
            return self.send(replies::AUTH_NEEDS_EHLO);
        }
        if connection.authenticated.is_some() {
            return self.send(replies::AUTHENTICATED_ALREADY);
        }
        if self.state == State::Transaction {
            return self.send(replies::AUTH_IN_TRANSACTION);
        }
        let authentication = &self.limits.authentication;
        if !self.authenticates || authentication.offered().next().is_none() {
            return self.send(replies::NOT_IMPLEMENTED);
        }
        let Some(exchange) = authentication.exchange(mechanism) else {
            return self.send(replies::MECHANISM_NOT_SUPPORTED);
        };
        if !self.is_private() {
            return self.send(replies::ENCRYPTION_REQUIRED);
        }
        if self.failures >= authentication.attempts_max {
            return self.close(replies::too_many_failures(self.server_name()));
        }
        self.go_on(exchange.begin(initial))
    }

    /// Takes the client's line of `exchange` from the front of `input`. `None`: it goes on.
    pub(super) fn response(&mut self, exchange: Exchange, input: &mut &[u8]) -> Option<Step> {
        let Some(line) = self.lines.next(input, RESPONSE_MAX) else {
            self.exchange = Some(exchange);
            return None;
        };
        // What is not ASCII is not base64 either, whatever stands in its place.
        let response = line.map(|octets| Response::new(&String::from_utf8_lossy(octets)));
        Some(match response {
            Ok(response) => self.go_on(exchange.respond(&response)),
            Err(error @ LineError::BareLineEnd) => self.close(error.into()),
            Err(LineError::TooLong) => self.send(replies::RESPONSE_TOO_LONG),
        })
    }

    fn go_on(&mut self, progress: Result<Progress, SaslError>) -> Step {
        match progress {
            Ok(Progress::Challenge(challenge, exchange)) => {
                self.exchange = Some(exchange);
                self.send(replies::challenge(challenge))
            }
            Ok(Progress::Complete(credentials)) => {
                self.transaction.credentials = Some(credentials);
                self.ask(Ask::Authenticate(Token(())))
            }
            Err(error @ SaslError::OtherIdentity) => self.fail(error.into()),
            Err(error) => self.send(error.into()),
        }
    }

    /// Policy can refuse credentials that are good, and cannot make good those that nobody verified.
    pub(super) fn authentication_decided(&mut self, decision: Decision) -> Step {
        let credentials = self.transaction.credentials.take();
        let user = credentials.and_then(Credentials::into_user);
        match (decision, user) {
            (Ok(reply), Some(user)) => {
                self.transaction.connection.authenticated = Some(user);
                // Clients take no other code for success.
                let reply = reply.filter(|reply| reply.code() == replies::AUTHENTICATED.code());
                self.send(reply.unwrap_or(replies::AUTHENTICATED))
            }
            (Ok(_), None) => self.fail(replies::CREDENTIALS_INVALID),
            (Err(refusal), _) if refusal == replies::REFUSED => {
                self.fail(replies::CREDENTIALS_INVALID)
            }
            (Err(refusal), _) => self.fail(refusal),
        }
    }

    fn fail(&mut self, reply: Reply) -> Step {
        self.failures = self.failures.saturating_add(1);
        self.send(reply)
    }
}
