//! One certificate chain and its key: read from PEM (RFC 7468), checked, ready to be shown.

use super::{Fault, Key, KeyPair, Oddity};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// More than any chain or key has. A device or a log file given by mistake is not read to its end.
const FILE_SIZE_MAX: u64 = 1024 * 1024;

/// A chain and its key, ready to be shown, and what it says of itself.
#[derive(Debug)]
pub(super) struct Certificate {
    pub certified: Arc<CertifiedKey>,
    /// The DNS names of the SAN extension, lower case, wildcards as `*.parent`.
    pub names: Vec<String>,
    /// Expiry and the like; what depends on the domain is added by the caller.
    pub oddities: Vec<Oddity>,
}

/// Reads and checks both files; every fault that can be known, with the setting to blame.
pub(super) fn read(
    pair: &KeyPair,
    provider: &CryptoProvider,
) -> Result<Certificate, Vec<(Key, Fault)>> {
    let chain = read_chain(&pair.certificate).map_err(|fault| (Key::Certificate, fault));
    let key = read_key(&pair.private_key, provider).map_err(|fault| (Key::PrivateKey, fault));
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
    };
    let malformed = || {
        let path = pair.certificate.clone();
        vec![(Key::Certificate, Fault::MalformedCertificate(path))]
    };
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // Unknown: the key cannot tell its public half; nothing speaks against it then.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(vec![(Key::PrivateKey, Fault::Mismatch(pair.clone()))]);
        }
        Err(_) => return Err(malformed()),
    }
    let (names, oddities) = certified
        .cert
        .first()
        .and_then(|leaf| X509Certificate::from_der(leaf).ok())
        .map(|(_, leaf)| (dns_names(&leaf), validity(&leaf, &pair.certificate)))
        .ok_or_else(malformed)?;
    Ok(Certificate {
        certified: Arc::new(certified),
        names,
        oddities,
    })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let text = read_file(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| not_pem(path, &error))?;
    if chain.is_empty() {
        return Err(Fault::NoCertificate(path.to_owned()));
    }
    Ok(chain)
}

fn read_key(
    path: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<dyn rustls::sign::SigningKey>, Fault> {
    let text = read_file(path)?;
    // Asked first, since to the parser such a section is either unknown or broken base64.
    if is_encrypted(&text) {
        return Err(Fault::EncryptedKey(path.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => Fault::NoKey(path.to_owned()),
        error => not_pem(path, &error),
    })?;
    provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| Fault::UnsupportedKey(path.to_owned()))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Fault> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_SIZE_MAX + 1).read_to_end(&mut text))
        .map_err(|error| Fault::Unreadable {
            path: path.to_owned(),
            error,
        })?;
    if text.len() as u64 > FILE_SIZE_MAX {
        return Err(Fault::TooLarge(path.to_owned()));
    }
    Ok(text)
}

/// PKCS#8 (RFC 7468 §11) or the older `Proc-Type` header (RFC 1421 §4.6.1.1).
fn is_encrypted(text: &[u8]) -> bool {
    [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----",
        "Proc-Type: 4,ENCRYPTED",
    ]
    .iter()
    .any(|mark| memchr::memmem::find(text, mark.as_bytes()).is_some())
}

fn not_pem(path: &Path, error: &pem::Error) -> Fault {
    Fault::Pem {
        path: path.to_owned(),
        error: error.to_string(),
    }
}

fn dns_names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(super::table::fold(name)),
            _ => None,
        })
        .collect()
}

fn validity(leaf: &X509Certificate<'_>, path: &Path) -> Vec<Oddity> {
    let validity = leaf.validity();
    let now = x509_parser::time::ASN1Time::now();
    let path = path.to_owned();
    if validity.not_after < now {
        let until = validity.not_after.to_string();
        vec![Oddity::Expired { path, until }]
    } else if validity.not_before > now {
        let from = validity.not_before.to_string();
        vec![Oddity::NotYetValid { path, from }]
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Folder, self_signed};
    use super::*;
    use rustls::crypto::aws_lc_rs::default_provider;
    use std::path::PathBuf;
    use x509_parser::der_parser::der::parse_der;

    /// The key inside PKCS#8 (RFC 5208 §5): PKCS#1 for RSA, SEC1 for EC.
    fn traditional(label: &str, key: &rcgen::KeyPair) -> String {
        let (_, outer) = parse_der(key.serialized_der()).unwrap();
        let inner = outer.as_sequence().unwrap()[2].as_slice().unwrap().to_vec();
        let mut text = format!("-----BEGIN {label}-----\n");
        for line in base64(&inner).as_bytes().chunks(64) {
            text.push_str(std::str::from_utf8(line).unwrap());
            text.push('\n');
        }
        format!("{text}-----END {label}-----\n")
    }

    fn base64(octets: &[u8]) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in octets.chunks(3) {
            let bits = chunk
                .iter()
                .fold(0_usize, |bits, &octet| bits << 8 | usize::from(octet))
                << (8 * (3 - chunk.len()));
            for i in 0..=chunk.len() {
                text.push(char::from(ALPHABET[bits >> (18 - 6 * i) & 63]));
            }
            text.push_str(&"=="[..3 - chunk.len()]);
        }
        text
    }

    fn read_texts(certificate: &str, key: &str) -> Result<Certificate, Vec<(Key, Fault)>> {
        let folder = Folder::new();
        let pair = KeyPair {
            certificate: folder.write("c.pem", certificate),
            private_key: folder.write("k.pem", key),
        };
        read(&pair, &default_provider())
    }

    #[test]
    fn reads_every_kind_of_key() {
        let kinds = [
            (&rcgen::PKCS_RSA_SHA256, Some("RSA PRIVATE KEY")),
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some("EC PRIVATE KEY")),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some("EC PRIVATE KEY")),
            (&rcgen::PKCS_ED25519, None),
        ];
        for (algorithm, label) in kinds {
            let (certificate, key) = self_signed(algorithm, &["Example.COM", "*.example.org"]);
            let texts = std::iter::once(key.serialize_pem())
                .chain(label.map(|label| traditional(label, &key)));
            for text in texts {
                let read = read_texts(&certificate, &text).unwrap();
                assert_eq!(read.names, ["example.com", "*.example.org"], "{text}");
                assert_eq!(read.oddities, []);
            }
        }
    }

    #[test]
    fn takes_one_file_for_both_in_any_order_and_with_text_around() {
        let (certificate, key) = self_signed(&rcgen::PKCS_ECDSA_P256_SHA256, &["a.example"]);
        let key = key.serialize_pem();
        for text in [
            format!("{certificate}{key}"),
            format!("{key}{certificate}"),
            format!("Bag Attributes\r\n  friendlyName: x\n{key}\nsubject=CN\n{certificate}end\n"),
        ] {
            assert!(read_texts(&text, &text).is_ok(), "{text}");
        }
    }

    #[test]
    fn names_what_is_wrong_with_a_pair() {
        let (certificate, key) = self_signed(&rcgen::PKCS_ECDSA_P256_SHA256, &["a.example"]);
        let key = key.serialize_pem();
        let (_, stranger) = self_signed(&rcgen::PKCS_ECDSA_P256_SHA256, &["a.example"]);
        let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        let junk = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cut = &certificate[..certificate.len() / 2];
        for (certificate, key, expected) in [
            (key.as_str(), key.as_str(), vec!["no certificate in"]),
            (&certificate, &certificate, vec!["no private key in"]),
            ("", "", vec!["no certificate in", "no private key in"]),
            (&certificate, &encrypted, vec!["is encrypted"]),
            (&certificate, legacy, vec!["is encrypted"]),
            (&certificate, junk, vec!["is of no supported kind"]),
            (
                &certificate,
                &stranger.serialize_pem(),
                vec!["does not belong to"],
            ),
            (broken, &key, vec!["is malformed"]),
            (cut, &key, vec!["is not a valid PEM file"]),
        ] {
            let faults = read_texts(certificate, key).unwrap_err();
            let texts: Vec<String> = faults.iter().map(|(_, fault)| fault.to_string()).collect();
            assert_eq!(texts.len(), expected.len(), "{texts:?}");
            for (text, expected) in texts.iter().zip(expected) {
                assert!(text.contains(expected), "{text}");
            }
        }
    }

    #[test]
    fn names_a_file_that_cannot_be_read() {
        let folder = Folder::new();
        let pair = KeyPair {
            certificate: folder.path().join("missing.pem"),
            private_key: folder.path().to_owned(),
        };
        let faults = read(&pair, &default_provider()).unwrap_err();
        assert!(
            matches!(
                faults.as_slice(),
                [
                    (Key::Certificate, Fault::Unreadable { .. }),
                    (Key::PrivateKey, Fault::Unreadable { .. })
                ]
            ),
            "{faults:?}"
        );
        assert!(faults[0].1.remedy().contains("path"));
        let endless = PathBuf::from("/dev/zero");
        assert!(matches!(read_file(&endless), Err(Fault::TooLarge(_))));
    }

    #[test]
    fn warns_of_a_certificate_out_of_its_time() {
        let key = rcgen::KeyPair::generate().unwrap();
        for (from, until, expected) in [(2000, 2001, "expired on"), (2900, 2901, "is valid from")] {
            let mut parameters = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap();
            parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
            let certificate = parameters.self_signed(&key).unwrap().pem();
            let read = read_texts(&certificate, &key.serialize_pem()).unwrap();
            assert!(read.oddities[0].to_string().contains(expected));
        }
    }
}
