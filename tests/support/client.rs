//! A small SMTP client that does exactly what it is told, one octet too many included.

use super::PATIENCE;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// What follows the code, line by line.
    pub lines: Vec<String>,
}

impl Reply {
    /// The last line as it came: `250 2.1.0 Ok`.
    pub fn text(&self) -> String {
        format!("{} {}", self.code, self.lines.last().unwrap())
    }

    /// Fails the test unless the reply begins so.
    #[track_caller]
    pub fn expect(&self, start: &str) -> &Self {
        assert!(self.text().starts_with(start), "{self:?} is no {start}");
        self
    }

    pub fn has_line(&self, line: &str) -> bool {
        self.lines.iter().any(|l| l == line)
    }
}

/// A session, as its client.
pub struct Client {
    stream: Stream,
    buffer: Vec<u8>,
}

enum Stream {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// Between the two.
    Gone,
}

impl Client {
    /// Connects in clear; the greeting is still to be read.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    /// Connects from this address of the machine: every one in 127.0.0.0/8 is.
    pub fn connect_from(source: Ipv4Addr, address: SocketAddr) -> Self {
        let (family, kind) = (AddressFamily::Inet, SockType::Stream);
        let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(
            socket.as_raw_fd(),
            &SockaddrIn::from(SocketAddrV4::new(source, 0)),
        )
        .unwrap();
        let SocketAddr::V4(to) = address else {
            panic!("{address} is not of IPv4")
        };
        connect(socket.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
        Self::over(socket.into()).unwrap()
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: Stream::Clear(stream),
            buffer: Vec::new(),
        })
    }

    /// Our end of the connection, as the daemon logs it.
    pub fn local_address(&self) -> SocketAddr {
        match &self.stream {
            Stream::Clear(stream) => stream.local_addr().unwrap(),
            Stream::Tls(stream) => stream.sock.local_addr().unwrap(),
            Stream::Gone => panic!("there is no connection"),
        }
    }

    /// Connects, reads the greeting and says EHLO.
    pub fn hello(address: SocketAddr) -> Self {
        let mut client = Self::connect(address);
        client.reply().expect("220");
        client.ehlo();
        client
    }

    /// As [`Client::hello`], with TLS from the first octet. `name`: the server name to ask for.
    pub fn hello_tls(address: SocketAddr, name: Option<&str>) -> Self {
        let mut client = Self::connect(address);
        client.handshake(name).unwrap();
        client.reply().expect("220");
        client.ehlo();
        client
    }

    /// As [`Client::hello`], then STARTTLS and EHLO again.
    pub fn hello_starttls(address: SocketAddr, name: Option<&str>) -> Self {
        let mut client = Self::hello(address);
        client.starttls(name);
        client
    }

    /// STARTTLS, handshake and EHLO.
    pub fn starttls(&mut self, name: Option<&str>) {
        self.command("STARTTLS").expect("220");
        self.handshake(name).unwrap();
        self.ehlo();
    }

    pub fn ehlo(&mut self) -> Reply {
        let reply = self.command("EHLO client.example.net");
        reply.expect("250");
        reply
    }

    /// Does the TLS handshake now.
    pub fn handshake(&mut self, name: Option<&str>) -> io::Result<()> {
        let Stream::Clear(mut socket) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            panic!("there is TLS already");
        };
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(aws_lc_rs::default_provider())))
                .with_no_client_auth();
        config.enable_sni = name.is_some();
        let name = ServerName::try_from(name.unwrap_or("nameless.test").to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        self.stream = Stream::Tls(Box::new(StreamOwned::new(connection, socket)));
        Ok(())
    }

    /// Sends octets as they are.
    pub fn send(&mut self, octets: &[u8]) {
        self.try_send(octets).unwrap();
    }

    pub fn try_send(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Clear(stream) => stream.write_all(octets),
            Stream::Tls(stream) => stream.write_all(octets).and_then(|()| stream.flush()),
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Sends one line and returns its reply.
    pub fn command(&mut self, line: &str) -> Reply {
        self.try_command(line).unwrap()
    }

    pub fn try_command(&mut self, line: &str) -> io::Result<Reply> {
        self.try_send(format!("{line}\r\n").as_bytes())?;
        self.try_reply()
    }

    /// The next reply.
    pub fn reply(&mut self) -> Reply {
        self.try_reply().unwrap()
    }

    pub fn try_reply(&mut self) -> io::Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            let malformed = || io::Error::other(format!("{line:?} is no reply"));
            let code: u16 = line
                .get(..3)
                .and_then(|c| c.parse().ok())
                .ok_or_else(malformed)?;
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            match line.as_bytes().get(3) {
                Some(b'-') => {}
                Some(b' ') | None => return Ok(Reply { code, lines }),
                _ => return Err(malformed()),
            }
        }
    }

    /// The next line without its CRLF. [`io::ErrorKind::UnexpectedEof`] when the server has closed.
    pub fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Whether nothing comes for `window`.
    pub fn is_silent(&mut self, window: Duration) -> bool {
        self.set_read_timeout(window);
        let silent = self.buffer.is_empty() && !matches!(self.fill(), Ok(length) if length > 0);
        self.set_read_timeout(PATIENCE);
        silent
    }

    fn set_read_timeout(&self, timeout: Duration) {
        let socket = match &self.stream {
            Stream::Clear(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
            Stream::Gone => return,
        };
        // Fails only on a socket that is gone, and then reading does so, too.
        let _ = socket.set_read_timeout(Some(timeout));
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 4096];
        let length = match &mut self.stream {
            Stream::Clear(stream) => stream.read(&mut chunk)?,
            Stream::Tls(stream) => stream.read(&mut chunk)?,
            Stream::Gone => 0,
        };
        self.buffer.extend_from_slice(&chunk[..length]);
        Ok(length)
    }

    /// Reads until the server closes; what came before that.
    pub fn rest(&mut self) -> Vec<u8> {
        while matches!(self.fill(), Ok(length) if length > 0) {}
        std::mem::take(&mut self.buffer)
    }

    /// One transaction; the reply to the final dot. `content` is dot-stuffed here.
    pub fn deliver(&mut self, from: &str, to: &str, content: &[u8]) -> Reply {
        self.command(&format!("MAIL FROM:<{from}>")).expect("250");
        self.command(&format!("RCPT TO:<{to}>")).expect("250");
        self.data(content)
    }

    /// DATA with `content`, and its reply.
    pub fn data(&mut self, content: &[u8]) -> Reply {
        self.try_data(content).unwrap()
    }

    pub fn try_data(&mut self, content: &[u8]) -> io::Result<Reply> {
        self.try_command("DATA")?.expect("354");
        self.try_send(&stuffed(content))?;
        self.try_reply()
    }

    /// QUIT, and the server closes.
    pub fn quit(mut self) {
        self.command("QUIT").expect("221");
        assert_eq!(self.rest(), b"", "octets after the reply to QUIT");
    }
}

/// `content` as it travels after DATA (RFC 5321 §4.5.2), the final dot included. It must end with CRLF.
pub fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(content.len() + 64);
    for line in content.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            octets.push(b'.');
        }
        octets.extend_from_slice(line);
    }
    octets.extend_from_slice(b".\r\n");
    octets
}

/// Takes any certificate: which one it is, is what the tests look at.
#[derive(Debug)]
struct Anybody(CryptoProvider);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
