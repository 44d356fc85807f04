//! The service extensions that EHLO lists (RFC 5321 §2.2).

use super::sasl::Mechanism;
use std::fmt;

/// An extension, as its line in the reply to EHLO has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extension {
    /// RFC 2920: commands in groups.
    Pipelining,
    /// RFC 1870: the octets that a message may have.
    Size(u64),
    /// RFC 3207.
    StartTls,
    /// RFC 4954, with the mechanisms that can be used now.
    Auth(Vec<Mechanism>),
    /// RFC 2034.
    EnhancedStatusCodes,
    /// RFC 6152.
    EightBitMime,
    /// RFC 3461.
    Dsn,
    /// RFC 6531.
    SmtpUtf8,
}

/// The extensions of a server that takes messages of `message_size` octets, with `starttls` can still be asked for TLS,
/// and lets clients authenticate by `mechanisms`.
pub(super) fn offered(
    message_size: u64,
    starttls: bool,
    mechanisms: Vec<Mechanism>,
) -> impl Iterator<Item = Extension> {
    [
        Extension::Pipelining,
        Extension::Size(message_size),
        Extension::StartTls,
        Extension::Auth(mechanisms),
        Extension::EnhancedStatusCodes,
        Extension::EightBitMime,
        Extension::Dsn,
        Extension::SmtpUtf8,
    ]
    .into_iter()
    .filter(move |extension| match extension {
        Extension::StartTls => starttls,
        Extension::Auth(mechanisms) => !mechanisms.is_empty(),
        _ => true,
    })
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipelining => f.write_str("PIPELINING"),
            Self::Size(octets) => write!(f, "SIZE {octets}"),
            Self::StartTls => f.write_str("STARTTLS"),
            Self::Auth(mechanisms) => {
                f.write_str("AUTH")?;
                mechanisms
                    .iter()
                    .try_for_each(|mechanism| write!(f, " {}", mechanism.name()))
            }
            Self::EnhancedStatusCodes => f.write_str("ENHANCEDSTATUSCODES"),
            Self::EightBitMime => f.write_str("8BITMIME"),
            Self::Dsn => f.write_str("DSN"),
            Self::SmtpUtf8 => f.write_str("SMTPUTF8"),
        }
    }
}
