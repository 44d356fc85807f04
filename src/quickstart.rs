//! A demo in one folder: two domains with certificates, a certificate for clients that name no server, the policy
//! "deny unencrypted", mailboxes, and free ports on the loopback interface.
//!
//! Made once and then left alone: what the user edits stays, and the next start uses what is there. Nothing outside
//! the folder is touched. Does not start the daemon: that is the business of `main`, as for any other configuration.

use crate::mail::Service;
use nix::unistd::{Group, User, geteuid};
use rcgen::{CertificateParams, DnType, KeyPair};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where the demo lies when the user names no folder: `vsmtp-demo` in the current folder, to be looked at and edited.
/// For root it is `/var/lib/vsmtp-demo`, because the daemon gives root up and then may be unable to enter, say,
/// `/root`.
pub fn default_dir() -> PathBuf {
    if geteuid().is_root() {
        PathBuf::from("/var/lib/vsmtp-demo")
    } else {
        PathBuf::from("vsmtp-demo")
    }
}

/// A demo that can be started: its folder is the configuration root.
#[derive(Debug)]
pub struct Demo {
    root: PathBuf,
}

/// Makes the demo in `dir`, or takes the one that is there.
///
/// # Errors
///
/// When the folder holds something else, cannot be written, or could not be entered by the user that the daemon
/// becomes.
pub fn prepare(dir: &Path) -> Result<Demo, Error> {
    let made = !dir.join("conf.d/config.vsl").exists();
    if made {
        if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::Foreign(dir.to_owned()));
        }
        fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    }
    let root = dir.canonicalize().map_err(|e| Error::io(dir, e))?;
    let owner = match geteuid().is_root() {
        true => Some(Owner::choose()?),
        false => None,
    };
    if let Some(owner) = &owner {
        owner.reaches(&root)?;
    }
    if made {
        make(&root, owner.as_ref())?;
    }
    let interfaces = root.join("conf.d/interfaces.vsl");
    if !interfaces.exists() {
        write(&interfaces, &choose_interfaces()?, 0o644)?;
    }
    Ok(Demo { root })
}

impl Demo {
    /// The configuration root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What to try, as commands to copy, for a daemon that listens on `addresses`.
    pub fn guide(&self, addresses: &[(Service, SocketAddr)]) -> String {
        let of = |wanted| addresses.iter().find(|(service, _)| *service == wanted);
        let mut text = format!(
            "vsmtp demo in {}: edit it, or delete it to begin anew. Ctrl-C stops the server.\n",
            self.root.display()
        );
        if let Some((_, address)) = of(Service::Relay) {
            text += &starttls(*address);
        }
        if let Some((_, address)) = of(Service::Submissions) {
            text += &implicit_tls(*address);
        }
        let mail = self.root.join("mail");
        let _ = write!(
            text,
            "
# Where the mail lands, a folder for each mailbox:
ls {0}/example.com/john/new {0}/example.org/jenny/new

# Every option with its value:
{1} config show --config {2}
",
            quote(&mail),
            std::env::current_exe().map_or_else(|_| "vsmtp".into(), |path| quote(&path)),
            quote(&self.root),
        );
        text
    }
}

/// A session after STARTTLS, for printf(1).
const MESSAGE: &str = r"EHLO client.example.net\nMAIL FROM:<you@example.net>\nRCPT TO:<john@example.com>\nDATA\nSubject: hi\n\nhello\n.\nQUIT\n";

/// What to try on the relay port.
fn starttls(address: SocketAddr) -> String {
    format!(
        "
# STARTTLS on {address}: a certificate for each name, and another for who names none.
openssl s_client -starttls smtp -crlf -connect {address} -servername example.com
openssl s_client -starttls smtp -crlf -connect {address} -servername mail.example.org
openssl s_client -starttls smtp -crlf -connect {address}

# A message by hand.
printf '{MESSAGE}' | openssl s_client -starttls smtp -crlf -quiet -connect {address}

# Policy: in clear this is refused with 451 5.7.3 (see filter.vsl); over TLS it goes through.
swaks --server {address} --from you@example.net --to john@example.com
swaks --server {address} --from you@example.net --to john@example.com --tls
"
    )
}

/// What to try on the submissions port.
fn implicit_tls(address: SocketAddr) -> String {
    format!(
        "
# TLS from the first octet on {address}.
openssl s_client -crlf -connect {address} -servername example.com
swaks --server {address} --from you@example.net --to jenny@example.org --tls-on-connect
"
    )
}

/// `path` as one word of a shell command.
fn quote(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The names that each certificate is good for, the domain first; the file is named after it.
const CERTIFICATES: [(&str, &[&str]); 3] = [
    ("example.com", &["example.com", "mail.example.com"]),
    ("example.org", &["example.org", "mail.example.org"]),
    ("root", &["localhost"]),
];

const FILTER: &str = r#"// The rules that every message meets first. Rules of one domain: domain-enabled/NAME/incoming.vsl.
#{
  mail: [
    rule "deny unencrypted" || {
      // It is possible to customize the policy to whitelist some ip for example.
      if ctx::is_secured() {
        state::next()
      } else {
        state::deny(code(451, "5.7.3", "Must issue a STARTTLS command first\r\n"))
      }
    }
  ]
}
"#;

fn make(root: &Path, owner: Option<&Owner>) -> Result<(), Error> {
    for folder in ["certs", "conf.d"] {
        folder_at(&root.join(folder))?;
    }
    for (name, server_names) in CERTIFICATES {
        let (certificate, key) = certificate(server_names)?;
        write(&root.join(format!("certs/{name}.pem")), &certificate, 0o644)?;
        write(&root.join(format!("certs/{name}.key")), &key, 0o600)?;
    }
    write(&root.join("filter.vsl"), FILTER, 0o644)?;
    for (domain, mailboxes) in [
        ("example.com", r#"["john", "jenny", "postmaster"]"#),
        ("example.org", r#""*""#),
    ] {
        folder_at(&root.join("domain-enabled").join(domain))?;
        write(
            &root.join("domain-enabled").join(domain).join("config.vsl"),
            &domain_config(domain, mailboxes),
            0o644,
        )?;
    }
    write(
        &root.join("conf.d/interfaces.vsl"),
        &choose_interfaces()?,
        0o644,
    )?;
    // Last, because its presence says that the demo is whole.
    write(&root.join("conf.d/config.vsl"), &root_config(owner), 0o644)
}

fn root_config(owner: Option<&Owner>) -> String {
    let system = owner.map_or_else(String::new, |Owner { user, group, .. }| {
        format!(
            "
  // Who the daemon becomes, since root starts it.
  config.server.system.user = \"{user}\";
  config.server.system.group = \"{group}\";
"
        )
    });
    format!(
        r#"import "conf.d/interfaces" as interfaces;

fn on_config(config) {{
  config.server.name = "mail.example.com";
  config.server.interfaces = #{{
    addr: interfaces::SMTP,
    addr_submission: interfaces::SUBMISSION,
    addr_submissions: interfaces::SUBMISSIONS,
  }};
{system}
  config.server.queues.dirpath = "spool";
  config.app.mail_dirpath = "mail";

  config.server.tls = #{{
    preempt_cipherlist: false,
    handshake_timeout: "1000ms",
    protocol_version: ["TLSv1.2", "TLSv1.3"],
    // Without this, a client that names no server is turned away.
    root: #{{
      certificate: "certs/root.pem",
      private_key: "certs/root.key",
    }},
  }};

  config
}}
"#
    )
}

fn domain_config(domain: &str, mailboxes: &str) -> String {
    format!(
        r#"fn on_domain_config(config) {{
  config.tls = #{{
    certificate: "certs/{domain}.pem",
    private_key: "certs/{domain}.key",
  }};
  config.mailboxes = {mailboxes};

  config
}}
"#
    )
}

/// The ports stay the same from one start to the next, so that a command typed yesterday works today; hence a file of
/// its own, which can be deleted to have others.
fn choose_interfaces() -> Result<String, Error> {
    let mut text = String::from("// Delete this file, and the next start chooses free ports.\n");
    // All are held until all are chosen: no port is given twice.
    let mut held = Vec::new();
    for (name, preferred) in [
        ("SMTP", 10025),
        ("SUBMISSION", 10587),
        ("SUBMISSIONS", 10465),
    ] {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, preferred))
            .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .map_err(Error::Loopback)?;
        let address = socket.local_addr().map_err(Error::Loopback)?;
        let _ = writeln!(text, "export const {name} = [\"{address}\"];");
        held.push(socket);
    }
    Ok(text)
}

/// A self-signed certificate and its key, as PEM. The first name becomes the subject.
fn certificate(names: &[&str]) -> Result<(String, String), Error> {
    let names: Vec<String> = names.iter().copied().map(String::from).collect();
    let subject = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, subject);
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Who the daemon becomes when root starts it. The folders for its state are made by the daemon, which gives them away.
struct Owner {
    user: String,
    group: String,
}

impl Owner {
    /// The unprivileged user that every Unix has; its group has two names.
    fn choose() -> Result<Self, Error> {
        let user = User::from_name("nobody").ok().flatten();
        let group = ["nogroup", "nobody"]
            .iter()
            .find_map(|name| Group::from_name(name).ok().flatten());
        match (user, group) {
            (Some(user), Some(group)) => Ok(Self {
                user: user.name,
                group: group.name,
            }),
            _ => Err(Error::NoUser),
        }
    }

    /// Whether this user can enter `root`: each folder above it must let everybody through.
    fn reaches(&self, root: &Path) -> Result<(), Error> {
        for folder in root.ancestors().skip(1) {
            let mode = fs::metadata(folder)
                .map_err(|e| Error::io(folder, e))?
                .mode();
            if mode & 0o001 == 0 {
                return Err(Error::Unreachable {
                    user: self.user.clone(),
                    folder: folder.to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn folder_at(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|e| Error::io(path, e))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| Error::io(path, e))
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is neither empty nor a demo.
    #[error("{0} holds something else than a demo: name another folder with --dir")]
    Foreign(PathBuf),
    /// The user that the daemon becomes cannot enter the folder.
    #[error(
        "the daemon gives up root to become {user}, who cannot enter {folder}: name another folder with --dir"
    )]
    Unreachable {
        /// Who.
        user: String,
        /// What stops them.
        folder: PathBuf,
    },
    /// The system knows no `nobody`.
    #[error("there is no user nobody with group nogroup or nobody for the daemon to become")]
    NoUser,
    /// No port could be had.
    #[error("no free port on 127.0.0.1: {0}")]
    Loopback(io::Error),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A file or folder could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
