//! One queued message: its envelope, and the state of each recipient.
//!
//! The content is kept apart (see `queue/record.rs`), so that recording an attempt rewrites no body.

use super::store::DueKey;
use super::{Delegation, Version};
use crate::mail::dsn::{EnvelopeId, Return};
use crate::mail::{Address, Body, Edition, MessageId, Origin, Recipient, ReversePath};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A message taken from the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub id: MessageId,
    /// Where notifications go.
    pub reverse_path: ReversePath,
    /// What BODY= said of the content (RFC 6152).
    #[serde(default)]
    pub body: Body,
    /// Whether the client gave SMTPUTF8 (RFC 6531).
    #[serde(default)]
    pub smtputf8: bool,
    /// The RET parameter (RFC 3461).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Return>,
    /// The ENVID parameter (RFC 3461).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope_id: Option<EnvelopeId>,
    /// When it was committed.
    pub arrived: Timestamp,
    /// Who still waits.
    pub pending: Vec<Pending>,
    /// Where it came from; `None`: from ourselves, or an older version of this server took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<Origin>>,
    /// Who was made a recipient after the message was accepted, some of them done by now: nobody becomes one twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Address>,
    /// Somebody is to get it, has it, or had it, to give it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegation: Option<Box<Delegation>>,
    /// The header section that goes out in the place of the one in the queue, as long as this value lives.
    #[serde(skip)]
    pub edition: Option<Arc<Edition>>,
    /// Whether the body lies in a file of its own.
    #[serde(default)]
    pub(super) aside: bool,
    /// How often the entry was rewritten: of two copies the greater is the later.
    #[serde(skip)]
    pub(super) revision: u32,
    /// Where the due index names it.
    #[serde(skip)]
    pub(super) filed: Option<DueKey>,
}

/// A recipient that still waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Who.
    pub recipient: Recipient,
    /// How often delivery was tried.
    pub attempts: u32,
    /// The earliest next attempt; `None`: held until something wakes it.
    pub due: Option<Timestamp>,
    /// Whether the sender was told that it takes long.
    #[serde(default)]
    pub warned: bool,
    /// What is still to be decided about it.
    #[serde(default, skip_serializing_if = "Screening::is_ahead")]
    pub screening: Screening,
    /// Held by an operator: nothing but an operator makes it due.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
}

/// Why an attempt failed, for whoever looks at the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// The enhanced status code (RFC 3463), as `4.4.1`.
    pub status: String,
    /// What the server said, or what kept us from asking it.
    pub text: String,
    /// The server; `None`: the failure is ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// What is still to be decided about a recipient's copy before it leaves. The queue keeps it for those who decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Screening {
    /// Everything.
    #[default]
    Ahead,
    /// What is decided once is; what is decided before each attempt is not.
    Attempts,
    /// Nothing any more.
    Over,
}

impl Screening {
    fn is_ahead(&self) -> bool {
        *self == Self::Ahead
    }
}

impl Pending {
    /// A recipient that has just come, due at `now`.
    pub fn new(recipient: Recipient, screening: Screening, now: Timestamp) -> Self {
        Self {
            recipient,
            attempts: 0,
            due: Some(now),
            warned: false,
            screening,
            held: false,
            last_error: None,
        }
    }
}

/// What became of one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which of [`Entry::pending`].
    pub index: usize,
    /// And what.
    pub state: State,
}

/// The result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Done.
    Delivered,
    /// Given up. Whoever is to be told must have been told before: nothing is left of the recipient.
    Failed,
    /// Try again later.
    Deferred,
    /// Try again later; the sender was told that it takes long.
    Delayed,
    /// Was not tried, since others are being tried: no attempt is counted.
    Postponed,
    /// Wait without being tried, until `Queue::wake`.
    Held,
}

impl LastError {
    /// What is kept of a text: it is written again with each attempt, and a server may say a lot.
    const TEXT_MAX: usize = 500;

    /// `text`, without its end where it is long.
    pub fn new(at: Timestamp, status: String, mut text: String, host: Option<String>) -> Self {
        text.truncate(text.floor_char_boundary(Self::TEXT_MAX));
        Self {
            at,
            status,
            text,
            host,
        }
    }
}

impl Entry {
    /// The entry of a message that arrives now: every recipient is due at once.
    pub(super) fn new(version: Version, arrived: Timestamp, aside: bool) -> Self {
        let (envelope, screening) = (version.envelope, version.screening);
        let recipients = envelope.recipients.into_iter();
        let pending = recipients.map(|recipient| Pending::new(recipient, screening, arrived));
        Self {
            id: version.id,
            reverse_path: envelope.reverse_path,
            body: envelope.body,
            smtputf8: envelope.smtputf8,
            wanted: envelope.wanted,
            envelope_id: envelope.envelope_id,
            arrived,
            pending: pending.collect(),
            origin: version.origin.map(Box::new),
            added: Vec::new(),
            delegation: None,
            edition: None,
            aside,
            revision: 0,
            filed: None,
        }
    }

    /// The recipients whose attempt is due at `now`, with their index.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = (usize, &Pending)> {
        self.pending
            .iter()
            .enumerate()
            .filter(move |(_, pending)| pending.due.is_some_and(|due| due <= now))
    }

    /// A recipient by its index in [`Entry::pending`].
    pub fn recipient(&self, index: usize) -> Option<&Recipient> {
        self.pending.get(index).map(|pending| &pending.recipient)
    }

    /// The entry as it is rewritten.
    pub(super) fn next_revision(mut self) -> Self {
        self.revision = self.revision.saturating_add(1);
        self
    }

    /// Where the due index must name it: at the earliest of its recipients; nowhere while all are held.
    pub(super) fn due_key(&self) -> Option<DueKey> {
        let earliest = self
            .pending
            .iter()
            .filter_map(|pending| pending.due)
            .min()?;
        Some(DueKey::new(earliest, self.id))
    }
}
