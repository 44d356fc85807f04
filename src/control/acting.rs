//! Does what an operator wants done to messages, many at a time, so that they share the disk's syncs.

use super::reading::{Archive, BATCH, Domains, next};
use super::{Action, Summary, Target};
use crate::delivery::quarantine::Kept;
use crate::mail::MessageId;
use crate::queue::{Front, Obeyed, Order, Queue, Screening, Version};
use std::io::{self, ErrorKind, Read};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};

/// How many messages are changed at the same time.
const TOGETHER: usize = 256;
/// How long a message that is being delivered is waited for, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(5);
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// Octets of a message that are moved together.
const PIECE: usize = 64 * 1024;
/// More messages than these are not named one by one.
const NAMED_MAX: usize = 100;

/// One request at work. Spawn it, and do not abort it: a message that is being changed must be let go of again. It ends
/// early once nobody listens to its progress.
pub(super) struct Work {
    pub queue: Queue,
    pub archive: Archive,
    pub action: Action,
    /// What has been done so far, for whoever waits.
    pub progress: watch::Sender<Summary>,
}

/// What became of one message.
type Changed = (String, Result<Obeyed, String>);

impl Work {
    /// Does it to every target; without targets to the whole queue.
    ///
    /// # Errors
    /// The queue cannot be read; some is done.
    pub async fn run(self, targets: Vec<Target>) -> Result<Summary, String> {
        let mut changes = JoinSet::new();
        let mut summary = Summary::default();
        for target in &targets {
            match target {
                Target::Domain(_) => {}
                Target::Id(prefix) => {
                    let found = self.by_prefix(prefix, target, &mut summary).await?;
                    if let Some(id) = found {
                        self.obey(&mut changes, id, Domains::of(&[]));
                    }
                }
                Target::Quarantine { .. } => {
                    self.in_quarantine(&mut changes, target, &mut summary)
                        .await?;
                }
            }
        }
        let domains = Domains::of(&targets);
        if !domains.is_empty() || targets.is_empty() {
            self.through_the_queue(&mut changes, &domains, &mut summary)
                .await?;
        }
        while self.next_done(&mut changes, &mut summary).await {}
        Ok(summary)
    }

    async fn by_prefix(
        &self,
        prefix: &str,
        target: &Target,
        summary: &mut Summary,
    ) -> Result<Option<MessageId>, String> {
        let (archive, mut told) = (self.archive.clone(), summary.clone());
        let (prefix, target) = (prefix.to_owned(), target.clone());
        let found = blocking(move || {
            let found = archive.by_prefix(&prefix, &target, &mut told);
            found.map(|found| (found.map(|(id, _)| id), told))
        });
        let (id, told) = found.await?;
        *summary = told;
        Ok(id)
    }

    async fn through_the_queue(
        &self,
        changes: &mut JoinSet<Changed>,
        domains: &Domains,
        summary: &mut Summary,
    ) -> Result<(), String> {
        let mut from = Some(MessageId(0));
        while let Some(first) = from.filter(|_| !self.progress.is_closed()) {
            let reader = self.archive.queue.clone();
            let entries = blocking(move || reader.entries(first, BATCH)).await?;
            from = entries.last().and_then(|(last, _)| next(*last));
            for (id, entry) in entries {
                summary.seen += 1;
                if !entry.is_some_and(|entry| domains.any_in(&entry)) {
                    continue;
                }
                if changes.len() >= TOGETHER {
                    self.next_done(changes, summary).await;
                }
                self.obey(changes, id, domains.clone());
            }
            self.progress.send_replace(summary.clone());
        }
        Ok(())
    }

    fn obey(&self, changes: &mut JoinSet<Changed>, id: MessageId, domains: Domains) {
        let (queue, order) = (self.queue.clone(), self.action.order());
        changes.spawn(async move {
            let end = Instant::now() + PATIENCE;
            loop {
                let wanted = |domain: &str| domains.mean(domain);
                let obeyed = queue.obey(id, order, |recipient| wanted(recipient.address.domain()));
                match obeyed.await {
                    Ok(Obeyed::Busy) if Instant::now() < end => sleep(BUSY_PAUSE).await,
                    obeyed => return (id.to_string(), obeyed.map_err(|e| e.to_string())),
                }
            }
        });
    }

    async fn in_quarantine(
        &self,
        changes: &mut JoinSet<Changed>,
        target: &Target,
        summary: &mut Summary,
    ) -> Result<(), String> {
        if matches!(self.action, Action::Retry | Action::Hold) {
            let target = String::from(target.clone());
            summary.failed.push(format!(
                "{target}: what is in quarantine can be released or removed"
            ));
            return Ok(());
        }
        let (archive, target, mut told) = (self.archive.clone(), target.clone(), summary.clone());
        let found = blocking(move || {
            let found = archive.in_quarantine(&target, &mut told);
            found.map(|found| (found, told))
        });
        let (found, told) = found.await?;
        *summary = told;
        for (name, id) in found {
            if self.progress.is_closed() {
                break;
            }
            self.progress.send_replace(summary.clone());
            summary.seen += 1;
            if changes.len() >= TOGETHER {
                self.next_done(changes, summary).await;
            }
            let (queue, app) = (self.queue.clone(), self.archive.app.clone());
            let release = self.action == Action::Release;
            changes.spawn(async move {
                let shown = format!("{name}/{id}");
                let kept = spawn_blocking(move || Kept::open(&app, &name, id)).await;
                let done = async {
                    let kept = kept.map_err(io::Error::other)??;
                    let recipients = kept.envelope.recipients.len();
                    match release {
                        true => self::release(&queue, id, kept).await?,
                        false => spawn_blocking(move || kept.remove()).await??,
                    }
                    Ok(Obeyed::Changed(recipients))
                };
                let done: io::Result<Obeyed> = done.await;
                match done {
                    Err(error) if error.kind() == ErrorKind::NotFound => (shown, Ok(Obeyed::Gone)),
                    done => (shown, done.map_err(|error| error.to_string())),
                }
            });
        }
        Ok(())
    }

    /// Waits for one message to be done; `false`: there is none.
    async fn next_done(&self, changes: &mut JoinSet<Changed>, summary: &mut Summary) -> bool {
        let (name, obeyed) = match changes.join_next().await {
            None => return false,
            Some(Ok(changed)) => changed,
            Some(Err(error)) => (String::new(), Err(error.to_string())),
        };
        match obeyed {
            Ok(Obeyed::Changed(0) | Obeyed::Gone) => {}
            Ok(Obeyed::Changed(recipients)) => {
                summary.messages += 1;
                summary.recipients += recipients as u64;
            }
            Ok(Obeyed::Busy) => summary.busy.push(name),
            Err(why) => summary.failed.push(format!("{name}: {why}")),
        }
        summary.busy.truncate(NAMED_MAX);
        summary.failed.truncate(NAMED_MAX);
        true
    }
}

impl Action {
    fn order(self) -> Order {
        match self {
            Self::Retry => Order::Retry,
            Self::Hold => Order::Hold,
            Self::Release => Order::Release,
            Self::Remove => Order::Remove,
        }
    }

    /// What the log says of it.
    pub(super) const fn past(self) -> &'static str {
        match self {
            Self::Retry => "made due",
            Self::Hold => "held",
            Self::Release => "released",
            Self::Remove => "removed",
        }
    }
}

/// Puts a message of a quarantine into the queue, for everybody it was meant for. It leaves the quarantine once it is
/// durable there: after a crash in between it is in both rather than nowhere.
async fn release(queue: &Queue, of: MessageId, kept: Kept) -> io::Result<()> {
    let mut draft = queue.draft(queue.next_id());
    let id = draft.id();
    let mut kept = spawn_blocking(move || {
        let mut kept = kept;
        kept.survey().map(|()| kept)
    })
    .await??;
    loop {
        let (octets, rest) = spawn_blocking(move || piece(kept)).await??;
        kept = rest;
        if octets.is_empty() {
            break;
        }
        draft.append(&octets).await.map_err(io::Error::other)?;
    }
    let version = Version {
        id,
        front: Front::default(),
        envelope: kept.envelope.clone(),
        origin: None,
        // Rules have had their say, and would say the same.
        screening: Screening::Over,
    };
    let committed = queue.commit_versions(draft, vec![version]).await;
    committed.map_err(io::Error::other)?;
    tracing::info!(%id, %of, "message released from quarantine");
    spawn_blocking(move || kept.remove()).await?
}

fn piece(mut kept: Kept) -> io::Result<(Vec<u8>, Kept)> {
    let mut octets = Vec::with_capacity(PIECE);
    kept.by_ref().take(PIECE as u64).read_to_end(&mut octets)?;
    Ok((octets, kept))
}

async fn blocking<T, E>(what: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, String>
where
    T: Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    match spawn_blocking(what).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
