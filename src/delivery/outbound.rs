//! Copies that leave this machine: one message for one destination, when its turn has come.

use super::attempt::{Attempt, Place};
use super::lanes::{Lanes, Limits};
use super::local::Damaged;
use super::relay::{Destination, Relay};
use crate::mail::{Recipient, Status};
use crate::queue::{self, Content, Entry, Queue};
use crate::smtp::client::{Forward, Message, Outcome, Protocol, Survey};
use arc_swap::ArcSwap;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A lane is as wide as what most servers let one client have, and all of them together as wide as a small machine bears.
/// Who waits costs an envelope.
const LIMITS: Limits = Limits {
    per_destination: 20,
    total: 200,
    waiting_per_destination: 500,
    waiting: 8000,
};
/// Octets of content that are looked at together.
const PIECE: usize = 64 * 1024;

/// Sends copies on, in turn.
pub(super) struct Outbound {
    /// The one in force; each attempt ends with the one that it began with.
    relay: Arc<ArcSwap<Relay>>,
    lanes: Lanes,
    chance: RandomState,
    draws: AtomicU64,
}

impl Outbound {
    pub fn new(relay: Arc<ArcSwap<Relay>>) -> Self {
        Self {
            relay,
            lanes: Lanes::new(LIMITS),
            chance: RandomState::new(),
            draws: AtomicU64::new(0),
        }
    }

    /// How this server names itself.
    pub fn name(&self) -> String {
        self.relay.load().name().to_owned()
    }

    /// Takes leave of the servers whose connections wait for a message.
    pub async fn close(&self) {
        self.relay.load_full().close().await;
    }

    /// Tries once to hand the message on to `recipients`, all at `to`, which has `timeout` for it where that is given;
    /// nobody is tried once `stopped` has completed before their turn.
    ///
    /// # Errors
    /// The message is damaged.
    pub async fn deliver(
        &self,
        queue: &Queue,
        entry: &Entry,
        to: &Destination,
        recipients: &[usize],
        timeout: Option<Duration>,
        stopped: impl Future<Output = ()>,
    ) -> Result<Vec<Attempt>, Damaged> {
        let name = to.to_string();
        let turn = tokio::select! {
            biased;
            () = stopped => return Ok(Vec::new()),
            turn = self.lanes.enter(&name) => turn,
        };
        let Some(_turn) = turn else {
            let postponed = recipients.iter().map(|&index| Attempt::postponed(index));
            return Ok(postponed.collect());
        };
        let (mut content, survey) = match open(queue, entry).await? {
            Ok(opened) => opened,
            Err(outcome) => {
                let attempt = |&index| Attempt::local(index, place(to), outcome.clone());
                return Ok(recipients.iter().map(attempt).collect());
            }
        };
        let message = message(entry, recipients, survey);
        let mut random = |below| self.draw(below);
        let relay = self.relay.load_full();
        let delivering = relay.deliver(to, &message, &mut content, &mut random);
        let deliveries = match timeout {
            None => delivering.await,
            Some(timeout) => match tokio::time::timeout(timeout, delivering).await {
                Ok(deliveries) => deliveries,
                Err(_) => {
                    let cause = format!("{to} did not take the message within {timeout:?}");
                    let outcome = Outcome::Deferred(Status::new(4, 4, 2), cause);
                    let attempt = |&index| Attempt::local(index, place(to), outcome.clone());
                    return Ok(recipients.iter().map(attempt).collect());
                }
            },
        };
        let attempts = recipients.iter().zip(deliveries);
        Ok(attempts
            .map(|(&index, delivery)| Attempt {
                remote: delivery.remote,
                ..Attempt::local(index, place(to), delivery.outcome)
            })
            .collect())
    }

    /// A number below `below`, as good as random for choosing among equals.
    fn draw(&self, below: usize) -> usize {
        let drawn = self
            .chance
            .hash_one(self.draws.fetch_add(1, Ordering::Relaxed));
        usize::try_from(drawn % (below.max(1) as u64)).unwrap_or(0)
    }
}

/// The content and what it is like, or why it cannot be had now.
async fn open(queue: &Queue, entry: &Entry) -> Result<Result<(Content, Survey), Outcome>, Damaged> {
    let (queue, entry) = (queue.clone(), entry.clone());
    let defer = |cause: String| Ok(Err(Outcome::Deferred(Status::new(4, 3, 0), cause)));
    let opened = tokio::task::spawn_blocking(move || {
        let mut content = queue.content_of(&entry).map_err(|error| match error {
            queue::Error::Damaged(_) => io::ErrorKind::InvalidData.into(),
            other => io::Error::other(other),
        })?;
        let survey = survey(&mut content)?;
        Ok::<_, io::Error>((content, survey))
    });
    match opened.await {
        Ok(Ok(opened)) => Ok(Ok(opened)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err(Damaged),
        Ok(Err(error)) => defer(error.to_string()),
        Err(error) => defer(error.to_string()),
    }
}

fn survey(content: &mut Content) -> io::Result<Survey> {
    let mut survey = Survey::default();
    let mut piece = vec![0; PIECE];
    loop {
        match content.read(&mut piece) {
            Ok(0) => return Ok(survey),
            Ok(count) => survey.add(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// An LMTP server has mailboxes of its own (RFC 2033 §1).
const fn place(to: &Destination) -> Place {
    match to {
        Destination::Unix(_) => Place::Mailbox,
        Destination::Forwarder(forwarder) if matches!(forwarder.protocol, Protocol::Lmtp) => {
            Place::Mailbox
        }
        Destination::Forwarder(_) | Destination::Domain(_) => Place::Elsewhere,
    }
}

fn message(entry: &Entry, recipients: &[usize], survey: Survey) -> Message {
    let forward = |recipient: &Recipient| Forward {
        address: recipient.address.clone(),
        notify: recipient.wishes.notify,
        original: recipient.wishes.original.clone(),
    };
    let recipients = recipients
        .iter()
        .filter_map(|&index| entry.recipient(index));
    Message {
        reverse_path: entry.reverse_path.clone(),
        recipients: recipients.map(forward).collect(),
        survey,
        smtputf8: entry.smtputf8,
        wanted: entry.wanted,
        envelope_id: entry.envelope_id.clone(),
    }
}
