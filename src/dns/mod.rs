//! The one resolver (`server.dns`): everything that asks the DNS asks here.
//!
//! [`Options`] holds what the configuration says and turns it into a resolver; what is not said is left to
//! `/etc/resolv.conf`, or to the resolver's own defaults where that file is not used. [`Resolver`] is what others ask:
//! the [`System`] one, or a [`Zone`] in memory that stands for the whole DNS in a test.

mod resolver;
mod system;
mod zone;

pub use resolver::{Answer, Error, Lookup, Mx, Resolver, Tlsa};
pub use system::System;
pub use zone::Zone;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    CLOUDFLARE, GOOGLE, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
    ServerOrderingStrategy,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::serialize::txt::ParseError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// `server.dns`: where to ask, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `type`
    pub source: Source,
    /// `config.name_servers`: asked over UDP, then TCP, when the source is [`Source::Custom`].
    pub name_servers: Vec<SocketAddr>,
    /// `options.timeout`: how long to wait for one answer.
    pub timeout: Option<Duration>,
    /// `options.attempts`: how often to ask again.
    pub attempts: Option<usize>,
    /// `options.rotate`: ask the servers in turn instead of the fastest first.
    pub rotate: Option<bool>,
    /// `options.ip_strategy`: which of A and AAAA to ask for.
    pub ip_strategy: Option<LookupIpStrategy>,
    /// `options.cache_size`: answers that are remembered.
    pub cache_size: Option<u64>,
    /// `options.num_concurrent_reqs`: servers that are asked at once.
    pub concurrent_requests: Option<usize>,
    /// `options.validate`: verify the signatures of DNSSEC (RFC 4035), which the servers have to pass on. What is forged is
    /// no answer then, and what is signed can be built on (DANE).
    pub validate: bool,
    /// `options.trust_anchor`: the keys to begin with, as DNSKEY records in a file; `None`: those of the root.
    pub trust_anchor: Option<PathBuf>,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// What `/etc/resolv.conf` says.
    #[default]
    System,
    /// Google's public resolvers.
    Google,
    /// Cloudflare's public resolvers.
    Cloudflare,
    /// [`Options::name_servers`].
    Custom,
}

/// Why DNSSEC has nothing to begin with.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The file cannot be read, or not as records.
    #[error("{0}")]
    Unreadable(Box<ParseError>),
    /// It says nothing of the root, where every name begins.
    #[error("holds no DNSKEY record of the root")]
    NoRoot,
}

impl Options {
    /// Whether the trust anchor can be used.
    ///
    /// # Errors
    ///
    /// There is one, and it cannot.
    pub fn check_anchor(&self) -> Result<(), AnchorError> {
        let Some(path) = &self.trust_anchor else {
            return Ok(());
        };
        let unreadable = |error| AnchorError::Unreadable(Box::new(error));
        match TrustAnchors::from_file(path)
            .map_err(unreadable)?
            .is_empty()
        {
            true => Err(AnchorError::NoRoot),
            false => Ok(()),
        }
    }

    /// A resolver that asks as these options say.
    ///
    /// # Errors
    ///
    /// `/etc/resolv.conf` or the trust anchor is wanted and cannot be read.
    pub fn resolver(&self) -> Result<TokioResolver, NetError> {
        let provider = TokioRuntimeProvider::default();
        let mut builder = match self.servers() {
            Some(servers) => TokioResolver::builder_with_config(servers, provider),
            None => TokioResolver::builder(provider)?,
        };
        self.apply(builder.options_mut());
        if let Some(path) = self.trust_anchor.as_ref().filter(|_| self.validate) {
            let anchors = TrustAnchors::from_file(path)
                .map_err(|error| NetError::from(format!("{}: {error}", path.display())))?;
            builder = builder.with_trust_anchor(Arc::new(anchors));
        }
        builder.build()
    }

    /// The servers to ask; `None`: those of the system.
    fn servers(&self) -> Option<ResolverConfig> {
        match self.source {
            Source::System => None,
            Source::Google => Some(ResolverConfig::udp_and_tcp(&GOOGLE)),
            Source::Cloudflare => Some(ResolverConfig::udp_and_tcp(&CLOUDFLARE)),
            Source::Custom => Some(ResolverConfig::from_name_servers(
                self.name_servers
                    .iter()
                    .map(|address| {
                        let mut server = NameServerConfig::udp_and_tcp(address.ip());
                        for connection in &mut server.connections {
                            connection.port = address.port();
                        }
                        server
                    })
                    .collect(),
            )),
        }
    }

    fn apply(&self, options: &mut ResolverOpts) {
        if let Some(timeout) = self.timeout {
            options.timeout = timeout;
        }
        if let Some(attempts) = self.attempts {
            options.attempts = attempts;
        }
        if let Some(rotate) = self.rotate {
            options.server_ordering_strategy = if rotate {
                ServerOrderingStrategy::RoundRobin
            } else {
                ServerOrderingStrategy::QueryStatistics
            };
        }
        if let Some(strategy) = self.ip_strategy {
            options.ip_strategy = strategy;
        }
        if let Some(size) = self.cache_size {
            options.cache_size = size;
        }
        if let Some(requests) = self.concurrent_requests {
            options.num_concurrent_reqs = requests;
        }
        options.validate = self.validate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_servers_are_asked_at_their_port() {
        let options = Options {
            source: Source::Custom,
            name_servers: vec!["192.0.2.1:5353".parse().unwrap()],
            ..Options::default()
        };
        let servers = options.servers().unwrap();
        let [server] = servers.name_servers() else {
            panic!("{servers:?}")
        };
        assert_eq!(server.ip.to_string(), "192.0.2.1");
        let ports: Vec<u16> = server.connections.iter().map(|c| c.port).collect();
        assert_eq!(ports, [5353, 5353]);
    }

    #[test]
    fn what_is_not_said_is_left_alone() {
        let mut applied = ResolverOpts::default();
        Options::default().apply(&mut applied);
        assert_eq!(applied.attempts, ResolverOpts::default().attempts);
        assert!(!applied.validate);
        let options = Options {
            attempts: Some(7),
            timeout: Some(Duration::from_millis(300)),
            ..Options::default()
        };
        options.apply(&mut applied);
        assert_eq!(
            (applied.attempts, applied.timeout),
            (7, Duration::from_millis(300))
        );
    }
}
