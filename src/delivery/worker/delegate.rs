//! Messages that a content filter sees before they go on: handed to it by SMTP, and waited for until it has given them
//! back.
//!
//! While a message is with a filter nobody has taken it, since it may come back before the filter has answered. What a
//! crash leaves half handed over is handed over again; what comes back twice for that is taken once.

use super::Worker;
use crate::delivery::attempt::{self, Attempt, Place};
use crate::delivery::local::Damaged;
use crate::delivery::relay::{Destination, Forwarder};
use crate::mail::{Edition, Message, Secret, Status, TOKEN_FIELD, TlsMode, Token};
use crate::queue::{self, Delegation, Entry, Outcome, Queue, State, Whereabouts};
use crate::rules::Filter;
use crate::smtp::client::{self, Protocol};
use jiff::Timestamp;
use std::io;
use std::sync::Arc;

/// RFC 3463 §3.5: delivery time expired.
const EXPIRED: Status = Status::new(4, 4, 7);

/// A secret that nobody can guess.
pub(super) fn secret() -> Secret {
    let mut octets = [0; 16];
    // A machine without randomness has no TLS either; it is early in its boot.
    while aws_lc_rs::rand::fill(&mut octets).is_err() {
        std::thread::yield_now();
    }
    Secret(octets)
}

impl Worker {
    /// Does what is to be done about a message that was delegated. Gives back one that was not, or whose filter the rules
    /// know no more.
    pub(super) async fn delegated(&self, mut entry: Entry) -> Option<Entry> {
        let Some(delegation) = entry.delegation.as_deref() else {
            return Some(entry);
        };
        match delegation.whereabouts {
            Whereabouts::Back => Some(entry),
            Whereabouts::Away => {
                self.wait(&entry).await;
                None
            }
            Whereabouts::Here => match self.rules.load().filter(&delegation.bookmark) {
                Some(filter) => {
                    let token = Token {
                        id: entry.id,
                        secret: delegation.secret.clone(),
                    };
                    self.hand_over(&filter, &token, entry).await;
                    None
                }
                None => {
                    entry.delegation = None;
                    Some(entry)
                }
            },
        }
    }

    /// A filter took it and has not given it back.
    async fn wait(&self, entry: &Entry) {
        let now = Timestamp::now();
        let reason = "the content filter took the message and did not give it back";
        let due = entry.due(now).map(|(index, pending)| {
            let local = |outcome| Attempt::local(index, Place::Elsewhere, outcome);
            let warns = || {
                let gives_up = self.queue.gives_up(entry, pending, now);
                !gives_up && self.queue.is_late(entry, pending, now)
            };
            match now >= self.queue.expires(entry) {
                true => local(client::Outcome::Failed(EXPIRED, reason.to_owned())),
                false if warns() => local(client::Outcome::Deferred(EXPIRED, reason.to_owned())),
                false => Attempt::postponed(index),
            }
        });
        self.record(entry, &due.collect::<Vec<_>>()).await;
    }

    async fn hand_over(&self, filter: &Filter, token: &Token, entry: Entry) {
        let numbered = entry.pending.iter().enumerate();
        let indices = numbered.filter_map(|(index, pending)| pending.due.map(|_| index));
        let indices: Vec<usize> = indices.collect();
        let held = indices.iter().map(|&index| Outcome {
            index,
            state: State::Held,
        });
        let held: Vec<_> = held.collect();
        let let_go = self.insist(&entry, || self.queue.settle(&entry, &held));
        if let_go.await.is_none() {
            return;
        }
        let sent = self.send_to(filter, token, &entry, &indices).await;
        let taken = self.insist(&entry, || self.queue.take(entry.id)).await;
        let Some(Some(mut waiting)) = taken else {
            // It is back already, and has its place.
            return;
        };
        let delegation = waiting.delegation.as_deref_mut();
        let is_it = |delegation: &&mut Delegation| {
            delegation.secret == token.secret && delegation.whereabouts == Whereabouts::Here
        };
        let Some(delegation) = delegation.filter(is_it) else {
            return self.queue.put_back(&waiting);
        };
        let Ok(attempts) = sent else {
            return self.queue.set_aside(&waiting).await;
        };
        if !attempts.is_empty() && !attempts.iter().any(is_open) {
            delegation.whereabouts = Whereabouts::Away;
        }
        // Some may be back already.
        let place = |attempt: &Attempt| {
            let recipient = entry.recipient(attempt.index)?;
            let mut pending = waiting.pending.iter();
            pending.position(|pending| pending.recipient == *recipient)
        };
        let attempts = attempts.iter().filter_map(|attempt| {
            Some(Attempt {
                index: place(attempt)?,
                ..attempt.clone()
            })
        });
        let attempts: Vec<_> = attempts.map(on_its_way).collect();
        match attempts.is_empty() {
            // The end came before an answer: it is due again after the restart.
            true => self.queue.put_back(&waiting),
            false => self.record(&waiting, &attempts).await,
        }
    }

    async fn send_to(
        &self,
        filter: &Filter,
        token: &Token,
        entry: &Entry,
        indices: &[usize],
    ) -> Result<Vec<Attempt>, Damaged> {
        let (queue, token, mut marked) = (self.queue.clone(), token.clone(), entry.clone());
        let marking = tokio::task::spawn_blocking(move || {
            marked.edition = Some(Arc::new(mark(&queue, &marked, &token)?));
            Ok::<_, io::Error>(marked)
        });
        let marked = match marking
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
        {
            Ok(marked) => marked,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(Damaged),
            Err(error) => {
                let outcome = client::Outcome::Deferred(Status::new(4, 3, 0), error.to_string());
                let attempt = |&index| Attempt::local(index, Place::Elsewhere, outcome.clone());
                return Ok(indices.iter().map(attempt).collect());
            }
        };
        let to = Destination::Forwarder(Forwarder {
            host: filter.host.clone(),
            port: filter.port,
            protocol: Protocol::Smtp,
            tls: TlsMode::Opportunistic,
            login: None,
        });
        self.relay(&marked, &to, indices, Some(filter.timeout))
            .await
    }
}

/// The header section with the token, and without what a stranger may have put there in its name. Blocks.
fn mark(queue: &Queue, entry: &Entry, token: &Token) -> io::Result<Edition> {
    let content = queue.content_of(entry).map_err(|error| match error {
        queue::Error::Damaged(_) => io::ErrorKind::InvalidData.into(),
        other => io::Error::other(other),
    })?;
    let mut message = Message::new(Arc::new(content));
    let header = message.header().map_err(io::Error::other)?;
    header.remove(TOKEN_FIELD, None);
    let marked = header.prepend(TOKEN_FIELD, &token.to_string());
    marked.map_err(io::Error::other)?;
    message
        .edition()
        .ok_or_else(|| io::Error::other("nothing was edited"))
}

/// Whether a filter may still be asked to take it.
fn is_open(attempt: &Attempt) -> bool {
    use client::Outcome::{Delivered, Failed};
    !matches!(
        &attempt.result,
        attempt::Result::Done(Delivered(_) | Failed(..), _)
    )
}

/// What a filter took is not delivered.
fn on_its_way(attempt: Attempt) -> Attempt {
    match attempt.result {
        attempt::Result::Done(client::Outcome::Delivered(_), _) => Attempt {
            result: attempt::Result::Delegated,
            ..attempt
        },
        _ => attempt,
    }
}
