//! Appends messages to an mbox file, as mail readers know it: mboxrd, in which `From ` at the start of a line is
//! escaped so that it can be taken back.
//!
//! The file is locked both ways that readers know, a `.lock` file beside it and `fcntl`. A message that cannot be
//! written whole is taken back; one that is acknowledged was synced. Blocks: not for an async task.

mod escape;
mod mailbox;

pub(super) use self::mailbox::Mbox;

use self::escape::Escaper;
use super::folder::Access;
use crate::mail::ReversePath;
use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Between two looks at a lock that somebody else holds.
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// A `.lock` file so old was left behind by a crash: nobody appends for so long.
const LOCK_STALE: Duration = Duration::from_secs(300);
/// Octets that are read and written at once.
const BLOCK: usize = 64 * 1024;

/// Why a message was not appended. All of them may pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum MboxError {
    /// Somebody else holds a lock all the time.
    #[error("{0}: locked by somebody else")]
    Locked(PathBuf),
    /// It is a symbolic link, no regular file, or has a second name: who wrote it there may want another file written.
    #[error("{0}: not a plain file")]
    NotPlain(PathBuf),
    /// The file cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// And why.
        source: io::Error,
    },
    /// The message cannot be read.
    #[error("the message cannot be read: {0}")]
    Source(io::Error),
}

/// Appends the message that `content` gives to the file at `path`, which is made where it is missing. When this returns
/// `Ok`, the message survives power loss. Waits `patience` for the locks.
///
/// # Errors
/// Nothing was appended.
fn append(
    path: &Path,
    access: Access,
    sender: &ReversePath,
    arrived: Timestamp,
    content: &mut dyn Read,
    patience: Duration,
) -> Result<(), MboxError> {
    let deadline = Instant::now() + patience;
    let _dot_lock = DotLock::acquire(path, deadline)?;
    let at = |source| MboxError::Io {
        path: path.to_owned(),
        source,
    };
    let missing = !path.exists();
    let mut file = open(path, access)?;
    lock(&file, path, deadline)?;
    let before = file.metadata().map_err(at)?.len();
    let separator = separator(sender, arrived);
    let written = write(&mut file, &separator, content).and_then(|()| {
        file.sync_all().map_err(WriteError::File)?;
        match path.parent().filter(|_| missing) {
            Some(folder) => File::open(folder)
                .and_then(|f| f.sync_all())
                .map_err(WriteError::File),
            None => Ok(()),
        }
    });
    written.map_err(|error| {
        // Half a message must not stay; if even this fails, the disk is past help.
        let _ = file.set_len(before).and_then(|()| file.sync_all());
        match error {
            WriteError::File(source) => at(source),
            WriteError::Source(source) => MboxError::Source(source),
        }
    })
}

enum WriteError {
    File(io::Error),
    Source(io::Error),
}

fn write(file: &mut File, separator: &str, content: &mut dyn Read) -> Result<(), WriteError> {
    let mut escaper = Escaper::default();
    let mut block = vec![0; BLOCK];
    let mut escaped = separator.as_bytes().to_vec();
    loop {
        let count = match content.read(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(WriteError::Source)?,
        };
        if count == 0 {
            escaper.finish(&mut escaped);
            return file.write_all(&escaped).map_err(WriteError::File);
        }
        escaper.escape(block.get(..count).unwrap_or_default(), &mut escaped);
        file.write_all(&escaped).map_err(WriteError::File)?;
        escaped.clear();
    }
}

/// The line before a message: sender and date as `asctime` writes it, in UTC.
fn separator(sender: &ReversePath, arrived: Timestamp) -> String {
    let sender = match &sender.0 {
        Some(address) => address.as_str().replace(char::is_whitespace, "_"),
        None => "MAILER-DAEMON".to_owned(),
    };
    format!(
        "From {sender} {}\n",
        arrived.strftime("%a %b %e %H:%M:%S %Y")
    )
}

/// Makes or opens the file, and refuses whatever is not plainly one.
fn open(path: &Path, access: Access) -> Result<File, MboxError> {
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(access.file_mode())
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(MboxError::NotPlain(path.to_owned()));
        }
        other => other.map_err(|source| MboxError::Io {
            path: path.to_owned(),
            source,
        })?,
    };
    match file.metadata() {
        Ok(metadata) if metadata.is_file() && metadata.nlink() == 1 => Ok(file),
        Ok(_) => Err(MboxError::NotPlain(path.to_owned())),
        Err(source) => Err(MboxError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Locks the whole file. The lock belongs to the open file, not to the process, so that two threads of ours exclude each
/// other as well; it ends when the file is closed.
fn lock(file: &File, path: &Path, deadline: Instant) -> Result<(), MboxError> {
    let whole = libc::flock {
        // Both fit: F_WRLCK is 1, SEEK_SET is 0.
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
            Ok(_) => return Ok(()),
            Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) => wait(path, deadline)?,
            Err(error) => {
                return Err(MboxError::Io {
                    path: path.to_owned(),
                    source: error.into(),
                });
            }
        }
    }
}

/// A `.lock` file, removed when it is dropped.
struct DotLock {
    path: PathBuf,
}

impl DotLock {
    fn acquire(mbox: &Path, deadline: Instant) -> Result<Self, MboxError> {
        let mut path = OsString::from(mbox);
        path.push(".lock");
        let path = PathBuf::from(path);
        loop {
            let made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match made {
                Ok(_) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    match is_stale(&path) {
                        // Whoever removes it first, one of those who wait makes the next.
                        true => drop(fs::remove_file(&path)),
                        false => wait(mbox, deadline)?,
                    }
                }
                Err(source) => return Err(MboxError::Io { path, source }),
            }
        }
    }
}

impl Drop for DotLock {
    fn drop(&mut self) {
        // One that stays is stale in five minutes.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_stale(path: &Path) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    let age = modified
        .ok()
        .and_then(|m| SystemTime::now().duration_since(m).ok());
    age.is_some_and(|age| age > LOCK_STALE)
}

fn wait(path: &Path, deadline: Instant) -> Result<(), MboxError> {
    if Instant::now() >= deadline {
        return Err(MboxError::Locked(path.to_owned()));
    }
    std::thread::sleep(LOCK_PAUSE);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Address;
    use std::os::unix::fs::symlink;

    const PATIENCE: Duration = Duration::from_millis(200);

    fn deliver(path: &Path, content: &str) -> Result<(), MboxError> {
        let sender = ReversePath(Some(Address::parse("\"a b\"@example.com").unwrap()));
        append(
            path,
            Access::Owner,
            &sender,
            Timestamp::UNIX_EPOCH,
            &mut content.as_bytes(),
            PATIENCE,
        )
    }

    #[test]
    fn messages_stand_one_behind_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mbox");
        deliver(
            &path,
            "Subject: x\r\n\r\nFrom here\r\n>From\r\n>>From there\r\nFromage\r\nlast",
        )
        .unwrap();
        append(
            &path,
            Access::Owner,
            &ReversePath(None),
            Timestamp::UNIX_EPOCH,
            &mut b"x\r\n".as_slice(),
            PATIENCE,
        )
        .unwrap();
        let expected = "From \"a_b\"@example.com Thu Jan  1 00:00:00 1970\n\
            Subject: x\n\n>From here\n>From\n>>>From there\nFromage\nlast\n\n\
            From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nx\n\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!folder.path().join("mbox.lock").exists());
    }

    #[test]
    fn a_message_that_breaks_off_is_taken_back() {
        struct Broken(usize);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1..=3 => Ok(buffer.iter_mut().map(|octet| *octet = b'x').count()),
                    _ => Err(io::Error::other("gone")),
                }
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mbox");
        deliver(&path, "first").unwrap();
        let before = fs::read(&path).unwrap();
        let broken = append(
            &path,
            Access::Owner,
            &ReversePath(None),
            Timestamp::UNIX_EPOCH,
            &mut Broken(0),
            PATIENCE,
        );
        assert!(matches!(broken, Err(MboxError::Source(_))));
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn locks_of_others_are_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mbox");
        let dot = folder.path().join("mbox.lock");
        fs::write(&dot, "").unwrap();
        assert!(matches!(deliver(&path, "x"), Err(MboxError::Locked(_))));
        assert!(dot.exists(), "the lock of somebody else was removed");
        let old = SystemTime::now() - 2 * LOCK_STALE;
        File::options()
            .write(true)
            .open(&dot)
            .unwrap()
            .set_modified(old)
            .unwrap();
        deliver(&path, "x").unwrap();
        assert!(!dot.exists());

        let other = open(&path, Access::Owner).unwrap();
        lock(&other, &path, Instant::now()).unwrap();
        assert!(matches!(deliver(&path, "x"), Err(MboxError::Locked(_))));
        drop(other);
        deliver(&path, "x").unwrap();
    }

    #[test]
    fn only_plain_files_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::write(&target, "precious").unwrap();
        let link = folder.path().join("link");
        symlink(&target, &link).unwrap();
        let second = folder.path().join("second");
        fs::hard_link(&target, &second).unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [&link, &second] {
            assert!(
                matches!(deliver(path, "x"), Err(MboxError::NotPlain(_))),
                "{path:?}"
            );
        }
        assert!(deliver(&pipe, "x").is_err() && deliver(folder.path(), "x").is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    }
}
