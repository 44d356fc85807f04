//! Answers to those who only look: the same of a daemon that runs and of a spool that nobody has open. Blocks.

use super::protocol::PIECE;
use super::{Answer, Message, Refusal, Request, Summary, Target};
use crate::delivery::quarantine::{self, Kept};
use crate::mail::{MessageId, Source};
use crate::queue::{self, Entry, Listed, Reader};
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;

/// How many entries are read at a time.
pub(super) const BATCH: usize = 256;
/// After so many messages that are not listed, whoever waits is told that something happens.
const PROGRESS: u64 = 10_000;

/// Where messages lie.
#[derive(Clone)]
pub(super) struct Archive {
    pub queue: Reader,
    /// `app.dirpath`, with the quarantines.
    pub app: PathBuf,
}

/// Takes an answer on; an error ends the work.
pub(super) type Take<'a> = &'a mut dyn FnMut(Answer) -> io::Result<()>;

/// Why an answer is not whole.
enum Stop {
    /// Nobody takes it any more.
    Gone(io::Error),
    Refused(Refusal),
}

impl Archive {
    /// Answers a request that changes nothing; the last answer ends it.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn answer(&self, request: &Request, take: Take<'_>) -> io::Result<()> {
        let mut summary = Summary::default();
        let done = match request {
            Request::List { targets } => self.list(targets, false, &mut summary, take),
            Request::Export { targets } => self.list(targets, true, &mut summary, take),
            Request::Show { target } => self.one(target, &mut summary, |found| {
                take(Answer::Message(Box::new(found.message()?))).map_err(Stop::Gone)
            }),
            Request::Cat { target } => self.one(target, &mut summary, |found| found.octets(take)),
            Request::Act { .. } | Request::Submit => Err(Stop::Refused(Refusal::ReadOnly)),
        };
        match done {
            Ok(()) => take(Answer::Done(summary)),
            Err(Stop::Refused(refusal)) => take(Answer::Refused(refusal)),
            Err(Stop::Gone(error)) => Err(error),
        }
    }

    fn list(
        &self,
        targets: &[Target],
        whole: bool,
        summary: &mut Summary,
        take: Take<'_>,
    ) -> Result<(), Stop> {
        let list = |found: Found<'_>, summary: &mut Summary, take: Take<'_>| {
            summary.messages += 1;
            let message = if whole {
                found.message()?
            } else {
                found.listed()
            };
            summary.recipients += message.recipients.len() as u64;
            take(Answer::Message(Box::new(message))).map_err(Stop::Gone)?;
            match whole {
                true => found.octets(take),
                false => Ok(()),
            }
        };
        for target in targets {
            match target {
                Target::Domain(_) => {}
                Target::Id(prefix) => match self.by_prefix(prefix, target, summary)? {
                    Some((id, entry)) => list(Found::Queued(self, id, entry), summary, take)?,
                    None => continue,
                },
                Target::Quarantine { .. } => {
                    for (name, id) in self.in_quarantine(target, summary)? {
                        summary.seen += 1;
                        list(Found::Kept(self, name, id), summary, take)?;
                    }
                }
            }
        }
        let domains = Domains::of(targets);
        if domains.is_empty() && !targets.is_empty() {
            return Ok(());
        }
        let mut from = Some(MessageId(0));
        while let Some(first) = from {
            let entries = self.queue.entries(first, BATCH)?;
            from = entries.last().and_then(|(last, _)| next(*last));
            for (id, entry) in entries {
                summary.seen += 1;
                if domains.is_empty() || entry.as_ref().is_some_and(|entry| domains.any_in(entry)) {
                    list(Found::Queued(self, id, entry), summary, take)?;
                } else if summary.seen.is_multiple_of(PROGRESS) {
                    take(Answer::Progress(summary.clone())).map_err(Stop::Gone)?;
                }
            }
        }
        Ok(())
    }

    /// What `target` names, if it is one message.
    fn one(
        &self,
        target: &Target,
        summary: &mut Summary,
        mut then: impl FnMut(Found<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let found = match target {
            Target::Id(prefix) => match self.by_prefix(prefix, target, summary)? {
                Some((id, entry)) => Found::Queued(self, id, entry),
                None => return Ok(()),
            },
            Target::Quarantine { .. } => {
                let mut kept = self.in_quarantine(target, summary)?;
                if kept.len() > 1 {
                    summary.ambiguous.push(target.clone().into());
                    return Ok(());
                }
                match kept.pop() {
                    Some((name, id)) => Found::Kept(self, name, id),
                    None => return Ok(()),
                }
            }
            Target::Domain(_) => {
                summary.unknown.push(target.clone().into());
                return Ok(());
            }
        };
        (summary.seen, summary.messages) = (1, 1);
        then(found)
    }

    /// The one message of the queue whose id begins so.
    pub fn by_prefix(
        &self,
        prefix: &str,
        target: &Target,
        summary: &mut Summary,
    ) -> Result<Option<Listed>, queue::Error> {
        let mut found = self.queue.beginning_with(prefix)?;
        summary.seen += 1;
        match found.len() {
            1 => return Ok(found.pop()),
            0 => summary.unknown.push(target.clone().into()),
            _ => summary.ambiguous.push(target.clone().into()),
        }
        Ok(None)
    }

    /// The messages in quarantine that `target` names. An id that is cut short must name one.
    pub fn in_quarantine(
        &self,
        target: &Target,
        summary: &mut Summary,
    ) -> io::Result<Vec<(String, MessageId)>> {
        let Target::Quarantine { name, id: prefix } = target else {
            return Ok(Vec::new());
        };
        let names = match name {
            Some(name) => vec![name.clone()],
            None => quarantine::names(&self.app)?,
        };
        let mut found = Vec::new();
        for name in names {
            let ids = quarantine::messages(&self.app, &name)?;
            let named = ids
                .into_iter()
                .filter(|id| id.to_string().starts_with(prefix));
            found.extend(named.map(|id| (name.clone(), id)));
        }
        if found.is_empty() && (!prefix.is_empty() || name.is_some()) {
            summary.unknown.push(target.clone().into());
        }
        if found.len() > 1 && !prefix.is_empty() {
            summary.ambiguous.push(target.clone().into());
            found.clear();
        }
        Ok(found)
    }
}

/// A message that was asked for.
enum Found<'a> {
    Queued(&'a Archive, MessageId, Option<Entry>),
    Kept(&'a Archive, String, MessageId),
}

impl Found<'_> {
    /// As it stands in a list.
    fn listed(&self) -> Message {
        match self {
            Self::Queued(archive, id, entry) => {
                Message::queued(&archive.queue, *id, entry.as_ref())
            }
            Self::Kept(archive, name, id) => {
                let kept = Kept::open(&archive.app, name, *id).ok();
                Message::kept(name, *id, kept.as_ref())
            }
        }
    }

    /// With its size.
    fn message(&self) -> Result<Message, Stop> {
        let mut message = self.listed();
        if let Self::Queued(archive, id, _) = self {
            message.size = match archive.queue.content(*id) {
                Ok(content) => Some(content.length()),
                Err(queue::Error::Damaged(_)) => None,
                Err(error) => return Err(error.into()),
            };
            message.damaged |= message.size.is_none();
        }
        Ok(message)
    }

    fn octets(&self, take: Take<'_>) -> Result<(), Stop> {
        match self {
            Self::Queued(archive, id, _) => copy(&mut archive.queue.content(*id)?, take),
            Self::Kept(archive, name, id) => copy(&mut Kept::open(&archive.app, name, *id)?, take),
        }
    }
}

fn copy(from: &mut impl Read, take: Take<'_>) -> Result<(), Stop> {
    loop {
        let mut piece = vec![0; PIECE];
        let count = match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        piece.truncate(count);
        take(Answer::Octets(piece)).map_err(Stop::Gone)?;
    }
}

/// The domains among targets.
#[derive(Clone)]
pub(super) struct Domains(Vec<String>);

impl Domains {
    pub fn of(targets: &[Target]) -> Self {
        let names = targets.iter().filter_map(|target| match target {
            Target::Domain(name) => Some(name.clone()),
            _ => None,
        });
        Self(names.collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the address with this domain is meant; where no domain is named, each is.
    pub fn mean(&self, domain: &str) -> bool {
        self.is_empty() || self.0.iter().any(|name| name.eq_ignore_ascii_case(domain))
    }

    /// Whether a recipient of the message is meant.
    pub fn any_in(&self, entry: &Entry) -> bool {
        let mut recipients = entry.pending.iter().map(|pending| &pending.recipient);
        recipients.any(|recipient| self.mean(recipient.address.domain()))
    }
}

/// The id behind this one.
pub(super) fn next(id: MessageId) -> Option<MessageId> {
    id.0.checked_add(1).map(MessageId)
}

impl From<queue::Error> for Stop {
    fn from(error: queue::Error) -> Self {
        Self::Refused(Refusal::Failed(error.to_string()))
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        let what = match error.kind() {
            ErrorKind::InvalidData => "the message is damaged".to_owned(),
            _ => error.to_string(),
        };
        Self::Refused(Refusal::Failed(what))
    }
}
