//! What was acknowledged and is not yet delivered, durably: 250 means that a message survives kill -9 and power loss.
//!
//! Knows envelopes and octets; knows neither SMTP nor rules, and delivers nothing.
//!
//! - A message is durable when [`Queue::commit`] returns `Ok`. A write or sync that failed fails the commits that it was
//!   for; it is never tried again and called good. The queue stays up and takes mail again when the disk does.
//! - A message stays until every recipient is done; each recipient has its own attempts and its own time.
//! - What a crash leaves half-way is finished or undone by the next [`Queue::open`]: a message may be handed out twice,
//!   never not at all.
//! - Damage on disk costs the messages that it destroyed, which are named in the log, and no others.
//!
//! Messages that are due are found in an index by time: a million that wait cost no more than one.

mod committer;
mod content;
mod delegation;
mod draft;
mod due;
mod engine;
mod entry;
mod error;
mod journal;
mod lsm;
mod order;
mod reader;
mod record;
mod rescue;
mod revise;
mod schedule;
mod snapshot;
mod spool;
mod store;
mod version;

pub use content::Content;
pub use delegation::{Delegation, GivenBack, Whereabouts};
pub use draft::Draft;
pub use entry::{Entry, LastError, Outcome, Pending, Screening, State};
pub use error::Error;
pub use order::{Obeyed, Order};
pub use reader::Reader;
pub use revise::Revision;
pub use schedule::{NextAttempt, Schedule};
pub use snapshot::Snapshot;
pub use store::Listed;
pub use version::{Front, Version};

use crate::mail::{Envelope, MessageId};
use committer::Request;
use delegation::Returned;
use draft::BodyPath;
use due::{Due, Next};
use jiff::Timestamp;
use lsm::Lsm;
use spool::Spool;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::{Change, DueKey, Store};
use tokio::sync::{mpsc, oneshot};

/// The clock is looked at so often while something waits for its time: it may be set.
const CLOCK_CHECK: Duration = Duration::from_secs(30);
/// How long to leave a store alone that cannot be read.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// `server.queues`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `dirpath`: the spool.
    pub dirpath: PathBuf,
    /// `delivery`
    pub schedule: Schedule,
}

/// The queue of one daemon. Clones share it; when the last one is dropped, it is closed.
#[derive(Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    schedule: Schedule,
    last_id: AtomicU64,
    due: Due,
    chance: RandomState,
    returned: Returned,
    /// `None` once the queue is being closed.
    committer: Option<mpsc::Sender<Request>>,
    thread: Option<std::thread::JoinHandle<()>>,
    store: Arc<dyn Store>,
    spool: Arc<Spool>,
}

impl Queue {
    /// Opens the spool, or makes it; what was committed before is pending again. Blocks while journals are read.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open; [`Error::Full`], [`Error::Io`] and [`Error::Storage`] when
    /// the disk does not let it be read or made. Damage is no error: see the module's documentation.
    pub fn open(options: &Options) -> Result<Self, Error> {
        let spool = Arc::new(Spool::open(&options.dirpath)?);
        let (store, rescued) = Lsm::open(spool.clone())?;
        let queued = |id| match store.entry(id) {
            Err(Error::Unknown(_)) => Ok(false),
            Ok(_) | Err(Error::Damaged(_)) => Ok(true),
            Err(error) => Err(error),
        };
        spool.sweep(queued, rescued)?;
        Self::start(spool, Arc::new(store), options.schedule.clone())
    }

    fn start(spool: Arc<Spool>, store: Arc<dyn Store>, schedule: Schedule) -> Result<Self, Error> {
        let last_id = AtomicU64::new(store.greatest_id()?.0);
        let (committer, thread) =
            committer::start(store.clone()).map_err(Error::at(&spool.store()))?;
        let shared = Shared {
            schedule,
            last_id,
            due: Due::default(),
            chance: RandomState::new(),
            returned: Returned::default(),
            committer: Some(committer),
            thread: Some(thread),
            store,
            spool,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// A name for the next message: greater than every one given before in this process, and than every one that any
    /// process committed here, whatever the clock does meanwhile. Microseconds since the epoch, then 12 bits of sequence.
    pub fn next_id(&self) -> MessageId {
        let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(0) << 12;
        let next = |last: u64| last.saturating_add(1).max(now);
        let last = self
            .shared
            .last_id
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)));
        MessageId(next(last.unwrap_or_else(|last| last)))
    }

    /// Begins a message. Nothing is written yet.
    pub fn draft(&self, id: MessageId) -> Draft {
        Draft::new(id, self.shared.spool.bodies.clone())
    }

    /// Makes message and envelope durable: when this returns `Ok`, they survive kill -9 and power loss, and every
    /// recipient is due. `front` is put in front of the content.
    ///
    /// # Errors
    /// The message is not in the queue. [`Error::Full`] and other failures of the disk may pass.
    pub async fn commit(
        &self,
        draft: Draft,
        front: impl Into<Front>,
        envelope: Envelope,
    ) -> Result<(), Error> {
        let version = Version {
            id: draft.id(),
            front: front.into(),
            envelope,
            origin: None,
            screening: Screening::Ahead,
        };
        self.commit_versions(draft, vec![version]).await
    }

    /// Commits a draft as several messages, all of them or none.
    ///
    /// # Errors
    /// As those of [`Queue::commit`].
    pub async fn commit_versions(&self, draft: Draft, versions: Vec<Version>) -> Result<(), Error> {
        let alone = |version: &&Version| version.envelope.recipients.is_empty();
        if let Some(version) = versions.iter().find(alone) {
            return Err(Error::NoRecipient(version.id));
        }
        let now = Timestamp::now();
        let (mut changes, mut bodies, mut due) = (Vec::new(), Vec::new(), Vec::new());
        for (finished, version) in draft.finish(versions).await? {
            let entry = Entry::new(version, now, finished.body.is_some());
            due.extend(entry.due_key());
            changes.push(Change::Put {
                entry,
                content: Some(finished.record),
                filed: None,
            });
            bodies.extend(finished.body);
        }
        self.shared.apply(changes, bodies).await?;
        due.into_iter().for_each(|key| self.shared.due.filed(key));
        Ok(())
    }

    /// The next message that is due, taken for delivery until [`Queue::settle`] or [`Queue::set_aside`]; waits for one.
    /// Each is handed to one taker only, the longest due first. What was taken and never settled is due again after a
    /// restart.
    pub async fn next_due(&self) -> Entry {
        let due = &self.shared.due;
        loop {
            // Listens before it looks, so that nothing filed in between is missed.
            let mut changed = pin!(due.changed.notified());
            changed.as_mut().enable();
            let pause = {
                let _turn = due.reading.lock().await;
                if let Some(entry) = due.take() {
                    return entry;
                }
                self.read_on().await
            };
            if let Some(entry) = due.take() {
                return entry;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Makes what is due ready. Gives how long to wait for more.
    async fn read_on(&self) -> Duration {
        let queue = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let shared = &*queue.shared;
            let horizon = shared.schedule.retry_max;
            let (now, runtime) = (Timestamp::now(), tokio::runtime::Handle::current());
            shared.due.read_on(&*shared.store, now, horizon, |key| {
                let queue = queue.clone();
                runtime.spawn(async move { queue.set_aside_key(key.id, Some(key)).await });
            })
        });
        match read.await {
            Ok(Ok(Next::Ready)) => Duration::ZERO,
            Ok(Ok(Next::At(time))) => {
                let wait = Timestamp::now().duration_until(time);
                Duration::try_from(wait)
                    .unwrap_or_default()
                    .min(CLOCK_CHECK)
            }
            Ok(Ok(Next::Never)) => CLOCK_CHECK,
            Ok(Err(error)) => {
                tracing::error!(%error, "the queue cannot be read");
                STORE_PAUSE
            }
            // The runtime is going down.
            Err(_) => CLOCK_CHECK,
        }
    }

    /// The octets of a message: trace fields, then the content as it arrived. Blocks.
    ///
    /// # Errors
    /// [`Error::Damaged`] when they are not what was committed: such a message is to be set aside.
    pub fn content(&self, id: MessageId) -> Result<Content, Error> {
        Content::open(&*self.shared.store, id, &self.shared.spool.body(id))
    }

    /// Records what became of each recipient; a message with no pending recipient leaves the queue. Recipients without
    /// an outcome stay as they are. One that is deferred when it should be given up, see [`Queue::gives_up`], is tried
    /// once more.
    ///
    /// # Errors
    /// Nothing is recorded, and the message stays taken: settle it again.
    pub async fn settle(&self, entry: &Entry, outcomes: &[Outcome]) -> Result<(), Error> {
        let (id, filed) = (entry.id, entry.filed);
        let settled = self.shared.settled(entry, outcomes, Timestamp::now());
        let Some(settled) = settled else {
            self.shared
                .apply(vec![Change::Remove { id, filed }], Vec::new())
                .await?;
            self.shared.due.release(id);
            if entry.aside {
                self.remove_body(id).await;
            }
            return Ok(());
        };
        let due = settled.due_key();
        let change = Change::Put {
            entry: settled,
            content: None,
            filed,
        };
        self.shared.apply(vec![change], Vec::new()).await?;
        self.shared.due.release(id);
        due.into_iter().for_each(|key| self.shared.due.filed(key));
        Ok(())
    }

    /// Whether an attempt that failed at `now` was the last: lifetime or attempts are used up.
    pub fn gives_up(&self, entry: &Entry, pending: &Pending, now: Timestamp) -> bool {
        let attempts = pending.attempts.saturating_add(1);
        let next = self.shared.schedule.next(attempts, entry.arrived, now, 0.0);
        next == NextAttempt::GiveUp
    }

    /// Whether it is time to tell the sender that the message is not there yet.
    pub fn is_late(&self, entry: &Entry, pending: &Pending, now: Timestamp) -> bool {
        let age = Duration::try_from(now.duration_since(entry.arrived)).unwrap_or_default();
        !pending.warned && age >= self.shared.schedule.warn_after
    }

    /// When the message will be given up.
    pub fn expires(&self, entry: &Entry) -> Timestamp {
        let lifetime = self.shared.schedule.lifetime;
        entry
            .arrived
            .checked_add(lifetime)
            .unwrap_or(Timestamp::MAX)
    }

    /// Takes a damaged message out of the way: it stays on disk for a person to look at, and is not due any more.
    pub async fn set_aside(&self, entry: &Entry) {
        self.set_aside_key(entry.id, entry.filed).await;
    }

    async fn set_aside_key(&self, id: MessageId, filed: Option<DueKey>) {
        tracing::error!(%id, "message is damaged and set aside");
        // It stays claimed: until the next start nobody takes it, even if this fails.
        if let Err(error) = self
            .shared
            .apply(vec![Change::SetAside { id, filed }], Vec::new())
            .await
        {
            tracing::error!(%id, %error, "a damaged message cannot be set aside before the next start");
        }
    }

    /// The body of a message that is done. One that stays is removed by the next start.
    async fn remove_body(&self, id: MessageId) {
        let path = self.shared.spool.body(id);
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_file(path)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%id, %error, "the body of a message that is done stays until the next start");
        }
    }
}

impl Shared {
    /// Makes changes durable, together with whatever else waits.
    async fn apply(&self, changes: Vec<Change>, bodies: Vec<BodyPath>) -> Result<(), Error> {
        let (reply, result) = oneshot::channel();
        let committer = self.committer.as_ref().ok_or(Error::Closed)?;
        let request = Request {
            changes,
            bodies,
            reply,
        };
        committer.send(request).await.map_err(|_| Error::Closed)?;
        result.await.map_err(|_| Error::Closed)?
    }

    /// The entry after `outcomes`; `None` when nobody waits any more.
    fn settled(&self, entry: &Entry, outcomes: &[Outcome], now: Timestamp) -> Option<Entry> {
        let mut settled = entry.clone().next_revision();
        let mut done = Vec::new();
        for outcome in outcomes {
            let Some(pending) = settled.pending.get_mut(outcome.index) else {
                continue;
            };
            match outcome.state {
                State::Delivered | State::Failed => done.push(outcome.index),
                State::Held => pending.due = None,
                State::Postponed => pending.due = self.retry(entry, pending, now),
                State::Deferred | State::Delayed => {
                    pending.warned |= outcome.state == State::Delayed;
                    pending.attempts = pending.attempts.saturating_add(1);
                    pending.due = self.retry(entry, pending, now);
                }
            }
        }
        let mut index = 0..;
        settled
            .pending
            .retain(|_| index.next().is_none_or(|index| !done.contains(&index)));
        (!settled.pending.is_empty()).then_some(settled)
    }

    fn retry(&self, entry: &Entry, pending: &Pending, now: Timestamp) -> Option<Timestamp> {
        let (id, attempts) = (entry.id, pending.attempts);
        let random = self.chance.hash_one((id, attempts, now.as_nanosecond()));
        // 32 random bits, from 0 to 1.
        let jitter = f64::from((random >> 32) as u32) / f64::from(u32::MAX);
        match self.schedule.next(attempts, entry.arrived, now, jitter) {
            NextAttempt::At(due) => Some(due),
            // Whoever delivers asked a moment before the end.
            NextAttempt::GiveUp => {
                let pause = self.schedule.retry_min.min(self.schedule.retry_max);
                Some(now.checked_add(pause).unwrap_or(now))
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.committer.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the queue ended before its time");
        }
    }
}
