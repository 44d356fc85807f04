//! What a relay is told: by the configuration, and for each message.

use crate::delivery::next_hops::Ourselves;
use crate::mail::{Login, TlsMode};
use crate::smtp::client::Protocol;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How long to wait for a server (RFC 5321 §4.5.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to one address.
    pub connect: Duration,
    /// For the greeting.
    pub greeting: Duration,
    /// For the reply to a command.
    pub command: Duration,
    /// For the reply to DATA.
    pub data: Duration,
    /// For the server to take a piece of content.
    pub block: Duration,
    /// For the reply to the content.
    pub content: Duration,
    /// For a TLS handshake.
    pub tls: Duration,
    /// For the reply to QUIT.
    pub quit: Duration,
    /// For the next message, before QUIT is said.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            connect: MINUTE / 2,
            greeting: 5 * MINUTE,
            command: 5 * MINUTE,
            data: 2 * MINUTE,
            block: 3 * MINUTE,
            content: 10 * MINUTE,
            tls: MINUTE,
            // Nothing hangs on it any more.
            quit: Duration::from_secs(5),
            // Long enough for what was queued together, and short enough not to keep a server's slot from others.
            idle: Duration::from_secs(5),
        }
    }
}

/// What a relay is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// How we name ourselves (`server.name`).
    pub name: String,
    /// Who we are, so that no mail comes back to us.
    pub ourselves: Ourselves,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// The port of mail exchangers: 25.
    pub port: u16,
    /// The port of MTA-STS policy servers: 443.
    pub policy_port: u16,
}

/// A host that an operator named (`smtp://`, `smtps://`, `lmtp:`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarder {
    /// A name, an address, or an address literal.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// What is asked of the connection.
    pub tls: TlsMode,
    /// Who to be there.
    pub login: Option<Login>,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To the mail exchangers of this domain or address literal.
    Domain(String),
    /// To this host.
    Forwarder(Forwarder),
    /// To the mailbox store behind this unix socket, by LMTP.
    Unix(PathBuf),
}

/// Names the place and no secret: messages that show the same destination share its lane.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => f.write_str(domain),
            Self::Forwarder(Forwarder {
                host,
                port,
                protocol,
                ..
            }) => {
                let scheme = match protocol {
                    Protocol::Smtp => "smtp://",
                    Protocol::Lmtp => "lmtp:",
                };
                match host.parse() {
                    Ok(IpAddr::V6(address)) => write!(f, "{scheme}[{address}]:{port}"),
                    _ => write!(f, "{scheme}{host}:{port}"),
                }
            }
            Self::Unix(path) => write!(f, "lmtp:unix:{}", path.display()),
        }
    }
}
