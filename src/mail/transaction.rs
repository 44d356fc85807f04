//! A mail transaction (RFC 5321 §3.3) and the connection that it happens on: everything that a rule may read.

use super::{Credentials, Envelope, Message, User};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

/// What a listener offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Mail from other servers: port 25 (RFC 5321).
    #[serde(rename = "smtp")]
    Relay,
    /// Mail from users, STARTTLS: port 587 (RFC 6409).
    Submission,
    /// Mail from users, TLS from the first octet: port 465 (RFC 8314 §3.3).
    Submissions,
    /// Mail that a content filter gives back, and nothing else.
    Delegation,
}

impl Service {
    /// `smtp`, `submission` or `submissions`: the name of the port (RFC 6335 registry), and the word by which
    /// systemd names a socket (`FileDescriptorName=`); `delegation` for what has no port of its own.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "smtp",
            Self::Submission => "submission",
            Self::Submissions => "submissions",
            Self::Delegation => "delegation",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no [`Service`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of smtp, submission, submissions")]
pub struct UnknownService;

impl FromStr for Service {
    type Err = UnknownService;

    fn from_str(name: &str) -> Result<Self, UnknownService> {
        [Self::Relay, Self::Submission, Self::Submissions]
            .into_iter()
            .find(|service| service.as_str() == name)
            .ok_or(UnknownService)
    }
}

/// How the client named itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Helo {
    /// The domain or address literal after the verb, as given.
    pub name: String,
    /// EHLO rather than HELO.
    pub extended: bool,
}

/// What the handshake settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSession {
    /// `TLSv1.3`.
    pub version: Cow<'static, str>,
    /// The IANA name of the cipher suite: `TLS_AES_256_GCM_SHA384`.
    pub cipher: Cow<'static, str>,
    /// The server name that the client asked for, in lower case.
    pub sni: Option<String>,
}

/// Facts of one connection that outlast its transactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The other end.
    pub client: SocketAddr,
    /// Our end.
    pub server: SocketAddr,
    /// What was connected to.
    pub service: Service,
    /// When it was accepted.
    pub opened: Timestamp,
    /// The name that we go by; never one that the client chose.
    #[serde(serialize_with = "write_name", deserialize_with = "read_name")]
    pub server_name: Arc<str>,
    /// Set once a handshake is done.
    pub tls: Option<TlsSession>,
    /// Set by EHLO or HELO, forgotten by STARTTLS.
    pub helo: Option<Helo>,
    /// Set by AUTH, forgotten by STARTTLS.
    pub authenticated: Option<User>,
}

/// Names a message from MAIL FROM to its last delivery: in the Received field, in replies, in the log and on disk.
/// Ids grow with time (see `queue::Queue::next_id`), so that their order is the order of arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId(pub u64);

/// One transaction, growing stage by stage. Between transactions `envelope` is `None`.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The connection that it happens on.
    pub connection: Connection,
    /// What MAIL and RCPT have said so far.
    pub envelope: Option<Envelope>,
    /// What AUTH presented, while policy decides about it.
    pub credentials: Option<Credentials>,
    /// Given at MAIL.
    pub id: Option<MessageId>,
    /// When MAIL was given.
    pub started: Option<Timestamp>,
    /// The content, once it has arrived.
    pub message: Option<Message>,
}

impl Transaction {
    /// A connection on which nothing was said yet.
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            envelope: None,
            credentials: None,
            id: None,
            started: None,
            message: None,
        }
    }

    /// Forgets the transaction and keeps the connection (RSET, or the end of a transaction).
    pub fn reset(&mut self) {
        self.envelope = None;
        self.id = None;
        self.started = None;
        self.message = None;
    }
}

fn write_name<S: Serializer>(name: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name)
}

fn read_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Arc::from)
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Service, UnknownService};

    #[test]
    fn services_go_by_the_names_of_their_ports() {
        for service in [Service::Relay, Service::Submission, Service::Submissions] {
            assert_eq!(service.to_string().parse(), Ok(service));
        }
        assert_eq!("SMTP".parse::<Service>(), Err(UnknownService));
    }
}
