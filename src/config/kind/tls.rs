//! Protocol versions and cipher suites.

use super::{Word, nearest};
use crate::tls::Version;
use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;

/// `TLSv1.2` or `TLSv1.3`.
pub(in crate::config) struct TlsVersion;

impl Word for TlsVersion {
    type Value = Version;

    const EXPECTED: &'static str = "a TLS version";
    const EXAMPLE: &'static str = "\"TLSv1.2\" or \"TLSv1.3\"";

    fn parse(text: &str) -> Result<Version, String> {
        match text.to_ascii_lowercase().replace('_', ".").as_str() {
            "tlsv1.2" => Ok(Version::Tls12),
            "tlsv1.3" => Ok(Version::Tls13),
            "tlsv1" | "tlsv1.0" | "tlsv1.1" | "sslv2" | "sslv3" => {
                Err("RFC 8996 forbids what is older than TLS 1.2".into())
            }
            _ => Err("there is no such version".into()),
        }
    }

    fn print(version: &Version) -> String {
        match version {
            Version::Tls12 => "TLSv1.2",
            Version::Tls13 => "TLSv1.3",
        }
        .into()
    }
}

/// A cipher suite by its IANA name, with or without its prefix.
pub(in crate::config) struct CipherSuite;

impl Word for CipherSuite {
    type Value = rustls::CipherSuite;

    const EXPECTED: &'static str = "the IANA name of a cipher suite";
    const EXAMPLE: &'static str =
        "a name such as \"TLS_AES_256_GCM_SHA384\" or \"ECDHE_RSA_WITH_AES_256_GCM_SHA384\"";

    fn parse(text: &str) -> Result<rustls::CipherSuite, String> {
        let wanted = text.to_ascii_uppercase();
        let wanted = without_prefix(&wanted);
        let known: Vec<(String, rustls::CipherSuite)> = ALL_CIPHER_SUITES
            .iter()
            .map(|supported| (Self::print(&supported.suite()), supported.suite()))
            .collect();
        if let Some((_, suite)) = known
            .iter()
            .find(|(name, _)| without_prefix(name) == wanted)
        {
            return Ok(*suite);
        }
        Err(
            match nearest(
                &format!("TLS_{wanted}"),
                known.iter().map(|(name, _)| name.as_str()),
            ) {
                Some(name) => format!("it is unknown or unsafe; did you mean {name:?}?"),
                None => "it is unknown or unsafe".into(),
            },
        )
    }

    fn print(suite: &rustls::CipherSuite) -> String {
        // rustls writes TLS13_ where IANA writes TLS_ (RFC 8446 §B.4).
        let name = suite.as_str().unwrap_or_default();
        format!("TLS_{}", without_prefix(name))
    }
}

/// Whether some suite belongs to one of `versions`; none at all stands for rustls' own choice, which has some for each.
pub(in crate::config) fn has_suite(suites: &[rustls::CipherSuite], versions: &[Version]) -> bool {
    suites.is_empty()
        || suites
            .iter()
            .any(|suite| versions.contains(&version_of(*suite)))
}

/// The only version that `suite` can be used with (RFC 8446 §B.4).
fn version_of(suite: rustls::CipherSuite) -> Version {
    match suite.as_str() {
        Some(name) if name.starts_with("TLS13_") => Version::Tls13,
        _ => Version::Tls12,
    }
}

fn without_prefix(name: &str) -> &str {
    name.strip_prefix("TLS13_")
        .or_else(|| name.strip_prefix("TLS_"))
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for text in ["TLSv1.2", "TLSv1_2", "tlsv1.2"] {
            assert_eq!(TlsVersion::parse(text), Ok(Version::Tls12), "{text}");
        }
        for text in ["TLSv1.1", "TLSv1_0", "SSLv3", "1.2", ""] {
            assert!(TlsVersion::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn suites_with_and_without_prefix() {
        for text in [
            "TLS_AES_256_GCM_SHA384",
            "TLS13_AES_256_GCM_SHA384",
            "aes_256_gcm_sha384",
        ] {
            let suite = CipherSuite::parse(text).unwrap();
            assert_eq!(
                suite,
                rustls::CipherSuite::TLS13_AES_256_GCM_SHA384,
                "{text}"
            );
            assert_eq!(CipherSuite::print(&suite), "TLS_AES_256_GCM_SHA384");
        }
        for supported in ALL_CIPHER_SUITES {
            let suite = supported.suite();
            assert_eq!(CipherSuite::parse(&CipherSuite::print(&suite)), Ok(suite));
        }
        assert!(CipherSuite::parse("TLS_RSA_WITH_RC4_128_SHA").is_err());
    }
}
