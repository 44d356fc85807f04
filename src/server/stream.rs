//! A connection's octets, in clear or under TLS.

use crate::mail::TlsSession;
use crate::tls::{HandshakeError, Tls, TlsStream};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// One read takes no more octets than this: those of one TLS record.
const PIECE_MAX: usize = 16 * 1024;

/// How long a peer that was told goodbye may still keep us from closing.
const LINGER: Duration = Duration::from_secs(1);

/// In clear first, and for good or until STARTTLS; or under TLS.
#[derive(Debug)]
pub(super) enum Stream<S> {
    Clear(S),
    /// Boxed: the state of TLS is a thousand octets that a stream in clear does not need.
    Tls(Box<TlsStream<S>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// Does the handshake. The stream that comes back knows nothing of octets read before.
    ///
    /// # Errors
    ///
    /// See [`Tls::accept`]; a stream that is under TLS already stays as it is and settles nothing new.
    pub async fn secure(self, tls: &Tls) -> Result<(Self, Option<TlsSession>), HandshakeError> {
        match self {
            Self::Clear(stream) => {
                let (stream, session) = tls.accept(stream).await?;
                Ok((Self::Tls(Box::new(stream)), Some(session)))
            }
            secured @ Self::Tls(_) => Ok((secured, None)),
        }
    }

    /// The next octets; empty at the end of the stream. The end of TLS without its close_notify is an error
    /// (RFC 8446 §6.1): what came before may have been cut off by somebody else.
    ///
    /// The buffer exists only once there is something to put into it, so that ten thousand idle sessions hold none.
    /// Nothing is lost when the returned future is dropped.
    pub async fn read(&mut self) -> io::Result<Vec<u8>> {
        poll_fn(|context| {
            let mut octets = Vec::with_capacity(PIECE_MAX);
            pin!(self.read_buf(&mut octets))
                .poll(context)
                .map_ok(|_| octets)
        })
        .await
    }

    /// Ends our side, then waits a little for the other. To close while octets stand unread would reset the connection
    /// and might take our last reply with it.
    pub async fn close(mut self) {
        let lingering = async {
            self.shutdown().await?;
            while !self.read().await?.is_empty() {}
            io::Result::Ok(())
        };
        // Best effort: the peer may be gone, or may never stop talking.
        let _ = tokio::time::timeout(LINGER, lingering).await;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(context, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
