//! Certificates and a client for the tests of this module.

use super::{DomainOptions, KeyPair, Options, Version};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, NamedGroup, SignatureScheme};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A folder of PEM files.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A self-signed ECDSA certificate for `names`, in `STEM.pem` and `STEM.key`.
    pub fn pair(&self, stem: &str, names: &[&str]) -> KeyPair {
        let (certificate, key) = self_signed(&rcgen::PKCS_ECDSA_P256_SHA256, names);
        KeyPair {
            certificate: self.write(&format!("{stem}.pem"), certificate),
            private_key: self.write(&format!("{stem}.key"), key.serialize_pem()),
        }
    }

    /// A domain that shows a certificate for `names`.
    pub fn domain(&self, domain: &str, names: &[&str]) -> DomainOptions {
        DomainOptions {
            domain: domain.to_owned(),
            key_pair: self.pair(domain, names),
            versions: None,
        }
    }
}

/// A certificate in PEM, and its key.
pub fn self_signed(
    algorithm: &'static rcgen::SignatureAlgorithm,
    names: &[&str],
) -> (String, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let parameters = rcgen::CertificateParams::new(names).unwrap();
    (parameters.self_signed(&key).unwrap().pem(), key)
}

pub fn options(root: Option<KeyPair>, domains: Vec<DomainOptions>) -> Options {
    Options {
        versions: vec![Version::Tls12, Version::Tls13],
        cipher_suites: Vec::new(),
        preempt_cipherlist: false,
        handshake_timeout: Duration::from_secs(5),
        root,
        domains,
    }
}

/// A client that takes any certificate.
pub fn client(versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth()
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Offers the session of one server name to every other, as an attacker would.
#[derive(Debug)]
pub struct Anywhere(ClientSessionMemoryCache);

impl Default for Anywhere {
    fn default() -> Self {
        Self(ClientSessionMemoryCache::new(8))
    }
}

fn anywhere() -> ServerName<'static> {
    ServerName::try_from("anywhere.example").unwrap()
}

impl ClientSessionStore for Anywhere {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(anywhere(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&anywhere())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.0.set_tls12_session(anywhere(), session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&anywhere())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&anywhere());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(anywhere(), ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&anywhere())
    }
}
