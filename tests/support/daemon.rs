//! The daemon as a process of its own: started, watched, stopped or killed.

use super::configuration::Configuration;
use super::maildir::Maildir;
use super::notify::Notify;
use super::{PATIENCE, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Group, Pid, User, geteuid};
use std::fmt::Write;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_vsmtp");

/// What systemd would set, or read from the machine that the tests run on.
const FOREIGN: [&str; 10] = [
    "NOTIFY_SOCKET",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
    "STATE_DIRECTORY",
    "RUNTIME_DIRECTORY",
];

pub fn is_root() -> bool {
    geteuid().is_root()
}

/// User and group that have no right to anything, by name.
pub fn unprivileged() -> (String, String) {
    let group = ["nogroup", "nobody"]
        .into_iter()
        .find(|name| matches!(Group::from_name(name), Ok(Some(_))))
        .expect("there is a group nogroup or nobody");
    ("nobody".to_owned(), group.to_owned())
}

/// How to start the daemon.
pub struct Start {
    configuration: Configuration,
    environment: Vec<(&'static str, String)>,
    sockets: Vec<OwnedFd>,
    unprivileged: bool,
}

impl Start {
    pub fn new(configuration: Configuration) -> Self {
        configuration.write();
        Self {
            configuration,
            environment: Vec::new(),
            sockets: Vec::new(),
            unprivileged: false,
        }
    }

    pub fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Passes `sockets` (three at most) as systemd does, from descriptor 3 on. `names`: LISTEN_FDNAMES.
    pub fn sockets(mut self, sockets: Vec<OwnedFd>, names: Option<&str>) -> Self {
        self.environment
            .push(("LISTEN_FDS", sockets.len().to_string()));
        if let Some(names) = names {
            self.environment.push(("LISTEN_FDNAMES", names.to_owned()));
        }
        self.sockets = sockets;
        self
    }

    /// When the tests run as root: have somebody without rights start the daemon.
    pub fn unprivileged(mut self) -> Self {
        self.unprivileged = true;
        self
    }

    /// Starts it and waits for `READY=1`.
    pub fn ready(self) -> Daemon {
        let mut daemon = self.spawn();
        let start = Instant::now();
        while !daemon.notify.said().iter().any(|line| line == "READY=1") {
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?} instead of READY=1");
            assert!(start.elapsed() < PATIENCE, "no READY=1");
        }
        daemon
    }

    /// Starts it, to see it end by itself.
    pub fn exit(self) -> Exit {
        self.spawn().wait()
    }

    fn spawn(self) -> Daemon {
        let scratch = self.configuration.scratch().to_owned();
        let notify = Notify::bind(&scratch);
        let log = scratch.join("log");
        let program = if self.unprivileged && is_root() {
            reachable(&scratch)
        } else {
            PROGRAM.into()
        };
        let mut command = wrapped(&program, self.sockets, &log);
        command.arg("serve").arg("--config");
        command.arg(self.configuration.root());
        for name in FOREIGN {
            command.env_remove(name);
        }
        command.env("NOTIFY_SOCKET", notify.path());
        command.envs(self.environment);
        if self.unprivileged && is_root() {
            let (user, group) = unprivileged();
            command.uid(User::from_name(&user).unwrap().unwrap().uid.as_raw());
            command.gid(Group::from_name(&group).unwrap().unwrap().gid.as_raw());
            // The log was made by root.
            fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        }
        let child = command.spawn().unwrap();
        Daemon {
            child,
            notify,
            log,
            configuration: Some(self.configuration),
        }
    }
}

/// The program where everybody can execute it: the build folder may be closed to all but root.
fn reachable(folder: &Path) -> PathBuf {
    let copy = folder.join("vsmtp");
    if !copy.exists() && fs::hard_link(PROGRAM, &copy).is_err() {
        fs::copy(PROGRAM, &copy).unwrap();
    }
    copy
}

/// `program` with its standard error in `log` and `sockets` from descriptor 3 on.
fn wrapped(program: &Path, sockets: Vec<OwnedFd>, log: &Path) -> Command {
    let file = File::options().create(true).append(true).open(log).unwrap();
    if sockets.is_empty() {
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(file));
        return command;
    }
    // The shell moves what it gets as its standard streams; it also knows the process id, which stays when it executes
    // the daemon in its place.
    assert!(sockets.len() <= 3, "a shell has three standard streams");
    let mut script = String::from("exec");
    for index in 0..sockets.len() {
        let _ = write!(script, " {}<&{index}", index + 3);
    }
    script += " 0</dev/null 1>/dev/null 2>>\"$VSMTP_TEST_LOG\"; LISTEN_PID=$$ exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(program);
    command.env("VSMTP_TEST_LOG", log);
    let mut sockets = sockets.into_iter().map(Stdio::from);
    command.stdin(sockets.next().unwrap_or_else(Stdio::null));
    command.stdout(sockets.next().unwrap_or_else(Stdio::null));
    command.stderr(sockets.next().unwrap_or_else(Stdio::null));
    command
}

/// A running daemon. Killed when dropped; when a test fails, its log is shown.
pub struct Daemon {
    child: Child,
    notify: Notify,
    log: PathBuf,
    configuration: Option<Configuration>,
}

/// How a daemon ended.
pub struct Exit {
    pub status: ExitStatus,
    /// All that it wrote to standard error.
    pub log: String,
    /// All that it told systemd.
    pub said: Vec<String>,
    /// For another start on the same state.
    pub configuration: Configuration,
}

impl Daemon {
    /// With `configuration`, ready.
    pub fn start(configuration: Configuration) -> Self {
        Start::new(configuration).ready()
    }

    pub fn smtp(&mut self) -> SocketAddr {
        self.address("smtp")
    }

    pub fn submission(&mut self) -> SocketAddr {
        self.address("submission")
    }

    pub fn submissions(&mut self) -> SocketAddr {
        self.address("submissions")
    }

    /// Where content filters give messages back.
    pub fn delegation(&mut self) -> SocketAddr {
        self.address("delegation")
    }

    /// Where `service` really listens, as its status says: `STATUS=listening: smtp 127.0.0.1:36123, …`.
    fn address(&mut self, service: &str) -> SocketAddr {
        let said = self.said();
        said.iter()
            .rev()
            .find_map(|line| address_of(line.strip_prefix("STATUS=")?, service))
            .unwrap_or_else(|| panic!("nothing listens for {service}: {said:?}"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has told systemd so far.
    pub fn said(&mut self) -> Vec<String> {
        self.notify.said().to_vec()
    }

    /// What it has written to standard error so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits for a line of log with all of `parts` and returns it.
    pub fn wait_for_log(&self, parts: &[&str]) -> String {
        wait_for(&format!("a line of log with {parts:?}"), || {
            self.log()
                .lines()
                .find(|line| parts.iter().all(|part| line.contains(part)))
                .map(str::to_owned)
        })
    }

    pub fn configuration(&self) -> &Configuration {
        self.configuration.as_ref().expect("it is running")
    }

    /// Where the mail of one mailbox lands.
    pub fn maildir(&self, domain: &str, user: &str) -> Maildir {
        Maildir::at(
            self.configuration()
                .state()
                .join("mail")
                .join(domain)
                .join(user),
        )
    }

    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGHUP: reload.
    pub fn hang_up(&self) {
        self.signal(Signal::SIGHUP);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// SIGTERM, and waits for an orderly end.
    pub fn stop(self) -> Exit {
        self.terminate();
        let exit = self.wait();
        assert!(exit.status.success(), "{}\n{}", exit.status, exit.log);
        exit
    }

    /// SIGKILL: what a crash looks like from outside.
    pub fn kill(mut self) -> Configuration {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.configuration.take().expect("it was running")
    }

    /// Waits until it has ended by itself.
    pub fn wait(mut self) -> Exit {
        let start = Instant::now();
        let status = loop {
            self.notify.said();
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not end");
        };
        Exit {
            status,
            log: self.log(),
            said: self.notify.said().to_vec(),
            configuration: self.configuration.take().expect("it was running"),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the daemon\n{}---", self.log());
        }
    }
}

/// The address that stands in `line` next after the word `service`.
fn address_of(line: &str, service: &str) -> Option<SocketAddr> {
    line.split([' ', ','])
        .skip_while(|word| *word != service)
        .find_map(|word| word.parse().ok())
}
