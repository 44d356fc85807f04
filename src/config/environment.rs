//! What the host says: the one place that reads the process's environment, so that defaults can be tested.

use super::kind::is_domain_name;
use std::path::PathBuf;

/// Where defaults depend on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The default of `server.name`.
    pub host_name: String,
    /// `$STATE_DIRECTORY` of systemd's `StateDirectory=`: the default of `server.queues.dirpath`.
    pub state_directory: Option<PathBuf>,
    /// `$RUNTIME_DIRECTORY` of systemd's `RuntimeDirectory=`: where `server.control` lies by default.
    pub runtime_directory: Option<PathBuf>,
    /// The default of `server.system.thread_pool`.
    pub cores: usize,
    /// Whether standard error leads to journald: the default of `server.logs.system.backend`.
    pub journald: bool,
    /// Whether systemd passed sockets: then the interfaces default to none.
    pub sockets: bool,
}

impl Environment {
    /// That of this process.
    pub fn read() -> Self {
        Self {
            host_name: nix::unistd::gethostname()
                .ok()
                .and_then(|name| name.into_string().ok())
                .filter(|name| is_domain_name(name))
                .unwrap_or_else(|| "localhost".into()),
            state_directory: folder("STATE_DIRECTORY"),
            runtime_directory: folder("RUNTIME_DIRECTORY"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            journald: stderr_is_journal(),
            sockets: std::env::var_os("LISTEN_FDS").is_some(),
        }
    }

    /// That of the daemon on this host, for programs that are not started as it is: where systemd has made the folders
    /// of the unit, they are the daemon's.
    pub fn of_the_daemon() -> Self {
        let made = |path: &str| Some(PathBuf::from(path)).filter(|folder| folder.is_dir());
        let own = Self::read();
        Self {
            state_directory: own.state_directory.or_else(|| made("/var/lib/vsmtp")),
            runtime_directory: own.runtime_directory.or_else(|| made("/run/vsmtp")),
            ..own
        }
    }
}

/// The first folder that systemd names in a variable.
fn folder(variable: &str) -> Option<PathBuf> {
    let folders = std::env::var(variable).ok()?;
    let first = folders.split(':').next().map(PathBuf::from);
    first.filter(|folder| folder.is_absolute())
}

/// `$JOURNAL_STREAM` names device and inode of the journal's socket. It is inherited by children whose standard error
/// leads elsewhere, hence the comparison (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    nix::sys::stat::fstat(std::io::stderr())
        .is_ok_and(|status| stream == format!("{}:{}", status.st_dev, status.st_ino))
}
