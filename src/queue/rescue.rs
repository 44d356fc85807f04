//! Brings messages back from a damaged store: looks for whole records (`queue/record.rs`) in the raw octets of its files.
//!
//! What is rescued from lies in the spool's `rescue/` until its messages are durable in the store, and in `corrupt/`
//! then, save the end of a batch that a crash cut short, which is no damage and goes. A crash in between leads to the same again, and does no harm: of two states of a message the later wins.
//!
//! Of a message that was done, a record may be found again whose removal was destroyed or is no longer written down
//! anywhere. Such a message is delivered twice rather than one that is not done never.

use super::engine::Engine;
use super::journal::{self, Batches};
use super::record::{self, Kind, Record};
use super::spool::Spool;
use super::store::Change;
use super::{Entry, Error};
use crate::mail::MessageId;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How many messages are put back with one sync.
const BATCH: usize = 256;

/// Keeps what lies behind a damaged place of a journal, and cuts the journal off there, so that the engine can read it.
/// The engine must be closed.
pub(super) fn check_journals(spool: &Spool) -> io::Result<()> {
    for journal in journal::list(&spool.store())? {
        let octets = journal::read(&journal)?;
        let mut batches = Batches::new(&octets);
        batches.by_ref().for_each(drop);
        let tail = octets.get(batches.position..).unwrap_or_default();
        if record::find(tail).next().is_none() && !journal::holds_end(tail) {
            continue;
        }
        let path = journal.display();
        let offset = batches.position;
        tracing::warn!(%path, offset, "a journal of the queue is not whole: its rest is looked through");
        let torn = !journal::holds_end(tail);
        spool.keep_tail(&journal, tail, torn)?;
        journal::truncate(&journal, batches.position)?;
    }
    Ok(())
}

/// Puts every message found in `rescue/` back into the store. Says whether there was anything to look through.
pub(super) fn run(engine: &Engine, spool: &Spool) -> Result<bool, Error> {
    let rescues = spool.rescues().map_err(Error::at(&spool.store()))?;
    for rescue in &rescues {
        let found = Found::below(rescue).map_err(Error::at(rescue))?;
        let torn = Spool::is_torn(rescue);
        let is_journal = !Spool::is_store(rescue);
        let (mut restored, mut lost, mut stray) = (0, 0, 0);
        let messages: Vec<_> = found.messages.iter().collect();
        for messages in messages.chunks(BATCH) {
            let mut changes = Vec::new();
            for (id, parts) in messages {
                match found.remains(engine, **id, parts)? {
                    Remains::Known => {}
                    Remains::Removed(change) => changes.push(change),
                    Remains::Whole(change) => {
                        restored += 1;
                        changes.push(change);
                    }
                    Remains::Content(_) if !is_journal => stray += 1,
                    Remains::Envelope(_) | Remains::Content(_) if torn => {
                        tracing::warn!(%id, "message was being written: it was not acknowledged");
                    }
                    Remains::Envelope(change) | Remains::Content(change) => {
                        lost += 1;
                        tracing::error!(%id, "message is damaged and set aside");
                        changes.push(change);
                    }
                }
            }
            if !changes.is_empty() {
                engine.write(&changes)?;
            }
        }
        let path = spool.rescued(rescue).map_err(Error::at(rescue))?;
        let path = path.display();
        tracing::warn!(%path, restored, lost, stray, "a damaged part of the queue was looked through");
    }
    Ok(!rescues.is_empty())
}

/// What is left of a message, and how the store must change.
enum Remains {
    /// Nothing that the store does not know.
    Known,
    /// It was done.
    Removed(Change),
    /// All of it.
    Whole(Change),
    /// No content.
    Envelope(Change),
    /// No envelope. In a whole store this says little: the content of a message that is done stays there for a while.
    Content(Change),
}

/// What was found of messages, and where.
#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    messages: BTreeMap<MessageId, Parts>,
}

#[derive(Default)]
struct Parts {
    /// The latest entry, with its revision.
    entry: Option<(u32, Place)>,
    /// The latest content, with its revision.
    content: Option<(u32, Place)>,
    removed: bool,
}

#[derive(Clone, Copy)]
struct Place {
    file: usize,
    offset: usize,
    size: usize,
}

impl Found {
    /// Looks through every file below `folder`.
    fn below(folder: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for file in std::fs::read_dir(folder)? {
                let file = file?;
                if file.file_type()?.is_dir() {
                    folders.push(file.path());
                } else if file.file_type()?.is_file() {
                    found.look_through(file.path())?;
                }
            }
        }
        Ok(found)
    }

    fn look_through(&mut self, path: PathBuf) -> io::Result<()> {
        let octets = journal::read(&path)?;
        let is_journal = path.extension().is_some_and(|e| e == "jnl");
        self.files.push(path);
        let file = self.files.len() - 1;
        let mut behind = 0;
        for (offset, record) in record::find(&octets) {
            let size = record.size();
            self.note(record, Place { file, offset, size });
            if is_journal {
                self.note_removals(octets.get(behind..offset).unwrap_or_default());
            }
            behind = offset + size;
        }
        if is_journal {
            self.note_removals(octets.get(behind..).unwrap_or_default());
        }
        Ok(())
    }

    fn note(&mut self, record: Record<'_>, place: Place) {
        let parts = self.messages.entry(record.id).or_default();
        let latest = match record.kind {
            Kind::Content | Kind::Aside => &mut parts.content,
            Kind::Entry => &mut parts.entry,
        };
        if latest.is_none_or(|(revision, _)| revision < record.revision) {
            *latest = Some((record.revision, place));
        }
    }

    fn note_removals(&mut self, octets: &[u8]) {
        for id in journal::removals(octets) {
            self.messages.entry(id).or_default().removed = true;
        }
    }

    /// Compares what was found of a message with what the store knows of it.
    fn remains(&self, engine: &Engine, id: MessageId, parts: &Parts) -> Result<Remains, Error> {
        let octets = engine.entry(id)?;
        let stored = octets
            .as_deref()
            .and_then(Record::at_front)
            .and_then(|record| record.entry());
        let filed = stored.as_ref().and_then(Entry::due_key);
        if parts.removed {
            let removed = Remains::Removed(Change::Remove { id, filed });
            return Ok(stored.map_or(Remains::Known, |_| removed));
        }
        let of_content = engine.content(id)?;
        let of_content = of_content.as_deref().and_then(Record::at_front);
        let of_content = of_content.map(|record| record.revision);
        let has_content = of_content.is_some();
        let found = match parts.entry {
            Some((revision, place)) if stored.as_ref().is_none_or(|e| e.revision < revision) => {
                let octets = self.read(place)?;
                Record::at_front(&octets).and_then(|record| record.entry())
            }
            _ => None,
        };
        let content = match parts.content {
            Some((revision, place)) if of_content.is_none_or(|stored| stored < revision) => {
                Some(self.read(place)?)
            }
            _ => None,
        };
        let whole = has_content || content.is_some();
        if has_content && stored.is_some() && found.is_none() && content.is_none() {
            return Ok(Remains::Known);
        }
        Ok(match found.or(stored) {
            Some(entry) if whole => Remains::Whole(Change::Put {
                entry,
                content,
                filed,
            }),
            Some(_) => Remains::Envelope(Change::SetAside { id, filed }),
            None => Remains::Content(Change::SetAside { id, filed }),
        })
    }

    fn read(&self, place: Place) -> Result<Vec<u8>, Error> {
        let path = self
            .files
            .get(place.file)
            .map_or(Path::new(""), PathBuf::as_path);
        let mut octets = vec![0; place.size];
        File::open(path)
            .and_then(|file| file.read_exact_at(&mut octets, place.offset as u64))
            .map_err(Error::at(path))?;
        Ok(octets)
    }
}
