//! Certificates by server name, and the rustls configurations that show them.
//!
//! Everything that a handshake needs is read, checked and built by [`Tls::load`]; a handshake reads no file and builds
//! nothing. What was loaded stands behind one atomic pointer, so that it can be replaced as a whole while handshakes run.
//!
//! Which certificate a client sees, by the server name that it asks for (RFC 6066 §3), compared without case and without
//! a trailing dot:
//!
//! 1. that of the domain of this name, when the domain has one of its own;
//! 2. that of the domain whose certificate names it (a wildcard stands for exactly one label, RFC 6125 §6.4.3);
//! 3. the root certificate, also when no name was given;
//! 4. none: the handshake is refused with the alert `unrecognized_name`.
//!
//! Invariants: nothing older than TLS 1.2 (RFC 8996); a session ticket is good for the name that it was given to only.

mod certificate;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod handshake;
mod table;

pub use error::{Error, Fault, Key, Oddity, Warning};
pub use handshake::{Failure, HandshakeError};
pub use tokio_rustls::server::TlsStream;

use arc_swap::ArcSwap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use table::Table;

/// A protocol version that may be negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Where a certificate chain and its key are (PEM). Both may be in one file, in any order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyPair {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The key of the leaf: PKCS#8, PKCS#1 or SEC1.
    pub private_key: PathBuf,
}

/// What one domain shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainOptions {
    /// The domain, in lower case.
    pub domain: String,
    /// Its certificate.
    pub key_pair: KeyPair,
    /// Instead of [`Options::versions`].
    pub versions: Option<Vec<Version>>,
}

/// `server.tls`, and the `tls` of each domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `protocol_version`
    pub versions: Vec<Version>,
    /// `cipher_suite`, in order of preference; empty: what rustls holds safe.
    pub cipher_suites: Vec<rustls::CipherSuite>,
    /// `preempt_cipherlist`: our order wins.
    pub preempt_cipherlist: bool,
    /// `handshake_timeout`, from the first octet that may be TLS to the end of the handshake.
    pub handshake_timeout: Duration,
    /// Shown when nothing else fits.
    pub root: Option<KeyPair>,
    /// One entry a domain that has `tls`.
    pub domains: Vec<DomainOptions>,
}

/// Every certificate, behind an atomic swap.
pub struct Tls {
    table: ArcSwap<Table>,
}

impl Options {
    /// Every file that [`Tls::load`] reads.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let pairs = self.domains.iter().map(|domain| &domain.key_pair);
        pairs
            .chain(&self.root)
            .flat_map(|pair| [pair.certificate.as_path(), pair.private_key.as_path()])
    }
}

impl Tls {
    /// Reads and checks every file. All errors at once; warnings (an expired certificate, one that does not name its
    /// domain) stop nothing.
    pub fn load(options: &Options) -> Result<(Arc<Self>, Vec<Warning>), Vec<Error>> {
        let (table, warnings) = Table::load(options)?;
        let table = ArcSwap::from_pointee(table);
        Ok((Arc::new(Self { table }), warnings))
    }

    /// Reads every file again, for the handshakes that begin from now on.
    ///
    /// # Errors
    ///
    /// As [`Tls::load`]; what was loaded before stays, so that a certificate that is replaced before its key is shown
    /// only when both fit.
    pub fn reload(&self, options: &Options) -> Result<Vec<Warning>, Vec<Error>> {
        let (table, warnings) = Table::load(options)?;
        self.table.store(Arc::new(table));
        Ok(warnings)
    }

    /// No certificate at all: STARTTLS is not offered.
    pub fn is_empty(&self) -> bool {
        self.table.load().is_empty()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
