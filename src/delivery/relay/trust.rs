//! Whom to believe to be who they say they are: the client's side of TLS.

use super::dane;
use crate::dns::Tlsa;
use crate::mail::TlsSession;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use std::path::Path;
use std::sync::Arc;

/// How the certificate of a server is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verification {
    /// Not at all: TLS against those who only listen (RFC 7435).
    None,
    /// By name, against the authorities of the system.
    Authorities,
    /// By name, against the authorities for hosts that an operator named.
    Named,
    /// Against TLSA records, all of them usable, for a mail exchanger of this domain.
    Dane(Vec<Tlsa>, Option<String>),
}

/// Why no trust can be had.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The system names no authority that can be read. The text says what was wrong with them.
    #[error("no certificate authority of the system can be read: {0}")]
    NoAuthorities(String),
    /// The TLS library refuses its own defaults.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why a file names no authorities.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// It cannot be read, or not as PEM.
    #[error("{0}")]
    Unreadable(pem::Error),
    /// It holds no certificate.
    #[error("holds no certificate")]
    Empty,
    /// One of its certificates can be nobody's authority.
    #[error("holds a certificate that cannot be used: {0}")]
    Unfit(rustls::Error),
}

/// The authorities whose certificates stand in the PEM file at `path`.
///
/// # Errors
/// There are none, or one of them cannot be used.
pub fn authorities(path: &Path) -> Result<RootCertStore, AuthoritiesError> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(AuthoritiesError::Unreadable)?;
    for certificate in certificates {
        let certificate = certificate.map_err(AuthoritiesError::Unreadable)?;
        roots.add(certificate).map_err(AuthoritiesError::Unfit)?;
    }
    match roots.is_empty() {
        true => Err(AuthoritiesError::Empty),
        false => Ok(roots),
    }
}

/// The authorities that we trust, and the configurations made from them.
#[derive(Clone, Debug)]
pub struct Trust {
    provider: Arc<CryptoProvider>,
    unverified: Arc<ClientConfig>,
    verified: Arc<ClientConfig>,
    named: Arc<ClientConfig>,
}

impl Trust {
    /// Trusts the authorities of the system.
    ///
    /// # Errors
    /// There are none, or they cannot be read.
    pub fn system() -> Result<Self, TrustError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            return Err(TrustError::NoAuthorities(errors.join("; ")));
        }
        Self::new(roots)
    }

    /// Trusts `authorities`, and nobody else.
    ///
    /// # Errors
    /// [`TrustError::Tls`].
    pub fn new(authorities: RootCertStore) -> Result<Self, TrustError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
        };
        let unverified = builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(Arc::clone(&provider))))
            .with_no_client_auth();
        let verified = builder()?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        let verified = Arc::new(verified);
        Ok(Self {
            unverified: Arc::new(unverified),
            named: Arc::clone(&verified),
            verified,
            provider,
        })
    }

    /// Believes `authorities`, and nobody else, of hosts that an operator named. What the world says of itself (MTA-STS)
    /// is verified as before.
    ///
    /// # Errors
    /// [`TrustError::Tls`].
    pub fn with_named(self, authorities: RootCertStore) -> Result<Self, TrustError> {
        let Self { verified, .. } = Self::new(authorities)?;
        Ok(Self {
            named: verified,
            ..self
        })
    }

    /// What a handshake is made with.
    pub(super) fn config(
        &self,
        verification: &Verification,
    ) -> Result<Arc<ClientConfig>, rustls::Error> {
        Ok(match verification {
            Verification::None => Arc::clone(&self.unverified),
            Verification::Authorities => Arc::clone(&self.verified),
            Verification::Named => Arc::clone(&self.named),
            Verification::Dane(records, domain) => {
                let domain = domain
                    .clone()
                    .and_then(|name| ServerName::try_from(name).ok());
                let provider = Arc::clone(&self.provider);
                let verifier = dane::Verifier::new(records.clone(), domain, provider);
                let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
                    .with_safe_default_protocol_versions()?
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier))
                    .with_no_client_auth();
                Arc::new(config)
            }
        })
    }
}

/// What a handshake settled.
pub(super) fn settled(connection: &ClientConnection) -> TlsSession {
    let suite = connection.negotiated_cipher_suite();
    TlsSession {
        version: match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "unknown",
        }
        .into(),
        cipher: suite
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or("unknown")
            .into(),
        sni: None,
    }
}

/// Believes everybody. Even the signature of the handshake is not looked at: one that fails would only make the message
/// go out in clear.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
