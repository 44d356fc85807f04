//! Where a database server is, and how it is spoken to.

use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// A server, and who we are there.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: String,
    /// Its name or address; empty for a socket.
    pub(super) host: String,
    /// Its TCP port, where it is not the usual one.
    pub(super) port: Option<u16>,
    /// The socket in the file system, which is asked in place of the host.
    pub(super) socket: Option<PathBuf>,
    /// The database.
    pub(super) database: Option<String>,
    /// Who we are.
    pub user: Option<String>,
    /// How we prove it.
    pub password: Option<String>,
    /// Whether the connection is under TLS and the server's certificate verified.
    pub tls: bool,
    /// The authorities that certificates are verified by, in place of those of the machine.
    pub authority: Option<PathBuf>,
    /// How long one question may take, the connection that it needs included.
    pub timeout: Duration,
    /// Connections at once.
    pub connections: usize,
}

/// What is wrong with a URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is none.
    #[error("is no URL: {0}")]
    Syntax(String),
    /// It is that of something else.
    #[error("begins with {0:?}")]
    Scheme(String),
    /// It has a parameter that nobody knows.
    #[error("has a parameter {0:?}; known are user, password and socket")]
    Parameter(String),
    /// It names neither a host nor a socket.
    #[error("names neither a host nor a socket")]
    Nowhere,
}

impl Endpoint {
    /// What `scheme://[user[:password]@]host[:port]/[database][?user=…&password=…&socket=…]` says; `host` may stand for
    /// `socket`, as libpq has it. TLS is used unless the server is on this machine.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn parse(
        text: &str,
        schemes: &[&str],
        timeout: Duration,
        connections: usize,
    ) -> Result<Self, EndpointError> {
        let url = Url::parse(text).map_err(|error| EndpointError::Syntax(error.to_string()))?;
        if !schemes.contains(&url.scheme()) {
            return Err(EndpointError::Scheme(url.scheme().to_owned()));
        }
        let host = url.host_str().unwrap_or_default();
        let some = |text: &str| {
            let text = percent_decode_str(text).decode_utf8_lossy().into_owned();
            Some(text).filter(|text| !text.is_empty())
        };
        let mut endpoint = Self {
            scheme: url.scheme().to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port(),
            socket: None,
            database: some(url.path().trim_start_matches('/')),
            user: some(url.username()),
            password: url.password().and_then(some),
            tls: false,
            authority: None,
            timeout,
            connections,
        };
        for (key, value) in url.query_pairs() {
            match &*key {
                "user" => endpoint.user = Some(value.into_owned()),
                "password" => endpoint.password = Some(value.into_owned()),
                "socket" | "host" => endpoint.socket = Some(value.into_owned().into()),
                _ => return Err(EndpointError::Parameter(key.into_owned())),
            }
        }
        if endpoint.host.is_empty() && endpoint.socket.is_none() {
            return Err(EndpointError::Nowhere);
        }
        let elsewhere = endpoint.socket.is_none() && !is_loopback(&endpoint.host);
        endpoint.tls = elsewhere || url.scheme() == "rediss";
        Ok(endpoint)
    }

    /// What it is called in messages: no user, no password.
    pub(super) fn name(&self) -> String {
        let database = self.database.as_deref().unwrap_or_default();
        match &self.socket {
            Some(socket) => format!("{}://{}/{database}", self.scheme, socket.display()),
            None => {
                let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
                format!("{}://{}{port}/{database}", self.scheme, self.host)
            }
        }
    }

    /// Whom certificates are verified by: read when a connection is made, since that may be mended meanwhile.
    pub(super) fn authorities(&self) -> Result<RootCertStore, String> {
        let mut store = RootCertStore::empty();
        let Some(path) = &self.authority else {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(store);
        };
        let unreadable = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| unreadable(&e))? {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            store.add(certificate).map_err(|error| unreadable(&error))?;
        }
        Ok(store)
    }

    /// A configuration of TLS that verifies the server.
    pub(super) fn tls_configuration(&self) -> Result<ClientConfig, String> {
        let authorities = self.authorities()?;
        let builder = ClientConfig::builder();
        Ok(builder
            .with_root_certificates(authorities)
            .with_no_client_auth())
    }
}

/// The password stays out of every log.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Endpoint, EndpointError> {
        Endpoint::parse(url, &["postgresql", "mysql"], Duration::from_secs(1), 4)
    }

    #[test]
    fn reads_urls() {
        for (url, name, user, password, tls) in [
            (
                "mysql://db.example.com/mail",
                "mysql://db.example.com/mail",
                None,
                None,
                true,
            ),
            (
                "mysql://u:p%40ss@db:3307/m",
                "mysql://db:3307/m",
                Some("u"),
                Some("p@ss"),
                true,
            ),
            (
                "mysql://localhost/?user=u&password=a%26b",
                "mysql://localhost/",
                Some("u"),
                Some("a&b"),
                false,
            ),
            (
                "mysql://[::1]:3306/m",
                "mysql://::1:3306/m",
                None,
                None,
                false,
            ),
            (
                "mysql://127.0.0.2/m",
                "mysql://127.0.0.2/m",
                None,
                None,
                false,
            ),
            (
                "postgresql:///mail?host=/run/postgresql",
                "postgresql:///run/postgresql/mail",
                None,
                None,
                false,
            ),
            (
                "mysql://localhost/m?socket=/run/my.sock",
                "mysql:///run/my.sock/m",
                None,
                None,
                false,
            ),
        ] {
            let endpoint = parse(url).unwrap();
            assert_eq!(endpoint.name(), name);
            assert_eq!(format!("{endpoint:?}"), name);
            assert_eq!(endpoint.user.as_deref(), user, "{url}");
            assert_eq!(endpoint.password.as_deref(), password, "{url}");
            assert_eq!(endpoint.tls, tls, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_told() {
        for (url, expected) in [
            (
                "redis://localhost",
                EndpointError::Scheme("redis".to_owned()),
            ),
            ("mysql:///m", EndpointError::Nowhere),
            (
                "mysql://h/m?ssl=no",
                EndpointError::Parameter("ssl".to_owned()),
            ),
        ] {
            assert_eq!(parse(url), Err(expected));
        }
        assert!(matches!(
            parse("localhost/m"),
            Err(EndpointError::Syntax(_))
        ));
    }
}
