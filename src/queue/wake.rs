//! Makes recipients that are held due again.

use super::store::{Change, Store};
use super::{Entry, Error, Queue};
use crate::mail::{MessageId, Recipient};
use jiff::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How many entries are read at a time.
const BATCH: usize = 256;
/// When to look again at a message that is being delivered.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

impl Queue {
    /// Makes every recipient that is held, and that `wanted` accepts, due now. Reads every entry of the queue once, and
    /// holds up nobody meanwhile. Gives how many messages it woke.
    ///
    /// # Errors
    /// The queue cannot be read or written; some may be awake.
    pub async fn wake(
        &self,
        wanted: impl Fn(&Recipient) -> bool + Send + Sync,
    ) -> Result<usize, Error> {
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
                if held(&entry, &wanted).next().is_none() {
                    continue;
                }
                match self.wake_one(entry.id, &wanted).await? {
                    true => woken += 1,
                    false => busy.push_back(entry.id),
                }
            }
        }
        while let Some(id) = busy.pop_front() {
            if self.wake_one(id, &wanted).await? {
                woken += 1;
            } else {
                busy.push_back(id);
                tokio::time::sleep(BUSY_PAUSE).await;
            }
        }
        Ok(woken)
    }

    /// `false`: it is being delivered, and changes under our hands.
    async fn wake_one(
        &self,
        id: MessageId,
        wanted: impl Fn(&Recipient) -> bool,
    ) -> Result<bool, Error> {
        let due = &self.shared.due;
        if !due.claim(id) {
            return Ok(false);
        }
        let entry = match self.read(move |store| store.entry(id)).await {
            Err(error) => {
                due.release(id);
                return match error {
                    // It is done since it was seen, or is not to be had at all.
                    Error::Unknown(_) | Error::Damaged(_) => Ok(true),
                    error => Err(error),
                };
            }
            Ok(entry) => entry,
        };
        let filed = entry.due_key();
        let indices: Vec<_> = held(&entry, wanted).collect();
        let mut entry = entry.next_revision();
        for index in indices {
            if let Some(pending) = entry.pending.get_mut(index) {
                pending.due = Some(Timestamp::now());
            }
        }
        let key = entry.due_key();
        let change = Change::Put {
            entry,
            content: None,
            filed,
        };
        let woken = self.shared.apply(vec![change], Vec::new()).await;
        due.release(id);
        key.into_iter().for_each(|key| due.filed(key));
        woken.map(|()| true)
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

/// Which recipients are held and wanted.
fn held(entry: &Entry, wanted: impl Fn(&Recipient) -> bool) -> impl Iterator<Item = usize> {
    entry
        .pending
        .iter()
        .enumerate()
        .filter(move |(_, pending)| pending.due.is_none() && wanted(&pending.recipient))
        .map(|(index, _)| index)
}
