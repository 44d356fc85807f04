//! A connection to a server: TCP, TCP under TLS, or a unix socket.

use super::trust;
use crate::mail::TlsSession;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[derive(Debug)]
pub(super) enum Wire {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Wire {
    /// Appends what has come to `input`, waiting for something. Zero: the end.
    pub(super) async fn read(&mut self, input: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read_buf(input).await,
            Self::Tls(stream) => stream.read_buf(input).await,
            Self::Unix(stream) => stream.read_buf(input).await,
        }
    }

    /// Whether nothing has come, not even the end. What has come is lost: the connection is of no use then.
    pub(super) async fn is_quiet(&mut self) -> bool {
        let mut octet = [0];
        let mut buffer = ReadBuf::new(&mut octet);
        poll_fn(|context| {
            let read = match self {
                Self::Tcp(stream) => Pin::new(stream).poll_read(context, &mut buffer),
                Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, &mut buffer),
                Self::Unix(stream) => Pin::new(stream).poll_read(context, &mut buffer),
            };
            Poll::Ready(read.is_pending())
        })
        .await
    }

    pub(super) async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(octets).await,
            Self::Tls(stream) => {
                stream.write_all(octets).await?;
                stream.flush().await
            }
            Self::Unix(stream) => stream.write_all(octets).await,
        }
    }

    /// Does the handshake; a server name that is a domain name goes into SNI. The connection is of no use when it fails.
    pub(super) async fn secure(
        self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<(Self, TlsSession)> {
        let Self::Tcp(stream) = self else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        let settled = trust::settled(stream.get_ref().1);
        Ok((Self::Tls(Box::new(stream)), settled))
    }

    /// Tells the other side that nothing follows. Whether it hears is its own matter.
    pub(super) async fn close(&mut self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
            Self::Unix(stream) => stream.shutdown().await,
        };
    }
}
