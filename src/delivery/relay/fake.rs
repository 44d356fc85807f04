//! Servers for tests, which do as a script says.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a fake server does next.
#[derive(Clone)]
pub enum Act {
    /// Writes the text, and CRLF.
    Say(&'static str),
    /// Reads a line that must begin with the text.
    Hear(&'static str),
    /// Reads content through its end.
    Content,
    /// Reads so many octets.
    Octets(usize),
    /// Does a handshake.
    Tls(Identity),
    /// Writes the octets again and again for as long as somebody reads.
    Flood(&'static [u8]),
    /// As [`Act::Flood`], an octet every now and then.
    Drip(&'static [u8]),
    /// Says nothing, and keeps the connection.
    Hang,
}

/// A server's certificate and the authority that made it.
#[derive(Clone)]
pub struct Identity {
    pub leaf: CertificateDer<'static>,
    authority: CertificateDer<'static>,
    config: Arc<ServerConfig>,
}

impl Identity {
    pub fn new(name: &str) -> Self {
        let mut authority = CertificateParams::new(vec![]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let made = authority.self_signed(&key).unwrap();
        let issuer = Issuer::from_params(&authority, &key);
        let leaf_key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
        let chain = vec![leaf.der().clone(), made.der().clone()];
        let key = PrivateKeyDer::try_from(leaf_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self {
            leaf: leaf.der().clone(),
            authority: made.der().clone(),
            config: Arc::new(config),
        }
    }

    /// The authority alone, as somebody trusts it.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).unwrap();
        roots
    }
}

/// A server that treats each connection as the next of its scripts says, and the last of them for ever.
#[derive(Clone)]
pub struct Fake {
    heard: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// Listens at 127.0.0.`host`; port 0 takes any.
    pub async fn start(host: u8, port: u16, scripts: Vec<Vec<Act>>) -> (Self, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, host), port))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Self {
            heard: Arc::default(),
        };
        let heard = Arc::clone(&fake.heard);
        tokio::spawn(async move {
            let mut scripts = scripts.into_iter().peekable();
            let mut script = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                script = scripts.next().unwrap_or(script);
                let index = {
                    let mut heard = heard.lock().unwrap();
                    heard.push(String::new());
                    heard.len() - 1
                };
                tokio::spawn(play(stream, script.clone(), Arc::clone(&heard), index));
            }
        });
        (fake, address)
    }

    /// What was heard, one string a connection, after its handshake where there was one. Sent names come as `SNI:`.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn play(
    stream: tokio::net::TcpStream,
    script: Vec<Act>,
    heard: Arc<Mutex<Vec<String>>>,
    index: usize,
) {
    let mut stream: BufReader<Box<dyn Stream>> = BufReader::new(Box::new(stream));
    let note = |text: &str| heard.lock().unwrap()[index].push_str(text);
    for act in script {
        match act {
            Act::Say(text) => {
                if stream
                    .write_all(format!("{text}\r\n").as_bytes())
                    .await
                    .is_err()
                {
                    return;
                }
                let _ = stream.flush().await;
            }
            Act::Hear(expected) => {
                let Some(line) = read_until(&mut stream, b"\r\n").await else {
                    return;
                };
                note(&line);
                if !line.starts_with(expected) {
                    note(&format!("(not {expected:?})"));
                    return;
                }
            }
            Act::Content => match read_until(&mut stream, b"\r\n.\r\n").await {
                Some(content) => note(&content),
                None => return,
            },
            Act::Octets(count) => {
                let mut octets = vec![0; count];
                let _ = stream.read_exact(&mut octets).await;
            }
            Act::Tls(identity) => {
                let acceptor = TlsAcceptor::from(identity.config);
                let Ok(secured) = acceptor.accept(stream.into_inner()).await else {
                    return;
                };
                let name = secured
                    .get_ref()
                    .1
                    .server_name()
                    .unwrap_or("none")
                    .to_owned();
                note(&format!("SNI:{name} "));
                stream = BufReader::new(Box::new(secured));
            }
            Act::Flood(octets) => while stream.write_all(octets).await.is_ok() {},
            Act::Drip(octets) => drip(&mut stream, octets).await,
            Act::Hang => std::future::pending().await,
        }
    }
    let _ = stream.shutdown().await;
}

async fn drip(stream: &mut (impl AsyncWrite + Unpin), octets: &[u8]) {
    for octet in octets.iter().cycle() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if stream.write_all(&[*octet]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

async fn read_until(stream: &mut BufReader<Box<dyn Stream>>, end: &[u8]) -> Option<String> {
    let mut octets = Vec::new();
    while !octets.ends_with(end) {
        let count = stream.read_until(b'\n', &mut octets).await.ok()?;
        if count == 0 {
            return None;
        }
    }
    Some(String::from_utf8(octets).unwrap())
}
