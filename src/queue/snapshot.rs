//! The queue of a daemon that is down, to be read.
//!
//! The storage engine knows no way to open a store without writing to it: it repairs its journals, writes tables out and
//! merges them, all as the user who runs it, whom the daemon may not even be. So what it opens is a view in a folder of
//! ours, outside the spool: journals and lists of tables are copies there, tables and large values, which are never
//! written again once they are whole, are symbolic links. Whatever the engine does, it does to the view.
//!
//! While there is a view, the spool's lock is held, so that no daemon starts and removes what the links lead to. Whoever
//! has one should not wait for anybody: a start is refused meanwhile.
//!
//! Damage is not repaired: messages that a start would rescue are not seen.

use super::lsm::Lsm;
use super::spool::Spool;
use super::{Error, Options, Reader};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// Folders of the engine whose files are never written again.
const IMMUTABLE: [&str; 2] = ["tables", "blobs"];

/// A spool that no daemon has open, and that none opens while this lives.
pub struct Snapshot {
    reader: Reader,
    /// The view. It goes after the engine that has it open.
    _folder: TempDir,
}

impl Snapshot {
    /// Makes a view of the spool. Blocks while journals are copied and read.
    ///
    /// # Errors
    /// [`Error::Locked`] when a daemon has the queue; [`Error::Io`] when there is no spool, or it may not be read.
    pub fn take(options: &Options) -> Result<Self, Error> {
        let root = &options.dirpath;
        let folder = tempfile::tempdir().map_err(Error::at(&std::env::temp_dir()))?;
        let spool = Spool::view(root, folder.path())?;
        let (from, to) = (root.join("store"), folder.path().join("store"));
        if from.is_dir() {
            mirror(&from, &to).map_err(Error::at(&from))?;
        }
        let spool = Arc::new(spool);
        let (store, _) = Lsm::open(Arc::clone(&spool))?;
        let reader = Reader::offline(Arc::new(store), spool, options.schedule.lifetime);
        Ok(Self {
            reader,
            _folder: folder,
        })
    }

    /// What there is to be read.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }
}

fn mirror(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    let is_immutable = from
        .file_name()
        .is_some_and(|name| IMMUTABLE.iter().any(|i| name == *i));
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            mirror(&path, &copy)?;
        } else if is_immutable {
            symlink(fs::canonicalize(&path)?, &copy)?;
        } else {
            fs::copy(&path, &copy)?;
        }
    }
    Ok(())
}
