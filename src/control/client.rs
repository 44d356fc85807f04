//! The other end: asks the daemon that has the queue.

use super::protocol::{Greeting, append_line, read_line};
use super::socket::Reach;
use super::{Answer, Refusal, Request};
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
    /// `server.queues.dirpath`: whoever greets with another queue is another daemon.
    pub spool: PathBuf,
}

/// A way to the queue.
#[derive(Debug)]
pub enum Access {
    /// Through the daemon.
    Daemon(UnixStream),
}

/// Why there is no answer, or no whole one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers at any of these places.
    #[error("the daemon is not running: nobody answers at {}", shown(.0))]
    Down(Vec<PathBuf>),
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
    /// Looks for the daemon that has the queue of `place`.
    ///
    /// # Errors
    /// [`Error::Down`] and [`Error::Closed`].
    pub fn open(place: &Place) -> Result<Self, Error> {
        let mut closed = None;
        for path in &place.sockets {
            match connect(path, &place.spool) {
                Ok(Some(stream)) => return Ok(Self::Daemon(stream)),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    closed.get_or_insert(path);
                }
                Err(error) => return Err(Error::Cut(error)),
            }
        }
        Err(match closed {
            Some(path) => Error::Closed(path.clone()),
            None => Error::Down(place.sockets.clone()),
        })
    }

    /// Asks, and hands on each part of the answer but a refusal.
    ///
    /// # Errors
    /// All but [`Error::Down`] and [`Error::Closed`]; [`Error::Output`] is what `take` said.
    pub fn ask(
        self,
        request: &Request,
        take: &mut dyn FnMut(Answer) -> io::Result<()>,
    ) -> Result<(), Error> {
        let Self::Daemon(mut stream) = self;
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

/// Whoever answers at `path`, if it is the daemon that has the queue at `spool`.
fn connect(path: &Path, spool: &Path) -> io::Result<Option<UnixStream>> {
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
    Ok((real(&greeting.spool) == real(spool)).then_some(stream))
}

fn shown(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(" or ")
}
