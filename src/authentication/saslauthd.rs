//! The users of this machine, by way of saslauthd.
//!
//! Only root may read the passwords of a machine, and a mail server is not to run as root. saslauthd, a part of Cyrus SASL,
//! does: it listens on a socket in the file system and verifies passwords by whatever it was started with, such as PAM
//! (`-a pam`, service `smtp`) or the shadow file (`-a shadow`). The server's user must be allowed to reach that socket; on
//! Debian it has to be in the group `sasl`.
//!
//! ```text
//! request = field field field field   ; login, password, service, realm
//! reply   = field                     ; begins with "OK" or "NO"
//! field   = length octets             ; length: 16 bits, the highest first
//! ```

use crate::mail::Credentials;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long saslauthd may take: PAM likes to be slow to those who are wrong.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many may be asked about at once. Each holds a thread, of which there are 512 for all that waits.
const QUESTIONS_MAX: usize = 256;

/// The name by which PAM knows who asks.
const SERVICE: &str = "smtp";

/// A saslauthd, asked anew for each password.
#[derive(Debug)]
pub struct Saslauthd {
    socket: PathBuf,
    patience: Duration,
    questions: AtomicUsize,
}

/// Why nobody knows whether a password is right.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens, or we may not talk to whoever does.
    #[error("saslauthd cannot be reached at {socket}: {error}")]
    Unreachable {
        /// `server.smtp.auth.saslauthd`
        socket: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It did not answer in time, or hung up.
    #[error("saslauthd does not answer: {0}")]
    Silent(io::Error),
    /// It said neither yes nor no.
    #[error("saslauthd answers with something else than OK or NO")]
    Garbled,
    /// Too many passwords are being verified already.
    #[error("too many passwords are being verified at once")]
    Busy,
}

impl Saslauthd {
    /// Behind the socket at that path; nobody is asked yet.
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            patience: PATIENCE,
            questions: AtomicUsize::new(0),
        }
    }

    /// Asks whether the password is right, and if it is confirms the credentials. Waits for the answer, ten seconds at
    /// most. An empty password is wrong without asking, since to a directory (`-a ldap`) it means an anonymous login, which
    /// succeeds. The user is asked about as it was given: a domain is never cut off, for nobody would have verified it.
    ///
    /// # Errors
    /// There was no answer; the credentials stay as they were.
    pub fn verify(&self, credentials: &mut Credentials) -> Result<bool, Error> {
        let Some(request) = request(credentials) else {
            return Ok(false);
        };
        let _question = Question::begin(&self.questions).ok_or(Error::Busy)?;
        let deadline = Instant::now() + self.patience;
        let mut stream = self.connect().map_err(|error| Error::Unreachable {
            socket: self.socket.clone(),
            error,
        })?;
        let reply = ask(&mut stream, &request, deadline).map_err(Error::Silent)?;
        match reply.get(..2) {
            Some(b"OK") => {
                credentials.confirm();
                Ok(true)
            }
            Some(b"NO") => Ok(false),
            _ => Err(Error::Garbled),
        }
    }

    /// By hand, since the time-out has to be set before: to connect waits while the listener's queue is full.
    fn connect(&self) -> io::Result<UnixStream> {
        let address = UnixAddr::new(&self.socket)?;
        let (family, kind) = (AddressFamily::Unix, SockType::Stream);
        let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
        let seconds = i64::try_from(self.patience.as_secs()).unwrap_or(i64::MAX);
        setsockopt(&socket, sockopt::SendTimeout, &TimeVal::new(seconds, 0))?;
        connect(socket.as_raw_fd(), &address)?;
        Ok(socket.into())
    }
}

/// A place among those who are asked about.
struct Question<'a>(&'a AtomicUsize);

impl<'a> Question<'a> {
    fn begin(questions: &'a AtomicUsize) -> Option<Self> {
        let place = Self(questions);
        // Dropping the place gives it back.
        (questions.fetch_add(1, Ordering::Relaxed) < QUESTIONS_MAX).then_some(place)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `None`: there is nothing to ask.
fn request(credentials: &Credentials) -> Option<Vec<u8>> {
    let (user, password) = (credentials.user(), credentials.password());
    if user.is_empty() || password.is_empty() {
        return None;
    }
    let mut request = Vec::new();
    for field in [user, password, SERVICE, ""] {
        let length = u16::try_from(field.len()).ok()?;
        request.extend_from_slice(&length.to_be_bytes());
        request.extend_from_slice(field.as_bytes());
    }
    Some(request)
}

fn ask(stream: &mut UnixStream, request: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
    stream.write_all(request)?;
    let mut length = [0; 2];
    read_by(stream, &mut length, deadline)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    read_by(stream, &mut reply, deadline)?;
    Ok(reply)
}

/// Fills `buffer` by the deadline, in however many pieces it comes.
fn read_by(stream: &mut UnixStream, buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    let mut rest = buffer;
    while !rest.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = match stream.read(rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        };
        rest = rest.get_mut(read..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// What `saslauthd` gets to hear, and what comes of its answer, which it gives octet by octet.
    fn verify(user: &str, password: &str, answer: &'static [u8]) -> (Vec<u8>, String, bool) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("mux");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = vec![0; 22];
            stream.read_exact(&mut heard).unwrap();
            for octet in answer.chunks(1) {
                stream.write_all(octet).unwrap();
            }
            // Silence is heard until the other side gives up.
            if answer.is_empty() {
                let _ = stream.read(&mut [0]);
            }
            heard
        });
        let mut saslauthd = Saslauthd::new(socket);
        saslauthd.patience = Duration::from_millis(200);
        let mut credentials = Credentials::new("PLAIN", user, password);
        let outcome = saslauthd.verify(&mut credentials);
        assert_eq!(saslauthd.questions.into_inner(), 0);
        let outcome = outcome.map_or_else(|error| error.to_string(), |yes| yes.to_string());
        (server.join().unwrap(), outcome, credentials.is_verified())
    }

    #[test]
    fn only_ok_confirms() {
        let garbled = "saslauthd answers with something else than OK or NO";
        for (answer, outcome, verified) in [
            (&b"\0\x02OK"[..], "true", true),
            (b"\0\x09OK really", "true", true),
            (b"\0\x02NO", "false", false),
            (b"\0\x09NO, never", "false", false),
            (b"\0\x02ok", garbled, false),
            (b"\0\x01O", garbled, false),
            (b"\0\0", garbled, false),
            (
                b"\0\x03OK",
                "saslauthd does not answer: unexpected end of file",
                false,
            ),
            (b"", "saslauthd does not answer: timed out", false),
        ] {
            let expected = b"\0\x04john\0\x06secret\0\x04smtp\0\0".to_vec();
            assert_eq!(
                verify("john", "secret", answer),
                (expected, outcome.to_owned(), verified),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn nobody_is_asked_about_an_empty_password() {
        let saslauthd = Saslauthd::new("/nonexistent/mux".into());
        for (user, password) in [("john", ""), ("", "secret"), ("", "")] {
            let mut credentials = Credentials::new("PLAIN", user, password);
            assert!(matches!(saslauthd.verify(&mut credentials), Ok(false)));
            assert!(!credentials.is_verified());
        }
        let mut credentials = Credentials::new("PLAIN", "john", "secret");
        let error = saslauthd.verify(&mut credentials).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn asks_about_so_many_and_no_more() {
        let questions = AtomicUsize::new(0);
        let places: Vec<_> = (0..QUESTIONS_MAX)
            .map(|_| Question::begin(&questions).unwrap())
            .collect();
        assert!(Question::begin(&questions).is_none());
        drop(places);
        assert!(Question::begin(&questions).is_some());
        assert_eq!(questions.into_inner(), 0);
    }
}
