//! Database servers for tests: the real ones, from their packages, each in a folder of its own and as somebody without
//! rights. They listen on a socket in that folder, and under TLS on a loopback port.

use super::{Certificate, is_root, unprivileged, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Group, Pid, User};
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The user of each server, and how it proves that over TCP.
pub const USER: &str = "vsmtp";
pub const PASSWORD: &str = "p@ss/word";

/// A server that runs, until it is stopped or dropped.
pub struct Server {
    folder: TempDir,
    program: PathBuf,
    arguments: Vec<String>,
    /// What asks it to stop.
    stop: Signal,
    child: Child,
    /// Where it listens under TLS.
    pub port: u16,
}

impl Server {
    /// A folder that belongs to whom servers run as, with a certificate for `localhost` in it.
    fn folder() -> TempDir {
        let folder = tempfile::Builder::new().prefix("vsmtp-").tempdir().unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let certificate = Certificate::new(&["localhost"]);
        let (certificate, key) = certificate.write(folder.path(), "server");
        fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        for path in [folder.path().to_owned(), certificate, key] {
            give(&path);
        }
        folder
    }

    fn start(
        folder: TempDir,
        program: &Path,
        arguments: Vec<String>,
        stop: Signal,
        port: u16,
    ) -> Self {
        let child = spawn(folder.path(), program, &arguments);
        Self {
            folder,
            program: program.to_owned(),
            arguments,
            stop,
            child,
            port,
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Who signs its certificate: itself.
    pub fn authority(&self) -> PathBuf {
        certificate(self.path()).0
    }

    pub fn stop(&mut self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        let _ = kill(pid, self.stop);
        let _ = self.child.wait();
    }

    /// After [`Server::stop`].
    pub fn start_again(&mut self) {
        self.child = spawn(self.folder.path(), &self.program, &self.arguments);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// PostgreSQL, where it is installed: its programs are in no PATH.
pub fn postgresql() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let folders = versions.map(|version| version.unwrap().path().join("bin"));
    folders.filter(|bin| bin.join("initdb").exists()).max()
}

/// The database `postgres`; the folder is that of the socket. Whoever comes by the socket is believed, others have to know
/// the password.
pub fn start_postgresql(programs: &Path) -> Server {
    let folder = Server::folder();
    let (data, password) = (folder.path().join("data"), folder.path().join("password"));
    fs::write(&password, PASSWORD).unwrap();
    give(&password);
    let mut init = as_somebody(folder.path(), &programs.join("initdb"));
    init.args([
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
        "--no-sync",
    ]);
    init.args(["--username", USER, "--encoding=UTF8", "--locale=C"]);
    init.arg("--pwfile").arg(password).arg("-D").arg(&data);
    finish(init);
    let port = free_port();
    let (certificate, key) = certificate(folder.path());
    let arguments = [
        "-D".to_owned(),
        data.display().to_string(),
        "-k".to_owned(),
        folder.path().display().to_string(),
        format!("-p{port}"),
        "-clisten_addresses=localhost".to_owned(),
        "-cfsync=off".to_owned(),
        "-cssl=on".to_owned(),
        format!("-cssl_cert_file={}", certificate.display()),
        format!("-cssl_key_file={}", key.display()),
    ];
    let program = programs.join("postgres");
    Server::start(folder, &program, arguments.into(), Signal::SIGINT, port)
}

/// MariaDB with the database `test`; the socket is `socket`.
pub fn start_mariadb() -> Server {
    let folder = Server::folder();
    let data = folder.path().join("data");
    let mut init = as_somebody(folder.path(), Path::new("mariadb-install-db"));
    init.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
    init.arg("--skip-test-db")
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--tmpdir={}", folder.path().display()));
    finish(init);
    let script = folder.path().join("init.sql");
    let user = format!("'{USER}'@'%' IDENTIFIED BY '{PASSWORD}'");
    let sql = format!(
        "CREATE DATABASE IF NOT EXISTS test;\nCREATE USER IF NOT EXISTS {user};\nGRANT ALL ON test.* TO '{USER}'@'%';\n"
    );
    fs::write(&script, sql).unwrap();
    let port = free_port();
    let (certificate, key) = certificate(folder.path());
    let arguments = [
        "--no-defaults".to_owned(),
        format!("--datadir={}", data.display()),
        format!("--socket={}/socket", folder.path().display()),
        format!("--tmpdir={}", folder.path().display()),
        format!("--port={port}"),
        "--bind-address=localhost".to_owned(),
        "--innodb-flush-log-at-trx-commit=0".to_owned(),
        format!("--init-file={}", script.display()),
        format!("--ssl-cert={}", certificate.display()),
        format!("--ssl-key={}", key.display()),
    ];
    let program = Path::new("mariadbd");
    Server::start(folder, program, arguments.into(), Signal::SIGTERM, port)
}

/// Redis; the socket is `socket`. Everybody has to know the password.
pub fn start_redis() -> Server {
    let folder = Server::folder();
    let port = free_port();
    let (certificate, key) = certificate(folder.path());
    let path = |path: &Path| path.display().to_string();
    let arguments = [
        ("--port", "0".to_owned()),
        ("--unixsocket", path(&folder.path().join("socket"))),
        ("--unixsocketperm", "777".to_owned()),
        ("--bind", "127.0.0.1".to_owned()),
        ("--save", String::new()),
        ("--dir", path(folder.path())),
        ("--requirepass", PASSWORD.to_owned()),
        ("--tls-port", port.to_string()),
        ("--tls-cert-file", path(&certificate)),
        ("--tls-key-file", path(&key)),
        ("--tls-ca-cert-file", path(&certificate)),
        ("--tls-auth-clients", "no".to_owned()),
    ];
    let arguments = arguments.map(|(key, value)| [key.to_owned(), value]);
    let program = Path::new("redis-server");
    Server::start(folder, program, arguments.concat(), Signal::SIGTERM, port)
}

fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("server.pem"), folder.join("server.key"))
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// When the tests run as root, servers do not: most refuse to.
fn give(path: &Path) {
    if is_root() {
        let (uid, gid) = somebody();
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

fn somebody() -> (u32, u32) {
    let (user, group) = unprivileged();
    let user = User::from_name(&user).unwrap().unwrap();
    let group = Group::from_name(&group).unwrap().unwrap();
    (user.uid.as_raw(), group.gid.as_raw())
}

fn as_somebody(folder: &Path, program: &Path) -> Command {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .unwrap();
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    if is_root() {
        let (uid, gid) = somebody();
        command.uid(uid).gid(gid);
    }
    command
}

fn finish(mut command: Command) {
    let status = command.status().unwrap();
    let log = fs::read_to_string(command.get_current_dir().unwrap().join("log"));
    assert!(status.success(), "{command:?}: {}", log.unwrap());
}

/// Starts a server, and waits until it says that it is ready.
fn spawn(folder: &Path, program: &Path, arguments: &[String]) -> Child {
    let log = folder.join("log");
    let before = ready(&log);
    let mut child = as_somebody(folder, program)
        .args(arguments)
        .spawn()
        .unwrap();
    wait_for(&format!("{program:?} to be ready"), || {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "{}", fs::read_to_string(&log).unwrap());
        (ready(&log) > before).then_some(())
    });
    child
}

/// How often a server has said that it is ready.
fn ready(log: &Path) -> usize {
    let said = fs::read_to_string(log).unwrap_or_default();
    let said = said.to_ascii_lowercase();
    said.matches("ready to accept connections").count()
        + said.matches("ready for connections").count()
}
