//! What is needed to hand mail to other servers: whom to trust, and who we are.

use super::prepare::Prepared;
use crate::delivery::next_hops::Ourselves;
use crate::delivery::relay::{self, Relay, Timeouts, Trust, TrustError};
use crate::mail::Service;
use nix::ifaddrs::getifaddrs;
use rustls::RootCertStore;
use std::net::{IpAddr, SocketAddr};

/// Where mail exchangers listen (RFC 5321 §4.5.4.2).
const SMTP: u16 = 25;
/// Where MTA-STS policies are served (RFC 8461 §3.3).
const HTTPS: u16 = 443;

/// The relay of a server that listens at `addresses`, and asks the resolver that rules ask; where it takes the place of one,
/// that is `before`.
pub(super) fn relay(
    prepared: &Prepared,
    addresses: &[(Service, SocketAddr)],
    before: Option<&Relay>,
) -> Result<Relay, super::Error> {
    let config = &prepared.config;
    let name = config.server.name.to_string();
    let names = config.hosted.keys().cloned().chain([name.clone()]);
    let sockets = addresses.iter().map(|(_, socket)| *socket);
    let options = relay::Options {
        ourselves: Ourselves::new(names, own(addresses)).listening(sockets),
        name,
        timeouts: Timeouts::default(),
        port: SMTP,
        policy_port: HTTPS,
    };
    let resolver = prepared.rules.resolver();
    let mut trust = trust()?;
    if let Some(authorities) = &prepared.authorities {
        trust = trust.with_named(authorities.clone())?;
    }
    Ok(match before {
        Some(before) => before.renewed(options, resolver, trust),
        None => Relay::new(options, resolver, trust),
    })
}

/// Most mail goes out without a certificate being looked at; what asks for one waits until there are authorities.
fn trust() -> Result<Trust, TrustError> {
    match Trust::system() {
        Err(error @ TrustError::NoAuthorities(_)) => {
            tracing::warn!(%error, "mail that needs a verified server will wait");
            Trust::new(RootCertStore::empty())
        }
        other => other,
    }
}

/// Where we can be reached: a socket that listens everywhere does so at each address of the machine.
fn own(addresses: &[(Service, SocketAddr)]) -> Vec<IpAddr> {
    let mut own: Vec<IpAddr> = addresses.iter().map(|(_, at)| at.ip()).collect();
    if own.iter().any(IpAddr::is_unspecified) {
        match getifaddrs() {
            Ok(interfaces) => own.extend(interfaces.filter_map(|interface| {
                let address = interface.address?;
                let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
            })),
            Err(error) => tracing::warn!(%error, "the addresses of this machine are not known"),
        }
    }
    own
}
