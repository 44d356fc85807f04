//! Servers that others wrote, from Debian's packages. `fetch`, beside this file, brings them into a tree; each test has a
//! copy of its own, in which one of them runs by chroot. Nothing of it is installed, and nothing outlives the test.

mod dovecot;
mod opensmtpd;
mod postfix;

pub use dovecot::Dovecot;
pub use opensmtpd::OpenSmtpd;
pub use postfix::Postfix;

use super::certificate::Certificate;
use super::maildir::Maildir;
use super::program::trial_or;
use super::{is_root, wait_for};
use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// A test that needs these servers; `programs`: what it needs besides.
pub fn trial(
    programs: &'static [&'static str],
    name: impl Into<String>,
    test: impl FnOnce() + Send + 'static,
) -> Trial {
    let obstacle = if !is_root() {
        Some("needs root, for chroot".to_owned())
    } else if !fetched().join("mail").is_dir() {
        Some("needs tests/support/peers/fetch to have run".to_owned())
    } else {
        None
    };
    trial_or(obstacle, programs, name, test)
}

/// Where `fetch` puts them.
fn fetched() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    cache.join("vsmtp-tests/peers")
}

/// An address of this machine at which nobody listens, and no other test will: each asks for an IP address of its own.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, high | 0x40, low, NEXT.fetch_add(1, Ordering::Relaxed));
    let listener = TcpListener::bind((address, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// A file system of its own for one server.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("peer-").tempdir().unwrap();
        // Who delivers to a socket in it has no rights.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let tree = Self(folder);
        let copy = |how: &str| {
            let mut command = Command::new("cp");
            command.arg(how).arg("-T").arg(fetched()).arg(tree.path(""));
            command.stderr(Stdio::null()).status().unwrap().success()
        };
        // Links, where both are in one file system: the servers change no file that they came with.
        assert!(copy("-al") || copy("-a"), "the tree cannot be copied");
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Puts a file of ours in the place of whatever is there.
    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        let _ = fs::remove_file(&path);
        fs::write(path, text).unwrap();
    }

    /// Puts a certificate for `name` at `etc/peer.pem`, and its key at `etc/peer.key`.
    fn certify(&self, name: &str) {
        let certificate = Certificate::new(&[name]);
        self.write("etc/peer.pem", &certificate.pem());
        self.write("etc/peer.key", &certificate.key_pem());
        fs::set_permissions(self.path("etc/peer.key"), Permissions::from_mode(0o600)).unwrap();
    }

    /// Starts a program that stays in the foreground and listens at `address`.
    fn start(self, command: &'static [&'static str], address: SocketAddr) -> Peer {
        let child = self.spawn(command);
        let mut peer = Peer {
            tree: self,
            command,
            address,
            child,
        };
        peer.listens();
        peer
    }

    fn spawn(&self, command: &[&str]) -> Child {
        let mut output = File::options();
        let output = output.create(true).append(true).open(self.path("output"));
        let output = output.unwrap();
        let mut chroot = Command::new("chroot");
        chroot.arg(self.path("")).args(command);
        chroot.stdin(Stdio::null());
        chroot.stdout(output.try_clone().unwrap()).stderr(output);
        chroot.spawn().unwrap()
    }
}

/// A running server. Ends when dropped; when the test fails, its log is shown.
struct Peer {
    tree: Tree,
    command: &'static [&'static str],
    address: SocketAddr,
    child: Child,
}

impl Peer {
    fn listens(&mut self) {
        wait_for(self.command[0], || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.log());
            TcpStream::connect(self.address).ok()
        });
    }

    /// Ends it, and starts it anew on the same files.
    fn restart(&mut self) {
        self.end();
        self.child = self.tree.spawn(self.command);
        self.listens();
    }

    fn end(&mut self) {
        self.signal(Signal::SIGTERM);
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        end_rest(&self.tree.path(""));
    }

    fn log(&self) -> String {
        let read = |path: &str| fs::read(self.tree.path(path)).unwrap_or_default();
        let octets = [read("output"), read("var/log/peer")].concat();
        String::from_utf8_lossy(&octets).into_owned()
    }

    /// Waits for a line of log with all of `parts`.
    fn wait_for_log(&self, parts: &[&str]) -> String {
        wait_for(&format!("a line of log with {parts:?}"), || {
            let log = self.log();
            let found = |line: &&str| parts.iter().all(|part| line.contains(part));
            log.lines().find(found).map(str::to_owned)
        })
    }

    /// The mailbox of a user.
    fn maildir(&self, user: &str) -> Maildir {
        Maildir::at(self.tree.path("mail").join(user))
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // It may have ended.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("--- log of the peer\n{}---", self.log());
        }
    }
}

/// Ends whoever still lives in `tree`: a master that was killed leaves its children behind.
fn end_rest(tree: &Path) {
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    for process in processes.flatten() {
        let root = fs::read_link(process.path().join("root"));
        let pid = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let (Ok(root), Some(pid)) = (root, pid)
            && root.starts_with(tree)
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
