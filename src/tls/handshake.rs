//! The handshake of one connection, from the ClientHello to keys, within its time.

use super::Tls;
use super::table::Table;
use crate::mail::TlsSession;
use rustls::server::Acceptor;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// `unrecognized_name(112)`, fatal, as a plaintext record of TLS 1.2 (RFC 5246 §6.2.1, §7.2; RFC 6066 §3).
///
/// Written by hand: rustls sends alerts for faults that it finds itself, and its certificate resolver that finds nothing
/// says `access_denied`, which tells an operator who debugs with openssl nothing about names.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// A handshake that came to nothing.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
pub struct HandshakeError {
    /// The server name that the client asked for, when it came so far. A DNS name: safe to log.
    pub sni: Option<String>,
    /// What happened.
    #[source]
    pub failure: Failure,
}

/// See [`HandshakeError`].
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Not done within `handshake_timeout`.
    #[error("handshake timed out")]
    TimedOut,
    /// No certificate for that name, and no root certificate.
    #[error("no certificate for this server name")]
    UnrecognizedName,
    /// The client hung up.
    #[error("client closed the connection")]
    Closed,
    /// What the client sent is not TLS, or nothing that we agree to; an alert told it so.
    #[error("{0}")]
    Tls(rustls::Error),
    /// The connection broke.
    #[error("{0}")]
    Io(io::Error),
}

impl Tls {
    /// Does the server's side of the handshake on `stream`, and says what was settled.
    ///
    /// # Errors
    ///
    /// See [`Failure`]. The stream is gone then; the alert that explains it was sent where there is one.
    pub async fn accept<S>(&self, stream: S) -> Result<(TlsStream<S>, TlsSession), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let table = self.table.load_full();
        let mut sni = None;
        // The clock starts here, and one deadline covers both halves: the ClientHello and the rest.
        let done =
            tokio::time::timeout(table.handshake_timeout, handshake(&table, stream, &mut sni))
                .await;
        match done {
            Ok(Ok(stream)) => {
                let settled = settled(&stream, sni);
                Ok((stream, settled))
            }
            Ok(Err(failure)) => Err(HandshakeError { sni, failure }),
            Err(_) => Err(HandshakeError {
                sni,
                failure: Failure::TimedOut,
            }),
        }
    }
}

async fn handshake<S>(
    table: &Table,
    stream: S,
    sni: &mut Option<String>,
) -> Result<TlsStream<S>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream)
        .await
        .map_err(failure)?;
    *sni = start
        .client_hello()
        .server_name()
        .map(str::to_ascii_lowercase);
    let Some(config) = table.find(sni.as_deref()) else {
        // The refusal stands whether or not the client hears of it.
        let _ = start.io.write_all(&UNRECOGNIZED_NAME).await;
        let _ = start.io.shutdown().await;
        return Err(Failure::UnrecognizedName);
    };
    start
        .into_stream(std::sync::Arc::clone(config))
        .await
        .map_err(failure)
}

/// tokio-rustls wraps everything in an I/O error.
fn failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Failure::Closed,
        _ => match error.downcast::<rustls::Error>() {
            Ok(error) => Failure::Tls(error),
            Err(error) => Failure::Io(error),
        },
    }
}

fn settled<S>(stream: &TlsStream<S>, sni: Option<String>) -> TlsSession {
    let (_, connection) = stream.get_ref();
    let cipher = connection
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str());
    TlsSession {
        version: match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "unknown",
        }
        .into(),
        cipher: cipher.map_or("unknown", iana_name).into(),
        sni,
    }
}

/// rustls marks the suites of TLS 1.3 in their names; the registry (RFC 8446 §B.4) does not.
fn iana_name(name: &'static str) -> &'static str {
    match name {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Anywhere, Folder, client, options};
    use super::super::{Options, Version};
    use super::*;
    use rustls::client::Resumption;
    use rustls::pki_types::ServerName;
    use rustls::version::{TLS12, TLS13};
    use rustls::{AlertDescription, CipherSuite, HandshakeKind};
    use std::sync::Arc;
    use std::time::{Duration, Instant};
    use tokio::io::AsyncReadExt;
    use tokio_rustls::{TlsConnector, client};

    type Client = Result<client::TlsStream<tokio::io::DuplexStream>, io::Error>;

    /// Both ends of one handshake.
    async fn shake(
        tls: &Tls,
        config: Arc<rustls::ClientConfig>,
        name: &str,
    ) -> (Client, Result<TlsSession, HandshakeError>) {
        let (near, far) = tokio::io::duplex(65_536);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connect = TlsConnector::from(config).connect(name, far);
        let server = async {
            let (mut stream, session) = tls.accept(near).await?;
            // The tickets of TLS 1.3 follow the handshake; the client takes them in with what it reads.
            let _ = stream.write_all(b"220").await;
            let _ = stream.flush().await;
            Ok(session)
        };
        let (mut client, server) = tokio::join!(connect, server);
        if let Ok(stream) = &mut client {
            stream.read_exact(&mut [0; 3]).await.unwrap();
        }
        (client, server)
    }

    fn load(options: &Options) -> Arc<Tls> {
        Tls::load(options).unwrap().0
    }

    fn alert(result: Client) -> Option<AlertDescription> {
        match result.err()?.downcast::<rustls::Error>() {
            Ok(rustls::Error::AlertReceived(alert)) => Some(alert),
            _ => None,
        }
    }

    #[tokio::test]
    async fn says_what_was_settled() {
        let folder = Folder::new();
        let domains = vec![folder.domain("example.com", &["example.com"])];
        let tls = load(&options(None, domains));
        for (version, name, cipher) in [
            (&TLS13, "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
            (&TLS12, "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        ] {
            let (_, server) = shake(&tls, Arc::new(client(&[version])), "Example.COM").await;
            let expected = TlsSession {
                version: name.into(),
                cipher: cipher.into(),
                sni: Some("example.com".into()),
            };
            assert_eq!(server.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn refuses_a_name_that_nothing_matches_with_the_alert_for_it() {
        let folder = Folder::new();
        let domains = vec![folder.domain("example.com", &["example.com"])];
        let tls = load(&options(None, domains));
        // rustls sends no server_name for an address.
        for name in ["example.org", "192.0.2.1"] {
            let (client, server) = shake(&tls, Arc::new(client(&[&TLS13, &TLS12])), name).await;
            assert_eq!(alert(client), Some(AlertDescription::UnrecognisedName));
            let failure = server.unwrap_err().failure;
            assert!(matches!(failure, Failure::UnrecognizedName), "{failure}");
        }
    }

    #[tokio::test]
    async fn shows_root_when_nothing_matches() {
        let folder = Folder::new();
        let tls = load(&options(
            Some(folder.pair("root", &["mx.example"])),
            Vec::new(),
        ));
        assert!(!tls.is_empty());
        for name in ["example.org", "192.0.2.1"] {
            let (client, server) = shake(&tls, Arc::new(client(&[&TLS13])), name).await;
            assert!(client.is_ok() && server.is_ok(), "{name}");
        }
    }

    #[tokio::test]
    async fn obeys_the_versions_of_a_domain() {
        let folder = Folder::new();
        let mut domains = vec![
            folder.domain("new.example", &["new.example"]),
            folder.domain("old.example", &["old.example"]),
        ];
        domains[0].versions = Some(vec![Version::Tls13]);
        domains[1].versions = Some(vec![Version::Tls12]);
        let tls = load(&options(None, domains));
        for (name, version, done) in [
            ("new.example", &TLS13, true),
            ("new.example", &TLS12, false),
            ("old.example", &TLS12, true),
            ("old.example", &TLS13, false),
        ] {
            let (result, _) = shake(&tls, Arc::new(client(&[version])), name).await;
            assert_eq!(result.is_ok(), done, "{name}");
            if !done {
                assert_eq!(alert(result), Some(AlertDescription::ProtocolVersion));
            }
        }
    }

    #[tokio::test]
    async fn lets_the_order_of_suites_win_only_when_told_so() {
        let suites = [
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            CipherSuite::TLS13_AES_128_GCM_SHA256,
        ];
        let folder = Folder::new();
        let mut options = options(Some(folder.pair("root", &["mx.example"])), Vec::new());
        options.cipher_suites = suites.to_vec();
        for (preempt, expected) in [
            (true, "TLS_CHACHA20_POLY1305_SHA256"),
            // The client's order: AES-256 is not allowed, then AES-128.
            (false, "TLS_AES_128_GCM_SHA256"),
        ] {
            options.preempt_cipherlist = preempt;
            let (_, server) = shake(&load(&options), Arc::new(client(&[&TLS13])), "a.b").await;
            assert_eq!(server.unwrap().cipher, expected);
        }
    }

    #[tokio::test]
    async fn resumes_a_session_for_its_own_name_only() {
        let folder = Folder::new();
        let tls = load(&options(
            Some(folder.pair("root", &["mx.example"])),
            Vec::new(),
        ));
        for version in [&TLS12, &TLS13] {
            let mut config = client(&[version]);
            config.resumption = Resumption::store(Arc::new(Anywhere::default()));
            let config = Arc::new(config);
            for (name, expected) in [
                ("a.example", HandshakeKind::Full),
                ("a.example", HandshakeKind::Resumed),
                ("b.example", HandshakeKind::Full),
            ] {
                let (client, _) = shake(&tls, Arc::clone(&config), name).await;
                assert_eq!(kind(&client.unwrap()), expected, "{name}");
            }
        }
    }

    fn kind(stream: &client::TlsStream<tokio::io::DuplexStream>) -> HandshakeKind {
        stream.get_ref().1.handshake_kind().unwrap()
    }

    #[tokio::test]
    async fn ends_a_handshake_that_stalls_in_time() {
        let folder = Folder::new();
        let mut options = options(Some(folder.pair("root", &["mx.example"])), Vec::new());
        options.handshake_timeout = Duration::from_millis(150);
        let tls = load(&options);
        // Nothing at all, and the beginning of a record that never ends.
        for sent in [&b""[..], &[22, 3, 1, 1, 0, 1]] {
            let (near, mut far) = tokio::io::duplex(1024);
            far.write_all(sent).await.unwrap();
            let started = Instant::now();
            let failure = tls.accept(near).await.unwrap_err().failure;
            assert!(matches!(failure, Failure::TimedOut), "{failure}");
            let took = started.elapsed();
            assert!(took >= Duration::from_millis(150), "{took:?}");
            assert!(took <= Duration::from_millis(250), "{took:?}");
        }
    }

    #[tokio::test]
    async fn survives_what_is_no_handshake() {
        let folder = Folder::new();
        let tls = load(&options(
            Some(folder.pair("root", &["mx.example"])),
            Vec::new(),
        ));
        for sent in [
            &b"EHLO example.com\r\n"[..],
            b"\r\n\r\n\r\n",
            &[255; 600],
            &[22, 3, 1, 0, 0],
        ] {
            let (near, mut far) = tokio::io::duplex(1024);
            far.write_all(sent).await.unwrap();
            drop(far);
            assert!(tls.accept(near).await.is_err(), "{sent:?}");
        }
    }
}
