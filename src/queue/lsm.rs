//! The local store: fjall, a log-structured merge tree with a journal.
//!
//! # After a failed write
//!
//! The engine takes no more writes once one failed, its own background work included, so it is closed and opened again.
//! Before that the batch that failed is cut from its journal: its writers were told that it is not durable, and octets
//! whose sync failed may be missing from the disk while the page cache still shows them. To know it again, every batch
//! carries a number.
//!
//! # Damage
//!
//! A store that cannot be opened or read because of what it holds is set aside as a whole, a new one takes its place, and
//! every message that can still be found goes there (`queue/rescue.rs`).

use super::engine::{Engine, guarded, is_damage};
use super::record::Record;
use super::spool::Spool;
use super::store::{Change, DueKey, Listed, Store};
use super::{Entry, Error, journal, rescue};
use crate::mail::MessageId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// After a failed write, writes are refused for so long: a full disk is not asked thousands of times a second.
const PAUSE: Duration = Duration::from_millis(500);
/// The engine's background work failing twice within this time is looked into by reading the whole store.
const SUSPICION: Duration = Duration::from_secs(600);

/// An open store.
pub(super) struct Lsm {
    spool: Arc<Spool>,
    /// `None` while the engine cannot be opened. Never held while the engine reads or writes.
    engine: RwLock<Option<Arc<Engine>>>,
    /// The last batch that is durable, of an engine that was closed.
    committed: AtomicU64,
    trouble: Mutex<Trouble>,
}

#[derive(Default)]
struct Trouble {
    /// Until when writes are refused, and why.
    refusing: Option<(Instant, Error)>,
    /// When the engine's background work failed last.
    background: Option<Instant>,
}

impl Lsm {
    /// Opens the store of a spool, or makes it, and brings back what can be rescued of a damaged one. Also says whether
    /// there was something to rescue.
    pub fn open(spool: Arc<Spool>) -> Result<(Self, bool), Error> {
        let folder = spool.store();
        if journal::is_known_format(&folder) {
            rescue::check_journals(&spool).map_err(Error::at(&folder))?;
        }
        let (engine, rescued) = bring_up(&spool)?;
        let store = Self {
            spool,
            engine: RwLock::new(Some(Arc::new(engine))),
            committed: AtomicU64::new(0),
            trouble: Mutex::default(),
        };
        Ok((store, rescued))
    }

    fn engine(&self) -> Result<Arc<Engine>, Error> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        match engine.clone() {
            Some(engine) => Ok(engine),
            None => {
                drop(engine);
                self.reopen(None, false)
            }
        }
    }

    /// Closes the engine, unless another has taken the place of the one named, and opens it again without the batch
    /// that failed; or, when it is damaged, a new one with all that can be rescued.
    fn reopen(&self, named: Option<u64>, damaged: bool) -> Result<Arc<Engine>, Error> {
        let mut place = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = place.take() {
            if Some(engine.generation) != named {
                return Ok(place.insert(engine).clone());
            }
            self.committed.store(close(engine), Ordering::Release);
        }
        let folder = self.spool.store();
        if journal::is_known_format(&folder) {
            let committed = self.committed.load(Ordering::Acquire);
            journal::cut(&folder, |batch| Engine::is_after(batch, committed))
                .map_err(Error::at(&folder))?;
        }
        if damaged {
            self.spool.keep_store().map_err(Error::at(&folder))?;
        }
        let (engine, _) = bring_up(&self.spool)?;
        Ok(place.insert(Arc::new(engine)).clone())
    }

    fn read<T>(&self, what: impl Fn(&Engine) -> Result<T, fjall::Error>) -> Result<T, Error> {
        let engine = self.engine()?;
        match guarded(|| what(&engine)) {
            Err(cause) if is_damage(&cause) => {
                tracing::error!(%cause, "the store of the queue is damaged");
                let generation = engine.generation;
                drop(engine);
                let engine = self.reopen(Some(generation), true)?;
                Ok(guarded(|| what(&engine))?)
            }
            result => Ok(result?),
        }
    }

    fn write(&self, changes: &[Change]) -> Result<(), Error> {
        let engine = self.engine()?;
        let Err(cause) = guarded(|| engine.write(changes)) else {
            return Ok(());
        };
        tracing::error!(%cause, "the store of the queue failed and is opened again");
        self.reopen_without(engine)?;
        if !matches!(cause, fjall::Error::Poisoned) {
            return Err(cause.into());
        }
        // The engine's background work failed some time before: nothing of this batch was written.
        self.look_into_background_failure()?;
        let engine = self.engine()?;
        guarded(|| engine.write(changes)).or_else(|cause| {
            self.reopen_without(engine)?;
            Err(cause.into())
        })
    }

    /// Opens the engine again without the batch that failed.
    fn reopen_without(&self, failed: Arc<Engine>) -> Result<(), Error> {
        let generation = failed.generation;
        drop(failed);
        self.reopen(Some(generation), false).map(drop)
    }

    /// A damaged table stops the engine whenever it is compacted. One failure is taken for a full disk.
    fn look_into_background_failure(&self) -> Result<(), Error> {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let before = trouble.background.replace(Instant::now());
        drop(trouble);
        if before.is_some_and(|before| before.elapsed() < SUSPICION) {
            self.read(Engine::read_all)?;
        }
        Ok(())
    }
}

impl Store for Lsm {
    fn apply(&self, changes: &[Change]) -> Result<(), Error> {
        let trouble = || self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let refusing = trouble().refusing.take();
        if let Some((until, error)) = refusing.filter(|(until, _)| Instant::now() < *until) {
            trouble().refusing = Some((until, error.clone()));
            return Err(error);
        }
        let result = self.write(changes);
        if let Err(error) = &result {
            trouble().refusing = Some((Instant::now() + PAUSE, error.clone()));
        }
        result
    }

    fn due(&self, from: DueKey, to: DueKey, limit: usize) -> Result<Vec<DueKey>, Error> {
        self.read(|engine| engine.due(from, to, limit))
    }

    fn entry(&self, id: MessageId) -> Result<Entry, Error> {
        let octets = self.read(|engine| engine.entry(id))?;
        octets
            .as_deref()
            .ok_or(Error::Unknown(id))
            .and_then(|octets| {
                Record::at_front(octets)
                    .and_then(|record| record.entry())
                    .filter(|entry| entry.id == id)
                    .ok_or(Error::Damaged(id))
            })
    }

    fn entries(&self, from: MessageId, limit: usize) -> Result<Vec<Listed>, Error> {
        let records = self.read(|engine| engine.entries(from, limit))?;
        let listed = records.into_iter().map(|(id, record)| {
            let entry = Record::at_front(&record).and_then(|record| record.entry());
            (id, entry)
        });
        Ok(listed.collect())
    }

    fn content(&self, id: MessageId) -> Result<Vec<u8>, Error> {
        let octets = self.read(|engine| engine.content(id))?;
        Ok(octets.ok_or(Error::Damaged(id))?.to_vec())
    }

    fn greatest_id(&self) -> Result<MessageId, Error> {
        let of_bodies = self
            .spool
            .greatest_id()
            .map_err(Error::at(&self.spool.bodies))?;
        Ok(self.engine()?.greatest_id().max(of_bodies))
    }
}

/// Opens the engine, a new one in place of a damaged one, and puts back what is to be rescued.
fn bring_up(spool: &Spool) -> Result<(Engine, bool), Error> {
    let folder = spool.store();
    let engine = match Engine::open(&folder) {
        Err(cause) if is_damage(&cause) => {
            tracing::error!(%cause, "the store of the queue is damaged");
            spool.keep_store().map_err(Error::at(&folder))?;
            Engine::open(&folder)?
        }
        opened => opened?,
    };
    let rescued = rescue::run(&engine, spool)?;
    Ok((engine, rescued))
}

/// Waits for those who still read, then closes. Gives the number of the last batch that is durable.
fn close(mut engine: Arc<Engine>) -> u64 {
    loop {
        match Arc::try_unwrap(engine) {
            Ok(engine) => return engine.committed(),
            Err(shared) => engine = shared,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
