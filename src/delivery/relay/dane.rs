//! DANE for SMTP (RFC 7672): certificates vouched for by TLSA records that DNSSEC validated.

use crate::dns::Tlsa;
use aws_lc_rs::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// DANE-TA: the certificate is that of an authority in the chain.
const TRUST_ANCHOR: u8 = 2;
/// DANE-EE: the certificate is the server's own.
const END_ENTITY: u8 = 3;

/// Those of `records` that SMTP can use (RFC 7672 §3.1): usage 2 or 3, a known selector, and a known matching type
/// with data of its length.
pub(super) fn usable(records: Vec<Tlsa>) -> Vec<Tlsa> {
    let is_usable = |record: &Tlsa| {
        let length_fits = match record.matching {
            0 => !record.data.is_empty(),
            1 => record.data.len() == 32,
            2 => record.data.len() == 64,
            _ => false,
        };
        matches!(record.usage, TRUST_ANCHOR | END_ENTITY) && record.selector <= 1 && length_fits
    };
    records.into_iter().filter(is_usable).collect()
}

/// Believes what TLSA records say, and nothing else.
#[derive(Debug)]
pub(super) struct Verifier {
    records: Vec<Tlsa>,
    domain: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// `records` are usable, and at least one. `domain` is the one that the server is a mail exchanger of: below a trust
    /// anchor its name is as good as the server's (RFC 7672 §3.2.3).
    pub(super) const fn new(
        records: Vec<Tlsa>,
        domain: Option<ServerName<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self {
            records,
            domain,
            provider,
        }
    }

    /// Whether the chain leads to `anchor`, with the name and the dates that RFC 7672 §3.1.2 asks for.
    fn leads_to(
        &self,
        anchor: CertificateDer<'static>,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(anchor)?;
        let provider = Arc::clone(&self.provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let verify = |name| verifier.verify_server_cert(end_entity, intermediates, name, &[], now);
        match (verify(server_name), &self.domain) {
            (Err(_), Some(domain)) => verify(domain),
            (verified, _) => verified,
        }
    }
}

impl ServerCertVerifier for Verifier {
    /// RFC 7672 §3.1.1: of a certificate that a DANE-EE record names, neither name nor dates matter.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let of_usage = |usage| self.records.iter().filter(move |r| r.usage == usage);
        if of_usage(END_ENTITY).any(|record| matches(record, end_entity)) {
            return Ok(ServerCertVerified::assertion());
        }
        let mut failure = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for record in of_usage(TRUST_ANCHOR) {
            // A whole certificate in the DNS need not be in the chain.
            let whole = (record.selector == 0 && record.matching == 0)
                .then(|| CertificateDer::from(record.data.clone()));
            let shown = intermediates.iter().filter(|c| matches(record, c));
            for anchor in whole
                .into_iter()
                .chain(shown.map(|c| c.clone().into_owned()))
            {
                match self.leads_to(anchor, end_entity, intermediates, server_name, now) {
                    Ok(verified) => return Ok(verified),
                    Err(error) => failure = error,
                }
            }
        }
        Err(failure)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Whether `record` names `certificate` (RFC 6698 §2.1).
fn matches(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let parsed;
    let selected = match record.selector {
        0 => certificate.as_ref(),
        _ => match x509_parser::parse_x509_certificate(certificate) {
            Ok((_, certificate)) => {
                parsed = certificate;
                parsed.tbs_certificate.subject_pki.raw
            }
            Err(_) => return false,
        },
    };
    match record.matching {
        0 => selected == record.data,
        1 => digest::digest(&digest::SHA256, selected).as_ref() == record.data,
        2 => digest::digest(&digest::SHA512, selected).as_ref() == record.data,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use std::time::Duration;

    /// An authority and a certificate that it made for `mx.example.org`, and the key of that.
    fn chain() -> (CertificateDer<'static>, CertificateDer<'static>) {
        chain_for("mx.example.org")
    }

    fn chain_for(name: &str) -> (CertificateDer<'static>, CertificateDer<'static>) {
        let mut authority = CertificateParams::new(vec![]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let anchor = authority.self_signed(&key).unwrap();
        let issuer = Issuer::from_params(&authority, &key);
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = leaf
            .signed_by(&KeyPair::generate().unwrap(), &issuer)
            .unwrap();
        (anchor.der().clone(), leaf.der().clone())
    }

    fn record(usage: u8, selector: u8, matching: u8, of: &CertificateDer<'_>) -> Tlsa {
        let (_, parsed) = x509_parser::parse_x509_certificate(of).unwrap();
        let selected = match selector {
            0 => of.as_ref(),
            _ => parsed.tbs_certificate.subject_pki.raw,
        };
        let data = match matching {
            0 => selected.to_vec(),
            1 => digest::digest(&digest::SHA256, selected).as_ref().to_vec(),
            _ => digest::digest(&digest::SHA512, selected).as_ref().to_vec(),
        };
        Tlsa {
            usage,
            selector,
            matching,
            data,
        }
    }

    fn verify(record: Tlsa, shown: &[CertificateDer<'static>], name: &str, years: u64) -> bool {
        let (end_entity, intermediates) = shown.split_first().unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let now = UnixTime::since_unix_epoch(Duration::from_secs(years * 31_556_952));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let domain = ServerName::try_from("example.net").unwrap();
        Verifier::new(vec![record], Some(domain), provider)
            .verify_server_cert(end_entity, intermediates, &name, &[], now)
            .is_ok()
    }

    #[test]
    fn an_end_entity_needs_no_name_and_no_date() {
        let (anchor, leaf) = chain();
        for selector in 0..=1 {
            for matching in 0..=2 {
                let of_leaf = record(3, selector, matching, &leaf);
                let shown = [leaf.clone()];
                assert!(
                    verify(of_leaf, &shown, "other.example", 9000),
                    "3 {selector} {matching}"
                );
                let of_other = record(3, selector, matching, &anchor);
                assert!(
                    !verify(of_other, &shown, "mx.example.org", 55),
                    "3 {selector} {matching}"
                );
            }
        }
    }

    #[test]
    fn a_trust_anchor_needs_chain_and_name() {
        let (anchor, leaf) = chain();
        let (other, _) = chain();
        let shown = [leaf.clone(), anchor.clone()];
        for selector in 0..=1 {
            for matching in 0..=2 {
                let of_anchor = record(2, selector, matching, &anchor);
                assert!(
                    verify(of_anchor.clone(), &shown, "mx.example.org", 55),
                    "2 {selector} {matching}"
                );
                assert!(!verify(of_anchor.clone(), &shown, "other.example", 55));
                let absent = selector == 0 && matching == 0;
                assert_eq!(
                    verify(of_anchor, std::slice::from_ref(&leaf), "mx.example.org", 55),
                    absent
                );
                assert!(!verify(
                    record(2, selector, matching, &other),
                    &shown,
                    "mx.example.org",
                    55
                ));
            }
        }
    }

    #[test]
    fn below_a_trust_anchor_the_domain_is_as_good_as_the_server() {
        for (name, expected) in [
            ("mx.example.org", true),
            ("example.net", true),
            ("example.org", false),
        ] {
            let (anchor, leaf) = chain_for(name);
            let record = record(2, 1, 1, &anchor);
            let shown = [leaf, anchor];
            assert_eq!(
                verify(record, &shown, "mx.example.org", 55),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn an_authority_in_the_chain_that_did_not_sign_vouches_for_nothing() {
        let (anchor, _) = chain();
        let (_, leaf) = chain();
        let shown = [leaf, anchor.clone()];
        assert!(!verify(
            record(2, 1, 1, &anchor),
            &shown,
            "mx.example.org",
            55
        ));
    }

    #[test]
    fn what_smtp_cannot_use_is_left_out() {
        let of = |usage, selector, matching, length| Tlsa {
            usage,
            selector,
            matching,
            data: vec![0; length],
        };
        let good = [of(3, 1, 1, 32), of(2, 0, 2, 64), of(3, 0, 0, 700)];
        let bad = [
            of(0, 1, 1, 32),
            of(1, 1, 1, 32),
            of(3, 2, 1, 32),
            of(3, 1, 3, 32),
            of(3, 1, 1, 31),
            of(3, 1, 0, 0),
        ];
        assert_eq!(usable([&bad[..], &good[..]].concat()), good);
    }
}
