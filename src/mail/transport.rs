//! How a copy leaves the queue, as operators and rules write it.
//!
//! ```text
//! transport = "maildir" / "mbox" / lmtp / smtp
//! lmtp      = "lmtp:unix:" path / "lmtp:" host ":" port
//! smtp      = ( "smtp://" / "smtps://" ) [ user ":" password "@" ] host [ ":" port ] [ "?tls=" mode ]
//! mode      = "none" / "opportunistic" / "required" / "tunnel"
//! ```
//!
//! User name and password are percent-encoded (RFC 3986 §2.1), IPv6 addresses stand in brackets. Nothing that prints a
//! transport shows its password; what the queue keeps (serde) holds it, since the queue has to use it.

use super::{Login, LoginError, is_domain};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use url::{Host, Url};

/// What stands for a password.
const HIDDEN: &str = "***";
/// RFC 5321 §4.5.4.2
const SMTP_PORT: u16 = 25;
/// TLS from the first octet (RFC 8314 §3.3).
const SMTPS_PORT: u16 = 465;

/// How mail for a domain of ours, or for one recipient, leaves the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Transport {
    /// Into a Maildir of ours.
    #[default]
    Maildir,
    /// Into an mbox file of ours.
    Mbox,
    /// To the mailbox store behind a unix socket, by LMTP (RFC 2033).
    LmtpUnix(PathBuf),
    /// To a mailbox store, by LMTP.
    LmtpTcp {
        /// Name or address.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// To a server, by SMTP.
    Smtp(SmartHost),
}

/// A server that takes what others would: an operator named it, and no MX record is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SmartHost {
    /// Name, in lower case, or address.
    pub host: String,
    /// TCP port: 25, or 465 for a tunnel, where nothing was said.
    pub port: u16,
    /// What is asked of the connection.
    pub tls: TlsMode,
    /// Who to be there.
    pub login: Option<Login>,
}

/// What is asked of a connection: `?tls=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// `none`
    None,
    /// `opportunistic`: TLS where it works, whoever is there; DANE and MTA-STS where the domain has them.
    #[default]
    Opportunistic,
    /// `required`: STARTTLS with a certificate that we trust, or no delivery. What holds where a password is given.
    Required,
    /// `tunnel`: TLS from the first octet, with a certificate that we trust. What `smtps://` means.
    Tunnel,
}

/// Why a text is no transport.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// It begins like none of them.
    #[error("there is no such transport")]
    Unknown,
    /// `lmtp:unix:` with anything but an absolute path.
    #[error("the path of the socket is not absolute")]
    RelativePath,
    /// `lmtp:` without a port.
    #[error("it has no port")]
    NoPort,
    /// What stands for the port.
    #[error("{0:?} is no port")]
    BadPort(String),
    /// What stands for the host.
    #[error("{0:?} is no host; IPv6 addresses stand in [ ]")]
    BadHost(String),
    /// It cannot be read as a URL.
    #[error("{0}")]
    Url(#[from] url::ParseError),
    /// Path, fragment or parameter. In a password they have to be encoded.
    #[error(
        "nothing may follow the host but ?tls=; in a user name or password, write / ? # and @ as %2F %3F %23 and %40"
    )]
    Behind,
    /// What stands behind `tls=`.
    #[error("there is no tls={0}: take none, opportunistic, required or tunnel")]
    BadMode(String),
    /// `smtps://…?tls=none` and the like.
    #[error("smtps:// means tls=tunnel and nothing else")]
    Contradiction,
    /// The octets behind the encoding are not UTF-8.
    #[error("user name or password is not UTF-8")]
    NotUtf8,
    /// No user name or password that could be sent.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// A password, and `tls=none`.
    #[error("a password is shown under TLS only, save on this machine")]
    PasswordInClear,
}

impl Transport {
    /// Reads the whole text as one transport.
    ///
    /// # Errors
    /// See [`TransportError`]; none of them tells the password.
    pub fn parse(text: &str) -> Result<Self, TransportError> {
        match text {
            "maildir" => return Ok(Self::Maildir),
            "mbox" => return Ok(Self::Mbox),
            _ => {}
        }
        if text.starts_with("smtp://") || text.starts_with("smtps://") {
            return smart_host(text).map(Self::Smtp);
        }
        let store = text.strip_prefix("lmtp:").ok_or(TransportError::Unknown)?;
        if let Some(path) = store.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            let is_fit = path.is_absolute() && !store.contains(char::is_control);
            return match is_fit {
                true => Ok(Self::LmtpUnix(path)),
                false => Err(TransportError::RelativePath),
            };
        }
        let (host, port) = host_and_port(store)?;
        Ok(Self::LmtpTcp { host, port })
    }

    /// Reads where a rule forwards to: `smtp://…`, `smtps://…`, `lmtp:…`, or nothing but a host, its port behind a colon
    /// where it is not 25.
    ///
    /// # Errors
    /// As [`Transport::parse`].
    pub fn forward(target: &str) -> Result<Self, TransportError> {
        if target.contains("://") || target.starts_with("lmtp:") {
            return Self::parse(target);
        }
        let target = match target.parse() {
            Ok(address) => shown_host(address),
            Err(_) => Cow::Borrowed(target),
        };
        smart_host(&format!("smtp://{target}")).map(Self::Smtp)
    }

    /// Reads the mailbox store that a rule names: as in `lmtp:…`, which may be left out.
    ///
    /// # Errors
    /// As [`Transport::parse`].
    pub fn lmtp(store: &str) -> Result<Self, TransportError> {
        let store = store.strip_prefix("lmtp:").unwrap_or(store);
        Self::parse(&format!("lmtp:{store}"))
    }

    /// Whether the copy stays on this machine, in a file of ours.
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::Maildir | Self::Mbox)
    }

    /// As it is written; a password is given by `password`.
    fn spell(&self, password: impl Fn(&Login) -> String) -> String {
        match self {
            Self::Maildir => "maildir".to_owned(),
            Self::Mbox => "mbox".to_owned(),
            Self::LmtpUnix(path) => format!("lmtp:unix:{}", path.display()),
            Self::LmtpTcp { host, port } => format!("lmtp:{}:{port}", bracketed(host)),
            Self::Smtp(to) => {
                let scheme = match to.tls {
                    TlsMode::Tunnel => "smtps",
                    _ => "smtp",
                };
                let login = to.login.as_ref().map_or_else(String::new, |login| {
                    format!("{}:{}@", encoded(login.user()), password(login))
                });
                let (host, port) = (bracketed(&to.host), to.port);
                let mode = match to.tls {
                    mode if mode == to.default_mode() => String::new(),
                    TlsMode::Tunnel => String::new(),
                    mode => format!("?tls={}", mode.name()),
                };
                format!("{scheme}://{login}{host}:{port}{mode}")
            }
        }
    }
}

impl SmartHost {
    /// What holds where nothing is said: a password is for nobody but the server that it was meant for.
    const fn default_mode(&self) -> TlsMode {
        match self.login {
            Some(_) => TlsMode::Required,
            None => TlsMode::Opportunistic,
        }
    }

    /// Whether the connection never leaves this machine.
    fn is_here(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl TlsMode {
    const ALL: [Self; 4] = [
        Self::None,
        Self::Opportunistic,
        Self::Required,
        Self::Tunnel,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Opportunistic => "opportunistic",
            Self::Required => "required",
            Self::Tunnel => "tunnel",
        }
    }
}

impl FromStr for TlsMode {
    type Err = TransportError;

    fn from_str(name: &str) -> Result<Self, TransportError> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == name)
            .ok_or_else(|| TransportError::BadMode(name.to_owned()))
    }
}

fn smart_host(text: &str) -> Result<SmartHost, TransportError> {
    // The parser would leave them out without a word.
    if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(url::ParseError::InvalidDomainCharacter.into());
    }
    let url = Url::parse(text)?;
    let mut asked = None;
    for (key, value) in url.query_pairs() {
        if key != "tls" || asked.is_some() {
            return Err(TransportError::Behind);
        }
        asked = Some(value.parse()?);
    }
    if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
        return Err(TransportError::Behind);
    }
    if url.scheme() == "smtps"
        && asked
            .replace(TlsMode::Tunnel)
            .is_some_and(|m| m != TlsMode::Tunnel)
    {
        return Err(TransportError::Contradiction);
    }
    let mut to = SmartHost {
        host: host(&url)?,
        port: SMTP_PORT,
        tls: TlsMode::default(),
        login: login(&url)?,
    };
    to.tls = asked.unwrap_or(to.default_mode());
    to.port = match (url.port(), to.tls) {
        (Some(0), _) => return Err(TransportError::BadPort("0".to_owned())),
        (Some(port), _) => port,
        (None, TlsMode::Tunnel) => SMTPS_PORT,
        (None, _) => SMTP_PORT,
    };
    if to.login.is_some() && to.tls == TlsMode::None && !to.is_here() {
        return Err(TransportError::PasswordInClear);
    }
    Ok(to)
}

fn host(url: &Url) -> Result<String, TransportError> {
    match url.host() {
        Some(Host::Ipv6(address)) => Ok(address.to_string()),
        Some(Host::Ipv4(address)) => Ok(address.to_string()),
        Some(Host::Domain(name)) if is_host(name) => Ok(name.to_ascii_lowercase()),
        other => {
            let text = other.map_or_else(String::new, |host| host.to_string());
            Err(TransportError::BadHost(text))
        }
    }
}

fn login(url: &Url) -> Result<Option<Login>, TransportError> {
    let decode = |text| percent_decode_str(text).decode_utf8();
    let user = decode(url.username()).map_err(|_| TransportError::NotUtf8)?;
    let password = decode(url.password().unwrap_or_default());
    let password = password.map_err(|_| TransportError::NotUtf8)?;
    if user.is_empty() && url.password().is_none() {
        return Ok(None);
    }
    Ok(Some(Login::new(&user, &password)?))
}

/// A name, or an IPv4 address.
fn is_host(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok() || text.is_ascii() && is_domain(text)
}

fn host_and_port(text: &str) -> Result<(String, u16), TransportError> {
    let (host, port) = text.rsplit_once(':').ok_or(TransportError::NoPort)?;
    let port = match port.parse() {
        Ok(0) | Err(_) => return Err(TransportError::BadPort(port.to_owned())),
        Ok(port) => port,
    };
    let literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_fit = match literal {
        Some(literal) => literal.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host(host),
    };
    let host = literal.unwrap_or(host);
    match is_fit {
        true => Ok((host.to_ascii_lowercase(), port)),
        false => Err(TransportError::BadHost(host.to_owned())),
    }
}

fn shown_host(address: IpAddr) -> Cow<'static, str> {
    match address {
        IpAddr::V4(address) => address.to_string().into(),
        IpAddr::V6(address) => format!("[{address}]").into(),
    }
}

fn bracketed(host: &str) -> Cow<'_, str> {
    match host.contains(':') {
        true => format!("[{host}]").into(),
        false => host.into(),
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// `text`, which is perhaps no transport, for somebody's eyes: what may be a password gives way to `***`.
pub fn without_password(text: &str) -> Cow<'_, str> {
    let hidden = || {
        let (scheme, rest) = text.split_once("://")?;
        // One that was not encoded may hold an @ itself.
        let (login, rest) = rest.rsplit_once('@')?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}:{HIDDEN}@{rest}"))
    };
    hidden().map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Without the password.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spell(|_| HIDDEN.to_owned()))
    }
}

impl TryFrom<String> for Transport {
    type Error = TransportError;

    fn try_from(text: String) -> Result<Self, TransportError> {
        Self::parse(&text)
    }
}

/// With the password.
impl From<Transport> for String {
    fn from(transport: Transport) -> Self {
        transport.spell(|login| encoded(login.password()))
    }
}

#[cfg(test)]
mod tests;
