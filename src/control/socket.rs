//! The socket itself: there whole and with its rights, or not at all; and gone when the daemon is.

use nix::libc::O_PATH;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// Everybody may connect; what they may ask is another matter.
const MODE: u32 = 0o666;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something else lies in its place.
    #[error("{}: something that is no socket lies there: move it away, or set server.control to another path", .0.display())]
    Foreign(PathBuf),
    /// Somebody answers there.
    #[error("{}: another daemon answers there: set server.control to another path", .0.display())]
    InUse(PathBuf),
    /// The system refuses.
    #[error("{}: {source}: set server.control to a path in a folder that the user of vsmtp may write", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A listening socket in the file system; its file goes with it.
#[derive(Debug)]
pub struct Socket {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and inode: whether the file is still ours.
    identity: (u64, u64),
}

impl Socket {
    /// Listens at `path`. What an earlier daemon left there gives way. Call it within a runtime.
    ///
    /// It is made under another name, gets its rights, and is then moved: nobody meets it half made, and at no moment is
    /// there none where there was one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn bind(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(Error::Foreign(path.to_owned()));
            }
            // Whom we may not reach is no socket of ours: those are open to everybody.
            Ok(_) if !is_stale(path).await => return Err(Error::InUse(path.to_owned())),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let made = path.with_extension("new");
        match fs::remove_file(&made) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = Reach::of(&made)
            .and_then(|reach| UnixListener::bind(reach.path()))
            .map_err(failed)?;
        let placed = fs::set_permissions(&made, Permissions::from_mode(MODE))
            .and_then(|()| fs::symlink_metadata(&made))
            .and_then(|found| fs::rename(&made, path).map(|()| (found.dev(), found.ino())));
        let identity = placed.map_err(|error| {
            // It is of no use where it is; what remains of it gives way to the next one.
            let _ = fs::remove_file(&made);
            failed(error)
        })?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            identity,
        })
    }
}

/// Whether nobody listens there any more.
async fn is_stale(path: &Path) -> bool {
    let connected = async { UnixStream::connect(Reach::of(path)?.path()).await };
    let connected = connected.await;
    connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// A socket by a path of any length: the system takes 107 octets (unix(7)).
pub(super) struct Reach {
    path: PathBuf,
    /// What the path goes by.
    _folder: Option<File>,
}

impl Reach {
    const LENGTH_MAX: usize = 107;

    pub fn of(path: &Path) -> io::Result<Self> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ErrorKind::InvalidInput.into());
        };
        if path.as_os_str().len() <= Self::LENGTH_MAX {
            return Ok(Self {
                path: path.to_owned(),
                _folder: None,
            });
        }
        let mut options = OpenOptions::new();
        let folder = options.read(true).custom_flags(O_PATH).open(folder)?;
        let number = folder.as_raw_fd();
        Ok(Self {
            path: Path::new(&format!("/proc/self/fd/{number}")).join(name),
            _folder: Some(folder),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            // What stays gives way to the next daemon's.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, MODE, Socket};
    use std::os::unix::fs::PermissionsExt;
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn a_stale_socket_gives_way_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        std::fs::write(&path, "mail").unwrap();
        assert!(matches!(Socket::bind(&path).await, Err(Error::Foreign(_))));
        std::fs::remove_file(&path).unwrap();

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = Socket::bind(&path).await.unwrap();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert!(matches!(Socket::bind(&path).await, Err(Error::InUse(_))));
        UnixStream::connect(&path).await.unwrap();
        drop(socket);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn the_socket_of_another_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let first = Socket::bind(&path).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        let _second = Socket::bind(&path).await.unwrap();
        drop(first);
        UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_path_may_be_long_and_must_lead_somewhere() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing/control");
        let error = Socket::bind(&missing).await.unwrap_err();
        assert!(error.to_string().contains("missing/control"), "{error}");
        let deep = folder.path().join("x".repeat(150));
        std::fs::create_dir(&deep).unwrap();
        let _socket = Socket::bind(&deep.join("control")).await.unwrap();
        let again = Socket::bind(&deep.join("control")).await;
        assert!(matches!(again, Err(Error::InUse(_))));
    }
}
