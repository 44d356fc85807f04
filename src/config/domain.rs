//! The domains: one folder or link each, named by the mail domain, with an optional `config.vsl`.

use super::load::{Place, Script};
use super::origin::Origins;
use super::show::domain_entries;
use super::{Config, Loaded, keys, kind};
use crate::dns;
use crate::mail::{self, Address, Mailboxes, Transport};
use crate::script::Diagnostic;
use crate::tls::{KeyPair, Version};
use rhai::Engine;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One enabled domain, as its `config.vsl` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The mail domain, in lower case.
    pub name: String,
    /// Its folder, where its rules are.
    pub folder: PathBuf,
    /// `tls.{certificate,private_key}`
    pub key_pair: Option<KeyPair>,
    /// `tls.protocol_version`; `None`: that of `server.tls`.
    pub versions: Option<Vec<Version>>,
    /// `dkim`
    pub dkim: Option<Dkim>,
    /// `dns`: that of the server unless it says otherwise.
    pub dns: dns::Options,
    /// `mailboxes`; `None` only while nothing is known: a loaded domain has some.
    pub mailboxes: Option<Mailboxes>,
    /// `aliases`
    pub aliases: HashMap<String, Vec<Address>>,
    /// `transport`
    pub transport: Transport,
}

/// `dkim` of a domain: how its mail is signed (RFC 6376).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dkim {
    /// One signature each.
    pub private_keys: Vec<PathBuf>,
    /// Where the public keys are in the DNS.
    pub selector: String,
}

impl Domain {
    /// What holds for a domain that says nothing.
    pub(super) fn new(name: &str, folder: &Path, config: &Config) -> Self {
        Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            key_pair: None,
            versions: None,
            dkim: None,
            dns: config.dns.clone(),
            mailboxes: None,
            aliases: HashMap::new(),
            transport: Transport::default(),
        }
    }

    /// With mailboxes, also when none were named. Where mail stays here, accepting what nobody reads makes backscatter or
    /// loses it: none but the postmaster. A next hop knows its own mailboxes: all.
    pub(super) fn settled(mut self) -> Self {
        self.mailboxes.get_or_insert_with(|| match self.transport {
            Transport::Maildir | Transport::Mbox => Mailboxes::Named(HashSet::new()),
            _ => Mailboxes::All,
        });
        self
    }

    /// As sessions and deliveries ask for it.
    pub(super) fn mail(&self) -> mail::Domain {
        mail::Domain {
            name: self.name.clone(),
            mailboxes: self
                .mailboxes
                .clone()
                .unwrap_or_else(|| Mailboxes::Named(HashSet::new())),
            aliases: self.aliases.clone(),
            transport: self.transport.clone(),
        }
    }
}

const AVAILABLE: &str = "domain-available";
const ENABLED: &str = "domain-enabled";

/// The default of `app.vsl.domain_dir`.
pub(super) fn default_folder(root: &Path) -> PathBuf {
    match root.join(ENABLED) {
        enabled if enabled.is_dir() => enabled,
        _ => root.join(AVAILABLE),
    }
}

/// Reads every domain of `app.vsl.domain_dir` into `loaded`.
pub(super) fn load_all(loaded: &mut Loaded, engine: &mut Engine, place: &Place) {
    let folder = loaded.config.domain_dir.clone();
    let entries = match folders(&folder) {
        Ok(entries) => entries,
        Err(_) if !folder.exists() && folder == default_folder(&place.absolute) => Vec::new(),
        Err(error) => {
            let (file, position) = loaded.origin(None, "app.vsl.domain_dir");
            loaded.errors.push(Diagnostic {
                file: Some(file),
                position,
                what: format!(
                    "app.vsl.domain_dir: {} cannot be read: {error}",
                    folder.display()
                ),
                remedy: "name a folder that the server may read".into(),
            });
            Vec::new()
        }
    };
    for path in entries {
        match check_entry(&path) {
            Ok(name) if loaded.config.hosted.contains_key(&name) => loaded.errors.push(at(
                place.shown(&path),
                format!("the domain {name} is there twice"),
                "keep one: domains compare without case",
            )),
            Ok(name) => load_one(loaded, engine, place, &name, &path),
            Err((what, remedy)) => loaded.errors.push(at(place.shown(&path), what, remedy)),
        }
    }
    hint_at_disabled(loaded, place, &folder);
}

/// What is in `folder`, sorted; files that begin with a dot are none of ours.
fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The domain that a folder stands for, or what is wrong with it and what to do.
fn check_entry(path: &Path) -> Result<String, (String, &'static str)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match fs::metadata(path) {
        Err(error) => Err((
            format!("cannot be read: {error}"),
            "let the link lead to a folder, or remove it",
        )),
        Ok(metadata) if !metadata.is_dir() => Err((
            "is no folder".into(),
            "move it elsewhere: each entry here is the folder of a domain",
        )),
        Ok(_) if !kind::is_domain_name(&name) => Err((
            format!("{name:?} is no mail domain"),
            "name the folder after the domain, such as example.com (xn-- for other letters)",
        )),
        Ok(_) => Ok(name.to_ascii_lowercase()),
    }
}

fn load_one(loaded: &mut Loaded, engine: &mut Engine, place: &Place, name: &str, folder: &Path) {
    let mut domain = Domain::new(name, folder, &loaded.config);
    let file = place.shown(&folder.join("config.vsl"));
    // A link that leads nowhere is a file that cannot be read, not one that is not there.
    let origins = if file.symlink_metadata().is_ok() {
        let mut script = Script {
            engine,
            place,
            file,
            function: "on_domain_config",
        };
        let origins = script.origins();
        let defaults = domain_entries(&domain);
        let read = script.run(&defaults, &origins, |reader| {
            keys::domain(reader, &mut domain);
        });
        match read {
            Ok(()) => loaded.warnings.extend(advise(&domain, &origins)),
            Err(errors) => loaded.errors.extend(errors),
        }
        loaded
            .errors
            .extend(check_versions(&domain, &loaded.config, &origins));
        origins
    } else {
        let origins = Origins::nowhere(&place.shown(folder));
        loaded.warnings.extend(advise(&domain, &origins));
        origins
    };
    loaded.domain_origins.insert(name.to_owned(), origins);
    loaded
        .config
        .hosted
        .insert(name.to_owned(), domain.settled());
}

/// The suites are the server's, the versions the domain's: they meet only here.
fn check_versions(domain: &Domain, config: &Config, origins: &Origins) -> Option<Diagnostic> {
    let versions = domain.versions.as_ref()?;
    if kind::has_suite(&config.tls.cipher_suites, versions) {
        return None;
    }
    let (file, position) = origins.of("tls.protocol_version");
    Some(Diagnostic {
        file: Some(file),
        position,
        what: "tls.protocol_version: no suite of server.tls.cipher_suite belongs to it".into(),
        remedy: "add a suite of that version there, or another version here".into(),
    })
}

/// What fits, and is probably not meant.
fn advise(domain: &Domain, origins: &Origins) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    let mut warn = |path: &str, what: String, remedy: &str| {
        let (file, position) = origins.of(path);
        warnings.push(Diagnostic {
            file: Some(file),
            position,
            what,
            remedy: remedy.into(),
        });
    };
    let stays = domain.transport.is_local();
    if stays && domain.mailboxes.is_none() && domain.aliases.is_empty() {
        warn(
            "mailboxes",
            format!("{} has no mailbox but postmaster", domain.name),
            "name them in config.mailboxes, or set it to \"*\" for every one",
        );
    }
    if domain.versions.is_some() && domain.key_pair.is_none() {
        warn(
            "tls.protocol_version",
            "tls.protocol_version: has no effect without a certificate".into(),
            "give tls.certificate and tls.private_key, or remove it",
        );
    }
    if let Some(Mailboxes::Named(names)) = &domain.mailboxes {
        let mut both: Vec<&String> = domain.aliases.keys().collect();
        both.retain(|name| names.contains(*name));
        both.sort();
        for name in both {
            warn(
                &format!("aliases.{name}"),
                format!("aliases: the mailbox {name} gets no mail, its alias does"),
                "remove one of them",
            );
        }
    }
    warnings
}

/// Domains that exist and are off.
fn hint_at_disabled(loaded: &mut Loaded, place: &Place, folder: &Path) {
    if folder != place.absolute.join(ENABLED) {
        return;
    }
    for path in folders(&place.absolute.join(AVAILABLE)).unwrap_or_default() {
        let Ok(name) = check_entry(&path) else {
            continue;
        };
        if !loaded.config.hosted.contains_key(&name) {
            loaded.hints.push(at(
                place.shown(&path),
                format!("the domain {name} is not enabled"),
                format!("to enable it, link {ENABLED}/{name} to ../{AVAILABLE}/{name}"),
            ));
        }
    }
}

fn at(file: PathBuf, what: String, remedy: impl Into<String>) -> Diagnostic {
    Diagnostic {
        file: Some(file),
        position: None,
        what,
        remedy: remedy.into(),
    }
}
