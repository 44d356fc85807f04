//! What can be wrong with the certificates of a configuration, each with whose setting is to blame.

use super::KeyPair;
use std::io;
use std::path::PathBuf;

/// The setting that an [`Error`] or a [`Warning`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// [`KeyPair::certificate`]
    Certificate,
    /// [`KeyPair::private_key`]
    PrivateKey,
    /// `cipher_suite`
    CipherSuite,
    /// `protocol_version`
    ProtocolVersion,
}

/// Why nothing can be served with what was configured.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct Error {
    /// Whose setting; `None`: that of the server itself.
    pub domain: Option<String>,
    /// Which setting.
    pub key: Key,
    /// What is wrong with it.
    #[source]
    pub fault: Fault,
}

/// What can be wrong with a certificate, its key, or the two together.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file is missing, or may not be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is larger than any chain or key.
    #[error("{} is too large to be a PEM file", .0.display())]
    TooLarge(PathBuf),
    /// The file is no PEM.
    #[error("{} is not a valid PEM file: {error}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        error: String,
    },
    /// The file has no `CERTIFICATE` section.
    #[error("no certificate in {}", .0.display())]
    NoCertificate(PathBuf),
    /// The first certificate is not X.509.
    #[error("the certificate in {} is malformed", .0.display())]
    MalformedCertificate(PathBuf),
    /// The file has no private key section.
    #[error("no private key in {}", .0.display())]
    NoKey(PathBuf),
    /// The key is protected by a passphrase, which nobody is there to type.
    #[error("the private key in {} is encrypted", .0.display())]
    EncryptedKey(PathBuf),
    /// Neither RSA, nor ECDSA on a NIST curve, nor Ed25519; or damaged.
    #[error("the private key in {} is of no supported kind", .0.display())]
    UnsupportedKey(PathBuf),
    /// The key is that of another certificate.
    #[error("the private key in {} does not belong to the certificate in {}", .0.private_key.display(), .0.certificate.display())]
    Mismatch(KeyPair),
    /// rustls does not have this suite.
    #[error("the cipher suite {0:?} is not supported")]
    UnsupportedSuite(rustls::CipherSuite),
    /// No suite of those allowed exists in the versions allowed.
    #[error("no allowed cipher suite works with an allowed protocol version")]
    NothingToNegotiate,
}

impl Fault {
    /// What the operator should do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                "correct the path, or put the file there"
            }
            Self::Unreadable { .. } => "let the user that starts vsmtp read it",
            Self::TooLarge(_) | Self::Pem { .. } | Self::NoCertificate(_) => {
                "name a PEM file that holds the chain, the server's own certificate first"
            }
            Self::MalformedCertificate(_) => "have the certificate issued again",
            Self::NoKey(_) => {
                "name a PEM file that holds the key of the certificate (PKCS#8, PKCS#1 or SEC1)"
            }
            Self::EncryptedKey(_) => {
                "decrypt it (`openssl pkey -in KEY -out NEW`) and protect the file by its permissions"
            }
            Self::UnsupportedKey(_) => "use an RSA (2048 bits or more), ECDSA or Ed25519 key",
            Self::Mismatch(_) => {
                "name the key that the certificate was issued for; the first certificate of the file counts"
            }
            Self::UnsupportedSuite(_) => "remove it from the list",
            Self::NothingToNegotiate => "add a suite of that version, or allow the other version",
        }
    }
}

/// What is odd about a certificate that is served all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{oddity}")]
pub struct Warning {
    /// Whose certificate; `None`: the root one.
    pub domain: Option<String>,
    /// What about it.
    pub oddity: Oddity,
}

/// See [`Warning`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Oddity {
    /// Its time is over: clients that check will refuse it.
    #[error("the certificate in {} expired on {until}", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// The end of its validity.
        until: String,
    },
    /// Its time has not come, or the clock of this machine is wrong.
    #[error("the certificate in {} is valid from {from} only", path.display())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// The beginning of its validity.
        from: String,
    },
    /// Clients that ask for the domain and check the name will refuse it.
    #[error("the certificate in {} does not name {domain}", path.display())]
    OtherName {
        /// The file.
        path: PathBuf,
        /// The domain that it was configured for.
        domain: String,
    },
}

impl Oddity {
    /// What the operator may do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "renew it",
            Self::NotYetValid { .. } => "check the clock",
            Self::OtherName { .. } => {
                "have the name added to the certificate if clients connect to this name"
            }
        }
    }
}
