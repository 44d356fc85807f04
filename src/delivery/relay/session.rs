//! One session with a server: the loop that drives a [`Client`], and its patience.

use super::wire::Wire;
use super::{Source, Timeouts};
use crate::mail::{Status, TlsSession};
use crate::smtp::client::{
    Awaiting, Client, Content, Encoder, Handshake, Message, Options, Outcome, Ready, Step,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Octets of content that are read, encoded and written at once.
const BLOCK: usize = 64 * 1024;
/// Room for what the server says; the rest waits in the socket.
const INPUT: usize = 16 * 1024;
/// How long to listen for the last words of a server that takes no more octets.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A connection whose server is ready for a message.
#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    /// `None` once the session is over.
    ready: Option<Ready>,
    /// How many it has heard.
    messages: usize,
}

/// What became of a message.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) outcomes: Vec<Outcome>,
    /// The server may have taken it without saying so.
    pub(super) in_doubt: bool,
}

/// Why no session came about.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The server does not want us, or does not speak SMTP.
    Unusable(Outcome),
    /// The handshake failed.
    Tls(String),
}

/// How to make a connection secret.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
    /// From the first octet, instead of after STARTTLS.
    pub(super) implicit: bool,
}

#[derive(Debug)]
struct Connection {
    /// `None` once a handshake has failed.
    wire: Option<Wire>,
    client: Client,
    /// What the server said and the client has not yet looked at.
    input: Vec<u8>,
    timeouts: Timeouts,
    tls: Option<TlsSession>,
}

impl Session {
    /// Greets the server on `wire`.
    pub(super) async fn open(
        wire: Wire,
        options: Options,
        tls: Option<Tls>,
        timeouts: &Timeouts,
    ) -> Result<Self, OpenError> {
        let mut connection = Connection {
            wire: Some(wire),
            client: Client::new(options),
            input: Vec::new(),
            timeouts: timeouts.clone(),
            tls: None,
        };
        if let Some(tls) = tls.as_ref().filter(|tls| tls.implicit) {
            connection
                .secure(tls.clone())
                .await
                .map_err(OpenError::Tls)?;
        }
        let mut step = connection.advance(None).await;
        loop {
            step = match step {
                Step::Ready(ready) => {
                    let ready = Some(ready);
                    return Ok(Self {
                        connection,
                        ready,
                        messages: 0,
                    });
                }
                Step::Secure(handshake) => connection.starttls(handshake, tls.clone()).await?,
                Step::Unusable(outcome) => {
                    connection.close().await;
                    return Err(OpenError::Unusable(outcome));
                }
                // None of these can come before a message was given.
                Step::Send(_) | Step::Transmit(_) | Step::Done(..) | Step::Close => {
                    connection.client.lost("the session went astray")
                }
            };
        }
    }

    /// Sends a message. Afterwards the session may be over, see [`Session::is_over`].
    pub(super) async fn send(&mut self, message: Message, content: &mut dyn Source) -> Sent {
        let undelivered = message.recipients.len();
        let Some(ready) = self.ready.take() else {
            let outcome = Outcome::Deferred(Status::new(4, 4, 2), "the session is over".to_owned());
            return Sent {
                outcomes: vec![outcome; undelivered],
                in_doubt: false,
            };
        };
        self.messages += 1;
        let connection = &mut self.connection;
        let step = connection.client.transmit(ready, message);
        let mut step = connection.advance(Some(step)).await;
        loop {
            step = match step {
                Step::Transmit(token) => connection.transmit(token, content).await,
                Step::Done(outcomes, ready) => {
                    self.ready = ready;
                    let in_doubt = connection.client.is_in_doubt();
                    return Sent { outcomes, in_doubt };
                }
                // None of these can come while a transaction is open.
                Step::Send(_) | Step::Secure(_) | Step::Ready(_) | Step::Close => {
                    connection.client.lost("the session went astray")
                }
                Step::Unusable(outcome) => {
                    let outcomes = vec![outcome; undelivered];
                    let in_doubt = connection.client.is_in_doubt();
                    return Sent { outcomes, in_doubt };
                }
            };
        }
    }

    /// Whether the session can take no more messages.
    pub(super) const fn is_over(&self) -> bool {
        self.ready.is_none()
    }

    /// How many messages the server was told of.
    pub(super) const fn messages(&self) -> usize {
        self.messages
    }

    /// Whether the session can go on, as far as can be seen without asking the server: it has neither closed nor said
    /// anything since its last reply.
    pub(super) async fn is_quiet(&mut self) -> bool {
        match &mut self.connection.wire {
            Some(wire) => {
                self.ready.is_some() && self.connection.input.is_empty() && wire.is_quiet().await
            }
            None => false,
        }
    }

    /// What the handshake settled, where there was one.
    pub(super) fn tls(&self) -> Option<&TlsSession> {
        self.connection.tls.as_ref()
    }

    pub(super) fn passes_wishes(&self) -> bool {
        self.connection.client.passes_wishes()
    }

    /// Takes leave.
    pub(super) async fn quit(mut self) {
        if let Some(ready) = self.ready.take() {
            let step = self.connection.client.quit(ready);
            let _ = self.connection.advance(Some(step)).await;
        }
        self.connection.close().await;
    }
}

impl Connection {
    /// Goes on until there is a step that is not for us.
    async fn advance(&mut self, mut step: Option<Step>) -> Step {
        loop {
            step = match step {
                Some(Step::Send(octets)) => {
                    let patience = self.timeouts.command;
                    match self.write(&octets, patience).await {
                        Ok(()) => None,
                        Err(cause) => return self.last_words(&cause).await,
                    }
                }
                Some(step) => return step,
                None => Some(self.listen().await),
            }
        }
    }

    /// The next step that comes of what the server says. Patience is for the whole of it: who says a little now and then
    /// gets no more.
    async fn listen(&mut self) -> Step {
        let patience = self.patience();
        let deadline = Instant::now() + patience;
        loop {
            let mut input = self.input.as_slice();
            let step = self.client.receive(&mut input);
            let taken = self.input.len() - input.len();
            self.input.drain(..taken);
            if let Some(step) = step {
                return step;
            }
            let Some(wire) = &mut self.wire else {
                return self.client.lost("the connection is closed");
            };
            self.input.reserve(INPUT);
            let cause = match timeout_at(deadline, wire.read(&mut self.input)).await {
                Ok(Ok(0)) => "the server closed the connection".to_owned(),
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => format!("the connection broke: {error}"),
                Err(_) => format!("the server did not answer within {patience:?}"),
            };
            return self.client.lost(&cause);
        }
    }

    /// The server takes no more octets. What it said before says more than how the connection broke.
    async fn last_words(&mut self, cause: &str) -> Step {
        match timeout(LAST_WORDS, self.listen()).await {
            Ok(Step::Done(outcomes, _)) => Step::Done(outcomes, None),
            Ok(step @ Step::Unusable(_)) => step,
            Ok(_) | Err(_) => self.client.lost(cause),
        }
    }

    async fn starttls(
        &mut self,
        handshake: Handshake,
        tls: Option<Tls>,
    ) -> Result<Step, OpenError> {
        // Whatever came in clear behind the reply to STARTTLS was said by somebody else (CVE-2011-0411).
        self.input.clear();
        let tls = tls.ok_or_else(|| OpenError::Tls("no TLS is at hand".to_owned()))?;
        self.secure(tls).await.map_err(OpenError::Tls)?;
        let step = self.client.secured(handshake);
        Ok(self.advance(Some(step)).await)
    }

    async fn secure(&mut self, tls: Tls) -> Result<(), String> {
        let wire = self.wire.take().ok_or("the connection is closed")?;
        let patience = self.timeouts.tls;
        match timeout(patience, wire.secure(tls.config, tls.name)).await {
            Ok(Ok((wire, settled))) => {
                self.wire = Some(wire);
                self.tls = Some(settled);
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no handshake within {patience:?}")),
        }
    }

    /// Writes the content and waits for what becomes of it.
    async fn transmit(&mut self, token: Content, content: &mut dyn Source) -> Step {
        match self.write_content(content).await {
            Ok(()) => {
                self.client.transmitted(token);
                self.advance(None).await
            }
            Err(WriteError::Wire(cause)) => self.last_words(&cause).await,
            Err(WriteError::Source(error)) => {
                // Without its end the content is none: the server drops it.
                let cause = format!("the message cannot be read: {error}");
                self.wire = None;
                self.client.lost(&cause)
            }
        }
    }

    async fn write_content(&mut self, content: &mut dyn Source) -> Result<(), WriteError> {
        content.rewind().map_err(WriteError::Source)?;
        let mut encoder = Encoder::default();
        let mut block = vec![0; BLOCK];
        let mut encoded = Vec::with_capacity(BLOCK + BLOCK / 8);
        let patience = self.timeouts.block;
        loop {
            let count = match content.read(&mut block) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(WriteError::Source)?,
            };
            if count == 0 {
                encoder.finish(&mut encoded);
                let written = self.write(&encoded, patience).await;
                return written.map_err(WriteError::Wire);
            }
            encoder.encode(block.get(..count).unwrap_or_default(), &mut encoded);
            let written = self.write(&encoded, patience).await;
            written.map_err(WriteError::Wire)?;
            encoded.clear();
        }
    }

    async fn write(&mut self, octets: &[u8], patience: Duration) -> Result<(), String> {
        let wire = self.wire.as_mut().ok_or("the connection is closed")?;
        match timeout(patience, wire.write(octets)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the connection broke: {error}")),
            Err(_) => Err(format!("the server took nothing for {patience:?}")),
        }
    }

    fn patience(&self) -> Duration {
        match self.client.awaiting() {
            Awaiting::Greeting => self.timeouts.greeting,
            Awaiting::Command => self.timeouts.command,
            Awaiting::Data => self.timeouts.data,
            Awaiting::Content => self.timeouts.content,
            Awaiting::Quit => self.timeouts.quit,
        }
    }

    async fn close(&mut self) {
        if let Some(wire) = &mut self.wire {
            let patience = self.timeouts.quit;
            // Closed or not, it is dropped.
            let _ = timeout(patience, wire.close()).await;
        }
    }
}

enum WriteError {
    Wire(String),
    Source(io::Error),
}
