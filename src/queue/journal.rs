//! The journals of the storage engine, read from outside while it is closed.
//!
//! The engine takes everything behind a damaged place of a journal for a write that a crash cut short, and throws it
//! away. That is right for the last batch, which nobody was told is durable, and loses mail anywhere else. So journals
//! are read before the engine sees them: whatever lies behind a damaged place is kept (`queue/rescue.rs`). And a batch
//! whose sync failed is cut off, so that nobody builds on octets that may not be on the disk.
//!
//! Knows the journals of fjall's format 3 (see [`is_known_format`]): batches of `start, items, end`, the end with a
//! checksum (XXH3) of the items and a trailer. A test holds this reading against the engine's own writing.

use crate::mail::MessageId;
use memchr::memmem;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

const TRAILER: &[u8; 4] = b"FJL\x03";
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
/// Octets of an item before its key: tag, value type, compression, keyspace 8, key length 2, value lengths 4 + 4.
const ITEM_HEADER: usize = 21;
/// Octets of `end` after its tag.
const END_REST: usize = 12;

/// Items that were written together.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// Where it begins in its journal.
    pub start: usize,
    items: Vec<Item<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Item<'a> {
    key: &'a [u8],
    value: &'a [u8],
}

impl Batch<'_> {
    /// The value that the batch gives to `key`.
    pub fn value(&self, key: &[u8]) -> Option<&[u8]> {
        let item = self.items.iter().find(|item| item.key == key)?;
        Some(item.value)
    }
}

/// The batches at the front of a journal, up to the first that is not whole.
pub(super) struct Batches<'a> {
    octets: &'a [u8],
    /// Where the next batch begins.
    pub position: usize,
}

impl<'a> Batches<'a> {
    pub fn new(octets: &'a [u8]) -> Self {
        Self {
            octets,
            position: 0,
        }
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Batch<'a>;

    fn next(&mut self) -> Option<Batch<'a>> {
        let start = self.position;
        let rest = self.octets.get(start..)?;
        let (tag, rest) = rest.split_first()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (_sequence_number, body) = rest.split_first_chunk::<8>()?;
        if *tag != START {
            return None;
        }
        let mut rest = body;
        let mut items = Vec::new();
        for _ in 0..u32::from_le_bytes(*count) {
            let (item, behind) = Item::at_front(rest)?;
            items.push(item);
            rest = behind;
        }
        let covered = body.get(..body.len() - rest.len())?;
        let (tag, rest) = rest.split_first()?;
        let (checksum, rest) = rest.split_first_chunk::<8>()?;
        let behind = rest.strip_prefix(TRAILER)?;
        if *tag != END || u64::from_le_bytes(*checksum) != xxh3_64(covered) {
            return None;
        }
        self.position = self.octets.len() - behind.len();
        Some(Batch { start, items })
    }
}

impl<'a> Item<'a> {
    fn at_front(octets: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = octets.split_first_chunk::<ITEM_HEADER>()?;
        let [
            tag,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            k0,
            k1,
            _,
            _,
            _,
            _,
            v0,
            v1,
            v2,
            v3,
        ] = *header;
        if tag != ITEM {
            return None;
        }
        let value_length = usize::try_from(u32::from_le_bytes([v0, v1, v2, v3])).ok()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([k0, k1])))?;
        let (value, rest) = rest.split_at_checked(value_length)?;
        Some((Self { key, value }, rest))
    }
}

/// Whether the engine below `folder` writes the journals that this module can read.
pub(super) fn is_known_format(folder: &Path) -> bool {
    std::fs::read(folder.join("version")).is_ok_and(|version| version.starts_with(TRAILER))
}

/// The journals below `folder`, oldest first.
pub(super) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "jnl") && path.is_file() {
            journals.push(path);
        }
    }
    journals.sort_by_key(|path| {
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok());
        number.unwrap_or(u64::MAX)
    });
    Ok(journals)
}

/// The octets of a journal, without the zeros that the engine lays out ahead of what it will write.
pub(super) fn read(journal: &Path) -> io::Result<Vec<u8>> {
    const BLANK: [u8; 4096] = [0; 4096];
    let mut octets = std::fs::read(journal)?;
    while octets.ends_with(&BLANK) {
        octets.truncate(octets.len() - BLANK.len());
    }
    let blank = octets.iter().rev().take_while(|octet| **octet == 0).count();
    octets.truncate(octets.len() - blank);
    Ok(octets)
}

/// Cuts a journal off before `position`, durably.
pub(super) fn truncate(journal: &Path, position: usize) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(journal)?;
    file.set_len(u64::try_from(position).unwrap_or(u64::MAX))?;
    file.sync_all()
}

/// Cuts every journal below `folder` off before the first batch that `rejected` names.
pub(super) fn cut(folder: &Path, rejected: impl Fn(&Batch<'_>) -> bool) -> io::Result<()> {
    for journal in list(folder)? {
        let octets = read(&journal)?;
        let first = Batches::new(&octets).find(|batch| rejected(batch));
        if let Some(batch) = first {
            truncate(&journal, batch.start)?;
        }
        // The engine may have tried the sync again and told nobody.
        File::open(&journal)?.sync_all()?;
    }
    Ok(())
}

/// Whether a whole batch may end in `octets`: then they are no write that a crash cut short.
pub(super) fn holds_end(octets: &[u8]) -> bool {
    memmem::find_iter(octets, TRAILER).any(|at| {
        at.checked_sub(END_REST - TRAILER.len() + 1)
            .and_then(|tag| octets.get(tag))
            .is_some_and(|tag| *tag == END)
    })
}

/// The ids of messages whose records `octets` of a journal say to remove.
pub(super) fn removals(octets: &[u8]) -> impl Iterator<Item = MessageId> {
    // Key length 8, then both lengths of a value that is empty: what stands before the key of a removed record.
    const LENGTHS: &[u8] = &[8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    memmem::find_iter(octets, LENGTHS).filter_map(|at| {
        let header = octets.get(at.checked_sub(11)?..at)?;
        let (key, _) = octets.get(at + LENGTHS.len()..)?.split_first_chunk::<8>()?;
        let removed = matches!(header, [ITEM, 1 | 2, 0, ..]);
        removed.then(|| MessageId(u64::from_be_bytes(*key)))
    })
}

#[cfg(test)]
mod tests {
    use super::{Batches, cut, holds_end, is_known_format, list, read, removals};
    use crate::mail::MessageId;
    use fjall::{Database, KeyspaceCreateOptions, PersistMode};
    use std::path::Path;

    /// Three batches by the engine itself: two records each, then the removal of record 1.
    fn write_with_the_engine(folder: &Path) {
        let database = Database::builder(folder).open().unwrap();
        let records = database
            .keyspace("records", KeyspaceCreateOptions::default)
            .unwrap();
        for number in [1_u64, 2] {
            let mut batch = database.batch().durability(Some(PersistMode::SyncData));
            batch.insert(&records, number.to_be_bytes(), vec![7; 5000]);
            batch.insert(&records, "mark", number.to_le_bytes());
            batch.commit().unwrap();
        }
        let mut batch = database.batch().durability(Some(PersistMode::SyncData));
        batch.remove(&records, 1_u64.to_be_bytes());
        batch.commit().unwrap();
    }

    fn marks(octets: &[u8]) -> Vec<Option<u64>> {
        Batches::new(octets)
            .map(|batch| {
                Some(u64::from_le_bytes(
                    batch.value(b"mark")?.try_into().unwrap(),
                ))
            })
            .collect()
    }

    #[test]
    fn reads_what_the_engine_writes() {
        let folder = tempfile::tempdir().unwrap();
        write_with_the_engine(folder.path());
        assert!(is_known_format(folder.path()));
        let journals = list(folder.path()).unwrap();
        let octets = read(&journals[0]).unwrap();
        assert_eq!(marks(&octets), [Some(1), Some(2), None]);
        assert_eq!(removals(&octets).collect::<Vec<_>>(), [MessageId(1)]);
        let mut batches = Batches::new(&octets);
        batches.by_ref().count();
        assert_eq!(batches.position, octets.len());
    }

    #[test]
    fn tells_damage_from_a_write_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        write_with_the_engine(folder.path());
        let mut octets = read(&list(folder.path()).unwrap()[0]).unwrap();
        let second = Batches::new(&octets).nth(1).unwrap().start;
        octets[second + 3000] ^= 1;
        assert_eq!(marks(&octets), [Some(1)]);
        assert!(holds_end(&octets[second..]));
        assert!(!holds_end(&octets[second..second + 3000]));
    }

    #[test]
    fn cuts_a_rejected_batch_off_and_the_engine_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        write_with_the_engine(folder.path());
        cut(folder.path(), |batch| {
            batch.value(b"mark") == Some(&2_u64.to_le_bytes())
        })
        .unwrap();
        let database = Database::builder(folder.path()).open().unwrap();
        let records = database
            .keyspace("records", KeyspaceCreateOptions::default)
            .unwrap();
        assert!(records.contains_key(1_u64.to_be_bytes()).unwrap());
        assert!(!records.contains_key(2_u64.to_be_bytes()).unwrap());
    }
}
