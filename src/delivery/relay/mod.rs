//! Hands mail to other servers: picks next hop and security, drives the client, and says what became of each recipient
//! and why.
//!
//! - A server that cannot be reached, does not want us or does not speak SMTP costs a try; the next address or the next
//!   mail exchanger is asked (RFC 5321 §5.1). A 5yz reply to a recipient or to the content is final.
//! - Once the content has gone out whole and no answer came, nobody else is asked: the message might arrive twice.
//! - A connection over which a message was taken waits a moment for the next one (`pool`).
//! - With opportunistic TLS a handshake that fails is followed by a session in clear (RFC 7435); wherever DANE, MTA-STS
//!   or the operator asks for more, it is followed by none.

mod dane;
mod dialer;
#[cfg(test)]
mod fake;
mod mta_sts;
mod options;
mod pool;
mod progress;
mod security;
mod session;
mod trust;
mod wire;

pub use options::{Destination, Forwarder, Options, Timeouts};
pub use trust::{AuthoritiesError, Trust, TrustError, authorities};

use self::dialer::{Dialer, Open, Place, Target};
use self::mta_sts::Policies;
use self::pool::Pool;
use self::progress::{Hearing, Progress};
use self::security::Decision;
use super::next_hops::{NextHop, named, next_hops};
use crate::dns::Resolver;
use crate::mail::{TlsMode, TlsSession};
use crate::queue::Content;
use crate::smtp::client::{Message, Outcome, Protocol};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

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
    pool: Arc<Pool>,
}

impl Relay {
    /// A relay that asks `resolver` and believes `trust`.
    pub fn new(options: Options, resolver: Arc<dyn Resolver>, trust: Trust) -> Self {
        Self {
            policies: Policies::new(trust.clone(), options.policy_port),
            pool: Pool::new(options.timeouts.idle),
            options,
            resolver,
            trust,
        }
    }

    /// One that takes the place of this one, and remembers what domains have said of themselves (MTA-STS).
    pub fn renewed(&self, options: Options, resolver: Arc<dyn Resolver>, trust: Trust) -> Self {
        Self {
            policies: self.policies.renewed(trust.clone(), options.policy_port),
            ..Self::new(options, resolver, trust)
        }
    }

    /// How we name ourselves.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Takes leave of the servers whose connections wait for a message.
    pub async fn close(&self) {
        self.pool.close().await;
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
                        host: hop.host.clone(),
                        place: Place::Tcp(SocketAddr::new(address, port)),
                        protocol: Protocol::Smtp,
                        login: None,
                        decision: decision.clone(),
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
        let resolver = &*self.resolver;
        let Forwarder { host, port, .. } = forwarder;
        let hop = match named(resolver, host, *port, &self.options.ourselves).await {
            Ok(hop) => hop,
            Err(outcome) => return progress.decide_all(&outcome),
        };
        let decision = match security::decide(resolver, &hop, *port, forwarder.tls, None).await {
            Ok(decision) => decision,
            Err(outcome) => return progress.decide_all(&outcome),
        };
        let target = |address| Target {
            host: host.clone(),
            place: Place::Tcp(SocketAddr::new(address, *port)),
            protocol: forwarder.protocol,
            login: forwarder.login.clone(),
            decision: decision.clone(),
        };
        self.to_host(&hop, target, progress, content).await;
    }

    async fn to_socket(&self, path: &Path, progress: &mut Progress<'_>, content: &mut dyn Source) {
        let target = Target {
            host: path.display().to_string(),
            place: Place::Unix(path.to_owned()),
            protocol: Protocol::Lmtp,
            login: None,
            decision: Decision::of_socket(),
        };
        self.to_target(&target, progress, content).await;
    }

    /// Tries the addresses of a host until one of them has heard the message.
    async fn to_host(
        &self,
        hop: &NextHop,
        target: impl Fn(IpAddr) -> Target,
        progress: &mut Progress<'_>,
        content: &mut dyn Source,
    ) {
        for &address in &hop.addresses {
            if self.to_target(&target(address), progress, content).await {
                return;
            }
        }
    }

    /// Sends over a connection that waits, or else over a fresh one. Whether nobody else has to be asked: the server has
    /// heard the message, or enough was tried.
    async fn to_target(
        &self,
        target: &Target,
        progress: &mut Progress<'_>,
        content: &mut dyn Source,
    ) -> bool {
        if let Some(open) = self.pool.take(target).await
            && self.send(target, open, progress, content).await
        {
            return true;
        }
        if !progress.may_try() {
            return true;
        }
        let dialer = Dialer {
            name: &self.options.name,
            trust: &self.trust,
            timeouts: &self.options.timeouts,
        };
        match dialer.open(target).await {
            Ok(open) => self.send(target, open, progress, content).await,
            Err(outcome) => {
                progress.not_reached(outcome);
                false
            }
        }
    }

    /// Whether the server was still there to hear the message.
    async fn send(
        &self,
        target: &Target,
        mut open: Open,
        progress: &mut Progress<'_>,
        content: &mut dyn Source,
    ) -> bool {
        let remote = open.remote(target);
        match progress.send(&mut open.session, remote, content).await {
            Hearing::Gone => return false,
            Hearing::Taken if !open.session.is_over() => {
                self.pool.keep(target.clone(), open).await;
            }
            Hearing::Taken | Hearing::Refused => open.session.quit().await,
        }
        true
    }
}

#[cfg(test)]
mod tests;
