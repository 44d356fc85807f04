//! What a simulated server is: the configuration and its rules, with a folder of its own for whatever rules write.

use super::Error;
use super::event::Event;
use crate::authentication::Listed;
use crate::config::Loaded;
use crate::mail::{Domains, Service};
use crate::rules::{self, Rules};
use crate::smtp::Limits;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;

/// What is not in the configuration: who connects, and to what.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) client: SocketAddr,
    pub(super) service: Service,
    /// TLS from the first octet, with this server name.
    pub(super) implicit_tls: Option<Option<String>>,
    /// Who can authenticate, in place of the users of this machine.
    pub(super) users: Listed,
}

/// One server, as long as a dialogue lasts.
pub(super) struct World {
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) service: Service,
    pub(super) implicit_tls: Option<Option<String>>,
    pub(super) name: Arc<str>,
    pub(super) limits: Arc<Limits>,
    pub(super) offers_tls: bool,
    pub(super) rules: Arc<Rules>,
    pub(super) domains: Arc<Domains>,
    loaded: Arc<Loaded>,
    folder: TempDir,
    told: Mutex<Told>,
}

/// What was told already.
#[derive(Debug, Default)]
struct Told {
    /// Octets of the rules' log.
    log: usize,
    files: BTreeSet<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // TEST-NET-1 (RFC 5737): nobody's.
            client: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 49152)),
            service: Service::Relay,
            implicit_tls: None,
            users: Listed::default(),
        }
    }
}

impl Settings {
    /// Takes a `P:` line: `client ADDRESS`, `service NAME`, `tls [SERVER NAME]`, `user NAME PASSWORD`.
    pub(super) fn take(&mut self, setting: &str) -> Result<(), String> {
        let (word, rest) = setting.split_once(' ').unwrap_or((setting, ""));
        match word {
            "client" => {
                let address: Option<IpAddr> = rest.parse().ok();
                let address = address.ok_or_else(|| format!("{rest:?} is no IP address"))?;
                self.client.set_ip(address);
            }
            "service" => {
                self.service = rest
                    .parse()
                    .map_err(|error| format!("{rest:?} is {error}"))?;
            }
            "tls" => self.implicit_tls = Some((!rest.is_empty()).then(|| rest.to_owned())),
            "user" => {
                let (user, password) = rest.split_once(' ').ok_or("write: user NAME PASSWORD")?;
                self.users.add(user, password);
            }
            _ => {
                return Err(format!(
                    "no setting {word:?}: take one of client, service, tls, user"
                ));
            }
        }
        Ok(())
    }
}

impl World {
    /// The server of `loaded`.
    ///
    /// # Errors
    /// Its rules are wrong, or there is no place for a temporary folder.
    pub(super) fn new(loaded: &Arc<Loaded>, settings: Settings) -> Result<Self, Error> {
        let config = &loaded.config;
        let folder = tempfile::tempdir()?;
        let options = rules::Options {
            app: folder.path().join("app"),
            log: Some(folder.path().join("log")),
            listed: Some(settings.users),
            ..config.rules.clone()
        };
        let rules = Rules::load(&options, Arc::clone(&config.domains))
            .map_err(|errors| Error::Configuration(loaded.as_given(&errors)))?;
        let port = match settings.service {
            Service::Relay | Service::Delegation => 25,
            Service::Submission => 587,
            Service::Submissions => 465,
        };
        let implicit = settings.service == Service::Submissions;
        Ok(Self {
            client: settings.client,
            server: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 25), port)),
            service: settings.service,
            implicit_tls: settings.implicit_tls.or_else(|| implicit.then_some(None)),
            name: Arc::clone(&config.server.name),
            limits: Arc::clone(&config.server.limits),
            // Keys may be readable by the server alone.
            offers_tls: config.tls.root.is_some() || !config.tls.domains.is_empty(),
            rules,
            domains: Arc::clone(&config.domains),
            loaded: Arc::clone(loaded),
            folder,
            told: Mutex::default(),
        })
    }

    /// `path` as the operator would write it.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        self.loaded.shown(path)
    }

    /// What rules have logged and written since this was asked last.
    pub(super) fn news(&self) -> Vec<Event> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Where there is no log yet, nothing was logged.
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines = log.get(told.log..).unwrap_or_default().lines();
        let mut events: Vec<Event> = lines
            .map(|line| Event::Log {
                // Behind the time.
                text: line
                    .split_once(' ')
                    .map_or(line, |(_, text)| text)
                    .to_owned(),
            })
            .collect();
        told.log = log.len();
        let app = self.folder.path().join("app");
        for file in files(&app) {
            if let Ok(below) = file.strip_prefix(&app)
                && told.files.insert(below.to_owned())
            {
                let file = below.to_owned();
                events.push(Event::Wrote { file });
            }
        }
        events
    }
}

/// Every file below `folder`, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    entries.sort();
    entries
        .into_iter()
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}
