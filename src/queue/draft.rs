//! The octets of a message on their way into the queue. A large body is never held in memory.

use super::record::{self, Aside, Kind};
use super::spool::sync_folder;
use super::{Error, Version};
use crate::mail::{MessageId, Source};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// From so many octets on a body goes to a file of its own. It bounds what a session holds in memory and what the
/// storage engine writes twice, in its journal and in a table; most mail is smaller, and needs no sync of its own.
const ASIDE_FROM: usize = 64 * 1024;

/// A message that is arriving: in memory while it is small, in a file of its own from 64 KiB on.
/// Dropped before it is committed, it leaves nothing behind.
pub struct Draft {
    id: MessageId,
    bodies: Arc<Path>,
    /// What is not in the file yet. Shared only once all has arrived.
    buffer: Arc<Vec<u8>>,
    file: Option<BodyFile>,
    /// A write failed or was abandoned half-way: octets are missing.
    broken: bool,
}

/// The file of a large body.
struct BodyFile {
    path: BodyPath,
    file: File,
    length: u64,
    checksum: Xxh3,
}

/// Where a large body lies. It goes with this value unless it is kept.
pub(super) struct BodyPath {
    path: PathBuf,
    kept: bool,
}

/// One message that a draft became.
pub(super) struct Finished {
    /// The record of its content.
    pub record: Vec<u8>,
    /// The body, synced, where it has a file of its own.
    pub body: Option<BodyPath>,
}

/// All octets of a draft.
#[derive(Debug)]
struct Arrived {
    /// The first of them, and how many.
    file: Option<(File, u64)>,
    rest: Arc<Vec<u8>>,
}

impl Draft {
    pub(super) fn new(id: MessageId, bodies: Arc<Path>) -> Self {
        Self {
            id,
            bodies,
            buffer: Arc::default(),
            file: None,
            broken: false,
        }
    }

    /// The message that it will be.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// Adds octets of the content (decoded: no dot-stuffing).
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`]: the octets are lost, and the draft cannot be committed any more.
    pub async fn append(&mut self, octets: &[u8]) -> Result<(), Error> {
        if self.broken {
            return Err(Error::Incomplete(self.id));
        }
        Arc::make_mut(&mut self.buffer).extend_from_slice(octets);
        if self.buffer.len() < ASIDE_FROM {
            return Ok(());
        }
        self.write_out(|_| Ok(())).await
    }

    /// What has arrived, to be read. To be called when all has.
    ///
    /// # Errors
    /// [`Error::Incomplete`], and [`Error::Io`] where the process has no file descriptor left.
    pub fn source(&self) -> Result<Arc<dyn Source>, Error> {
        if self.broken {
            return Err(Error::Incomplete(self.id));
        }
        let file = match &self.file {
            Some(body) => {
                let file = body.file.try_clone();
                Some((file.map_err(Error::at(&body.path.path))?, body.length))
            }
            None => None,
        };
        Ok(Arc::new(Arrived {
            file,
            rest: self.buffer.clone(),
        }))
    }

    /// Makes the body durable, where it has a file of its own, under the name of each of `versions`. The records are
    /// durable only once they are in the store.
    pub(super) async fn finish(
        mut self,
        versions: Vec<Version>,
    ) -> Result<Vec<(Finished, Version)>, Error> {
        if self.broken {
            return Err(Error::Incomplete(self.id));
        }
        if self.file.is_none() {
            let finish = |version| self.finish_in_memory(version);
            return versions.into_iter().map(finish).collect();
        }
        let ids: Vec<_> = versions.iter().map(|version| version.id).collect();
        let mut paths = self.write_out(move |body| body.settle(&ids)).await?;
        let body = self.file.take().ok_or(Error::Incomplete(self.id))?;
        let (length, checksum) = (body.length, body.checksum.digest());
        paths.push(body.path);
        let finish = |mut version: Version| {
            let named = |path: &BodyPath| path.is_of(version.id);
            let path = paths.iter().position(named).map(|at| paths.swap_remove(at));
            let aside = Aside {
                front: std::mem::take(&mut version.front.octets),
                replaces: version.front.replaces,
                length,
                checksum,
            };
            let finished = Finished {
                record: record::frame_aside(version.id, 0, &aside)?,
                body: Some(path.ok_or(Error::Incomplete(version.id))?),
            };
            Ok((finished, version))
        };
        versions.into_iter().map(finish).collect()
    }

    fn finish_in_memory(&self, version: Version) -> Result<(Finished, Version), Error> {
        let (id, front) = (version.id, &version.front);
        let kept = usize::try_from(front.replaces).ok();
        let rest = kept.and_then(|from| self.buffer.get(from..));
        let parts = [front.octets.as_slice(), rest.ok_or(Error::Incomplete(id))?];
        let finished = Finished {
            record: record::frame(Kind::Content, 0, id, &parts),
            body: None,
        };
        Ok((finished, version))
    }

    /// Moves the buffer to the file, then does `more` with the file.
    async fn write_out<T: Send + 'static>(
        &mut self,
        more: impl FnOnce(&mut BodyFile) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let path = self.bodies.join(self.id.to_string());
        let (file, mut buffer) = (self.file.take(), std::mem::take(&mut self.buffer));
        // Whoever stops waiting here leaves the file to the thread that writes it, and the draft without it.
        self.broken = true;
        let written = tokio::task::spawn_blocking(move || {
            let mut file = file.map_or_else(|| BodyFile::create(&path), Ok)?;
            let done = file
                .write(&buffer)
                .and_then(|()| more(&mut file))
                .map_err(Error::at(&file.path.path))?;
            match Arc::get_mut(&mut buffer) {
                Some(buffer) => buffer.clear(),
                None => buffer = Arc::default(),
            }
            Ok::<_, Error>((file, buffer, done))
        });
        let written = written.await.map_err(|_| Error::Incomplete(self.id))?;
        let (file, buffer, done) = written?;
        (self.file, self.buffer, self.broken) = (Some(file), buffer, false);
        Ok(done)
    }
}

impl BodyFile {
    fn create(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(Error::at(path))?;
        Ok(Self {
            path: BodyPath::new(path.to_owned()),
            file,
            length: 0,
            checksum: Xxh3::new(),
        })
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.write_all(octets)?;
        self.checksum.update(octets);
        self.length += octets.len() as u64;
        Ok(())
    }

    /// Makes it durable, under the name of each of `ids`. Gives the paths of those that are not its own.
    fn settle(&mut self, ids: &[MessageId]) -> io::Result<Vec<BodyPath>> {
        let others = ids.iter().filter(|id| !self.path.is_of(**id));
        let links = others
            .map(|id| self.path.link(*id))
            .collect::<io::Result<Vec<_>>>()?;
        self.file.sync_data()?;
        self.path.path.parent().map_or(Ok(()), sync_folder)?;
        Ok(links)
    }
}

impl BodyPath {
    fn new(path: PathBuf) -> Self {
        Self { path, kept: false }
    }

    fn is_of(&self, id: MessageId) -> bool {
        self.path.ends_with(id.to_string())
    }

    /// The body of `from`, among `bodies`, under the name of `to` as well, durably.
    pub fn shared(bodies: &Path, from: MessageId, to: MessageId) -> io::Result<Self> {
        let path = bodies.join(to.to_string());
        std::fs::hard_link(bodies.join(from.to_string()), &path)?;
        let shared = Self::new(path);
        sync_folder(bodies).map(|()| shared)
    }

    /// The same body under the name of another message.
    fn link(&self, id: MessageId) -> io::Result<Self> {
        let path = self.path.with_file_name(id.to_string());
        std::fs::hard_link(&self.path, &path)?;
        Ok(Self::new(path))
    }

    /// The message is durable: the file stays.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for BodyPath {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the body of a refused message stays until the next start");
        }
    }
}

impl Source for Arrived {
    fn length(&self) -> u64 {
        self.in_file() + self.rest.length()
    }

    fn read_at(&self, octets: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.file {
            Some((file, length)) if offset < *length => {
                // The file may have grown since.
                let left = usize::try_from(length - offset).unwrap_or(usize::MAX);
                let room = octets.len().min(left);
                file.read_at(octets.get_mut(..room).unwrap_or_default(), offset)
            }
            _ => self.rest.read_at(octets, offset - self.in_file()),
        }
    }
}

impl Arrived {
    fn in_file(&self) -> u64 {
        self.file.as_ref().map_or(0, |(_, length)| *length)
    }
}
