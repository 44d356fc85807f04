//! Which message is next: walks the due index from where it was left, and hands each message to one taker only.
//!
//! Only the messages about to be taken are in memory. The index is read from a cursor and not from its beginning, where
//! the removals of messages long gone lie until the store forgets them.

use super::store::{DueKey, Store};
use super::{Entry, Error};
use crate::mail::MessageId;
use jiff::Timestamp;
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How many messages are read from the store at a time.
const BATCH: usize = 64;

/// The messages that are due.
#[derive(Default)]
pub(super) struct Due {
    state: Mutex<State>,
    /// Held by the one who reads on in the index.
    pub reading: tokio::sync::Mutex<()>,
    /// Told whenever something was filed.
    pub changed: Notify,
}

struct State {
    /// Every key before it was seen.
    cursor: DueKey,
    /// The least key filed since the index was read last.
    filed: Option<DueKey>,
    ready: VecDeque<Entry>,
    /// Ready, or taken and not settled.
    claimed: HashSet<MessageId>,
    /// When the index was read last.
    read: Timestamp,
    /// Whether there may be attempts that were set before the clock went back.
    stranded: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            cursor: DueKey::MIN,
            filed: None,
            ready: VecDeque::new(),
            claimed: HashSet::new(),
            read: Timestamp::MIN,
            // The clock may have gone back while nobody looked.
            stranded: true,
        }
    }
}

impl State {
    /// Goes back to the least key filed since, which may lie before the cursor. Gives where to read on.
    fn go_back(&mut self) -> DueKey {
        self.cursor = self
            .filed
            .take()
            .map_or(self.cursor, |filed| filed.min(self.cursor));
        self.cursor
    }
}

/// What reading on in the index came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Something is ready.
    Ready,
    /// Nothing is due before this time.
    At(Timestamp),
    /// Nothing is waiting for its time.
    Never,
}

impl Due {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message that is ready.
    pub fn take(&self) -> Option<Entry> {
        self.state().ready.pop_front()
    }

    /// The index has a new key, durably.
    pub fn filed(&self, key: DueKey) {
        let mut state = self.state();
        state.filed = Some(state.filed.map_or(key, |least| least.min(key)));
        drop(state);
        self.changed.notify_waiters();
    }

    /// Keeps a message from being taken. `false`: it is taken, or about to be.
    pub fn claim(&self, id: MessageId) -> bool {
        self.state().claimed.insert(id)
    }

    /// As [`Due::claim`], also for a message that was ready and that nobody has taken yet.
    pub fn seize(&self, id: MessageId) -> bool {
        let mut state = self.state();
        match state.ready.iter().position(|entry| entry.id == id) {
            Some(at) => state.ready.remove(at).is_some(),
            None => state.claimed.insert(id),
        }
    }

    /// Whether somebody has taken the message and not settled it yet.
    pub fn is_taken(&self, id: MessageId) -> bool {
        let state = self.state();
        state.claimed.contains(&id) && state.ready.iter().all(|entry| entry.id != id)
    }

    /// A message that was taken can be taken again, if the index names it.
    pub fn release(&self, id: MessageId) {
        self.state().claimed.remove(&id);
    }

    /// Reads on in the index and makes what is due ready. `damaged` is called for each message that cannot be understood.
    ///
    /// No attempt is ever set further away than `horizon`: what is, was set before the clock went back, and is due.
    /// Blocks; one caller at a time.
    pub fn read_on(
        &self,
        store: &dyn Store,
        now: Timestamp,
        horizon: Duration,
        damaged: impl Fn(DueKey),
    ) -> Result<Next, Error> {
        let end = DueKey::last_at(now);
        let horizon = DueKey::last_at(now.checked_add(horizon).unwrap_or(Timestamp::MAX));
        loop {
            let keys = store.due(self.state().go_back(), end, BATCH)?;
            let Some(last) = keys.last() else {
                break;
            };
            let ready = self.make_ready(store, &keys, now, &damaged)?;
            self.state().cursor = last.successor();
            if ready {
                return Ok(Next::Ready);
            }
        }
        if self.watch_clock(now) {
            let beyond = BATCH + self.state().claimed.len();
            let stranded = store.due(horizon.successor(), DueKey::MAX, beyond)?;
            if self.make_ready(store, &stranded, now, &damaged)? {
                return Ok(Next::Ready);
            }
            // Those in somebody's hands may come back as they were.
            self.state().stranded = !stranded.is_empty();
        }
        let next = store.due(end.successor(), DueKey::MAX, 1)?;
        Ok(next.first().map_or(Next::Never, |key| {
            let at = i64::try_from(key.at).unwrap_or(i64::MAX);
            Next::At(Timestamp::from_microsecond(at).unwrap_or(Timestamp::MAX))
        }))
    }

    /// Whether attempts may be further away than any is ever set.
    fn watch_clock(&self, now: Timestamp) -> bool {
        let mut state = self.state();
        state.stranded |= now < state.read;
        state.read = now;
        state.stranded
    }

    fn make_ready(
        &self,
        store: &dyn Store,
        keys: &[DueKey],
        now: Timestamp,
        damaged: impl Fn(DueKey),
    ) -> Result<bool, Error> {
        let mut any = false;
        for key in keys {
            if !self.claim(key.id) {
                continue;
            }
            match store.entry(key.id) {
                // It was settled since the key was read.
                Ok(entry) if entry.due_key() != Some(*key) => self.release(key.id),
                Err(Error::Unknown(_)) => self.release(key.id),
                Ok(mut entry) => {
                    entry.filed = Some(*key);
                    let stranded = key.at > DueKey::last_at(now).at;
                    for pending in entry.pending.iter_mut().filter(|_| stranded) {
                        pending.due = pending.due.map(|due| due.min(now));
                    }
                    self.state().ready.push_back(entry);
                    any = true;
                }
                Err(Error::Damaged(_)) => damaged(*key),
                Err(error) => {
                    self.release(key.id);
                    return Err(error);
                }
            }
        }
        Ok(any)
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH, Due, Next};
    use crate::mail::{Address, Envelope, MessageId};
    use crate::queue::store::fake::Fake;
    use crate::queue::store::{Change, DueKey, Store};
    use crate::queue::{Entry, Front, Screening, Version};
    use jiff::Timestamp;
    use std::cell::RefCell;
    use std::time::Duration;

    const HORIZON: Duration = Duration::from_secs(100);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[derive(Default)]
    struct Index {
        store: Fake,
        due: Due,
    }

    impl Index {
        /// A message that is due at `second`.
        fn file(&self, id: u64, second: i64) {
            let envelope = Envelope {
                recipients: vec![Address::parse("a@b.org").unwrap().into()],
                ..Envelope::default()
            };
            let version = Version {
                id: MessageId(id),
                front: Front::default(),
                envelope,
                origin: None,
                screening: Screening::Ahead,
            };
            let entry = Entry::new(version, at(second), false);
            let key = entry.due_key().unwrap();
            let change = Change::Put {
                entry,
                content: Some(Vec::new()),
                filed: None,
            };
            self.store.apply(&[change]).unwrap();
            self.due.filed(key);
        }

        fn read_on(&self, now: i64) -> Next {
            let read = self
                .due
                .read_on(&self.store, at(now), HORIZON, |_| panic!());
            read.unwrap()
        }

        fn take_all(&self, now: i64) -> Vec<u64> {
            let mut taken = Vec::new();
            while self.read_on(now) == Next::Ready {
                taken.extend(std::iter::from_fn(|| self.due.take()).map(|entry| entry.id.0));
            }
            taken
        }
    }

    #[test]
    fn the_longest_due_first_and_once() {
        let index = Index::default();
        let count = BATCH as u64 * 3;
        (1..=count).for_each(|id| index.file(id, 1000 - i64::try_from(id).unwrap()));
        assert_eq!(index.take_all(1000), (1..=count).rev().collect::<Vec<_>>());
        assert_eq!(index.take_all(1001), Vec::<u64>::new());
    }

    #[test]
    fn what_is_filed_late_is_not_passed_over() {
        let index = Index::default();
        index.file(2, 20);
        assert_eq!(index.take_all(30), [2]);
        index.file(1, 10);
        index.file(3, 30);
        assert_eq!(index.take_all(30), [1, 3]);
    }

    #[test]
    fn waits_for_the_next() {
        let index = Index::default();
        assert_eq!(index.read_on(10), Next::Never);
        index.file(1, 50);
        assert_eq!(index.read_on(10), Next::At(at(50)));
        assert_eq!(index.take_all(49), Vec::<u64>::new());
        assert_eq!(index.take_all(50), [1]);
        assert_eq!(index.read_on(50), Next::Never);
    }

    #[test]
    fn a_message_stranded_by_the_clock_is_due() {
        let index = Index::default();
        index.file(1, 500);
        index.file(2, 1000);
        assert_eq!(index.read_on(450), Next::Ready);
        let entry = index.due.take().unwrap();
        assert_eq!(entry.id, MessageId(2));
        assert_eq!(entry.due(at(450)).count(), 1);
        assert_eq!(entry.filed, Some(DueKey::new(at(1000), MessageId(2))));
        assert_eq!(index.read_on(450), Next::At(at(500)));
    }

    #[test]
    fn a_released_message_comes_again_when_it_is_filed() {
        let index = Index::default();
        index.file(1, 10);
        assert_eq!(index.take_all(10), [1]);
        index.due.release(MessageId(1));
        assert_eq!(index.take_all(10), Vec::<u64>::new());
        index.due.filed(DueKey::new(at(10), MessageId(1)));
        assert_eq!(index.take_all(10), [1]);
    }

    #[test]
    fn what_is_ready_can_be_seized_and_what_is_taken_cannot() {
        let index = Index::default();
        (1..=2).for_each(|id| index.file(id, 10));
        assert_eq!(index.read_on(10), Next::Ready);
        assert_eq!(index.due.take().unwrap().id, MessageId(1));
        let seized = [1, 2, 2, 3].map(|id| index.due.seize(MessageId(id)));
        assert_eq!(seized, [false, true, false, true]);
        assert!(index.due.take().is_none());
        index.due.release(MessageId(2));
        index.due.filed(DueKey::new(at(10), MessageId(2)));
        assert_eq!(index.take_all(10), [2]);
    }

    #[test]
    fn a_key_whose_message_was_settled_meanwhile_is_passed_over() {
        let index = Index::default();
        index.file(1, 10);
        let stale = DueKey::new(at(5), MessageId(1));
        let gone = DueKey::new(at(6), MessageId(9));
        index.store.due.lock().unwrap().extend([stale, gone]);
        assert_eq!(index.take_all(10), [1]);
    }

    #[test]
    fn a_damaged_message_is_named_and_passed_over() {
        let index = Index::default();
        (1..=3).for_each(|id| index.file(id, 10));
        index.store.damaged.lock().unwrap().insert(MessageId(2));
        let damaged = RefCell::new(Vec::new());
        let note = |key| damaged.borrow_mut().push(key);
        let next = index.due.read_on(&index.store, at(10), HORIZON, note);
        assert_eq!(next.unwrap(), Next::Ready);
        let taken: Vec<_> = std::iter::from_fn(|| index.due.take())
            .map(|e| e.id.0)
            .collect();
        assert_eq!(taken, [1, 3]);
        assert_eq!(*damaged.borrow(), [DueKey::new(at(10), MessageId(2))]);
    }
}
