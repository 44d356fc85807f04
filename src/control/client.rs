//! The other end: asks the daemon that has the queue; where none is running, it looks for itself.

use super::protocol::{Greeting, append_line, read_line};
use super::reading::Archive;
use super::socket::Reach;
use super::{Answer, Refusal, Request};
use crate::queue::{self, Snapshot};
use std::io::{self, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the daemon may take to greet: as long as a machine may that is very busy.
const GREETING_TIMEOUT: Duration = Duration::from_secs(30);
/// Octets of the longest greeting.
const GREETING_MAX: u64 = 64 * 1024;

/// Where a daemon and its queue are to be found.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where its socket may be, the likeliest first.
    pub sockets: Vec<PathBuf>,
    /// `server.queues`: whoever greets with another queue is another daemon.
    pub queue: queue::Options,
    /// `app.dirpath`: the quarantines.
    pub app: PathBuf,
}

/// A way to the queue.
pub enum Access {
    /// Through the daemon.
    Daemon(UnixStream),
    /// None is running, and none starts while this is held: whoever has it should not wait for a person.
    Spool(Box<Offline>),
}

/// The files of a daemon that is down.
pub struct Offline {
    archive: Archive,
    _snapshot: Snapshot,
}

/// Why there is no answer, or no whole one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers at any of these places, and there is no queue to look at either.
    #[error("the daemon is not running: nobody answers at {}; and its queue cannot be read: {why}", shown(.sockets))]
    Down {
        /// Where its socket may be.
        sockets: Vec<PathBuf>,
        /// Why the queue cannot be read.
        why: queue::Error,
    },
    /// Somebody has the queue, and does not answer.
    #[error("{}: a daemon has this queue, but nobody answers at {}", spool.display(), shown(.sockets))]
    Silent {
        /// Where its socket may be.
        sockets: Vec<PathBuf>,
        /// The queue.
        spool: PathBuf,
    },
    /// The place of the socket is closed to this user.
    #[error("{}: only root and the user of the daemon get there", .0.display())]
    Closed(PathBuf),
    /// The daemon says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its answer broke off.
    #[error("the daemon stopped before its answer was whole: {0}")]
    Cut(io::Error),
    /// The answer cannot be written where it belongs.
    #[error(transparent)]
    Output(io::Error),
}

impl Access {
    /// Looks for the daemon that has the queue of `place`, and then for the queue.
    ///
    /// # Errors
    /// [`Error::Down`], [`Error::Silent`] and [`Error::Closed`]; [`Error::Cut`] when the daemon does not greet.
    pub fn open(place: &Place) -> Result<Self, Error> {
        let mut closed = None;
        for path in &place.sockets {
            match connect(path, Some(&place.queue.dirpath)) {
                Ok(Some(stream)) => return Ok(Self::Daemon(stream)),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    closed.get_or_insert(path);
                }
                Err(error) => return Err(Error::Cut(error)),
            }
        }
        if let Some(path) = closed {
            return Err(Error::Closed(path.clone()));
        }
        let sockets = place.sockets.clone();
        match Snapshot::take(&place.queue) {
            Ok(snapshot) => Ok(Self::Spool(Box::new(Offline {
                archive: Archive {
                    queue: snapshot.reader().clone(),
                    app: place.app.clone(),
                },
                _snapshot: snapshot,
            }))),
            Err(queue::Error::Locked(spool)) => Err(Error::Silent { sockets, spool }),
            Err(queue::Error::Io { path, source })
                if source.kind() == ErrorKind::PermissionDenied =>
            {
                Err(Error::Closed(path))
            }
            Err(why) => Err(Error::Down { sockets, why }),
        }
    }

    /// Asks, and hands on each part of the answer but a refusal.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Cut`], and [`Error::Output`]: what `take` said.
    pub fn ask(
        self,
        request: &Request,
        take: &mut dyn FnMut(Answer) -> io::Result<()>,
    ) -> Result<(), Error> {
        let mut stream = match self {
            Self::Daemon(stream) => stream,
            Self::Spool(offline) => return offline.answer(request, take),
        };
        let mut line = Vec::new();
        append_line(&mut line, request);
        // A daemon that would not listen has said why, and is not to be had for more.
        let _ = stream.write_all(&line);
        let mut answers = BufReader::new(stream);
        loop {
            let answer = Answer::read_from(&mut answers).map_err(Error::Cut)?;
            let last = answer.is_last();
            match answer {
                Answer::Refused(refusal) => return Err(refusal.into()),
                answer => take(answer).map_err(Error::Output)?,
            }
            if last {
                return Ok(());
            }
        }
    }
}

impl Offline {
    fn answer(
        &self,
        request: &Request,
        take: &mut dyn FnMut(Answer) -> io::Result<()>,
    ) -> Result<(), Error> {
        let mut refused = None;
        let answered = self.archive.answer(request, &mut |answer| match answer {
            Answer::Refused(refusal) => {
                refused = Some(refusal);
                Ok(())
            }
            answer => take(answer),
        });
        answered.map_err(Error::Output)?;
        refused.map_or(Ok(()), |refusal| Err(refusal.into()))
    }
}

/// Where to hand in mail by SMTP, with whichever daemon answers first: the greeting of its session is yet to be read.
/// `None`: none answers.
///
/// # Errors
/// The system lets nobody connect, or the daemon does not greet.
pub fn submit(sockets: &[PathBuf]) -> io::Result<Option<UnixStream>> {
    let mut refused = None;
    for path in sockets {
        match connect(path, None) {
            Ok(Some(mut stream)) => {
                let mut line = Vec::new();
                append_line(&mut line, &Request::Submit);
                stream.write_all(&line)?;
                return Ok(Some(stream));
            }
            Ok(None) => {}
            Err(error) => refused = Some(error),
        }
    }
    refused.map_or(Ok(None), Err)
}

/// Whoever answers at `path`; where a spool is named, only the daemon that has this queue.
fn connect(path: &Path, spool: Option<&Path>) -> io::Result<Option<UnixStream>> {
    let stream = match Reach::of(path).and_then(|reach| UnixStream::connect(reach.path())) {
        Ok(stream) => stream,
        Err(error) => {
            let nobody = [
                ErrorKind::NotFound,
                ErrorKind::ConnectionRefused,
                ErrorKind::NotADirectory,
            ];
            return match nobody.contains(&error.kind()) {
                true => Ok(None),
                false => Err(error),
            };
        }
    };
    stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
    // Nothing follows the greeting before the request, so that no octet is lost with the buffer.
    let greeting = read_line(&mut BufReader::new(&stream), GREETING_MAX)?;
    let greeting: Greeting = serde_json::from_slice(&greeting)?;
    stream.set_read_timeout(None)?;
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_meant = spool.is_none_or(|spool| real(&greeting.spool) == real(spool));
    Ok(is_meant.then_some(stream))
}

fn shown(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(" or ")
}
