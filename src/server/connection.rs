//! The one loop that drives a [`Session`]: octets in, replies out, time over all of it. Its questions are answered in
//! `decision`.
//!
//! Replies are gathered while a whole command stands in the buffer and written when none does, so that a client that
//! pipelines (RFC 2920) gets them in as few packets as it sent. What ends a session without a reply ends the transaction
//! with it: nothing half received is ever kept.

use super::patience::Patience;
use super::reception::Reception;
use super::stream::Stream;
use super::{Shared, record, stopped};
use crate::mail::{self, MessageId, Service, Submitter, TlsSession};
use crate::rules::Policy;
use crate::smtp::{Awaiting, Reply, Session, Step, replies};
use crate::tls::HandshakeError;
use jiff::Timestamp;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::Instrument;

/// A client that does not read its replies for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Replies are written at the latest when there are so many octets of them.
const OUTPUT_MAX: usize = 16 * 1024;

/// What is known of a connection when it is accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub client: SocketAddr,
    pub server: SocketAddr,
    pub service: Service,
    /// The client did not wait for the greeting (RFC 5321 §3.1).
    pub spoke_first: bool,
}

/// How a session ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("closed")]
    Said,
    #[error("client closed the connection")]
    HungUp,
    #[error("client did not answer in time")]
    TimedOut,
    #[error("the server stops")]
    Stopping,
    #[error("client does not read its replies")]
    NotReading,
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    #[error("TLS handshake failed: {0}")]
    Handshake(#[from] HandshakeError),
}

/// One client, from the first octet to the last.
pub(super) struct Connection<S> {
    stream: Stream<S>,
    pub shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
    pub session: Session,
    pub policy: Policy,
    pub patience: Patience,
    /// Read, and from `taken` on not yet taken by the session.
    input: Vec<u8>,
    taken: usize,
    /// Said, and not yet written.
    output: Vec<u8>,
    /// The transaction that policy remembers.
    pub transaction: Option<MessageId>,
    pub reception: Option<Reception>,
    /// Who is at the other end, where that is a program of this machine.
    pub submitter: Option<Submitter>,
}

/// Serves one client until it goes, or has to.
pub(super) async fn serve<S>(
    stream: S,
    arrival: Arrival,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let span = tracing::info_span!("session", client = %arrival.client);
    tell(converse(stream, arrival, None, shared, stopping))
        .instrument(span)
        .await;
}

/// As [`serve`], for a program of this machine.
pub(super) async fn serve_local<S>(
    stream: S,
    arrival: Arrival,
    submitter: Submitter,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tell(converse(stream, arrival, Some(submitter), shared, stopping)).await;
}

/// Tells the log how a session ends.
async fn tell(session: impl Future<Output = End>) {
    match session.await {
        end @ (End::Said | End::HungUp | End::Stopping) => tracing::debug!("{end}"),
        End::Handshake(error) => {
            tracing::info!(sni = error.sni, reason = %error, "TLS handshake failed");
        }
        end => tracing::info!(reason = %end, "session ended"),
    }
}

/// What a client hears that is one too many, ready for the wire.
pub(super) fn too_many_clients(arrival: Arrival, shared: &Shared) -> Vec<u8> {
    let (session, _) = begin(arrival, None, false, shared);
    let mut octets = Vec::new();
    session.too_many_clients().write_to(&mut octets);
    octets
}

fn begin(
    arrival: Arrival,
    tls: Option<TlsSession>,
    is_local: bool,
    shared: &Shared,
) -> (Session, Step) {
    let facts = mail::Connection {
        client: arrival.client,
        server: arrival.server,
        service: arrival.service,
        opened: Timestamp::now(),
        server_name: Arc::clone(&shared.options.name),
        tls,
        helo: None,
        authenticated: None,
    };
    let limits = Arc::clone(&shared.options.limits);
    // Nobody listens in between two programs of one machine.
    Session::new(limits, facts, !shared.tls.is_empty() && !is_local)
}

async fn converse<S>(
    stream: S,
    arrival: Arrival,
    submitter: Option<Submitter>,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let options = &shared.options;
    let size_max = options.limits.message_size;
    let patience = Patience::new(options.timeouts.clone(), size_max, Instant::now());
    let mut stream = Stream::Clear(stream);
    let mut tls = None;
    if arrival.service == Service::Submissions {
        match stream.secure(&shared.tls).await {
            Ok(secured) => (stream, tls) = secured,
            Err(error) => return End::Handshake(error),
        }
    }
    let (session, first) = begin(arrival, tls, submitter.is_some(), &shared);
    let connection = Connection {
        stream,
        policy: Policy::new(Arc::clone(&shared.rules)),
        shared,
        stopping,
        session,
        patience,
        input: Vec::new(),
        taken: 0,
        output: Vec::new(),
        transaction: None,
        reception: None,
        submitter,
    };
    let first = match arrival.spoke_first {
        true => Step::Close(replies::SPOKE_TOO_EARLY),
        false => first,
    };
    connection.run(first).await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// From the first step to the last. Whatever way the session ends, the client is told if it can be.
    async fn run(mut self, mut step: Step) -> End {
        let end = loop {
            let next = match step {
                Step::Ask(ask) => {
                    step = self.decide(ask).await;
                    continue;
                }
                Step::Send(reply) => self.say(&reply).await,
                Step::Receive(reply) => {
                    self.begin_reception();
                    self.say(&reply).await
                }
                Step::Secure(reply) => match self.secure(&reply).await {
                    Ok(secured) => {
                        self = secured;
                        Ok(())
                    }
                    Err(end) => return end,
                },
                Step::Close(reply) => {
                    record::close(&reply);
                    self.say(&reply).await.and(Err(End::Said))
                }
            };
            step = match next {
                Ok(()) => match self.next_step().await {
                    Ok(step) => step,
                    Err(end) => break end,
                },
                Err(end) => break end,
            };
        };
        if let (Some(id), Some(reception)) = (self.transaction, &self.reception) {
            record::incomplete(id, reception.size());
        }
        match end {
            End::TimedOut => self.session.timed_out().write_to(&mut self.output),
            End::Stopping => self.session.shutting_down().write_to(&mut self.output),
            _ => {}
        }
        match self.flush().await {
            Ok(()) => {
                self.stream.close().await;
                end
            }
            Err(_) => end,
        }
    }

    /// What the session makes of the next command, or of the content's end.
    async fn next_step(&mut self) -> Result<Step, End> {
        self.patience.replied(Instant::now());
        loop {
            let mut rest = self.input.get(self.taken..).unwrap_or_default();
            let mut content = Vec::new();
            let step = self.session.receive(&mut rest, &mut content);
            self.taken = self.input.len() - rest.len();
            if let Some(reception) = &mut self.reception {
                reception.append(&content).await;
            }
            if let Some(step) = step {
                self.notice_refusal(&step);
                self.follow_transaction();
                return Ok(step);
            }
            self.flush().await?;
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), End> {
        // An idle session holds no buffer.
        (self.input, self.taken) = (Vec::new(), 0);
        let awaiting = self.session.awaiting();
        let idle = self.session.transaction().envelope.is_none();
        let read = tokio::select! {
            // In this order: neither a stop nor a deadline is put off by a client that never pauses.
            biased;
            () = stopped(&mut self.stopping), if idle => return Err(End::Stopping),
            () = sleep_until(self.patience.deadline(awaiting)) => return Err(End::TimedOut),
            read = self.stream.read() => read?,
        };
        if read.is_empty() {
            return Err(End::HungUp);
        }
        if awaiting == Awaiting::Content {
            self.patience.received(read.len(), Instant::now());
        }
        self.input = read;
        Ok(())
    }

    async fn say(&mut self, reply: &Reply) -> Result<(), End> {
        if self.session.is_suspect() {
            self.flush().await?;
            tokio::select! {
                () = sleep(self.shared.options.error_delay) => {}
                () = stopped(&mut self.stopping) => {}
            }
        }
        reply.write_to(&mut self.output);
        if self.output.len() > OUTPUT_MAX {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), End> {
        let output = std::mem::take(&mut self.output);
        if output.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        };
        match timeout(WRITE_TIMEOUT, write).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(End::NotReading),
        }
    }

    /// STARTTLS: what was read in clear behind the command is thrown away, for anybody may have put it there
    /// (CVE-2011-0411).
    async fn secure(mut self, reply: &Reply) -> Result<Self, End> {
        self.say(reply).await?;
        self.flush().await?;
        (self.input, self.taken) = (Vec::new(), 0);
        let (stream, tls) = self.stream.secure(&self.shared.tls).await?;
        self.stream = stream;
        if let Some(tls) = tls {
            self.session.secured(tls);
        }
        self.follow_transaction();
        Ok(self)
    }
}
