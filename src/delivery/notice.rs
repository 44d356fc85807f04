//! What the sender is told: reports (RFC 3464) of failure and of delay, and of success where it was wished for (RFC 3461), as
//! messages of their own.
//!
//! A report is durable in the queue before the recipients that it is about are settled. After a crash in between it goes
//! out twice rather than never. Nobody is told of a message that came with the null reverse-path (RFC 5321 §6.1).

use super::attempt::Attempt;
use crate::mail::dsn::{Action, Composed, Original, RecipientReport, Report, Return};
use crate::mail::{Address, Domains, Envelope, ReversePath, Status};
use crate::queue::{self, Entry, Queue};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::io::Read;

/// How much of a message is looked through for the end of its header section.
const HEADER_MAX: u64 = 64 * 1024;
/// Octets of a message that is returned whole to a sender who wishes so. Of a larger one the header section returns.
const WHOLE_MAX: u64 = 256 * 1024;

/// One recipient whom the sender is told about.
#[derive(Clone, Debug)]
struct Subject {
    index: usize,
    action: Action,
    status: Status,
    reason: String,
    /// The server whose words they are; for one behind a socket on this machine, a path.
    remote: Option<String>,
}

/// A report in the making: of one message, about those of its recipients whose sender wishes to hear of them.
#[derive(Debug, Default)]
pub(super) struct Notice {
    subjects: Vec<Subject>,
}

impl Notice {
    /// Tells what came of `attempt`, if that is wished for.
    pub fn tell(
        &mut self,
        entry: &Entry,
        attempt: &Attempt,
        action: Action,
        status: Status,
        reason: &str,
    ) {
        let Some(recipient) = entry.recipient(attempt.index) else {
            return;
        };
        // That a failure cannot be told to anybody is something for the log.
        let is_heard = entry.reverse_path.0.is_some() || action == Action::Failed;
        if is_heard && recipient.wishes.wants(action) {
            self.subjects.push(Subject {
                index: attempt.index,
                action,
                status,
                reason: attempt.told(reason).to_owned(),
                remote: attempt.remote.as_ref().map(|remote| remote.host.clone()),
            });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

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
        let failed = self.subjects.iter().any(|s| s.action == Action::Failed);
        let whole = failed && entry.wanted == Some(Return::Full);
        let returned = Returned::read(queue, entry, whole).await;
        let composed = self.compose(
            &id.to_string(),
            name,
            entry,
            queue.expires(entry),
            to,
            &returned,
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
        let actions: Vec<Action> = self.subjects.iter().map(|s| s.action).collect();
        tracing::info!(%id, %about, %to, ?actions, "notification");
        Ok(())
    }

    fn compose(
        &self,
        id: &str,
        name: &str,
        entry: &Entry,
        expires: Timestamp,
        to: &Address,
        returned: &Returned,
    ) -> Composed {
        let date = Zoned::now();
        let recipients: Vec<RecipientReport> = self
            .subjects
            .iter()
            .filter_map(|subject| {
                let recipient = entry.recipient(subject.index)?;
                Some(RecipientReport {
                    address: recipient.address.clone(),
                    original: recipient.wishes.original.clone(),
                    action: subject.action,
                    status: subject.status,
                    reason: subject.reason.clone(),
                    remote: subject.remote_from(name),
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
            envelope_id: entry.envelope_id.as_ref(),
            wanted: entry.wanted,
            recipients: &recipients,
            original: Original {
                content: &returned.content,
                whole: returned.whole,
            },
        };
        report.compose()
    }
}

impl Subject {
    /// The server whose words they are, as others know it: one behind a socket is on the machine `name`.
    fn remote_from(&self, name: &str) -> Option<String> {
        let remote = self.remote.as_deref()?;
        let host = if remote.starts_with('/') {
            name
        } else {
            remote
        };
        Some(host.to_owned())
    }
}

/// What comes back with the report.
#[derive(Debug, Default)]
struct Returned {
    content: Vec<u8>,
    /// It is the whole message.
    whole: bool,
}

impl Returned {
    /// The message, if `whole` and not too long, or else its front, with all of its header section unless that is huge. A
    /// report without it is better than none.
    async fn read(queue: &Queue, entry: &Entry, whole: bool) -> Self {
        let (queue, id) = (queue.clone(), entry.id);
        let read = tokio::task::spawn_blocking(move || {
            let mut returned = Self::default();
            let Ok(content) = queue.content(id) else {
                return returned;
            };
            let limit = if whole { WHOLE_MAX } else { HEADER_MAX };
            // What was read before an error is shown all the same.
            let end = content.take(limit + 1).read_to_end(&mut returned.content);
            returned.whole = whole && end.is_ok_and(|length| length as u64 <= limit);
            if !returned.whole {
                returned.content.truncate(HEADER_MAX as usize);
            }
            returned
        });
        read.await.unwrap_or_default()
    }
}
