//! From a server name to the configuration that answers it.

use super::certificate::{self, Certificate};
use super::{Error, Fault, Key, KeyPair, Oddity, Options, Version, Warning};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::SingleCertAndKey;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

/// What a handshake needs to know, immutable.
#[derive(Debug)]
pub(super) struct Table {
    /// Keys in lower case, without a trailing dot; `*.parent` for a wildcard.
    by_name: HashMap<String, Arc<ServerConfig>>,
    root: Option<Arc<ServerConfig>>,
    pub handshake_timeout: Duration,
}

/// The spelling by which names are compared.
pub(super) fn fold(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl Table {
    /// See [`super::Tls::load`].
    pub fn load(options: &Options) -> Result<(Self, Vec<Warning>), Vec<Error>> {
        let mut loading = Loading::new(options);
        let root = options
            .root
            .as_ref()
            .and_then(|pair| loading.server_config(None, pair, &options.versions));
        let mut own = HashMap::new();
        let mut alternative = HashMap::new();
        for domain in &options.domains {
            let versions = domain.versions.as_ref().unwrap_or(&options.versions);
            let Some(shown) =
                loading.server_config(Some(&domain.domain), &domain.key_pair, versions)
            else {
                continue;
            };
            for name in shown.names {
                // The first domain in the order of the configuration wins, so that a start is repeatable.
                alternative
                    .entry(name)
                    .or_insert_with(|| Arc::clone(&shown.config));
            }
            own.insert(fold(&domain.domain), shown.config);
        }
        if !loading.errors.is_empty() {
            return Err(loading.errors);
        }
        let mut by_name = alternative;
        by_name.extend(own);
        let table = Self {
            by_name,
            root: root.map(|shown| shown.config),
            handshake_timeout: options.handshake_timeout,
        };
        Ok((table, loading.warnings))
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.root.is_none()
    }

    /// What to show to a client that asks for `name`. The cost does not depend on how many domains there are.
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<ServerConfig>> {
        name.and_then(|name| self.find_named(&fold(name)))
            .or(self.root.as_ref())
    }

    fn find_named(&self, name: &str) -> Option<&Arc<ServerConfig>> {
        self.by_name.get(name).or_else(|| {
            let (label, parent) = name.split_once('.')?;
            let wildcard = format!("*.{parent}");
            self.by_name.get(&wildcard).filter(|_| !label.is_empty())
        })
    }
}

/// What one key pair turned into.
struct Shown {
    config: Arc<ServerConfig>,
    names: Vec<String>,
}

/// Gathers what is read, so that no file is read twice and no error hides another.
struct Loading<'a> {
    options: &'a Options,
    provider: Arc<CryptoProvider>,
    /// One for all: rustls seals the server name into each ticket and takes it back for that name only. Tickets need no
    /// memory here, so that a thousand domains cost no more than one. `None`: full handshakes only.
    ticketer: Option<Arc<dyn ProducesTickets>>,
    certificates: HashMap<&'a KeyPair, Arc<Certificate>>,
    configs: HashMap<(bool, bool, &'a KeyPair), Arc<ServerConfig>>,
    errors: Vec<Error>,
    warnings: Vec<Warning>,
}

impl<'a> Loading<'a> {
    fn new(options: &'a Options) -> Self {
        let (provider, errors) = provider(&options.cipher_suites);
        Self {
            options,
            provider,
            ticketer: aws_lc_rs::Ticketer::new().ok(),
            certificates: HashMap::new(),
            configs: HashMap::new(),
            errors,
            warnings: Vec::new(),
        }
    }

    fn server_config(
        &mut self,
        domain: Option<&str>,
        pair: &'a KeyPair,
        versions: &[Version],
    ) -> Option<Shown> {
        let certificate = self.certificate(domain, pair)?;
        let names = certificate.names.clone();
        let tls12 = versions.contains(&Version::Tls12);
        let tls13 = versions.contains(&Version::Tls13);
        let config = match self.configs.entry((tls12, tls13, pair)) {
            Entry::Occupied(built) => Arc::clone(built.get()),
            Entry::Vacant(place) => {
                let versions = [
                    tls12.then_some(&rustls::version::TLS12),
                    tls13.then_some(&rustls::version::TLS13),
                ];
                let versions: Vec<_> = versions.into_iter().flatten().collect();
                let Ok(builder) = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
                    .with_protocol_versions(&versions)
                else {
                    self.errors.push(Error {
                        domain: domain.map(str::to_owned),
                        key: Key::ProtocolVersion,
                        fault: Fault::NothingToNegotiate,
                    });
                    return None;
                };
                let certified = Arc::clone(&certificate.certified);
                let mut config = builder
                    .with_no_client_auth()
                    .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
                config.ignore_client_order = self.options.preempt_cipherlist;
                if let Some(ticketer) = &self.ticketer {
                    config.ticketer = Arc::clone(ticketer);
                }
                config.session_storage = Arc::new(NoServerSessionStorage {});
                Arc::clone(place.insert(Arc::new(config)))
            }
        };
        Some(Shown { config, names })
    }

    fn certificate(&mut self, domain: Option<&str>, pair: &'a KeyPair) -> Option<Arc<Certificate>> {
        let certificate = match self.certificates.get(pair) {
            Some(certificate) => Arc::clone(certificate),
            None => match certificate::read(pair, &self.provider) {
                Ok(certificate) => {
                    let certificate = Arc::new(certificate);
                    self.certificates.insert(pair, Arc::clone(&certificate));
                    certificate
                }
                Err(faults) => {
                    let domain = domain.map(str::to_owned);
                    self.errors
                        .extend(faults.into_iter().map(|(key, fault)| Error {
                            domain: domain.clone(),
                            key,
                            fault,
                        }));
                    return None;
                }
            },
        };
        self.warn(domain, pair, &certificate);
        Some(certificate)
    }

    fn warn(&mut self, domain: Option<&str>, pair: &KeyPair, certificate: &Certificate) {
        let other_name = domain
            .filter(|domain| !names(&certificate.names, domain))
            .map(|domain| Oddity::OtherName {
                path: pair.certificate.clone(),
                domain: domain.to_owned(),
            });
        let oddities = certificate.oddities.iter().cloned().chain(other_name);
        self.warnings.extend(oddities.map(|oddity| Warning {
            domain: domain.map(str::to_owned),
            oddity,
        }));
    }
}

/// Whether one of `names`, wildcards included, covers `domain`.
fn names(names: &[String], domain: &str) -> bool {
    let domain = fold(domain);
    let parent = domain.split_once('.').map(|(_, parent)| parent);
    names
        .iter()
        .any(|name| *name == domain || name.strip_prefix("*.").is_some_and(|p| Some(p) == parent))
}

/// The cryptography of `suites`, in their order; all that rustls holds safe when there are none.
fn provider(suites: &[rustls::CipherSuite]) -> (Arc<CryptoProvider>, Vec<Error>) {
    let mut provider = aws_lc_rs::default_provider();
    let mut errors = Vec::new();
    if !suites.is_empty() {
        let supported = std::mem::take(&mut provider.cipher_suites);
        for wanted in suites {
            match supported.iter().find(|suite| suite.suite() == *wanted) {
                Some(suite) => provider.cipher_suites.push(*suite),
                None => {
                    let fault = Fault::UnsupportedSuite(*wanted);
                    errors.push(server_error(Key::CipherSuite, fault));
                }
            }
        }
    }
    (Arc::new(provider), errors)
}

fn server_error(key: Key, fault: Fault) -> Error {
    Error {
        domain: None,
        key,
        fault,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Folder, options};
    use super::*;

    /// Which of `labels` answers each name; `-`: refused.
    fn answers(table: &Table, labels: &[(&str, &Arc<ServerConfig>)], name: Option<&str>) -> String {
        let Some(found) = table.find(name) else {
            return "-".into();
        };
        let label = labels.iter().find(|(_, config)| Arc::ptr_eq(config, found));
        label.unwrap().0.into()
    }

    #[test]
    fn finds_by_domain_then_by_alternative_name_then_root() {
        let folder = Folder::new();
        let domains = vec![
            // Names the second domain too, which has its own.
            folder.domain(
                "a.example",
                &["mail.a.example", "b.example", "shared.example"],
            ),
            folder.domain(
                "b.example",
                &["*.b.example", "shared.example", "x.wild.example"],
            ),
            folder.domain("wild.example", &["*.wild.example", "wild.example"]),
        ];
        let without_root = Table::load(&options(None, domains.clone())).unwrap().0;
        let root = folder.pair("root", &["mx.example"]);
        let with_root = Table::load(&options(Some(root), domains)).unwrap().0;
        for (table, miss) in [(&without_root, "-"), (&with_root, "root")] {
            let mut labels = vec![
                ("a", &table.by_name["a.example"]),
                ("b", &table.by_name["b.example"]),
                ("wild", &table.by_name["wild.example"]),
            ];
            labels.extend(table.root.iter().map(|root| ("root", root)));
            let deep = format!("{}.example", "x".repeat(63));
            let long = format!("{}example", "x.".repeat(200));
            for (name, expected) in [
                ("a.example", "a"),
                ("A.EXAMPLE", "a"),
                ("a.example.", "a"),
                ("mail.a.example", "a"),
                ("MAIL.a.example.", "a"),
                ("b.example", "b"),
                ("any.b.example", "b"),
                ("two.labels.b.example", miss),
                ("shared.example", "a"),
                ("x.wild.example", "b"),
                ("y.wild.example", "wild"),
                (".wild.example", miss),
                ("other.example", miss),
                ("mx.example", miss),
                ("", miss),
                (".", miss),
                ("..", miss),
                ("192.0.2.1", miss),
                ("[2001:db8::1]", miss),
                ("\0", miss),
                ("é.example", miss),
                (&deep, miss),
                (&long, miss),
            ] {
                assert_eq!(answers(table, &labels, Some(name)), expected, "{name}");
            }
            assert_eq!(answers(table, &labels, None), miss);
        }
    }

    #[test]
    fn shares_a_configuration_and_keeps_versions_apart() {
        let folder = Folder::new();
        let mut domains = vec![
            folder.domain("a.example", &["a.example", "b.example", "c.example"]),
            folder.domain("b.example", &[]),
            folder.domain("c.example", &[]),
        ];
        let pair = domains[0].key_pair.clone();
        for domain in &mut domains[1..] {
            domain.key_pair = pair.clone();
        }
        domains[2].versions = Some(vec![Version::Tls13]);
        let (table, warnings) = Table::load(&options(None, domains)).unwrap();
        assert_eq!(warnings, []);
        let config = |name| table.find(Some(name)).unwrap();
        assert!(Arc::ptr_eq(config("a.example"), config("b.example")));
        assert!(!Arc::ptr_eq(config("a.example"), config("c.example")));
    }

    #[test]
    fn says_every_error_with_its_domain() {
        let folder = Folder::new();
        let mut domains = vec![
            folder.domain("a.example", &["a.example"]),
            folder.domain("b.example", &["b.example"]),
            folder.domain("c.example", &["c.example"]),
        ];
        domains[0].key_pair.private_key = folder.path().join("missing");
        domains[1].key_pair.certificate = domains[2].key_pair.certificate.clone();
        domains[2].versions = Some(Vec::new());
        let root = KeyPair {
            certificate: folder.write("empty.pem", ""),
            private_key: domains[1].key_pair.private_key.clone(),
        };
        let mut options = options(Some(root), domains);
        options.cipher_suites = vec![
            rustls::CipherSuite::TLS13_AES_128_GCM_SHA256,
            rustls::CipherSuite::TLS_NULL_WITH_NULL_NULL,
        ];
        let errors = Table::load(&options).unwrap_err();
        let blamed: Vec<_> = errors
            .iter()
            .map(|error| (error.domain.as_deref(), error.key))
            .collect();
        assert_eq!(
            blamed,
            [
                (None, Key::CipherSuite),
                (None, Key::Certificate),
                (Some("a.example"), Key::PrivateKey),
                (Some("b.example"), Key::PrivateKey),
                (Some("c.example"), Key::ProtocolVersion),
            ]
        );
    }

    #[test]
    fn warns_where_a_certificate_does_not_name_its_domain() {
        let folder = Folder::new();
        for (domain, names, warned) in [
            ("a.example", &["a.example"][..], false),
            ("a.example", &["mail.a.example"], true),
            ("a.example", &["*.example"], false),
            ("b.a.example", &["*.example"], true),
        ] {
            let domains = vec![folder.domain(domain, names)];
            let (_, warnings) = Table::load(&options(None, domains)).unwrap();
            assert_eq!(!warnings.is_empty(), warned, "{domain} {names:?}");
        }
    }
}
