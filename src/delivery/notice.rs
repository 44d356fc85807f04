//! What the sender is told: reports of failure and of delay (RFC 3464), as messages of their own.
//!
//! A report is durable in the queue before the recipients that it is about are settled. After a crash in between it goes
//! out twice rather than never. Nobody is told of a message that came with the null reverse-path (RFC 5321 §6.1).

use super::attempt::Attempt;
use crate::mail::dsn::{Action, Composed, Original, RecipientReport, Report};
use crate::mail::{Address, Domains, Envelope, ReversePath, Status};
use crate::queue::{self, Entry, Queue};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::io::Read;

/// How much of a message is looked through for the end of its header section.
const HEADER_MAX: u64 = 64 * 1024;

/// One recipient whom the sender is told about.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub index: usize,
    pub status: Status,
    pub reason: String,
    /// The server whose words they are.
    pub remote: Option<String>,
}

/// A report in the making.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub action: Action,
    pub subjects: Vec<Subject>,
}

impl Subject {
    pub fn new(attempt: &Attempt, status: Status, reason: &str) -> Self {
        Self {
            index: attempt.index,
            status,
            reason: reason.to_owned(),
            remote: attempt.remote.as_ref().map(|remote| remote.host.clone()),
        }
    }
}

impl Notice {
    /// Puts the report into the queue, durably, from the server `name` to the sender of `entry`; `domains` say who reads
    /// the sender's mail.
    ///
    /// # Errors
    /// Nothing was put into the queue.
    pub async fn send(
        &self,
        queue: &Queue,
        name: &str,
        entry: &Entry,
        domains: &Domains,
    ) -> Result<(), queue::Error> {
        let Some(to) = entry.reverse_path.0.as_ref() else {
            tracing::warn!(id = %entry.id, "an undeliverable notification is dropped: its sender is nobody");
            return Ok(());
        };
        let mut draft = queue.draft(queue.next_id());
        let id = draft.id();
        let header = header_section(queue, entry).await;
        let composed = self.compose(
            &id.to_string(),
            name,
            entry,
            queue.expires(entry),
            to,
            &header,
        );
        draft.append(&composed.content).await?;
        let envelope = Envelope {
            reverse_path: ReversePath(None),
            recipients: domains.expand(vec![to.clone().into()]),
            body: composed.body,
            smtputf8: composed.smtputf8,
            ..Envelope::default()
        };
        queue.commit(draft, String::new(), envelope).await?;
        let about = entry.id;
        tracing::info!(%id, %about, %to, action = ?self.action, "notification");
        Ok(())
    }

    fn compose(
        &self,
        id: &str,
        name: &str,
        entry: &Entry,
        expires: Timestamp,
        to: &Address,
        header: &[u8],
    ) -> Composed {
        let date = Zoned::now();
        let recipients: Vec<RecipientReport> = self
            .subjects
            .iter()
            .filter_map(|subject| {
                Some(RecipientReport {
                    address: entry.recipient(subject.index)?.address.clone(),
                    original: None,
                    action: self.action,
                    status: subject.status,
                    reason: subject.reason.clone(),
                    remote: subject.remote.clone(),
                    last_attempt: Some(date.clone()),
                    retry_until: Some(expires.to_zoned(TimeZone::system())),
                })
            })
            .collect();
        let report = Report {
            reporting_mta: name,
            id,
            date: &date,
            arrival: &entry.arrived.to_zoned(TimeZone::system()),
            to,
            envelope_id: None,
            wanted: None,
            recipients: &recipients,
            original: Original {
                content: header,
                whole: false,
            },
        };
        report.compose()
    }
}

/// The front of the message, with all of its header section unless that is huge. A report without it is better than none.
async fn header_section(queue: &Queue, entry: &Entry) -> Vec<u8> {
    let (queue, id) = (queue.clone(), entry.id);
    let read = tokio::task::spawn_blocking(move || {
        let mut front = Vec::new();
        if let Ok(content) = queue.content(id) {
            // What was read before an error is shown all the same.
            let _ = content.take(HEADER_MAX).read_to_end(&mut front);
        }
        front
    });
    read.await.unwrap_or_default()
}
