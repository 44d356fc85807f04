//! The folder of the queue.
//!
//! ```text
//! lock      held by the process that has the queue open
//! store/    the storage engine's
//! bodies/   one file for each large body, named by message id
//! rescue/   parts of a damaged store whose messages are not all back in the store yet
//! corrupt/  the same once they are, for a person to look at
//! ```
//!
//! All of it is open to its owner only. What else lies here is not ours: it is named in the log and left alone.

use super::Error;
use crate::mail::MessageId;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Ends the name of a folder of `rescue/` that holds a batch cut short by a crash.
const TORN: &str = "-torn";

const LOCK_ATTEMPTS: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// An open spool. The lock is held until this is dropped.
#[derive(Debug)]
pub(super) struct Spool {
    root: PathBuf,
    /// Where large bodies lie.
    pub bodies: Arc<Path>,
    _lock: File,
}

impl Spool {
    /// Opens the spool below `root`, or makes it. [`Error::Locked`] when another process has it open.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let bodies = root.join("bodies");
        make_folder(root).map_err(Error::at(root))?;
        make_folder(&bodies).map_err(Error::at(&bodies))?;
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::at(&path))?;
        take(&lock, root).map_err(Error::at(&path))??;
        name_foreign_files(root).map_err(Error::at(root))?;
        Ok(Self {
            root: root.to_owned(),
            bodies: bodies.into(),
            _lock: lock,
        })
    }

    /// A spool whose store lies below `view`, and whose bodies are those of the spool below `root`: nothing is made there.
    /// [`Error::Locked`] when a daemon has it open; [`Error::Io`] when there is none.
    pub fn view(root: &Path, view: &Path) -> Result<Self, Error> {
        let path = root.join("lock");
        let lock = File::open(&path).map_err(Error::at(&path))?;
        take(&lock, root).map_err(Error::at(&path))??;
        Ok(Self {
            root: view.to_owned(),
            bodies: root.join("bodies").into(),
            _lock: lock,
        })
    }

    /// The storage engine's folder.
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// The file of a large body.
    pub fn body(&self, id: MessageId) -> PathBuf {
        self.bodies.join(id.to_string())
    }

    /// What is to be rescued, oldest first.
    pub fn rescues(&self) -> io::Result<Vec<PathBuf>> {
        let mut rescues = match std::fs::read_dir(self.root.join("rescue")) {
            Ok(folders) => folders
                .map(|folder| Ok(folder?.path()))
                .collect::<io::Result<Vec<_>>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        rescues.sort();
        Ok(rescues)
    }

    /// Copies the end of a journal to where it is rescued from, durably. `torn`: a crash cut it short, it is not damaged.
    pub fn keep_tail(&self, journal: &Path, tail: &[u8], torn: bool) -> io::Result<()> {
        let folder = self.new_rescue(if torn { TORN } else { "" })?;
        let path = folder.join(journal.file_name().unwrap_or_default());
        std::fs::write(&path, tail)?;
        File::open(&path)?.sync_all()?;
        sync_folder(&folder)
    }

    /// Moves the whole store to where it is rescued from, durably.
    pub fn keep_store(&self) -> io::Result<()> {
        let folder = self.new_rescue("")?;
        std::fs::rename(self.store(), folder.join("store"))?;
        sync_folder(&folder)?;
        sync_folder(&self.root)
    }

    /// Whether what is to be rescued is the end of a batch that a crash cut short.
    pub fn is_torn(rescue: &Path) -> bool {
        let name = rescue.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.ends_with(TORN))
    }

    /// Whether what is to be rescued is a whole store, and not the end of a journal.
    pub fn is_store(rescue: &Path) -> bool {
        rescue.join("store").is_dir()
    }

    /// Moves what was rescued out of the way, or removes it where a person can learn nothing from it. Gives where it
    /// lies now, or lay.
    pub fn rescued(&self, rescue: &Path) -> io::Result<PathBuf> {
        if Self::is_torn(rescue) {
            std::fs::remove_dir_all(rescue)?;
            return Ok(rescue.to_owned());
        }
        let folder = self.root.join("corrupt");
        make_folder(&folder)?;
        let path = folder.join(rescue.file_name().unwrap_or_default());
        std::fs::rename(rescue, &path)?;
        sync_folder(&folder)?;
        sync_folder(&self.root.join("rescue"))?;
        Ok(path)
    }

    /// Clears away the files of large bodies that no message in the queue has: what a crash left of messages that were
    /// still arriving. After a rescue they may belong to a message whose envelope was destroyed, and are kept.
    pub fn sweep(
        &self,
        queued: impl Fn(MessageId) -> Result<bool, Error>,
        keep: bool,
    ) -> Result<(), Error> {
        for file in std::fs::read_dir(&self.bodies).map_err(Error::at(&self.bodies))? {
            let path = file.map_err(Error::at(&self.bodies))?.path();
            let Some(id) = id_of(&path) else {
                tracing::warn!(path = %path.display(), "foreign file in the spool is left alone");
                continue;
            };
            if queued(id)? {
                continue;
            }
            let done = if keep {
                tracing::error!(%id, "body without an envelope is set aside in corrupt/");
                make_folder(&self.root.join("corrupt")).and_then(|()| {
                    std::fs::rename(&path, self.root.join("corrupt").join(id.to_string()))
                })
            } else {
                std::fs::remove_file(&path)
            };
            done.map_err(Error::at(&path))?;
        }
        Ok(())
    }

    /// The greatest id that names the file of a body.
    pub fn greatest_id(&self) -> io::Result<MessageId> {
        let mut greatest = MessageId(0);
        for file in std::fs::read_dir(&self.bodies)? {
            greatest = greatest.max(id_of(&file?.path()).unwrap_or(greatest));
        }
        Ok(greatest)
    }

    fn new_rescue(&self, mark: &str) -> io::Result<PathBuf> {
        let parent = self.root.join("rescue");
        make_folder(&parent)?;
        let number = jiff::Timestamp::now().as_microsecond();
        for number in number.. {
            let folder = parent.join(format!("{number}{mark}"));
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => {
                    sync_folder(&parent)?;
                    return Ok(folder);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// Makes what was created in, renamed into or removed from a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A process that ends, or a child of one that has not become another program yet, keeps a lock a moment longer.
fn take(lock: &File, root: &Path) -> io::Result<Result<(), Error>> {
    for _ in 0..LOCK_ATTEMPTS {
        match lock.try_lock() {
            Ok(()) => return Ok(Ok(())),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(Err(Error::Locked(root.to_owned())))
}

/// Makes a folder, and those above it, where missing; open to the owner only.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    folder.parent().map_or(Ok(()), sync_folder)
}

/// The message that a file of `bodies/` belongs to.
fn id_of(path: &Path) -> Option<MessageId> {
    let name = path.file_name()?.to_str()?;
    let id = MessageId(u64::from_str_radix(name, 16).ok()?);
    (id.to_string() == name).then_some(id)
}

/// Folders and sockets are those of other parts of the server, which keep their state below the same root.
fn name_foreign_files(root: &Path) -> io::Result<()> {
    for file in std::fs::read_dir(root)? {
        let file = file?;
        let kind = file.file_type()?;
        if !kind.is_dir() && !kind.is_socket() && file.file_name() != "lock" {
            let path = file.path();
            tracing::warn!(path = %path.display(), "foreign file in the spool is left alone");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Spool;
    use crate::mail::MessageId;
    use crate::queue::Error;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn is_open_to_its_owner_only_and_to_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("a/b");
        let spool = Spool::open(&root).unwrap();
        let mode = |path: &str| root.join(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(
            [mode(""), mode("bodies"), mode("lock")],
            [0o700, 0o700, 0o600]
        );
        assert!(matches!(Spool::open(&root), Err(Error::Locked(_))));
        drop(spool);
        Spool::open(&root).unwrap();
    }

    #[test]
    fn sweeps_orphans_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path()).unwrap();
        let files = [
            spool.body(MessageId(1)),
            spool.body(MessageId(2)),
            spool.bodies.join("notes"),
            spool.bodies.join("000000000000000G"),
            spool.bodies.join("3"),
        ];
        files
            .iter()
            .for_each(|file| std::fs::write(file, "").unwrap());
        assert_eq!(spool.greatest_id().unwrap(), MessageId(2));
        spool.sweep(|id| Ok(id == MessageId(2)), false).unwrap();
        assert_eq!(
            files.map(|file| file.exists()),
            [false, true, true, true, true]
        );
        spool.sweep(|_| Ok(false), true).unwrap();
        assert!(folder.path().join("corrupt/0000000000000002").exists());
    }
}
