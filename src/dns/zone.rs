//! The whole DNS in memory, for tests.

use super::{Answer, Error, Lookup, Mx, Resolver, Tlsa};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

/// Aliases that are followed.
const ALIASES_MAX: usize = 8;

/// Answers from what was put in, and from nothing else.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    names: BTreeMap<String, Records>,
    pointers: HashMap<IpAddr, Vec<String>>,
    secure: Vec<String>,
    broken: HashSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Records {
    alias: Option<String>,
    mx: Vec<Mx>,
    addresses: Vec<IpAddr>,
    txt: Vec<String>,
    tlsa: Vec<Tlsa>,
}

impl Zone {
    /// Adds an MX record; `exchange` is `.` for a null MX.
    pub fn with_mx(mut self, domain: &str, preference: u16, exchange: &str) -> Self {
        self.at(domain).mx.push(Mx {
            preference,
            exchange: canonical(exchange),
        });
        self
    }

    /// Adds an A or AAAA record.
    pub fn with_address(mut self, host: &str, address: impl Into<IpAddr>) -> Self {
        self.at(host).addresses.push(address.into());
        self
    }

    /// Adds a TXT record.
    pub fn with_txt(mut self, name: &str, text: &str) -> Self {
        self.at(name).txt.push(text.to_owned());
        self
    }

    /// Adds a TLSA record.
    pub fn with_tlsa(mut self, name: &str, record: Tlsa) -> Self {
        self.at(name).tlsa.push(record);
        self
    }

    /// Adds a PTR record.
    pub fn with_ptr(mut self, address: impl Into<IpAddr>, name: &str) -> Self {
        let names = self.pointers.entry(address.into()).or_default();
        names.push(canonical(name));
        self
    }

    /// Makes `alias` another name of `target`.
    pub fn with_cname(mut self, alias: &str, target: &str) -> Self {
        self.at(alias).alias = Some(canonical(target));
        self
    }

    /// Signs `name` and everything below it.
    pub fn secure(mut self, name: &str) -> Self {
        self.secure.push(canonical(name));
        self
    }

    /// Nobody answers for `name`.
    pub fn broken(mut self, name: &str) -> Self {
        self.broken.insert(canonical(name));
        self
    }

    fn at(&mut self, name: &str) -> &mut Records {
        self.names.entry(canonical(name)).or_default()
    }

    fn is_secure(&self, name: &str) -> bool {
        self.secure.iter().any(|apex| {
            name.strip_suffix(apex.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.') || apex.is_empty())
        })
    }

    fn lookup<T: Clone>(
        &self,
        name: &str,
        of: impl Fn(&Records) -> &Vec<T>,
    ) -> Result<Answer<T>, Error> {
        let mut name = canonical(name);
        let mut secure = true;
        for _ in 0..ALIASES_MAX {
            if self.broken.contains(&name) {
                return Err(Error::Temporary(format!("no server for {name}")));
            }
            secure &= self.is_secure(&name);
            let Some(records) = self.names.get(&name) else {
                let below = format!(".{name}");
                let exists = self.names.keys().any(|other| other.ends_with(&below));
                return Err(if exists {
                    Error::NoRecords
                } else {
                    Error::NoSuchName
                });
            };
            match &records.alias {
                Some(target) => name.clone_from(target),
                None if of(records).is_empty() => return Err(Error::NoRecords),
                None => {
                    let records = of(records).clone();
                    return Ok(Answer { records, secure });
                }
            }
        }
        Err(Error::Temporary(format!("aliases without end at {name}")))
    }
}

impl Resolver for Zone {
    fn mx<'a>(&'a self, domain: &'a str) -> Lookup<'a, Mx> {
        Box::pin(async move { self.lookup(domain, |records| &records.mx) })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Lookup<'a, IpAddr> {
        Box::pin(async move { self.lookup(host, |records| &records.addresses) })
    }

    fn txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String> {
        Box::pin(async move { self.lookup(name, |records| &records.txt) })
    }

    fn tlsa<'a>(&'a self, name: &'a str) -> Lookup<'a, Tlsa> {
        Box::pin(async move { self.lookup(name, |records| &records.tlsa) })
    }

    fn ptr(&self, address: IpAddr) -> Lookup<'_, String> {
        Box::pin(async move {
            let records = self
                .pointers
                .get(&address)
                .cloned()
                .ok_or(Error::NoSuchName)?;
            let secure = false;
            Ok(Answer { records, secure })
        })
    }
}

fn canonical(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    name.strip_suffix('.').unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_from_what_was_put_in() {
        let zone = Zone::default()
            .with_mx("Example.ORG", 10, "MX.example.org.")
            .with_address("mx.example.org", [192, 0, 2, 1])
            .with_cname("www.example.org", "mx.example.org")
            .with_cname("loop.example", "loop.example")
            .broken("broken.example")
            .secure("example.org");
        let mx = zone.mx("example.org.").await.unwrap();
        assert_eq!(mx.records[0].exchange, "mx.example.org");
        assert!(mx.secure);
        assert!(zone.addresses("www.example.org").await.unwrap().secure);
        assert_eq!(zone.txt("example.org").await, Err(Error::NoRecords));
        assert_eq!(zone.mx("org").await, Err(Error::NoRecords));
        assert_eq!(zone.mx("example.net").await, Err(Error::NoSuchName));
        for name in ["broken.example", "loop.example"] {
            assert!(
                matches!(zone.mx(name).await, Err(Error::Temporary(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn security_ends_at_the_zone() {
        let zone = Zone::default().secure("example.org");
        assert!(zone.is_secure("a.example.org") && zone.is_secure("example.org"));
        assert!(!zone.is_secure("badexample.org") && !zone.is_secure("org"));
        assert!(Zone::default().secure(".").is_secure("org"));
    }
}
