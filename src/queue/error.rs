//! Why the queue cannot do what it was asked.

use crate::mail::MessageId;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the queue cannot do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The disk or the quota is full.
    #[error("no space left for the queue")]
    Full,
    /// Another process has the spool open.
    #[error("{0}: the spool is in use by another process")]
    Locked(PathBuf),
    /// A file of the spool cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The storage engine failed.
    #[error("the store failed: {0}")]
    Storage(#[source] Arc<fjall::Error>),
    /// What is stored of this message is not what was committed.
    #[error("message {0} is damaged")]
    Damaged(MessageId),
    /// The queue has no such message.
    #[error("no message {0} in the queue")]
    Unknown(MessageId),
    /// Octets of this draft were lost when it could not be written.
    #[error("message {0} is incomplete")]
    Incomplete(MessageId),
    /// The envelope names no recipient.
    #[error("message {0} has no recipient")]
    NoRecipient(MessageId),
    /// The queue is being closed.
    #[error("the queue is closed")]
    Closed,
}

impl Error {
    /// Says which file it was; a full disk is a fact of its own.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            if is_full(&error) {
                return Self::Full;
            }
            Self::Io {
                path: path.to_owned(),
                source: Arc::new(error),
            }
        }
    }
}

impl From<fjall::Error> for Error {
    fn from(error: fjall::Error) -> Self {
        match &error {
            fjall::Error::Io(io) | fjall::Error::Storage(fjall::LsmError::Io(io))
                if is_full(io) =>
            {
                Self::Full
            }
            _ => Self::Storage(Arc::new(error)),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
