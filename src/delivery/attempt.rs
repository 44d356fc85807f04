//! What one attempt came to, for one recipient: for the log, for the sender and for the queue.

use super::relay::Remote;
use crate::mail::Status;
use crate::mail::dsn::Action;
use crate::queue::Entry;
use crate::smtp::client::Outcome;
use jiff::Timestamp;
use std::sync::Arc;
use tracing::field::display;

/// What became of one recipient.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// Which of [`Entry::pending`].
    pub index: usize,
    pub result: Result,
    /// The server that decided; `None`: we did.
    pub remote: Option<Arc<Remote>>,
}

#[derive(Clone, Debug)]
pub(super) enum Result {
    /// In the mailbox, in the quarantine, or with the server that takes it on.
    Done(Outcome, Place),
    /// Others on their way to the same place come first.
    Postponed,
    /// With a content filter, which gives it back.
    Delegated,
}

/// Where a copy that is done lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Mailbox,
    Quarantine,
    Elsewhere,
    /// Nowhere: others have taken the place of the recipient.
    Others,
}

impl Attempt {
    /// An attempt that needed nobody else.
    pub fn local(index: usize, place: Place, outcome: Outcome) -> Self {
        Self {
            index,
            result: Result::Done(outcome, place),
            remote: None,
        }
    }

    pub fn postponed(index: usize) -> Self {
        Self {
            index,
            result: Result::Postponed,
            remote: None,
        }
    }

    /// What was done about the recipient, if it is done, and unless the next server tells the sender itself. A quarantine
    /// tells nothing: whether the message will be read is not decided yet.
    pub fn success(&self) -> Option<Action> {
        let Result::Done(Outcome::Delivered(_), place) = self.result else {
            return None;
        };
        let others_tell = self.remote.as_ref().is_some_and(|r| r.passes_wishes);
        match place {
            Place::Mailbox => Some(Action::Delivered).filter(|_| !others_tell),
            Place::Elsewhere => Some(Action::Relayed).filter(|_| !others_tell),
            Place::Others => Some(Action::Expanded),
            Place::Quarantine => None,
        }
    }

    /// What the sender is told of `reason`: what goes wrong within this machine is for its log.
    pub fn told<'a>(&self, reason: &'a str) -> &'a str {
        match (&self.result, &self.remote) {
            (Result::Done(Outcome::Deferred(Status { subject: 3, .. }, _), _), None) => {
                "this server could not process the message"
            }
            (
                Result::Done(Outcome::Deferred(Status { subject: 4, .. }, _), Place::Mailbox),
                None,
            ) => "the mailbox could not be reached",
            _ => reason,
        }
    }

    /// One line of log.
    pub fn log(&self, entry: &Entry) {
        let Some(pending) = entry.pending.get(self.index) else {
            return;
        };
        let (result, status, reply, cause) = match &self.result {
            Result::Done(Outcome::Delivered(words), place) => {
                let words = (!words.is_empty()).then_some(words);
                (place.word(), None, words, None)
            }
            Result::Done(Outcome::Deferred(status, cause), _) => {
                ("deferred", Some(status), None, Some(cause))
            }
            Result::Done(Outcome::Failed(status, cause), _) => {
                ("failed", Some(status), None, Some(cause))
            }
            Result::Postponed => ("postponed", None, None, None),
            Result::Delegated => ("delegated", None, None, None),
        };
        let id = entry.id;
        let to = &pending.recipient.address;
        let delay = Timestamp::now().duration_since(entry.arrived);
        let delay = format_args!("{:.3}s", delay.as_secs_f64());
        let (status, reply, cause) = (status.map(display), reply.map(display), cause.map(display));
        match self.remote.as_deref() {
            None => tracing::info!(%id, %to, result, %delay, status, cause, "delivery"),
            Some(remote) => {
                let Remote { host, address, .. } = remote;
                let tls = remote.tls.as_ref().map_or("none", |tls| &*tls.version);
                let cipher = remote.tls.as_ref().map(|tls| &*tls.cipher);
                let security = &remote.security;
                tracing::info!(
                    %id, %to, result, %delay, status, reply, cause, %host, %address, tls, cipher, %security, "delivery"
                );
            }
        }
    }
}

impl Place {
    const fn word(self) -> &'static str {
        match self {
            Self::Mailbox => "delivered",
            Self::Quarantine => "quarantined",
            Self::Elsewhere => "relayed",
            Self::Others => "expanded",
        }
    }
}
