//! From a folder to a configuration that can be started: what a start, a reload and `vsmtp check` share.

use crate::config::{self, Config, Environment, Loaded};
use crate::delivery::relay::{self, AuthoritiesError};
use crate::dns;
use crate::rules::Rules;
use crate::script::Diagnostic;
use crate::tls::{self, Tls};
use rustls::RootCertStore;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A configuration that can be started: read, checked, certificates and rules loaded.
pub struct Prepared {
    /// What was read.
    pub config: Config,
    /// What is odd and stops nothing, sorted by file and position.
    pub warnings: Vec<Diagnostic>,
    /// What an operator may have forgotten; said by a check alone.
    pub hints: Vec<Diagnostic>,
    pub(super) root: PathBuf,
    pub(super) environment: Environment,
    pub(super) tls: Arc<Tls>,
    pub(super) rules: Arc<Rules>,
    /// Of `server.delivery.tls.ca`.
    pub(super) authorities: Option<RootCertStore>,
}

/// Reads and checks everything under `root`, exactly as a start does, short of binding.
///
/// # Errors
///
/// Every error of the configuration, its certificates and its rules, sorted by file and position.
pub fn prepare(root: &Path) -> Result<Prepared, Vec<Diagnostic>> {
    prepare_in(root, Environment::read())
}

/// As [`prepare`], for a host that `environment` describes. What systemd said to a process it says only once.
pub(super) fn prepare_in(
    root: &Path,
    environment: Environment,
) -> Result<Prepared, Vec<Diagnostic>> {
    let loaded = config::load_in(root, &environment);
    let tls = Tls::load(&loaded.config.tls);
    let rules = Rules::load(&loaded.config.rules, Arc::clone(&loaded.config.domains));
    let mut errors = loaded.errors.clone();
    let mut warnings = loaded.warnings.clone();
    if let Err(faults) = &tls {
        errors.extend(faults.iter().map(|error| tls_error(&loaded, error)));
    }
    if let Err(diagnostics) = &rules {
        errors.extend(loaded.as_given(diagnostics));
    }
    let ca = loaded.config.relaying.ca.as_deref();
    let authorities = ca.map(relay::authorities).transpose();
    if let Err(error) = &authorities {
        errors.push(authorities_error(&loaded, error));
    }
    if let Err(error) = loaded.config.dns.check_anchor() {
        errors.push(anchor_error(&loaded, &error));
    }
    match (tls, rules, authorities) {
        (Ok((tls, oddities)), Ok(rules), Ok(authorities)) if errors.is_empty() => {
            warnings.extend(oddities.iter().map(|oddity| tls_warning(&loaded, oddity)));
            warnings.extend(unusable_submissions(&loaded, &tls));
            sort(&mut warnings);
            Ok(Prepared {
                config: loaded.config,
                warnings,
                hints: loaded.hints,
                root: root.to_owned(),
                environment,
                tls,
                rules,
                authorities,
            })
        }
        _ => {
            sort(&mut errors);
            Err(errors)
        }
    }
}

/// What [`prepare`] checks, save what only the host has that it is meant for: certificates and keys. For a check while
/// the configuration is built. Gives the warnings.
///
/// # Errors
///
/// Every error of the configuration and its rules, sorted by file and position.
pub fn check_without_host(root: &Path) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let loaded = config::load(root);
    let mut errors = loaded.errors.clone();
    let domains = Arc::clone(&loaded.config.domains);
    if let Err(diagnostics) = Rules::load(&loaded.config.rules, domains) {
        errors.extend(loaded.as_given(&diagnostics));
    }
    if errors.is_empty() {
        return Ok(loaded.warnings);
    }
    sort(&mut errors);
    Err(errors)
}

fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| (&a.file, a.position, &a.what).cmp(&(&b.file, b.position, &b.what)));
    diagnostics.dedup();
}

fn tls_error(loaded: &Loaded, error: &tls::Error) -> Diagnostic {
    let (what, remedy) = (error.fault.to_string(), error.fault.remedy());
    tls_diagnostic(loaded, error.domain.as_deref(), error.key, what, remedy)
}

fn tls_warning(loaded: &Loaded, warning: &tls::Warning) -> Diagnostic {
    let (what, remedy) = (warning.oddity.to_string(), warning.oddity.remedy());
    let domain = warning.domain.as_deref();
    tls_diagnostic(loaded, domain, tls::Key::Certificate, what, remedy)
}

fn tls_diagnostic(
    loaded: &Loaded,
    domain: Option<&str>,
    key: tls::Key,
    what: String,
    remedy: &str,
) -> Diagnostic {
    let path = match (domain, key) {
        (None, tls::Key::Certificate) => "server.tls.root.certificate",
        (None, tls::Key::PrivateKey) => "server.tls.root.private_key",
        (None, tls::Key::ProtocolVersion) => "server.tls.protocol_version",
        (_, tls::Key::CipherSuite) => "server.tls.cipher_suite",
        (Some(_), tls::Key::Certificate) => "tls.certificate",
        (Some(_), tls::Key::PrivateKey) => "tls.private_key",
        (Some(_), tls::Key::ProtocolVersion) => "tls.protocol_version",
    };
    let (file, position) = loaded.origin(domain, path);
    Diagnostic {
        file: Some(file),
        position,
        what: format!("{path}: {what}"),
        remedy: remedy.to_owned(),
    }
}

fn anchor_error(loaded: &Loaded, error: &dns::AnchorError) -> Diagnostic {
    let path = "server.dns.options.trust_anchor";
    let (file, position) = loaded.origin(None, path);
    let anchor = loaded.config.dns.trust_anchor.as_deref();
    Diagnostic {
        file: Some(file),
        position,
        what: format!(
            "{path}: {}: {error}",
            anchor.unwrap_or(Path::new("")).display()
        ),
        remedy: "name a file with the DNSKEY records of the root, or leave it out".to_owned(),
    }
}

fn authorities_error(loaded: &Loaded, error: &AuthoritiesError) -> Diagnostic {
    let path = "server.delivery.tls.ca";
    let (file, position) = loaded.origin(None, path);
    let ca = loaded
        .config
        .relaying
        .ca
        .as_deref()
        .unwrap_or(Path::new(""));
    Diagnostic {
        file: Some(file),
        position,
        what: format!("{path}: {}: {error}", ca.display()),
        remedy:
            "name a PEM file with the certificates of the authorities that vouch for your next hops"
                .to_owned(),
    }
}

/// An address for TLS from the first octet, and nothing to show there.
fn unusable_submissions(loaded: &Loaded, tls: &Tls) -> Option<Diagnostic> {
    if loaded.config.interfaces.addr_submissions.is_empty() || !tls.is_empty() {
        return None;
    }
    let path = "server.interfaces.addr_submissions";
    let (file, position) = loaded.origin(None, path);
    Some(Diagnostic {
        file: Some(file),
        position,
        what: format!("{path}: every handshake will be refused, no certificate is configured"),
        remedy: "set server.tls.root, or tls of a domain".to_owned(),
    })
}
