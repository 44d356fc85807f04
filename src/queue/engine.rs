//! fjall's side of the local store: which keyspace holds what.

use super::journal::Batch;
use super::record::frame_entry;
use super::store::{Change, DueKey};
use crate::mail::MessageId;
use fjall::config::CompressionPolicy;
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
    Slice,
};
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// The key, in `state`, of the number of the last batch and of the greatest id ever put: two little-endian `u64`.
const COMMIT: &[u8] = b"commit";
/// What the engine replays at a start, at most.
const JOURNALS_MAX: u64 = 256 * 1024 * 1024;

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// The open database. Before it can be opened again, this must be dropped.
pub(super) struct Engine {
    /// Tells this one from any other that was open.
    pub generation: u64,
    database: Database,
    /// From id to the record of the entry.
    entries: Keyspace,
    /// From id to the record of the content.
    contents: Keyspace,
    /// [`DueKey`]s.
    due: Keyspace,
    /// Ids of messages that cannot be understood.
    aside: Keyspace,
    state: Keyspace,
    committed: AtomicU64,
    greatest_id: AtomicU64,
}

impl Engine {
    /// Opens the database below `folder`, or makes it.
    pub fn open(folder: &Path) -> Result<Self, fjall::Error> {
        if !folder.is_dir() {
            DirBuilder::new().mode(0o700).create(folder)?;
        }
        check_keyspaces(folder)?;
        guarded(|| {
            let database = Database::builder(folder)
                .journal_compression(CompressionType::None)
                .max_journaling_size(JOURNALS_MAX)
                .open()?;
            let open = |name: &str, separation| {
                database.keyspace(name, || {
                    // Records are looked for in the raw octets of a damaged store: nothing may hide them.
                    KeyspaceCreateOptions::default()
                        .data_block_compression_policy(CompressionPolicy::all(
                            CompressionType::None,
                        ))
                        .with_kv_separation(separation)
                })
            };
            // Bodies are written once and not again whenever the tree is compacted.
            let separation = KvSeparationOptions::default().compression(CompressionType::None);
            let state = open("state", None)?;
            let (committed, greatest_id) = state
                .get(COMMIT)?
                .as_deref()
                .and_then(read_commit)
                .unwrap_or_default();
            let entries = open("entries", None)?;
            let last = entries
                .last_key_value()
                .map(fjall::Guard::key)
                .transpose()?;
            let greatest_id = greatest_id.max(last.as_deref().and_then(number).unwrap_or(0));
            Ok(Self {
                generation: GENERATION.fetch_add(1, Ordering::Relaxed),
                entries,
                contents: open("contents", Some(separation))?,
                due: open("due", None)?,
                aside: open("aside", None)?,
                state,
                database,
                committed: AtomicU64::new(committed),
                greatest_id: AtomicU64::new(greatest_id),
            })
        })
    }

    /// Makes all `changes` durable together.
    pub fn write(&self, changes: &[Change]) -> Result<(), fjall::Error> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        let mut greatest_id = self.greatest_id.load(Ordering::Acquire);
        for change in changes {
            match change {
                Change::Put {
                    entry,
                    content,
                    filed,
                } => {
                    greatest_id = greatest_id.max(entry.id.0);
                    let record = frame_entry(entry).map_err(std::io::Error::other)?;
                    batch.insert(&self.entries, key(entry.id), record);
                    if let Some(content) = content {
                        batch.insert(&self.contents, key(entry.id), content);
                    }
                    let due = entry.due_key();
                    if let Some(filed) = filed.filter(|filed| Some(*filed) != due) {
                        batch.remove(&self.due, filed.encode());
                    }
                    if let Some(due) = due.filter(|due| Some(*due) != *filed) {
                        batch.insert(&self.due, due.encode(), []);
                    }
                }
                Change::Remove { id, filed } => {
                    batch.remove(&self.entries, key(*id));
                    batch.remove(&self.contents, key(*id));
                    if let Some(filed) = filed {
                        batch.remove(&self.due, filed.encode());
                    }
                }
                Change::SetAside { id, filed } => {
                    batch.insert(&self.aside, key(*id), []);
                    if let Some(filed) = filed {
                        batch.remove(&self.due, filed.encode());
                    }
                }
            }
        }
        let committed = self.committed.load(Ordering::Acquire) + 1;
        batch.insert(&self.state, COMMIT, write_commit(committed, greatest_id));
        batch.commit()?;
        self.committed.store(committed, Ordering::Release);
        self.greatest_id.store(greatest_id, Ordering::Release);
        Ok(())
    }

    pub fn entry(&self, id: MessageId) -> Result<Option<Slice>, fjall::Error> {
        self.entries.get(key(id))
    }

    pub fn entries(
        &self,
        from: MessageId,
        limit: usize,
    ) -> Result<Vec<(MessageId, Slice)>, fjall::Error> {
        let mut records = Vec::new();
        for record in self.entries.range(key(from)..).take(limit) {
            let (key, record) = record.into_inner()?;
            records.extend(number(&key).map(|id| (MessageId(id), record)));
        }
        Ok(records)
    }

    pub fn content(&self, id: MessageId) -> Result<Option<Slice>, fjall::Error> {
        self.contents.get(key(id))
    }

    pub fn due(&self, from: DueKey, to: DueKey, limit: usize) -> Result<Vec<DueKey>, fjall::Error> {
        if from > to {
            return Ok(Vec::new());
        }
        self.due
            .range(from.encode()..=to.encode())
            .take(limit)
            .map(fjall::Guard::key)
            .filter_map(|key| key.map(|key| DueKey::decode(&key)).transpose())
            .collect()
    }

    /// Reads every octet, so that damage shows.
    pub fn read_all(&self) -> Result<(), fjall::Error> {
        [&self.entries, &self.contents, &self.due, &self.aside]
            .into_iter()
            .flat_map(Keyspace::iter)
            .try_for_each(|record| record.into_inner().map(drop))
    }

    /// The number of the last batch that is durable.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// The greatest id that was ever put.
    pub fn greatest_id(&self) -> MessageId {
        MessageId(self.greatest_id.load(Ordering::Acquire))
    }

    /// Whether a batch found in a journal has a number above `committed`.
    pub fn is_after(batch: &Batch<'_>, committed: u64) -> bool {
        let commit = batch.value(COMMIT).and_then(read_commit);
        commit.is_some_and(|(number, _)| number > committed)
    }
}

/// The engine removes every keyspace whose list of tables it does not find, its own list of keyspaces among them: then
/// all that they hold. Where one is missing, the store is damaged.
fn check_keyspaces(folder: &Path) -> Result<(), fjall::Error> {
    let keyspaces = folder.join("keyspaces");
    let entries = match std::fs::read_dir(&keyspaces) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut folders = vec![keyspaces.join("0")];
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    let whole = folders
        .iter()
        .all(|folder| folder.join("current").is_file());
    whole.then_some(()).ok_or(fjall::Error::Unrecoverable)
}

/// Whether the error says that what is stored is not what was written.
pub(super) fn is_damage(error: &fjall::Error) -> bool {
    let by_kind = |error: &std::io::Error| {
        matches!(
            error.kind(),
            ErrorKind::NotFound
                | ErrorKind::AlreadyExists
                | ErrorKind::InvalidData
                | ErrorKind::InvalidInput
                | ErrorKind::UnexpectedEof
                | ErrorKind::IsADirectory
                | ErrorKind::NotADirectory
        )
    };
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            by_kind(error)
        }
        fjall::Error::Storage(_)
        | fjall::Error::JournalRecovery(_)
        | fjall::Error::InvalidVersion(None)
        | fjall::Error::Decompress(_)
        | fjall::Error::InvalidTrailer
        | fjall::Error::InvalidTag(_)
        | fjall::Error::Unrecoverable => true,
        _ => false,
    }
}

/// The engine asserts, here and there, what a damaged or foreign file can make false.
pub(super) fn guarded<T>(
    call: impl FnOnce() -> Result<T, fjall::Error>,
) -> Result<T, fjall::Error> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(fjall::Error::Unrecoverable))
}

/// Sorts as ids do.
fn key(id: MessageId) -> [u8; 8] {
    id.0.to_be_bytes()
}

fn number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.try_into().ok()?))
}

fn write_commit(number: u64, greatest_id: u64) -> Vec<u8> {
    [number.to_le_bytes(), greatest_id.to_le_bytes()].concat()
}

fn read_commit(value: &[u8]) -> Option<(u64, u64)> {
    let (number, greatest_id) = value.split_first_chunk::<8>()?;
    let greatest_id = greatest_id.try_into().ok()?;
    Some((u64::from_le_bytes(*number), u64::from_le_bytes(greatest_id)))
}
