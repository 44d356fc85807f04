//! Changes the state of recipients that wait, other than by an attempt: for an operator, and for the daemon when there
//! is a way again for what had none.

use super::store::{Change, Store};
use super::{Entry, Error, Pending, Queue};
use crate::mail::{MessageId, Recipient};
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How many entries are read at a time.
const BATCH: usize = 256;
/// When to look again at a message that is being delivered.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// What an operator wants done about a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It is due now, unless it is held.
    Retry,
    /// It is not due before an operator releases it, whatever else happens.
    Hold,
    /// It is held no longer, and due now.
    Release,
    /// Nothing is left of it, and nobody is told.
    Remove,
}

/// What an order about one message came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obeyed {
    /// So many recipients are not as they were.
    Changed(usize),
    /// It is being delivered, and changes under our hands: ask again.
    Busy,
    /// The queue has no such message, any more or at all.
    Gone,
}

/// What becomes of one recipient.
enum Edit {
    Kept,
    Changed,
    Removed,
}

impl Queue {
    /// Does it to every recipient of a message that `wanted` accepts, durably.
    ///
    /// # Errors
    /// [`Error::Damaged`], and what keeps the queue from being written: nothing is changed then.
    pub async fn obey(
        &self,
        id: MessageId,
        order: Order,
        wanted: impl Fn(&Recipient) -> bool,
    ) -> Result<Obeyed, Error> {
        let now = Timestamp::now();
        let edit = |pending: &mut Pending| match wanted(&pending.recipient) {
            true => order.apply(pending, now),
            false => Edit::Kept,
        };
        self.edit(id, edit).await
    }

    /// Makes every recipient due now that waits for a way and that `wanted` accepts; those that an operator holds stay
    /// held. Reads every entry of the queue once, and holds up nobody meanwhile. Gives how many messages it woke.
    ///
    /// # Errors
    /// The queue cannot be read or written; some may be awake.
    pub async fn wake(
        &self,
        wanted: impl Fn(&Recipient) -> bool + Send + Sync,
    ) -> Result<usize, Error> {
        let sleeps = |pending: &Pending| {
            pending.due.is_none() && !pending.held && wanted(&pending.recipient)
        };
        let wake = |pending: &mut Pending| match sleeps(pending) {
            true => {
                pending.due = Some(Timestamp::now());
                Edit::Changed
            }
            false => Edit::Kept,
        };
        let mut woken = 0;
        let mut busy = VecDeque::new();
        let mut from = MessageId(0);
        loop {
            let entries = self.read(move |store| store.entries(from, BATCH)).await?;
            let Some(next) = entries.last().and_then(|(last, _)| last.0.checked_add(1)) else {
                break;
            };
            from = MessageId(next);
            for entry in entries.into_iter().filter_map(|(_, entry)| entry) {
                if !entry.pending.iter().any(sleeps) {
                    continue;
                }
                match self.edit(entry.id, wake).await {
                    Ok(Obeyed::Changed(_)) => woken += 1,
                    Ok(Obeyed::Busy) => busy.push_back(entry.id),
                    // It is done since it was seen, or is not to be had at all.
                    Ok(Obeyed::Gone) | Err(Error::Damaged(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        while let Some(id) = busy.pop_front() {
            match self.edit(id, wake).await {
                Ok(Obeyed::Changed(recipients)) => woken += usize::from(recipients > 0),
                Ok(Obeyed::Busy) => {
                    busy.push_back(id);
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Ok(Obeyed::Gone) | Err(Error::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(woken)
    }

    /// Does `edit` to every recipient of a message that nobody has taken.
    async fn edit(
        &self,
        id: MessageId,
        mut edit: impl FnMut(&mut Pending) -> Edit,
    ) -> Result<Obeyed, Error> {
        let due = &self.shared.due;
        if !due.seize(id) {
            return Ok(Obeyed::Busy);
        }
        let entry = match self.read(move |store| store.entry(id)).await {
            Ok(entry) => entry,
            Err(error) => {
                due.release(id);
                return match error {
                    Error::Unknown(_) => Ok(Obeyed::Gone),
                    error => Err(error),
                };
            }
        };
        let (filed, aside) = (entry.due_key(), entry.aside);
        let mut edited = entry.next_revision();
        let mut changed = 0;
        edited.pending.retain_mut(|pending| {
            let edit = edit(pending);
            changed += usize::from(!matches!(edit, Edit::Kept));
            !matches!(edit, Edit::Removed)
        });
        let is_done = edited.pending.is_empty();
        let key = edited.due_key();
        let applied = match changed {
            0 => Ok(()),
            _ => self.put(edited, filed).await,
        };
        due.release(id);
        // Where nothing was written the index is as it was; where it was seized, nobody else finds it again.
        let key = applied.as_ref().map_or(filed, |()| key);
        key.into_iter().for_each(|key| due.filed(key));
        applied?;
        if is_done && aside {
            self.remove_body(id).await;
        }
        Ok(Obeyed::Changed(changed))
    }

    async fn put(&self, entry: Entry, filed: Option<super::DueKey>) -> Result<(), Error> {
        let id = entry.id;
        let change = if entry.pending.is_empty() {
            Change::Remove { id, filed }
        } else {
            Change::Put {
                entry,
                content: None,
                filed,
            }
        };
        self.shared.apply(vec![change], Vec::new()).await
    }

    async fn read<T: Send + 'static>(
        &self,
        what: impl FnOnce(&dyn Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = Arc::clone(&self.shared.store);
        let read = tokio::task::spawn_blocking(move || what(&*store)).await;
        read.map_err(|_| Error::Closed)?
    }
}

impl Order {
    fn apply(self, pending: &mut Pending, now: Timestamp) -> Edit {
        match self {
            Self::Retry if pending.held || pending.due.is_some_and(|due| due <= now) => {
                return Edit::Kept;
            }
            Self::Release if !pending.held => return Edit::Kept,
            Self::Hold if pending.held => return Edit::Kept,
            Self::Retry => pending.due = Some(now),
            Self::Hold => (pending.held, pending.due) = (true, None),
            Self::Release => (pending.held, pending.due) = (false, Some(now)),
            Self::Remove => return Edit::Removed,
        }
        Edit::Changed
    }
}
