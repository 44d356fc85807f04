//! How far a message has come with each of its recipients while servers are tried.

use super::session::Session;
use super::{Delivery, Remote, Source};
use crate::mail::Status;
use crate::smtp::client::{Message, Outcome};
use std::sync::Arc;

/// Recipients of one transaction: every server takes as many (RFC 5321 §4.5.3.1.8).
const RECIPIENTS_MAX: usize = 100;
/// Addresses that are tried before a message waits for the next attempt.
const TRIES_MAX: usize = 10;
/// Servers whose temporary refusals are heard before a message waits for the next attempt.
const SESSIONS_MAX: usize = 2;

/// What a server made of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// It took it, for one of the recipients at least.
    Taken,
    /// It took it for nobody.
    Refused,
    /// It had left while the connection waited, and has heard nothing that matters.
    Gone,
}

/// How far a message has come with all of its recipients.
pub(super) struct Progress<'a> {
    message: &'a Message,
    decided: Vec<Option<Delivery>>,
    /// Why the last server was not reached.
    obstacle: Option<Outcome>,
    tries: usize,
    sessions: usize,
    in_doubt: bool,
}

impl<'a> Progress<'a> {
    pub(super) fn new(message: &'a Message) -> Self {
        Self {
            message,
            decided: vec![None; message.recipients.len()],
            obstacle: None,
            tries: 0,
            sessions: 0,
            in_doubt: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.in_doubt
            || self.sessions >= SESSIONS_MAX
            || self.tries >= TRIES_MAX
            || self.open().is_empty()
    }

    pub(super) fn may_try(&mut self) -> bool {
        self.tries += 1;
        self.tries <= TRIES_MAX
    }

    pub(super) fn not_reached(&mut self, outcome: Outcome) {
        self.obstacle = Some(outcome);
    }

    pub(super) fn decide_all(&mut self, outcome: &Outcome) {
        self.decided.fill(Some(Delivery {
            outcome: outcome.clone(),
            remote: None,
        }));
    }

    /// The recipients that another server may still take.
    fn open(&self) -> Vec<usize> {
        let is_open = |decided: &Option<Delivery>| match decided {
            None => true,
            Some(delivery) => matches!(delivery.outcome, Outcome::Deferred(..)),
        };
        let numbered = self.decided.iter().enumerate();
        numbered
            .filter(|(_, d)| is_open(d))
            .map(|(n, _)| n)
            .collect()
    }

    /// Sends the message to the open recipients, in as many transactions as it takes. Where the server turns out to be
    /// [`Hearing::Gone`], nothing is decided: that was no attempt.
    pub(super) async fn send(
        &mut self,
        session: &mut Session,
        remote: Remote,
        content: &mut dyn Source,
    ) -> Hearing {
        let mut may_be_gone = session.messages() > 0;
        let remote = Arc::new(remote);
        let mut hearing = Hearing::Refused;
        for group in self.open().chunks(RECIPIENTS_MAX) {
            let recipients = group.iter().filter_map(|&n| self.message.recipients.get(n));
            let message = Message {
                recipients: recipients.cloned().collect(),
                ..self.message.clone()
            };
            let sent = session.send(message, content).await;
            let is_deferred = |outcome: &Outcome| matches!(outcome, Outcome::Deferred(..));
            if may_be_gone
                && session.is_over()
                && !sent.in_doubt
                && sent.outcomes.iter().all(is_deferred)
            {
                return Hearing::Gone;
            }
            may_be_gone = false;
            self.in_doubt |= sent.in_doubt;
            for (&number, outcome) in group.iter().zip(sent.outcomes) {
                if matches!(outcome, Outcome::Delivered(_)) {
                    hearing = Hearing::Taken;
                }
                if let Some(decided) = self.decided.get_mut(number) {
                    let remote = Some(Arc::clone(&remote));
                    *decided = Some(Delivery { outcome, remote });
                }
            }
            if session.is_over() {
                break;
            }
        }
        self.sessions += 1;
        hearing
    }

    pub(super) fn deliveries(self) -> Vec<Delivery> {
        let obstacle = self.obstacle.unwrap_or_else(|| {
            let text = "no server was tried".to_owned();
            Outcome::Deferred(Status::new(4, 4, 1), text)
        });
        let undecided = || Delivery {
            outcome: obstacle.clone(),
            remote: None,
        };
        let decided = self.decided.into_iter();
        decided.map(|d| d.unwrap_or_else(undecided)).collect()
    }
}
