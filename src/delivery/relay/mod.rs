//! Hands mail to other servers: picks next hop and security, drives the client, and says what became of each recipient
//! and why.
//!
//! - A server that cannot be reached, does not want us or does not speak SMTP costs a try; the next address or the next
//!   mail exchanger is asked (RFC 5321 §5.1). A 5yz reply to a recipient or to the content is final.
//! - Once the content has gone out whole and no answer came, nobody else is asked: the message might arrive twice.
//! - With opportunistic TLS a handshake that fails is followed by a session in clear (RFC 7435); wherever DANE, MTA-STS
//!   or the operator asks for more, it is followed by none.

mod dane;
#[cfg(test)]
mod fake;
mod mta_sts;
mod options;
mod progress;
mod security;
mod session;
mod trust;
mod wire;

pub use options::{Destination, Forwarder, Options, Timeouts};
pub use security::TlsMode;
pub use trust::{Trust, TrustError};

use self::mta_sts::Policies;
use self::progress::Progress;
use self::security::Decision;
use self::session::{OpenError, Session, Tls};
use self::wire::Wire;
use super::next_hops::{NextHop, named, next_hops};
use crate::dns::Resolver;
use crate::mail::{Status, TlsSession};
use crate::queue::Content;
use crate::smtp::client::{
    Credentials, Message, Options as ClientOptions, Outcome, Protocol, StartTls,
};
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// The octets of a message, read as often as it is sent.
pub trait Source: io::Read + Send {
    /// Goes back to the first octet.
    ///
    /// # Errors
    /// The octets are not there any more.
    fn rewind(&mut self) -> io::Result<()>;
}

impl<T: AsRef<[u8]> + Send> Source for io::Cursor<T> {
    fn rewind(&mut self) -> io::Result<()> {
        self.set_position(0);
        Ok(())
    }
}

impl Source for Content {
    fn rewind(&mut self) -> io::Result<()> {
        Self::rewind(self)
    }
}

/// The server that decided, and how it was spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its name.
    pub host: String,
    /// Its address and port, or the path of its socket.
    pub address: String,
    /// What the handshake settled; `None`: in clear.
    pub tls: Option<TlsSession>,
    /// What was asked of the connection and why, for the log.
    pub security: String,
    /// Whether it passes wishes for notifications on (RFC 3461).
    pub passes_wishes: bool,
}

/// What became of one recipient.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Delivered, deferred or failed.
    pub outcome: Outcome,
    /// Who decided; `None`: nobody was reached, or nobody had to be asked.
    pub remote: Option<Arc<Remote>>,
}

/// Hands mail to other servers. Shared by all deliveries.
pub struct Relay {
    options: Options,
    resolver: Arc<dyn Resolver>,
    trust: Trust,
    policies: Policies,
}

/// One address of one host, and what is asked of a connection to it.
struct Target<'a> {
    host: &'a str,
    address: SocketAddr,
    protocol: Protocol,
    credentials: Option<&'a Credentials>,
    decision: &'a Decision,
}

impl Relay {
    /// A relay that asks `resolver` and believes `trust`.
    pub fn new(options: Options, resolver: Arc<dyn Resolver>, trust: Trust) -> Self {
        let policies = Policies::new(trust.clone(), options.policy_port);
        Self {
            options,
            resolver,
            trust,
            policies,
        }
    }

    /// How we name ourselves.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Tries once to hand `message` on: what became of each recipient, in their order. `random` gives a number below
    /// its argument.
    pub async fn deliver(
        &self,
        destination: &Destination,
        message: &Message,
        content: &mut dyn Source,
        random: &mut (dyn FnMut(usize) -> usize + Send),
    ) -> Vec<Delivery> {
        let mut progress = Progress::new(message);
        match destination {
            Destination::Domain(domain) => {
                self.to_domain(domain, &mut progress, content, random).await;
            }
            Destination::Forwarder(forwarder) => {
                self.to_forwarder(forwarder, &mut progress, content).await;
            }
            Destination::Unix(path) => self.to_socket(path, &mut progress, content).await,
        }
        progress.deliveries()
    }

    async fn to_domain(
        &self,
        domain: &str,
        progress: &mut Progress<'_>,
        content: &mut dyn Source,
        random: &mut (dyn FnMut(usize) -> usize + Send),
    ) {
        let resolver = &*self.resolver;
        let hops = match next_hops(resolver, domain, &self.options.ourselves, random).await {
            Ok(hops) => hops,
            Err(outcome) => return progress.decide_all(&outcome),
        };
        let policy = self.policies.of(resolver, domain, Instant::now()).await;
        let mode = TlsMode::Opportunistic;
        for hop in hops {
            let port = self.options.port;
            match security::decide(resolver, &hop, port, mode, policy.as_ref()).await {
                Ok(decision) => {
                    let target = |address| Target {
                        host: &hop.host,
                        address: SocketAddr::new(address, port),
                        protocol: Protocol::Smtp,
                        credentials: None,
                        decision: &decision,
                    };
                    self.to_host(&hop, target, progress, content).await;
                }
                Err(outcome) => progress.not_reached(outcome),
            }
            if progress.is_over() {
                return;
            }
        }
    }

    async fn to_forwarder(
        &self,
        forwarder: &Forwarder,
        progress: &mut Progress<'_>,
        content: &mut dyn Source,
    ) {
        let hop = match named(&*self.resolver, &forwarder.host).await {
            Ok(hop) => hop,
            Err(outcome) => return progress.decide_all(&outcome),
        };
        let decision = Decision::of_mode(forwarder.tls);
        let target = |address| Target {
            host: &forwarder.host,
            address: SocketAddr::new(address, forwarder.port),
            protocol: forwarder.protocol,
            credentials: forwarder.credentials.as_ref(),
            decision: &decision,
        };
        self.to_host(&hop, target, progress, content).await;
    }

    async fn to_socket(&self, path: &Path, progress: &mut Progress<'_>, content: &mut dyn Source) {
        let shown = path.display().to_string();
        let connected = timeout(self.options.timeouts.connect, UnixStream::connect(path)).await;
        let wire = match connected {
            Ok(Ok(stream)) => Wire::Unix(stream),
            Ok(Err(error)) => return progress.not_reached(unreachable(&shown, &error.to_string())),
            Err(_) => return progress.not_reached(unreachable(&shown, "timed out")),
        };
        let options = self.client_options(Protocol::Lmtp, None, StartTls::Never, true);
        match Session::open(wire, options, None, &self.options.timeouts).await {
            Ok(session) => {
                let remote = Remote {
                    host: shown.clone(),
                    address: shown,
                    tls: None,
                    security: "a unix socket".to_owned(),
                    passes_wishes: session.passes_wishes(),
                };
                progress.send(session, remote, content).await;
            }
            Err(OpenError::Unusable(outcome)) => progress.not_reached(outcome),
            Err(OpenError::Tls(cause)) => progress.not_reached(unreachable(&shown, &cause)),
        }
    }

    /// Tries the addresses of a host until one of them has heard the message.
    async fn to_host<'a>(
        &self,
        hop: &NextHop,
        target: impl Fn(std::net::IpAddr) -> Target<'a>,
        progress: &mut Progress<'_>,
        content: &mut dyn Source,
    ) {
        for &address in &hop.addresses {
            if !progress.may_try() {
                return;
            }
            let target = target(address);
            match self.open(&target).await {
                Ok((session, security)) => {
                    let remote = Remote {
                        host: target.host.to_owned(),
                        address: target.address.to_string(),
                        tls: session.tls().cloned(),
                        security,
                        passes_wishes: session.passes_wishes(),
                    };
                    return progress.send(session, remote, content).await;
                }
                Err(outcome) => progress.not_reached(outcome),
            }
        }
    }

    /// A session with `target`, and what to say of its security.
    async fn open(&self, target: &Target<'_>) -> Result<(Session, String), Outcome> {
        let decision = target.decision;
        match self.open_with(target, decision.starttls).await {
            Ok(session) => Ok((session, decision.reason.clone())),
            Err(OpenError::Unusable(outcome)) => Err(outcome),
            Err(OpenError::Tls(cause)) if decision.may_fall_back() => {
                match self.open_with(target, StartTls::Never).await {
                    Ok(session) => {
                        let reason =
                            format!("{}; in clear since TLS failed: {cause}", decision.reason);
                        Ok((session, reason))
                    }
                    Err(OpenError::Unusable(outcome)) => Err(outcome),
                    Err(OpenError::Tls(cause)) => Err(insecure(target, &cause)),
                }
            }
            Err(OpenError::Tls(cause)) => Err(insecure(target, &cause)),
        }
    }

    async fn open_with(
        &self,
        target: &Target<'_>,
        starttls: StartTls,
    ) -> Result<Session, OpenError> {
        let shown = format!("{}[{}]", target.host, target.address);
        let connecting = TcpStream::connect(target.address);
        let stream = match timeout(self.options.timeouts.connect, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(OpenError::Unusable(unreachable(&shown, &error.to_string())));
            }
            Err(_) => return Err(OpenError::Unusable(unreachable(&shown, "timed out"))),
        };
        // Commands are small and waited for; without it each could cost a delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let implicit = target.decision.implicit;
        let tls = match implicit || starttls != StartTls::Never {
            true => Some(self.tls(target)?),
            false => None,
        };
        let confidential = implicit || target.address.ip().is_loopback();
        let credentials = target.credentials.cloned();
        let options = self.client_options(target.protocol, credentials, starttls, confidential);
        Session::open(Wire::Tcp(stream), options, tls, &self.options.timeouts).await
    }

    fn tls(&self, target: &Target<'_>) -> Result<Tls, OpenError> {
        let config = self.trust.config(&target.decision.verification);
        let config = config.map_err(|error| OpenError::Tls(error.to_string()))?;
        // An address literal is verified as an address, and has no place in SNI.
        let name = ServerName::try_from(target.host.to_owned())
            .unwrap_or_else(|_| ServerName::from(target.address.ip()));
        Ok(Tls {
            config,
            name,
            implicit: target.decision.implicit,
        })
    }

    fn client_options(
        &self,
        protocol: Protocol,
        credentials: Option<Credentials>,
        starttls: StartTls,
        confidential: bool,
    ) -> ClientOptions {
        ClientOptions {
            protocol,
            name: self.options.name.clone(),
            starttls,
            credentials,
            confidential,
        }
    }
}

fn unreachable(shown: &str, cause: &str) -> Outcome {
    Outcome::Deferred(
        Status::new(4, 4, 1),
        format!("connecting to {shown}: {cause}"),
    )
}

fn insecure(target: &Target<'_>, cause: &str) -> Outcome {
    let Target {
        host,
        address,
        decision,
        ..
    } = target;
    let text = format!(
        "TLS with {host}[{address}] failed ({}): {cause}",
        decision.reason
    );
    Outcome::Deferred(Status::new(4, 7, 5), text)
}

#[cfg(test)]
mod tests;
