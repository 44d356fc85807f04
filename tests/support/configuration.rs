//! A configuration folder, written piece by piece.

use super::certificate::Certificate;
use super::daemon::{is_root, unprivileged};
use super::saslauthd::saslauthd;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Lets everybody in and leaves the decision to the built-in guard.
pub const OPEN: &str = "#{}\n";

/// The configuration root in a folder of its own, with the state of the daemon beside it. Until told otherwise: one
/// loopback port for each service, every message of log, no certificate, no domain, and no rule.
pub struct Configuration {
    folder: TempDir,
    lines: String,
    /// `conf.d/config.vsl` is somebody else's, whom `vsmtp.vsl` asks first.
    copied: bool,
}

/// `domain-enabled/NAME`.
pub struct Domain<'a> {
    configuration: &'a Configuration,
    folder: PathBuf,
    name: String,
    tls: Vec<String>,
    lines: String,
}

impl Configuration {
    pub fn new() -> Self {
        let configuration = Self::bare();
        let mut lines = String::from(
            r#"  config.server.name = "mx.example.test";
  config.server.interfaces = #{
    addr: ["127.0.0.1:0"],
    addr_submission: ["127.0.0.1:0"],
    addr_submissions: ["127.0.0.1:0"],
  };
  config.server.logs.level = "debug";
  config.server.logs.system.backend = "stderr";
"#,
        );
        let _ = writeln!(
            lines,
            "  config.server.queues.dirpath = \"{}\";",
            configuration.state().display()
        );
        if is_root() {
            let (user, group) = unprivileged();
            let _ = writeln!(lines, "  config.server.system.user = \"{user}\";");
            let _ = writeln!(lines, "  config.server.system.group = \"{group}\";");
        }
        configuration.file("filter.vsl", OPEN);
        Self {
            lines,
            ..configuration
        }
    }

    /// Nothing but an empty root and an empty state folder; files are up to the test.
    pub fn bare() -> Self {
        let folder = tempfile::Builder::new().prefix("vsmtp-").tempdir().unwrap();
        // The daemon must get through after it has given up root.
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let configuration = Self {
            folder,
            lines: String::new(),
            copied: false,
        };
        fs::create_dir(configuration.root()).unwrap();
        fs::create_dir(configuration.state()).unwrap();
        if is_root() {
            let (user, group) = unprivileged();
            let user = nix::unistd::User::from_name(&user).unwrap().unwrap();
            let group = nix::unistd::Group::from_name(&group).unwrap().unwrap();
            let state = configuration.state();
            chown(state, Some(user.uid.as_raw()), Some(group.gid.as_raw())).unwrap();
        }
        configuration
    }

    /// A copy of the configuration below `origin`, with what every test needs on top. `adapt` gets the text of each file.
    pub fn copy(origin: &Path, adapt: impl Fn(String) -> String) -> Self {
        let configuration = Self::new();
        let mut open = vec![origin.to_owned()];
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            } else {
                let below = path.strip_prefix(origin).unwrap().to_str().unwrap();
                configuration.file(below, &adapt(fs::read_to_string(&path).unwrap()));
            }
        }
        Self {
            copied: true,
            ..configuration
        }
    }

    /// Stands for `/etc/vsmtp`.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("etc")
    }

    /// Stands for `/var/spool/vsmtp`.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Where a test may put what is no configuration.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Assigns the vSL expression `value` to `config.KEY`.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        let _ = writeln!(self.lines, "  config.{key} = {value};");
        self
    }

    pub fn filter(self, rules: &str) -> Self {
        self.file("filter.vsl", rules);
        self
    }

    /// Writes a file below the root, with its folders.
    pub fn file(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Makes the machine have a user, whom `auth::unix_users()` knows.
    pub fn user(self, name: &str, password: &str) -> Self {
        let socket = saslauthd(self.scratch(), name, password);
        self.set("server.smtp.auth.saslauthd", &format!("{socket:?}"))
    }

    /// The certificate for clients that name no server.
    pub fn root_certificate(self, certificate: &Certificate) -> Self {
        let (certificate, key) = certificate.write(&self.root().join("certs"), "root");
        self.set(
            "server.tls.root",
            &format!("#{{ certificate: {certificate:?}, private_key: {key:?} }}"),
        )
    }

    /// Enables a domain with every mailbox; `shape` may say otherwise.
    pub fn domain(self, name: &str, shape: impl FnOnce(Domain<'_>) -> Domain<'_>) -> Self {
        let domain = Domain {
            configuration: &self,
            folder: self.root().join("domain-enabled").join(name),
            name: name.to_owned(),
            tls: Vec::new(),
            lines: "  config.mailboxes = \"*\";\n".to_owned(),
        };
        let mut domain = shape(domain);
        if !domain.tls.is_empty() {
            let tls = format!("#{{ {} }}", domain.tls.join(", "));
            domain = domain.set("tls", &tls);
        }
        fs::create_dir_all(&domain.folder).unwrap();
        let text = format!(
            "fn on_domain_config(config) {{\n{}  config\n}}\n",
            domain.lines
        );
        fs::write(domain.folder.join("config.vsl"), text).unwrap();
        self
    }

    /// Enables a domain that shows `certificate`.
    pub fn domain_with(self, name: &str, certificate: &Certificate) -> Self {
        self.domain(name, |domain| domain.certificate(certificate))
    }

    /// Writes `conf.d/config.vsl`, when the test has not done so itself.
    pub fn write(&self) {
        if self.copied {
            self.file(
                "vsmtp.vsl",
                &format!(
                    "import \"conf.d/config\" as copied;\n\
                     fn on_config(config) {{\n  config = copied::on_config(config);\n{}  config\n}}\n",
                    self.lines
                ),
            );
        } else if !self.lines.is_empty() {
            self.file(
                "conf.d/config.vsl",
                &format!("fn on_config(config) {{\n{}  config\n}}\n", self.lines),
            );
        }
    }
}

impl Domain<'_> {
    pub fn set(mut self, key: &str, value: &str) -> Self {
        let _ = writeln!(self.lines, "  config.{key} = {value};");
        self
    }

    pub fn certificate(self, certificate: &Certificate) -> Self {
        let folder = self.configuration.root().join("certs");
        let (certificate, key) = certificate.write(&folder, &self.name);
        self.tls("certificate", &format!("{certificate:?}"))
            .tls("private_key", &format!("{key:?}"))
    }

    /// A key of the map `config.tls`.
    pub fn tls(mut self, key: &str, value: &str) -> Self {
        self.tls.push(format!("{key}: {value}"));
        self
    }

    pub fn rules(self, file: &str, rules: &str) -> Self {
        fs::create_dir_all(&self.folder).unwrap();
        fs::write(self.folder.join(file), rules).unwrap();
        self
    }
}
