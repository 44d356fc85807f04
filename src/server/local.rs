//! Mail from programs of this machine: the session of every other client, over a socket whose other end the kernel names.
//!
//! No rule of connect … preq runs: those are about clients that come by the network. A user of the machine may send as
//! anybody, and to everybody; who it was stands in the trace field. Mailboxes of ours that do not exist are refused, and
//! what the author left out of the header section is added. From then on the message is one like every other: the rules
//! of the queue are about it, too.

use super::Shared;
use super::connection::{self, Arrival, Connection};
use crate::mail::{Address, Service, Submitter};
use crate::rules::Stage;
use crate::smtp::{Answer, Reply, replies};
use jiff::Zoned;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tracing::Instrument;

/// Lets a program of this machine hand in mail by SMTP, until it goes, or has to: once `stopping` holds `true`, between
/// two messages.
pub async fn submission<S>(
    stream: S,
    submitter: Submitter,
    shared: Arc<Shared>,
    stopping: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let arrival = Arrival {
        client: here,
        server: here,
        service: Service::Submission,
        spoke_first: false,
    };
    let span = tracing::info_span!("submission", uid = submitter.uid);
    connection::serve_local(stream, arrival, submitter, shared, stopping)
        .instrument(span)
        .await;
}

impl<S> Connection<S> {
    /// What takes the place of rules for a program of this machine.
    pub(super) fn decide_for_local(&mut self, stage: Stage) -> Answer {
        match stage {
            Stage::Rcpt => {
                let envelope = self.session.transaction().envelope.as_ref();
                let last = envelope.and_then(|envelope| envelope.recipients.last());
                let known =
                    last.is_none_or(|last| self.shared.domains.leads_somewhere(&last.address));
                match known {
                    true => Answer::Proceed,
                    false => Answer::Refuse(replies::NO_SUCH_MAILBOX),
                }
            }
            Stage::Preq => match self.complete() {
                Ok(()) => Answer::Proceed,
                Err(refusal) => Answer::Refuse(refusal),
            },
            _ => Answer::Proceed,
        }
    }

    /// Adds what the author left out of the header section (RFC 6409 §8).
    fn complete(&mut self) -> Result<(), Reply> {
        let transaction = self.session.transaction();
        let name = Arc::clone(&transaction.connection.server_name);
        let (Some(id), Some(envelope), Some(message)) = (
            transaction.id,
            &mut transaction.envelope,
            &mut transaction.message,
        ) else {
            return Err(replies::LOCAL_ERROR);
        };
        let sender = envelope.reverse_path.0.clone();
        // Notifications have no sender, and are nobody's fault.
        let author = sender.map_or_else(|| Address::parse(&format!("postmaster@{name}")), Ok);
        let unreadable = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "the header section cannot be completed");
            replies::LOCAL_ERROR
        };
        let author = author.map_err(|error| unreadable(&error))?;
        let header = message.header().map_err(|error| unreadable(&error))?;
        if let Err(error) = header.complete(&author, &Zoned::now(), id, &name) {
            // As large as a header section can be: it stays as it is.
            tracing::info!(%id, %error, "the header section is not completed");
        }
        if let Some(edition) = message.edition() {
            let edition = Arc::new(edition);
            for recipient in &mut envelope.recipients {
                recipient.edition = Some(Arc::clone(&edition));
            }
        }
        Ok(())
    }
}
