//! `openssl s_client`, as an operator types it.

use super::program::{Output, run};
use std::net::SocketAddr;
use std::process::Command;

/// One call of `openssl s_client -crlf -connect ADDRESS`.
pub struct SClient {
    arguments: Vec<String>,
}

/// What openssl says about a connection.
#[derive(Debug)]
pub struct Handshake {
    /// The common name of the certificate that was shown; `None`: no certificate came.
    pub subject: Option<String>,
    /// `TLSv1.3`
    pub protocol: Option<String>,
    /// OpenSSL's name of the cipher suite.
    pub cipher: Option<String>,
    /// All of it.
    pub output: Output,
}

impl SClient {
    /// TLS from the first octet.
    pub fn implicit(address: SocketAddr) -> Self {
        Self {
            arguments: vec!["-crlf".into(), "-connect".into(), address.to_string()],
        }
    }

    /// STARTTLS.
    pub fn starttls(address: SocketAddr) -> Self {
        Self::implicit(address).arguments(&["-starttls", "smtp"])
    }

    pub fn server_name(self, name: Option<&str>) -> Self {
        match name {
            Some(name) => self.arguments(&["-servername", name]),
            // Of its own accord it names nobody when the address is a number; to be sure:
            None => self.arguments(&["-noservername"]),
        }
    }

    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|a| (*a).to_owned()));
        self
    }

    pub fn run(self) -> Handshake {
        let mut command = Command::new("openssl");
        // -ign_eof: it ends when the server closes, and takes a line that begins with R or Q for what it is.
        command
            .arg("s_client")
            .args(&self.arguments)
            .arg("-ign_eof");
        Handshake::parse(run(&mut command, "QUIT\n"))
    }
}

impl Handshake {
    /// Reads what `openssl s_client` printed.
    pub fn parse(output: Output) -> Self {
        let text = output.both();
        let subject = text
            .lines()
            .find_map(|line| line.strip_prefix("subject="))
            .and_then(|subject| subject.rsplit_once("CN"))
            .map(|(_, name)| name.trim_start_matches([' ', '=']).trim().to_owned());
        // "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384"
        let new = text
            .lines()
            .find_map(|line| line.strip_prefix("New, "))
            .and_then(|line| line.split_once(", Cipher is "))
            .filter(|(_, cipher)| *cipher != "(NONE)");
        // The line above names the version of the cipher suite; that of the session stands elsewhere in older releases.
        let session = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("Protocol  : "))
            .or(new.map(|(version, _)| version));
        Self {
            protocol: new.and(session).map(str::to_owned),
            cipher: new.map(|(_, cipher)| cipher.to_owned()),
            subject,
            output,
        }
    }

    /// Fails the test unless the handshake was done and this certificate was shown.
    #[track_caller]
    pub fn shows(&self, subject: &str) -> &Self {
        assert!(self.cipher.is_some(), "no handshake: {self:#?}");
        assert_eq!(self.subject.as_deref(), Some(subject), "{self:#?}");
        assert!(self.output.status.success(), "{self:#?}");
        self
    }

    /// Fails the test unless the handshake was refused before any certificate was shown.
    #[track_caller]
    pub fn is_refused(&self) -> &Self {
        assert!(self.cipher.is_none(), "a handshake was done: {self:#?}");
        assert_eq!(self.subject, None, "{self:#?}");
        assert!(!self.output.status.success(), "{self:#?}");
        self
    }
}
