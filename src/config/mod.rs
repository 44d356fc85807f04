//! The configuration: the only place that knows every option. Reads vSL, checks it, shows it.
//!
//! Opens no certificate and compiles no rule: their modules do, from the options that stand here. Changes nothing on
//! disk and binds nothing, so that a check and a start see the same errors.
//!
//! To add a key: give the option struct a field, [`Config::defaults`] its default, and `keys` one line. That line
//! serves for defaults, strict reading, `config show` and `config diff`.
//!
//! | file | what it is |
//! |---|---|
//! | `keys` | every key, once |
//! | `kind` | how one value is read and written |
//! | `read`, `show` | the two ways to go through the keys |
//! | `origin` | where a key was assigned |
//! | `load`, `domain` | from files to a [`Config`] |
//! | `environment` | what the host says |

mod domain;
mod environment;
mod keys;
mod kind;
mod load;
mod origin;
mod read;
mod show;

pub use domain::{Dkim, Domain};
pub use environment::Environment;
pub use load::{load, load_in};
pub use show::{diff, show};

use crate::script::{Diagnostic, Limits};
use crate::{delivery, dns, mail, queue, rules, server, smtp, tls};
use origin::Origins;
use semver::VersionReq;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Everything that a start needs, read and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `version_requirement`: what this program's version was compared with.
    pub version_requirement: Option<VersionReq>,
    /// `server.name` … `server.smtp`
    pub server: server::Options,
    /// `server.interfaces`
    pub interfaces: Interfaces,
    /// `server.system`
    pub system: System,
    /// `server.logs`
    pub logs: Logs,
    /// `server.tls` and the `tls` of each domain
    pub tls: tls::Options,
    /// `server.queues`
    pub queue: queue::Options,
    /// `server.control`: the socket for the programs of this machine.
    pub control: PathBuf,
    /// `server.dns`
    pub dns: dns::Options,
    /// `server.delivery`
    pub relaying: Relaying,
    /// `app`
    pub delivery: delivery::Options,
    /// `app.vsl`
    pub rules: rules::Options,
    /// `app.vsl.domain_dir`
    pub domain_dir: PathBuf,
    /// The enabled domains, as sessions and deliveries ask for them.
    pub domains: Arc<mail::Domains>,
    /// The enabled domains by name, as their files say.
    pub hosted: BTreeMap<String, Domain>,
    /// The folder that systemd has made for sockets (`RuntimeDirectory=`).
    pub runtime_directory: Option<PathBuf>,
}

/// `server.interfaces`: where to listen when systemd passes no sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// `addr`
    pub addr: Vec<SocketAddr>,
    /// `addr_submission`
    pub addr_submission: Vec<SocketAddr>,
    /// `addr_submissions`
    pub addr_submissions: Vec<SocketAddr>,
}

/// `server.system`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// Who to become when started as root.
    pub user: String,
    /// And which group.
    pub group: String,
    /// The group that mailbox files belong to.
    pub group_local: Option<String>,
    /// Worker threads.
    pub thread_pool: usize,
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// journald, with structured fields.
    Journald,
    /// Lines on standard error.
    Stderr,
    /// Lines in `server.logs.filename`.
    File,
}

/// `server.logs`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logs {
    /// A level or tracing directives: `info`, `debug,vsmtp::smtp=trace`. `system.level` where it is given, otherwise
    /// `level`.
    pub level: String,
    /// For [`Backend::File`], which has one.
    pub filename: Option<PathBuf>,
    /// Journald under systemd, otherwise standard error.
    pub backend: Backend,
}

/// `server.delivery`: how mail is handed to other servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relaying {
    /// `tls.ca`: PEM file of the authorities that next hops of ours (`tls=required`, `smtps://`) are verified against;
    /// `None`: those of the system.
    pub ca: Option<PathBuf>,
}

/// What [`load`] found: a configuration in which defaults stand for whatever could not be read, so that certificates
/// and rules can be checked all the same, and every error.
#[derive(Debug)]
pub struct Loaded {
    /// Usable only when `errors` is empty.
    pub config: Config,
    /// Each stops a start.
    pub errors: Vec<Diagnostic>,
    /// Said once at a start; stops nothing.
    pub warnings: Vec<Diagnostic>,
    /// What an operator may have forgotten; said by a check alone.
    pub hints: Vec<Diagnostic>,
    environment: Environment,
    root: PathBuf,
    /// `root` as the operator wrote it.
    given: PathBuf,
    origins: Origins,
    domain_origins: BTreeMap<String, Origins>,
}

impl Loaded {
    /// What others found below the configuration root, with paths as the operator would write them.
    pub fn as_given(&self, diagnostics: &[Diagnostic]) -> Vec<Diagnostic> {
        diagnostics
            .iter()
            .map(|diagnostic| Diagnostic {
                file: diagnostic.file.as_deref().map(|file| self.shown(file)),
                ..diagnostic.clone()
            })
            .collect()
    }

    /// `path` as the operator would write it.
    pub fn shown(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(below) => self.given.join(below),
            Err(_) => path.to_owned(),
        }
    }

    /// File, line and column of the assignment of `path` (`server.tls.root.certificate`), or of the nearest key above
    /// it: in the root configuration, or in that of `domain`.
    pub fn origin(&self, domain: Option<&str>, path: &str) -> (PathBuf, Option<(usize, usize)>) {
        domain
            .and_then(|name| self.domain_origins.get(name))
            .unwrap_or(&self.origins)
            .of(path)
    }
}

impl Config {
    /// What holds when nothing is said, in `environment` and for the configuration under `root`.
    pub fn defaults(environment: &Environment, root: &Path) -> Self {
        let spool = environment
            .state_directory
            .clone()
            .unwrap_or_else(|| "/var/spool/vsmtp".into());
        Self {
            version_requirement: None,
            control: control_default(environment.runtime_directory.as_ref(), &spool),
            server: server_defaults(environment),
            interfaces: Interfaces::defaults(environment),
            system: System {
                user: "vsmtp".into(),
                group: "vsmtp".into(),
                group_local: None,
                thread_pool: environment.cores,
            },
            logs: Logs {
                level: "info".into(),
                filename: None,
                backend: match environment.journald {
                    true => Backend::Journald,
                    false => Backend::Stderr,
                },
            },
            tls: tls::Options {
                versions: vec![tls::Version::Tls12, tls::Version::Tls13],
                cipher_suites: Vec::new(),
                preempt_cipherlist: false,
                handshake_timeout: Duration::from_secs(1),
                root: None,
                domains: Vec::new(),
            },
            dns: dns::Options::default(),
            relaying: Relaying::default(),
            delivery: delivery::Options {
                mail_dirpath: spool.join("mail"),
                dirpath: spool.join("app"),
                reports: delivery::ReportLimits {
                    total: Some(1000),
                    per_domain: Some(50),
                },
            },
            queue: queue::Options {
                dirpath: spool,
                schedule: schedule_defaults(),
            },
            rules: rules::Options {
                root: root.to_owned(),
                filter: root.join("filter.vsl"),
                domains: Vec::new(),
                app: PathBuf::new(),
                log: None,
                saslauthd: "/run/saslauthd/mux".into(),
                dns: dns::Options::default(),
                identity: Default::default(),
                listed: None,
                limits: Limits::default(),
            },
            domain_dir: domain::default_folder(root),
            domains: Arc::default(),
            hosted: BTreeMap::new(),
            runtime_directory: environment.runtime_directory.clone(),
        }
    }
}

/// In the spool nobody but its owner gets there, in a folder of its own everybody.
fn control_default(runtime_directory: Option<&PathBuf>, spool: &Path) -> PathBuf {
    let folder = runtime_directory.map_or(spool, PathBuf::as_path);
    folder.join("control")
}

impl Interfaces {
    /// Loopback, unless systemd has passed sockets.
    fn defaults(environment: &Environment) -> Self {
        if environment.sockets {
            return Self::default();
        }
        let loopback = |port| vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
        Self {
            addr: loopback(25),
            addr_submission: loopback(587),
            addr_submissions: loopback(465),
        }
    }
}

fn server_defaults(environment: &Environment) -> server::Options {
    let timeout = Duration::from_secs(5 * 60);
    server::Options {
        name: environment.host_name.as_str().into(),
        client_count_max: Some(1024),
        client_count_max_per_address: Some(256),
        limits: Arc::new(smtp::Limits {
            message_size: 25_000_000,
            recipients: 1000,
            soft_errors: Some(10),
            hard_errors: Some(20),
            authentication: smtp::Authentication {
                mechanisms: vec![smtp::Mechanism::Plain, smtp::Mechanism::Login],
                in_clear: false,
                attempts_max: 3,
            },
        }),
        error_delay: Duration::from_secs(5),
        timeouts: server::Timeouts {
            connect: timeout,
            helo: timeout,
            mail_from: timeout,
            rcpt_to: timeout,
            data: timeout,
        },
    }
}

fn schedule_defaults() -> queue::Schedule {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    queue::Schedule {
        retry_min: Duration::from_secs(MINUTE),
        retry_max: Duration::from_secs(HOUR),
        lifetime: Duration::from_secs(5 * 24 * HOUR),
        warn_after: Duration::from_secs(4 * HOUR),
        attempts_max: None,
    }
}
