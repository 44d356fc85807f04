//! Where mail for a domain goes next (RFC 5321 §5): a plan made from what the DNS says. Opens no connection.

use crate::dns::{Error, Mx, Resolver};
use crate::mail::Status;
use crate::smtp::client::Outcome;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Mail exchangers that are looked at: more are a mistake or an attack.
const HOSTS_MAX: usize = 10;
/// Addresses of one mail exchanger that are tried.
const ADDRESSES_MAX: usize = 4;

/// A server to hand mail to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Its name, or the address literal that stood for it.
    pub host: String,
    /// Where it is; at least one, in the order in which to try them.
    pub addresses: Vec<IpAddr>,
    /// The domain that it is a mail exchanger of; `None`: somebody named it.
    pub domain: Option<String>,
    /// Whether the way from the domain to these addresses was validated by DNSSEC, so that DANE may speak for the host
    /// (RFC 7672 §2.2).
    pub secure: bool,
}

/// Which servers we are, so that no mail is handed to ourselves (RFC 5321 §5.1).
#[derive(Clone, Debug, Default)]
pub struct Ourselves {
    names: HashSet<String>,
    addresses: HashSet<IpAddr>,
    sockets: Vec<SocketAddr>,
}

impl Ourselves {
    /// The server with `names` that listens at `addresses`. Whoever has one loopback address has all of them.
    pub fn new(
        names: impl IntoIterator<Item = String>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        Self {
            names: names.into_iter().map(|n| n.to_ascii_lowercase()).collect(),
            addresses: addresses.into_iter().map(|a| a.to_canonical()).collect(),
            sockets: Vec::new(),
        }
    }

    /// The same with the `sockets` that it listens on: at our addresses, other ports are other servers to whoever names
    /// them.
    pub fn listening(self, sockets: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            sockets: sockets.into_iter().collect(),
            ..self
        }
    }

    fn listens_at(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        let is_ours = |socket: &SocketAddr| match socket.ip().to_canonical() {
            every if every.is_unspecified() => {
                address.is_loopback() || self.addresses.contains(&address)
            }
            one => one == address,
        };
        let mut sockets = self.sockets.iter();
        sockets.any(|socket| socket.port() == port && is_ours(socket))
    }

    fn is_named(&self, host: &str) -> bool {
        self.names.contains(&host.to_ascii_lowercase())
    }

    fn is_at(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.addresses.contains(&address)
            || address.is_loopback() && self.addresses.iter().any(IpAddr::is_loopback)
    }
}

/// The servers for `domain` (a name or an address literal), best first; at least one.
///
/// `random` gives a number below its argument: servers of equal preference are tried in random order (RFC 5321 §5.1).
///
/// # Errors
/// The outcome of every recipient in the domain: there is no server, or none is known now.
pub async fn next_hops(
    resolver: &dyn Resolver,
    domain: &str,
    ourselves: &Ourselves,
    random: &mut (dyn FnMut(usize) -> usize + Send),
) -> Result<Vec<NextHop>, Outcome> {
    if let Some(address) = literal(domain) {
        return at_literal(domain, address, ourselves);
    }
    let (mut exchangers, secure) = exchangers(resolver, domain).await?;
    order(&mut exchangers, random);
    let known = exchangers.len();
    keep_better_than_ourselves(&mut exchangers, ourselves);
    let mut looped = exchangers.len() < known;
    exchangers.truncate(HOSTS_MAX);
    let mut failure = None;
    let mut hops: Vec<(u16, NextHop)> = Vec::new();
    for mx in exchangers {
        match resolver.addresses(&mx.exchange).await {
            Ok(answer) if answer.records.iter().any(|&a| ourselves.is_at(a)) => {
                hops.retain(|(preference, _)| *preference < mx.preference);
                looped = true;
                break;
            }
            Ok(answer) => hops.push((
                mx.preference,
                NextHop {
                    addresses: in_turn(answer.records),
                    host: mx.exchange,
                    domain: Some(domain.to_ascii_lowercase()),
                    secure: secure && answer.secure,
                },
            )),
            Err(error) => failure = Some(failure.map_or(error.clone(), |f| worst(f, error))),
        }
    }
    hops.retain(|(_, hop)| !hop.addresses.is_empty());
    if hops.is_empty() {
        return Err(nowhere(domain, looped, failure));
    }
    Ok(hops.into_iter().map(|(_, hop)| hop).collect())
}

/// The server `host` (a name, an address or an address literal) that an operator named: no MX record is looked up.
///
/// # Errors
/// It has no address, or none is known now, or it is ourselves that listen on `port` there. An operator's mistake defers:
/// it can be mended.
pub async fn named(
    resolver: &dyn Resolver,
    host: &str,
    port: u16,
    ourselves: &Ourselves,
) -> Result<NextHop, Outcome> {
    let address = literal(host).or_else(|| host.parse().ok());
    let (addresses, secure) = match address {
        Some(address) => (vec![address], false),
        None => {
            let answer = resolver.addresses(host).await.map_err(|error| {
                let text = format!("next hop {host}: {error}");
                Outcome::Deferred(Status::new(4, 4, 3), text)
            })?;
            (in_turn(answer.records), answer.secure)
        }
    };
    if addresses.iter().any(|&a| ourselves.listens_at(a, port)) {
        let text = format!("next hop {host}:{port} is this server: mail would go round");
        return Err(Outcome::Deferred(Status::new(4, 4, 6), text));
    }
    Ok(NextHop {
        host: host.to_owned(),
        addresses,
        domain: None,
        secure,
    })
}

/// The MX records of `domain`, or the domain itself where it has none (RFC 5321 §5.1), and whether DNSSEC vouches for
/// them.
async fn exchangers(resolver: &dyn Resolver, domain: &str) -> Result<(Vec<Mx>, bool), Outcome> {
    let failed = |status, text| Err(Outcome::Failed(status, text));
    match resolver.mx(domain).await {
        Ok(answer) => {
            let mut exchangers = answer.records;
            exchangers.retain(|mx| !mx.exchange.is_empty());
            if exchangers.is_empty() {
                let text = format!("{domain} takes no mail (null MX)");
                return failed(Status::new(5, 1, 10), text);
            }
            Ok((exchangers, answer.secure))
        }
        // Whether the absence was validated is what the address tells: they are of one zone.
        Err(Error::NoRecords) => {
            let implicit = Mx {
                preference: 0,
                exchange: domain.to_ascii_lowercase(),
            };
            Ok((vec![implicit], true))
        }
        Err(Error::NoSuchName) => failed(Status::new(5, 1, 2), format!("{domain} does not exist")),
        Err(error @ Error::Temporary(_)) => {
            let text = format!("{domain}: {error}");
            Err(Outcome::Deferred(Status::new(4, 4, 3), text))
        }
    }
}

/// Sorts by preference, equals at random: a shuffle (Fisher and Yates) before a stable sort.
fn order(exchangers: &mut [Mx], random: &mut (dyn FnMut(usize) -> usize + Send)) {
    for last in (1..exchangers.len()).rev() {
        exchangers.swap(last, random(last + 1).min(last));
    }
    exchangers.sort_by_key(|mx| mx.preference);
}

/// RFC 5321 §5.1: where one of them is ourselves, those that are no better are dropped. Others hand the mail on to us;
/// to hand it back would make it go round.
fn keep_better_than_ourselves(exchangers: &mut Vec<Mx>, ourselves: &Ourselves) {
    let own = exchangers
        .iter()
        .filter(|mx| ourselves.is_named(&mx.exchange));
    if let Some(own) = own.map(|mx| mx.preference).min() {
        exchangers.retain(|mx| mx.preference < own);
    }
}

/// IPv6 and IPv4 in turn, so that a broken family costs one attempt; without those that lead nowhere.
fn in_turn(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = addresses
        .into_iter()
        .filter(|address| !address.is_unspecified() && !address.is_multicast())
        .partition(IpAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    std::iter::repeat_with(|| [v6.next(), v4.next()])
        .take_while(|pair| pair.iter().any(Option::is_some))
        .flatten()
        .flatten()
        .take(ADDRESSES_MAX)
        .collect()
}

/// `address-literal` of RFC 5321 §4.1.3.
fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[')?.strip_suffix(']')?;
    match inner
        .get(..5)
        .filter(|tag| tag.eq_ignore_ascii_case("IPv6:"))
    {
        Some(_) => inner.get(5..)?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn at_literal(
    domain: &str,
    address: IpAddr,
    ourselves: &Ourselves,
) -> Result<Vec<NextHop>, Outcome> {
    if ourselves.is_at(address) {
        return Err(nowhere(domain, true, None));
    }
    let addresses = in_turn(vec![address]);
    if addresses.is_empty() {
        return Err(nowhere(domain, false, None));
    }
    Ok(vec![NextHop {
        host: domain.to_owned(),
        addresses,
        domain: None,
        secure: false,
    }])
}

/// A host that may come back says more than one that does not exist.
fn worst(one: Error, other: Error) -> Error {
    match (&one, &other) {
        (Error::Temporary(_), _) => one,
        _ => other,
    }
}

/// Why no server is left.
fn nowhere(domain: &str, looped: bool, failure: Option<Error>) -> Outcome {
    match failure {
        Some(error @ Error::Temporary(_)) => {
            Outcome::Deferred(Status::new(4, 4, 3), format!("{domain}: {error}"))
        }
        _ if looped => {
            let text = format!("mail for {domain} loops back to this server");
            Outcome::Failed(Status::new(5, 4, 6), text)
        }
        _ => {
            let text = format!("no server of {domain} has an address");
            Outcome::Failed(Status::new(5, 4, 4), text)
        }
    }
}

#[cfg(test)]
mod tests;
