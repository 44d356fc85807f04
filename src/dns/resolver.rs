//! What can be asked of the DNS, and what comes back.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

/// An answer under way.
pub type Lookup<'a, T> = Pin<Box<dyn Future<Output = Result<Answer<T>, Error>> + Send + 'a>>;

/// Asks the DNS. Names are absolute, with or without a dot at their end: no search list is ever applied. Aliases
/// (CNAME) are followed.
pub trait Resolver: Send + Sync {
    /// Who takes mail for `domain`, in no order.
    fn mx<'a>(&'a self, domain: &'a str) -> Lookup<'a, Mx>;

    /// The addresses of `host`, both families.
    fn addresses<'a>(&'a self, host: &'a str) -> Lookup<'a, IpAddr>;

    /// The texts at `name`, each with its strings joined.
    fn txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String>;

    /// The certificate associations at `name` (RFC 6698).
    fn tlsa<'a>(&'a self, name: &'a str) -> Lookup<'a, Tlsa>;

    /// The names of `address`.
    fn ptr(&self, address: IpAddr) -> Lookup<'_, String>;
}

/// Records, of which there is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// The records.
    pub records: Vec<T>,
    /// Whether every record, aliases included, was validated by DNSSEC from the root down.
    pub secure: bool,
}

/// An MX record (RFC 5321 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mx {
    /// The lower the better.
    pub preference: u16,
    /// In lower case, without a dot at its end; empty: the root, which means "no mail" (RFC 7505).
    pub exchange: String,
}

/// A TLSA record (RFC 6698 §2.1), its numbers as they stand on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlsa {
    /// 2 DANE-TA, 3 DANE-EE; 0 and 1 are of no use to SMTP (RFC 7672 §3.1.3).
    pub usage: u8,
    /// 0 the certificate, 1 its public key.
    pub selector: u8,
    /// 0 the octets themselves, 1 their SHA-256, 2 their SHA-512.
    pub matching: u8,
    /// What to compare with.
    pub data: Vec<u8>,
}

/// Why there is no answer. The first two are answers in their way: they do not change when asked again soon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name does not exist (NXDOMAIN), or can be no name at all.
    #[error("no such domain name")]
    NoSuchName,
    /// The name exists and has no record of this type.
    #[error("no record of this type")]
    NoRecords,
    /// Nobody knows now: no server answered, one failed, or DNSSEC found the answer forged. How it went is for the log.
    #[error("the DNS gives no answer now: {0}")]
    Temporary(String),
}

impl Error {
    /// Of two questions about one name that both failed, what is known of the name.
    pub(super) fn both(self, other: Self) -> Self {
        match (self, other) {
            (temporary @ Self::Temporary(_), _) | (_, temporary @ Self::Temporary(_)) => temporary,
            (Self::NoSuchName, Self::NoSuchName) => Self::NoSuchName,
            _ => Self::NoRecords,
        }
    }
}
