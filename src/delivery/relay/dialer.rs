//! From a server's address to a session with it.

use super::security::Decision;
use super::session::{OpenError, Session, Tls};
use super::trust::Trust;
use super::wire::Wire;
use super::{Remote, Timeouts};
use crate::mail::{Login, Status};
use crate::smtp::client::{Options as ClientOptions, Outcome, Protocol, StartTls};
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A server at one of its addresses, and what is asked of a connection to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its name, which a certificate has to bear.
    pub(super) host: String,
    pub(super) place: Place,
    pub(super) protocol: Protocol,
    pub(super) login: Option<Login>,
    pub(super) decision: Decision,
}

/// A session, and what to say of its security.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) session: Session,
    security: String,
}

/// Opens sessions.
pub(super) struct Dialer<'a> {
    /// How we name ourselves.
    pub(super) name: &'a str,
    pub(super) trust: &'a Trust,
    pub(super) timeouts: &'a Timeouts,
}

impl Open {
    /// The server at the other end.
    pub(super) fn remote(&self, target: &Target) -> Remote {
        Remote {
            host: target.host.clone(),
            address: target.place.to_string(),
            tls: self.session.tls().cloned(),
            security: self.security.clone(),
            passes_wishes: self.session.passes_wishes(),
        }
    }
}

impl Dialer<'_> {
    /// A session with `target`. Where the decision lets it, one in clear follows a handshake that failed.
    pub(super) async fn open(&self, target: &Target) -> Result<Open, Outcome> {
        let decision = &target.decision;
        match self.open_with(target, decision.starttls).await {
            Ok(session) => Ok(Open {
                session,
                security: decision.reason.clone(),
            }),
            Err(OpenError::Unusable(outcome)) => Err(outcome),
            Err(OpenError::Tls(cause)) if decision.may_fall_back() => {
                match self.open_with(target, StartTls::Never).await {
                    Ok(session) => Ok(Open {
                        session,
                        security: format!(
                            "{}; in clear since TLS failed: {cause}",
                            decision.reason
                        ),
                    }),
                    Err(OpenError::Unusable(outcome)) => Err(outcome),
                    Err(OpenError::Tls(cause)) => Err(insecure(target, &cause)),
                }
            }
            Err(OpenError::Tls(cause)) => Err(insecure(target, &cause)),
        }
    }

    async fn open_with(&self, target: &Target, starttls: StartTls) -> Result<Session, OpenError> {
        let unreachable = |cause: &dyn fmt::Display| {
            let text = format!("connecting to {target}: {cause}");
            OpenError::Unusable(Outcome::Deferred(Status::new(4, 4, 1), text))
        };
        let wire = match timeout(self.timeouts.connect, connect(&target.place)).await {
            Ok(Ok(wire)) => wire,
            Ok(Err(error)) => return Err(unreachable(&error)),
            Err(_) => return Err(unreachable(&"timed out")),
        };
        let implicit = target.decision.implicit;
        let tls = match implicit || starttls != StartTls::Never {
            true => self.tls(target)?,
            false => None,
        };
        let options = ClientOptions {
            protocol: target.protocol,
            name: self.name.to_owned(),
            starttls,
            login: target.login.clone(),
            confidential: implicit || target.place.is_here(),
        };
        Session::open(wire, options, tls, self.timeouts).await
    }

    /// What a handshake is made with; `None`: there can be none.
    fn tls(&self, target: &Target) -> Result<Option<Tls>, OpenError> {
        let Place::Tcp(address) = &target.place else {
            return Ok(None);
        };
        let config = self.trust.config(&target.decision.verification);
        let config = config.map_err(|error| OpenError::Tls(error.to_string()))?;
        // An address literal is verified as an address, and has no place in SNI.
        let name = ServerName::try_from(target.host.clone())
            .unwrap_or_else(|_| ServerName::from(address.ip()));
        Ok(Some(Tls {
            config,
            name,
            implicit: target.decision.implicit,
        }))
    }
}

async fn connect(place: &Place) -> io::Result<Wire> {
    match place {
        Place::Unix(path) => Ok(Wire::Unix(UnixStream::connect(path).await?)),
        Place::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            // Commands are small and waited for; without it each could cost a delayed acknowledgement.
            let _ = stream.set_nodelay(true);
            Ok(Wire::Tcp(stream))
        }
    }
}

fn insecure(target: &Target, cause: &str) -> Outcome {
    let reason = &target.decision.reason;
    let text = format!("TLS with {target} failed ({reason}): {cause}");
    Outcome::Deferred(Status::new(4, 7, 5), text)
}

impl Place {
    /// Whether the connection never leaves this machine.
    fn is_here(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(address) => write!(f, "{}[{address}]", self.host),
            Place::Unix(path) => path.display().fmt(f),
        }
    }
}
