//! Fetches a policy over HTTPS (RFC 8461 §3.3): no redirects, a bounded time and a bounded size.

use super::super::trust::{Trust, Verification};
use super::policy::{Policy, PolicyError};
use crate::dns::{self, Resolver};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// RFC 8461 §3.3 suggests a minute.
const PATIENCE: Duration = Duration::from_secs(60);
/// RFC 8461 §3.2 suggests 64 kilobytes.
const SIZE_MAX: usize = 64 * 1024;

/// Why a policy cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("address of the policy server: {0}")]
    Dns(#[from] dns::Error),
    #[error("the policy server cannot be reached: {0}")]
    Io(#[from] io::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("no domain name")]
    Name,
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("HTTP: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("HTTP status {0}")]
    Status(StatusCode),
    #[error("the policy is no text")]
    ContentType,
    #[error("the policy is too long, or broke off")]
    Body,
    #[error("{0}")]
    Policy(#[from] PolicyError),
    #[error("the policy server took too long")]
    TimedOut,
}

/// The policy that `https://mta-sts.DOMAIN/.well-known/mta-sts.txt` holds.
pub(super) async fn policy(
    resolver: &dyn Resolver,
    trust: &Trust,
    domain: &str,
    port: u16,
) -> Result<Policy, FetchError> {
    let host = format!("mta-sts.{domain}");
    let fetched = fetch(resolver, trust, &host, port);
    let text = timeout(PATIENCE, fetched)
        .await
        .map_err(|_| FetchError::TimedOut)??;
    Ok(Policy::parse(&text)?)
}

async fn fetch(
    resolver: &dyn Resolver,
    trust: &Trust,
    host: &str,
    port: u16,
) -> Result<String, FetchError> {
    let addresses = resolver.addresses(host).await?.records;
    let stream = connect(&addresses, port).await?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| FetchError::Name)?;
    let connector = TlsConnector::from(trust.config(&Verification::Authorities)?);
    let stream = connector.connect(name, stream).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/.well-known/mta-sts.txt")
        .header(HOST, host)
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let content_type = response.headers().get(CONTENT_TYPE);
        let is_text = content_type.is_some_and(|value| {
            let kind = value.as_bytes().split(|&octet| octet == b';').next();
            kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"text/plain"))
        });
        if !is_text {
            return Err(FetchError::ContentType);
        }
        let body = Limited::new(response.into_body(), SIZE_MAX).collect().await;
        let body = body.map_err(|_| FetchError::Body)?.to_bytes();
        Ok(String::from_utf8_lossy(&body).into_owned())
    };
    // The connection does its work only while it is polled, and ends with the exchange.
    tokio::pin!(exchange, connection);
    tokio::select! {
        text = &mut exchange => text,
        ended = &mut connection => {
            ended?;
            exchange.await
        }
    }
}

async fn connect(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for &address in addresses {
        let connecting = TcpStream::connect(SocketAddr::new(address, port));
        match timeout(PATIENCE / 6, connecting).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failure)
}
