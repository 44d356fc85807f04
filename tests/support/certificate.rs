//! Certificates made on the spot, with each kind of key in each spelling.

use super::program::run;
use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A key, and how its PEM file spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    RsaPkcs1,
    RsaPkcs8,
    EcSec1,
    EcPkcs8,
    Ed25519,
}

/// A self-signed certificate with its key.
pub struct Certificate {
    params: CertificateParams,
    key: KeyPair,
    kind: KeyKind,
}

impl Certificate {
    /// For `names`; the first becomes the common name of the subject. The key is EC, as PKCS#8.
    pub fn new(names: &[&str]) -> Self {
        Self::with_key(names, KeyKind::EcPkcs8)
    }

    /// RSA PKCS#1 and EC SEC1 need the program openssl.
    pub fn with_key(names: &[&str], kind: KeyKind) -> Self {
        let key = match kind {
            KeyKind::RsaPkcs1 | KeyKind::RsaPkcs8 => KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256),
            KeyKind::EcSec1 | KeyKind::EcPkcs8 => {
                KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            }
            KeyKind::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
        }
        .unwrap();
        let all: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(all).unwrap();
        params.distinguished_name.push(DnType::CommonName, names[0]);
        Self { params, key, kind }
    }

    pub fn pem(&self) -> String {
        self.params.self_signed(&self.key).unwrap().pem()
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Of the public key as the certificate holds it.
    pub fn key_digest(&self) -> Vec<u8> {
        let key = self.key.subject_public_key_info();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key);
        digest.as_ref().to_vec()
    }

    /// Writes `NAME.pem` and `NAME.key` into `folder` and returns their paths.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        std::fs::create_dir_all(folder).unwrap();
        let certificate = folder.join(format!("{name}.pem"));
        let key = folder.join(format!("{name}.key"));
        std::fs::write(&certificate, self.pem()).unwrap();
        std::fs::write(&key, self.key_pem()).unwrap();
        let (subcommand, first_line) = match self.kind {
            KeyKind::RsaPkcs1 => ("rsa", "-----BEGIN RSA PRIVATE KEY-----"),
            KeyKind::EcSec1 => ("ec", "-----BEGIN EC PRIVATE KEY-----"),
            _ => return (certificate, key),
        };
        let mut convert = Command::new("openssl");
        convert.arg(subcommand).arg("-in").arg(&key);
        if subcommand == "rsa" {
            convert.arg("-traditional");
        }
        let pem = run(&mut convert, "").success();
        assert!(pem.starts_with(first_line), "{pem}");
        std::fs::write(&key, pem).unwrap();
        (certificate, key)
    }
}
