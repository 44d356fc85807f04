//! What the queue asks of its storage. One small trait, so that another storage can take the place of the local one.

use super::{Entry, Error};
use crate::mail::MessageId;
use jiff::Timestamp;

/// Keeps messages. Every call blocks.
pub(super) trait Store: Send + Sync {
    /// Makes all `changes` durable together, or none of them. After an error nothing of them may be relied on, and the
    /// store must be as it was before: what was durable stays so, and later calls may succeed.
    ///
    /// One thread calls it, one call at a time.
    fn apply(&self, changes: &[Change]) -> Result<(), Error>;

    /// At most `limit` keys of the due index from `from` to `to`, both included, ascending.
    fn due(&self, from: DueKey, to: DueKey, limit: usize) -> Result<Vec<DueKey>, Error>;

    /// The entry of a message. [`Error::Damaged`] when it cannot be understood.
    fn entry(&self, id: MessageId) -> Result<Entry, Error>;

    /// At most `limit` entries from the id `from` on, ascending; `None` where one cannot be understood.
    fn entries(&self, from: MessageId, limit: usize) -> Result<Vec<Listed>, Error>;

    /// The record of a message's content, as [`Change::Put`] gave it.
    fn content(&self, id: MessageId) -> Result<Vec<u8>, Error>;

    /// The greatest id that was ever put.
    fn greatest_id(&self) -> Result<MessageId, Error>;
}

/// An id, and its entry if that can be understood.
pub type Listed = (MessageId, Option<Entry>);

/// One change of the store. `filed` is where the due index named the message before.
#[derive(Debug)]
pub(super) enum Change {
    /// A new message, or a new state of one; `content` is the record of a new message's content.
    Put {
        entry: Entry,
        content: Option<Vec<u8>>,
        filed: Option<DueKey>,
    },
    /// The message is done.
    Remove {
        id: MessageId,
        filed: Option<DueKey>,
    },
    /// The message cannot be understood: it stays for a person to look at, and is never due again.
    SetAside {
        id: MessageId,
        filed: Option<DueKey>,
    },
}

/// A place in the due index: by time, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DueKey {
    /// Microseconds since the epoch.
    pub at: u64,
    pub id: MessageId,
}

impl DueKey {
    pub const MIN: Self = Self {
        at: 0,
        id: MessageId(0),
    };
    pub const MAX: Self = Self {
        at: u64::MAX,
        id: MessageId(u64::MAX),
    };

    pub fn new(due: Timestamp, id: MessageId) -> Self {
        Self {
            at: u64::try_from(due.as_microsecond()).unwrap_or(0),
            id,
        }
    }

    /// The greatest key that is due at `now`.
    pub fn last_at(now: Timestamp) -> Self {
        Self::new(now, MessageId(u64::MAX))
    }

    /// The least key after this one.
    pub fn successor(self) -> Self {
        match self.id.0.checked_add(1) {
            Some(id) => Self {
                at: self.at,
                id: MessageId(id),
            },
            None => Self {
                at: self.at.saturating_add(1),
                id: MessageId(0),
            },
        }
    }

    /// Octets that sort as the keys do.
    pub fn encode(self) -> [u8; 16] {
        let mut key = [0; 16];
        let (at, id) = key.split_at_mut(8);
        at.copy_from_slice(&self.at.to_be_bytes());
        id.copy_from_slice(&self.id.0.to_be_bytes());
        key
    }

    pub fn decode(key: &[u8]) -> Option<Self> {
        let (at, id) = key.split_first_chunk::<8>()?;
        Some(Self {
            at: u64::from_be_bytes(*at),
            id: MessageId(u64::from_be_bytes(id.try_into().ok()?)),
        })
    }
}

/// A store in memory that fails when it is told to.
#[cfg(test)]
pub(super) mod fake {
    use super::{Change, DueKey, Listed, Store};
    use crate::mail::MessageId;
    use crate::queue::{Entry, Error};
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Mutex;

    #[derive(Default)]
    pub struct Fake {
        pub messages: Mutex<BTreeMap<MessageId, (Entry, Vec<u8>)>>,
        pub due: Mutex<BTreeSet<DueKey>>,
        pub damaged: Mutex<BTreeSet<MessageId>>,
        pub failure: Mutex<Option<Error>>,
        /// How many changes were made durable together.
        pub batches: Mutex<Vec<usize>>,
    }

    impl Store for Fake {
        fn apply(&self, changes: &[Change]) -> Result<(), Error> {
            if let Some(error) = &*self.failure.lock().unwrap() {
                return Err(error.clone());
            }
            self.batches.lock().unwrap().push(changes.len());
            let (mut messages, mut due) = (self.messages.lock().unwrap(), self.due.lock().unwrap());
            for change in changes {
                let filed = match change {
                    Change::Put { filed, .. }
                    | Change::Remove { filed, .. }
                    | Change::SetAside { filed, .. } => filed,
                };
                assert!(filed.is_none_or(|filed| due.remove(&filed)));
                match change {
                    Change::Put { entry, content, .. } => {
                        let before = messages.remove(&entry.id);
                        let content = content.clone().or(before.map(|(_, content)| content));
                        messages.insert(entry.id, (entry.clone(), content.unwrap()));
                        due.extend(entry.due_key());
                    }
                    Change::Remove { id, .. } => {
                        messages.remove(id).unwrap();
                    }
                    Change::SetAside { .. } => {}
                }
            }
            Ok(())
        }

        fn due(&self, from: DueKey, to: DueKey, limit: usize) -> Result<Vec<DueKey>, Error> {
            let due = self.due.lock().unwrap();
            Ok(due.range(from..=to).take(limit).copied().collect())
        }

        fn entry(&self, id: MessageId) -> Result<Entry, Error> {
            if self.damaged.lock().unwrap().contains(&id) {
                return Err(Error::Damaged(id));
            }
            let messages = self.messages.lock().unwrap();
            let (entry, _) = messages.get(&id).ok_or(Error::Unknown(id))?;
            Ok(entry.clone())
        }

        fn entries(&self, from: MessageId, limit: usize) -> Result<Vec<Listed>, Error> {
            let messages = self.messages.lock().unwrap();
            let entries = messages
                .range(from..)
                .map(|(id, (entry, _))| (*id, Some(entry.clone())));
            Ok(entries.take(limit).collect())
        }

        fn content(&self, id: MessageId) -> Result<Vec<u8>, Error> {
            let messages = self.messages.lock().unwrap();
            let (_, content) = messages.get(&id).ok_or(Error::Damaged(id))?;
            Ok(content.clone())
        }

        fn greatest_id(&self) -> Result<MessageId, Error> {
            let messages = self.messages.lock().unwrap();
            Ok(messages.keys().max().copied().unwrap_or(MessageId(0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DueKey;
    use crate::mail::MessageId;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn octets_sort_as_keys_do(a: (u64, u64), b: (u64, u64)) {
            let key = |(at, id)| DueKey { at, id: MessageId(id) };
            prop_assert_eq!(DueKey::decode(&key(a).encode()), Some(key(a)));
            prop_assert_eq!(key(a).cmp(&key(b)), key(a).encode().cmp(&key(b).encode()));
            prop_assert!(key(a).successor() > key(a) || a == (u64::MAX, u64::MAX));
        }
    }
}
