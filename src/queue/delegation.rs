//! Messages that are with somebody who gives them back with another content, by a connection of its own.
//!
//! Such a message stays in the queue until it has come back, and what comes back takes its place in the batch that makes
//! it durable. Who gives a message back must show its secret; what comes back twice, as may happen after a crash, is
//! known for what it is and taken no second time.

use super::store::Change;
use super::{Draft, Entry, Error, Front, Pending, Queue, Screening, Version};
use crate::mail::{Address, Bookmark, Envelope, MessageId, Secret, Token};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// When to look again at a message that somebody else has taken.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// So many messages that have come back are remembered.
const REMEMBERED: usize = 4096;

/// A message that somebody is to get, has, or had, to give it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// What it is known by when it comes back.
    pub secret: Secret,
    /// For whoever goes on then.
    pub bookmark: Bookmark,
    /// Where it is.
    pub whereabouts: Whereabouts,
}

/// Where a message is that was delegated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whereabouts {
    /// Here, or on its way: nobody has said that it was taken.
    Here,
    /// With somebody who took it.
    Away,
    /// Here again.
    Back,
}

/// What came of a message that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenBack {
    /// It has taken the place of this one.
    InPlaceOf(MessageId),
    /// It has come back before. Nothing was kept.
    Again(MessageId),
    /// Nothing waits for it. Nothing was kept.
    Unexpected,
}

/// The messages that have come back.
#[derive(Default)]
pub(super) struct Returned(Mutex<VecDeque<Token>>);

impl Returned {
    fn remember(&self, token: Token) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= REMEMBERED {
            tokens.pop_front();
        }
        tokens.push_back(token);
    }

    fn knows(&self, token: &Token) -> bool {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens
            .iter()
            .any(|known| known.id == token.id && is_same(&known.secret, &token.secret))
    }
}

fn is_same(one: &Secret, other: &Secret) -> bool {
    verify_slices_are_equal(&one.0, &other.0).is_ok()
}

impl Queue {
    /// Takes a message by its name, as soon as nobody else has it; `None`: it is done.
    ///
    /// # Errors
    /// It cannot be read, and is not taken.
    pub async fn take(&self, id: MessageId) -> Result<Option<Entry>, Error> {
        while !self.shared.due.claim(id) {
            tokio::time::sleep(BUSY_PAUSE).await;
        }
        let queue = self.clone();
        let read = tokio::task::spawn_blocking(move || queue.shared.store.entry(id)).await;
        match read.unwrap_or(Err(Error::Closed)) {
            Ok(mut entry) => {
                entry.filed = entry.due_key();
                Ok(Some(entry))
            }
            Err(error) => {
                self.shared.due.release(id);
                match error {
                    Error::Unknown(_) => Ok(None),
                    error => Err(error),
                }
            }
        }
    }

    /// Gives up a message that was taken, and nothing about it has changed.
    pub fn put_back(&self, entry: &Entry) {
        self.shared.due.release(entry.id);
        let key = entry.filed.into_iter();
        key.for_each(|key| self.shared.due.filed(key));
    }

    /// Puts `draft`, under `front`, in the place of the message that `token` names, for those of its recipients who are among
    /// `recipients`; for all of them where none is. They are [`Whereabouts::Back`], and due at once unless an operator holds
    /// them.
    ///
    /// # Errors
    /// Nothing is changed.
    pub async fn give_back(
        &self,
        token: &Token,
        draft: Draft,
        front: Front,
        recipients: &[Address],
    ) -> Result<GivenBack, Error> {
        let Some(waiting) = self.take(token.id).await? else {
            return Ok(match self.shared.returned.knows(token) {
                true => GivenBack::Again(token.id),
                false => GivenBack::Unexpected,
            });
        };
        let is_it = |delegation: &Delegation| {
            delegation.whereabouts != Whereabouts::Back
                && is_same(&delegation.secret, &token.secret)
        };
        let named = |pending: &Pending| recipients.contains(&pending.recipient.address);
        let given_back = match waiting.delegation.as_deref().filter(|d| is_it(d)) {
            None => Ok(GivenBack::Unexpected),
            // A part came back before, and this is it.
            Some(_) if !waiting.pending.iter().any(named) && self.shared.returned.knows(token) => {
                Ok(GivenBack::Again(token.id))
            }
            Some(_) => self.replace(&waiting, draft, front, recipients).await,
        };
        match &given_back {
            Ok(GivenBack::InPlaceOf(_)) => self.shared.returned.remember(token.clone()),
            _ => self.put_back(&waiting),
        }
        given_back
    }

    async fn replace(
        &self,
        waiting: &Entry,
        draft: Draft,
        front: Front,
        recipients: &[Address],
    ) -> Result<GivenBack, Error> {
        let now = Timestamp::now();
        let (mut back, mut rest) = (waiting.named(draft.id()), waiting.clone().next_revision());
        let is_named = |address: &Address| recipients.contains(address);
        let all = waiting
            .pending
            .iter()
            .all(|p| !is_named(&p.recipient.address));
        back.pending
            .retain(|p| all || is_named(&p.recipient.address));
        rest.pending
            .retain(|p| !all && !is_named(&p.recipient.address));
        for pending in back.pending.iter_mut().filter(|pending| !pending.held) {
            pending.due = Some(now);
        }
        if let Some(delegation) = &mut back.delegation {
            delegation.whereabouts = Whereabouts::Back;
        }
        let version = Version {
            id: back.id,
            front,
            envelope: Envelope::default(),
            origin: None,
            screening: Screening::Ahead,
        };
        let (mut changes, mut bodies) = (Vec::new(), Vec::new());
        for (finished, _) in draft.finish(vec![version]).await? {
            (back.aside, back.revision) = (finished.body.is_some(), 0);
            back.filed = None;
            changes.push(Change::Put {
                entry: back.clone(),
                content: Some(finished.record),
                filed: None,
            });
            bodies.extend(finished.body);
        }
        let (id, filed) = (waiting.id, waiting.filed);
        let is_done = rest.pending.is_empty();
        let key = rest.due_key().filter(|_| !is_done);
        changes.push(match is_done {
            true => Change::Remove { id, filed },
            false => Change::Put {
                entry: rest,
                content: None,
                filed,
            },
        });
        self.shared.apply(changes, bodies).await?;
        self.shared.due.release(id);
        let keys = key.into_iter().chain(back.due_key());
        keys.for_each(|key| self.shared.due.filed(key));
        if is_done && waiting.aside {
            self.remove_body(id).await;
        }
        Ok(GivenBack::InPlaceOf(id))
    }
}
