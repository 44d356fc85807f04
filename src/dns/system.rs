//! The resolver of the daemon, over hickory.

use super::{Answer, Error, Lookup, Mx, Options, Resolver, Source, Tlsa};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::net::{IpAddr, Ipv4Addr};

/// Asks the servers of the configuration, and remembers what they said.
///
/// An [`Answer`] is secure only when the resolver validates by itself (`ResolverOpts::validate`); what a server claims to
/// have validated is not believed, since nothing protects the way from there.
#[derive(Clone, Debug)]
pub struct System {
    resolver: TokioResolver,
}

impl System {
    /// Asks through `resolver`.
    pub const fn new(resolver: TokioResolver) -> Self {
        Self { resolver }
    }

    /// Asks as `options` say. A machine without resolv.conf asks itself, as resolv.conf(5) has it.
    ///
    /// # Errors
    /// There is something in the options that the resolver cannot do.
    pub fn start(options: &Options) -> Result<Self, Box<NetError>> {
        let resolver = options.resolver().or_else(|error| {
            tracing::warn!(%error, "no resolver is configured: the one at 127.0.0.1 is asked (server.dns)");
            let here = Options {
                source: Source::Custom,
                name_servers: vec![(Ipv4Addr::LOCALHOST, 53).into()],
                ..options.clone()
            };
            here.resolver().map_err(Box::new)
        })?;
        Ok(Self::new(resolver))
    }

    /// The records of type `record_type` at `name` as `read` understands them.
    async fn lookup<T>(
        &self,
        name: Name,
        record_type: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Answer<T>, Error> {
        let lookup = self.resolver.lookup(name, record_type).await;
        let lookup = lookup.map_err(|error| classify(&error))?;
        let answers = lookup.answers();
        let records: Vec<T> = answers.iter().filter_map(|r| read(&r.data)).collect();
        if records.is_empty() {
            return Err(Error::NoRecords);
        }
        let relevant = [record_type, RecordType::CNAME];
        let secure = answers
            .iter()
            .filter(|record| relevant.contains(&record.record_type()))
            .all(|record| record.proof == Proof::Secure);
        Ok(Answer { records, secure })
    }

    async fn of_family(&self, name: Name, family: RecordType) -> Result<Answer<IpAddr>, Error> {
        self.lookup(name, family, |data| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
        .await
    }
}

impl Resolver for System {
    fn mx<'a>(&'a self, domain: &'a str) -> Lookup<'a, Mx> {
        Box::pin(async move {
            self.lookup(absolute(domain)?, RecordType::MX, |data| match data {
                RData::MX(mx) => Some(Mx {
                    preference: mx.preference,
                    exchange: relative(&mx.exchange),
                }),
                _ => None,
            })
            .await
        })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Lookup<'a, IpAddr> {
        Box::pin(async move {
            let name = absolute(host)?;
            match self.resolver.options().ip_strategy {
                LookupIpStrategy::Ipv4Only => self.of_family(name, RecordType::A).await,
                LookupIpStrategy::Ipv6Only => self.of_family(name, RecordType::AAAA).await,
                _ => {
                    let (v6, v4) = tokio::join!(
                        self.of_family(name.clone(), RecordType::AAAA),
                        self.of_family(name.clone(), RecordType::A)
                    );
                    joined(v6, v4)
                }
            }
        })
    }

    fn txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String> {
        Box::pin(async move {
            self.lookup(absolute(name)?, RecordType::TXT, |data| match data {
                RData::TXT(txt) => {
                    let octets = txt.txt_data.concat();
                    Some(String::from_utf8_lossy(&octets).into_owned())
                }
                _ => None,
            })
            .await
        })
    }

    fn tlsa<'a>(&'a self, name: &'a str) -> Lookup<'a, Tlsa> {
        Box::pin(async move {
            self.lookup(absolute(name)?, RecordType::TLSA, |data| match data {
                RData::TLSA(tlsa) => Some(Tlsa {
                    usage: tlsa.cert_usage.into(),
                    selector: tlsa.selector.into(),
                    matching: tlsa.matching.into(),
                    data: tlsa.cert_data.clone(),
                }),
                _ => None,
            })
            .await
        })
    }

    fn ptr(&self, address: IpAddr) -> Lookup<'_, String> {
        Box::pin(async move {
            self.lookup(Name::from(address), RecordType::PTR, |data| match data {
                RData::PTR(name) => Some(relative(name)),
                _ => None,
            })
            .await
        })
    }
}

/// What both families have. One that fails does not spoil the other.
fn joined(
    one: Result<Answer<IpAddr>, Error>,
    other: Result<Answer<IpAddr>, Error>,
) -> Result<Answer<IpAddr>, Error> {
    match (one, other) {
        (Ok(mut one), Ok(other)) => {
            one.records.extend(other.records);
            one.secure &= other.secure;
            Ok(one)
        }
        (Ok(answer), Err(_)) | (Err(_), Ok(answer)) => Ok(answer),
        (Err(one), Err(other)) => Err(one.both(other)),
    }
}

/// A name that no search list is applied to. Labels outside ASCII are asked for in their A-label form (RFC 5890).
fn absolute(name: &str) -> Result<Name, Error> {
    let mut name = Name::from_utf8(name).map_err(|_| Error::NoSuchName)?;
    name.set_fqdn(true);
    Ok(name)
}

fn relative(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

fn classify(error: &NetError) -> Error {
    let of_code = |code| match code {
        ResponseCode::NXDomain => Some(Error::NoSuchName),
        ResponseCode::NoError => Some(Error::NoRecords),
        _ => None,
    };
    let known = match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => of_code(none.response_code),
        NetError::Dns(DnsError::Nsec { response, .. }) => of_code(response.response_code),
        _ => None,
    };
    known.unwrap_or_else(|| Error::Temporary(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::net::NoRecords;
    use hickory_resolver::proto::op::Query;

    #[test]
    fn errors_are_told_apart() {
        let query = || Query::query(Name::root(), RecordType::MX);
        for (error, expected) in [
            (
                NoRecords::new(query(), ResponseCode::NXDomain).into(),
                Error::NoSuchName,
            ),
            (
                NoRecords::new(query(), ResponseCode::NoError).into(),
                Error::NoRecords,
            ),
        ] {
            assert_eq!(classify(&error), expected);
        }
        for error in [
            NoRecords::new(query(), ResponseCode::ServFail).into(),
            NetError::Timeout,
            NetError::Dns(DnsError::DnssecBogus),
            NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)),
        ] {
            assert!(matches!(classify(&error), Error::Temporary(_)), "{error}");
        }
    }

    #[test]
    fn names_are_absolute() {
        assert!(absolute("example.com").unwrap().is_fqdn());
        assert_eq!(
            relative(&absolute("MX.Example.COM.").unwrap()),
            "mx.example.com"
        );
        assert_eq!(
            relative(&absolute("b\u{fc}cher.example").unwrap()),
            "xn--bcher-kva.example"
        );
        assert_eq!(relative(&Name::root()), "");
        assert_eq!(absolute(&"x".repeat(64)), Err(Error::NoSuchName));
    }

    #[test]
    fn one_family_does_not_spoil_the_other() {
        let answer = |address: &str, secure| {
            let records = vec![address.parse().unwrap()];
            Ok(Answer { records, secure })
        };
        let failure = || Err(Error::Temporary("timeout".to_owned()));
        assert_eq!(
            joined(failure(), answer("192.0.2.1", true)),
            answer("192.0.2.1", true)
        );
        let both = joined(answer("2001:db8::1", true), answer("192.0.2.1", false)).unwrap();
        assert_eq!((both.records.len(), both.secure), (2, false));
        assert_eq!(joined(Err(Error::NoRecords), failure()), failure());
        assert_eq!(
            joined(Err(Error::NoRecords), Err(Error::NoSuchName)),
            Err(Error::NoRecords)
        );
    }
}
