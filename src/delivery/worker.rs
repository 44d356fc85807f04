//! One message: asks the rules, finds out where each recipient's copy belongs, brings it there, tells the sender what failed, and tells the
//! queue what became of it.

mod delegate;
mod screen;

use super::attempt::{self, Attempt, Place};
use super::backscatter::Backscatter;
use super::local::{self, Damaged};
use super::notice::Notice;
use super::outbound::Outbound;
use super::relay::Relay;
use super::route::Plan;
use super::screening::Cleared;
use super::{Options, relay};
use crate::mail::dsn::Action;
use crate::mail::{Domains, MessageId, Status};
use crate::queue::{self, Entry, LastError, Outcome, Queue, State};
use crate::rules::Rules;
use crate::smtp::client;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use screen::Halt;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How many messages are delivered here at the same time: enough that their syncs share the disk's.
const LOCAL: usize = 64;
/// About how many messages rules decide at the same time. Most of them wait for somebody else.
const RULING: usize = 128;
/// How long to wait before the queue is told again what it could not record.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a server has to take what is being sent when the daemon stops.
const GRACE: Duration = Duration::from_secs(10);

/// Delivers messages, one at a time or many.
pub(super) struct Worker {
    queue: Queue,
    domains: Arc<ArcSwap<Domains>>,
    rules: Arc<ArcSwap<Rules>>,
    options: Options,
    outbound: Outbound,
    backscatter: Backscatter,
    local: Semaphore,
    ruling: Semaphore,
    /// Messages with an id below this came before this process began to deliver.
    first: MessageId,
    stopping: watch::Sender<bool>,
}

/// What was found out about a message, sorted for those who are told.
struct Record {
    outcomes: Vec<Outcome>,
    notice: Notice,
}

impl Worker {
    pub fn new(
        queue: Queue,
        domains: Arc<ArcSwap<Domains>>,
        rules: Arc<ArcSwap<Rules>>,
        relay: Arc<ArcSwap<Relay>>,
        options: Options,
    ) -> Self {
        Self {
            first: queue.next_id(),
            queue,
            domains,
            rules,
            outbound: Outbound::new(relay),
            backscatter: Backscatter::new(options.reports, Instant::now()),
            options,
            local: Semaphore::new(LOCAL),
            ruling: Semaphore::new(RULING),
            stopping: watch::Sender::new(false),
        }
    }

    /// No longer waits for what may take long: a turn, a slow server, a queue that cannot be written. What could not be
    /// done or recorded is done again after the restart.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Takes leave of other servers, once nothing is delivered any more.
    pub async fn close(&self) {
        self.outbound.close().await;
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    async fn stopped(&self) {
        // An error says that the sender is gone, which cannot be: it is ours.
        let _ = self
            .stopping
            .subscribe()
            .wait_for(|stopping| *stopping)
            .await;
    }

    /// Makes what was held due again: there is a way for everything.
    pub async fn wake(self: Arc<Self>) {
        match self.queue.wake(|_| true).await {
            Ok(0) => {}
            Ok(messages) => tracing::info!(messages, "messages that were held are due"),
            Err(error) => tracing::error!(%error, "messages that are held cannot be looked at"),
        }
    }

    /// Tries every recipient that is due and that rules let go, and records what became of it.
    pub async fn deliver(self: Arc<Self>, entry: Entry) {
        let Some(entry) = self.delegated(entry).await else {
            return;
        };
        let Cleared {
            entry,
            outgoing,
            refused: mut attempts,
        } = match self.screen(entry.clone()).await {
            Ok(cleared) => cleared,
            Err(Halt::Damaged) => return self.queue.set_aside(&entry).await,
            Err(Halt::Stopping | Halt::NobodyLeft) => return,
            Err(Halt::Delegated(entry)) => {
                // A reload may have taken the filter away just now: then all of it is done again.
                if let Some(entry) = self.delegated(*entry).await {
                    self.queue.put_back(&entry);
                }
                return;
            }
        };
        let mut tries = JoinSet::new();
        for outgoing in outgoing {
            tries.spawn(Arc::clone(&self).try_all(outgoing));
        }
        while let Some(tried) = tries.join_next().await {
            match tried {
                Ok(Ok(tried)) => attempts.extend(tried),
                Ok(Err(Damaged)) => return self.queue.set_aside(&entry).await,
                Err(error) => tracing::error!(%error, "delivery ended before its time"),
            }
        }
        // Otherwise it is due again after the restart, as it is.
        if !attempts.is_empty() || !self.is_stopping() {
            self.record(&entry, &attempts).await;
        }
    }

    /// What became of the recipients that are due. Those are missing whom there was no time for before the end.
    async fn try_all(self: Arc<Self>, entry: Arc<Entry>) -> Result<Vec<Attempt>, Damaged> {
        let domains = self.domains.load_full();
        let (mail, now) = (&self.options.mail_dirpath, Timestamp::now());
        let mut plan = Plan::of(&entry, now, &domains, mail);
        let mut attempts: Vec<Attempt> = plan
            .nowhere
            .iter()
            .map(|(index, why)| {
                let outcome = client::Outcome::Deferred(Status::new(4, 1, 1), why.to_string());
                Attempt::local(*index, Place::Mailbox, outcome)
            })
            .collect();
        attempts.extend(plan.expanded.iter().map(|&index| {
            let outcome = client::Outcome::Delivered(String::new());
            Attempt::local(index, Place::Others, outcome)
        }));
        let mut deliveries = JoinSet::new();
        for (to, recipients) in std::mem::take(&mut plan.relays) {
            let (worker, entry) = (Arc::clone(&self), Arc::clone(&entry));
            deliveries.spawn(async move { worker.relay(&entry, &to, &recipients, None).await });
        }
        if plan.is_local() {
            deliveries.spawn(Arc::clone(&self).keep(Arc::clone(&entry), plan));
        }
        let mut damaged = false;
        while let Some(delivered) = deliveries.join_next().await {
            match delivered {
                Ok(Ok(delivered)) => attempts.extend(delivered),
                Ok(Err(Damaged)) => damaged = true,
                Err(error) => tracing::error!(%error, "delivery ended before its time"),
            }
        }
        if damaged {
            return Err(Damaged);
        }
        if !self.is_stopping() {
            // Whose delivery ended before its time would be due again at once, and again.
            let tried: HashSet<usize> = attempts.iter().map(|attempt| attempt.index).collect();
            let untried = entry.due(now).filter(|(index, _)| !tried.contains(index));
            attempts.extend(untried.map(|(index, _)| Attempt::postponed(index)));
        }
        Ok(attempts)
    }

    /// Makes the copies that stay here.
    async fn keep(self: Arc<Self>, entry: Arc<Entry>, plan: Plan) -> Result<Vec<Attempt>, Damaged> {
        let turn = self.local.acquire().await;
        if turn.is_err() || self.is_stopping() {
            return Ok(Vec::new());
        }
        let worker = Arc::clone(&self);
        let kept = tokio::task::spawn_blocking(move || {
            local::deliver(&worker.queue, &worker.options, worker.first, &entry, &plan)
        });
        kept.await.unwrap_or_else(|error| {
            tracing::error!(%error, "delivery ended before its time");
            Ok(Vec::new())
        })
    }

    /// Hands the copies for one destination on, which has `timeout` for it where that is given.
    async fn relay(
        &self,
        entry: &Entry,
        to: &relay::Destination,
        recipients: &[usize],
        timeout: Option<Duration>,
    ) -> Result<Vec<Attempt>, Damaged> {
        let patience = async {
            self.stopped().await;
            tokio::time::sleep(GRACE).await;
        };
        let (outbound, queue) = (&self.outbound, &self.queue);
        tokio::select! {
            delivered = outbound.deliver(queue, entry, to, recipients, timeout, self.stopped()) => delivered,
            () = patience => Ok(Vec::new()),
        }
    }

    /// Tells log, sender and queue. The sender comes before the queue, which forgets who failed.
    async fn record(&self, entry: &Entry, attempts: &[Attempt]) {
        attempts.iter().for_each(|attempt| attempt.log(entry));
        let Record { outcomes, notice } = self.sort(entry, attempts);
        let domains = self.domains.load_full();
        if !notice.is_empty() && self.backscatter.admits(entry, &domains, Instant::now()) {
            let name = self.outbound.name();
            let told = self.insist(entry, || notice.send(&self.queue, &name, entry, &domains));
            if told.await.is_none() {
                return;
            }
        }
        let entry = with_errors(entry, attempts);
        self.insist(&entry, || self.queue.settle(&entry, &outcomes))
            .await;
    }

    /// Does it until the queue can be written; `None`: it never could before the end.
    async fn insist<T, F>(&self, entry: &Entry, mut record: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, queue::Error>>,
    {
        loop {
            let error = match record().await {
                Ok(recorded) => return Some(recorded),
                Err(error) => error,
            };
            let id = entry.id;
            tracing::error!(%id, %error, "what became of a message cannot be recorded");
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.stopped() => return None,
            }
        }
    }

    fn sort(&self, entry: &Entry, attempts: &[Attempt]) -> Record {
        let mut notice = Notice::default();
        let now = Timestamp::now();
        let mut outcomes = Vec::new();
        for attempt in attempts {
            let Some(pending) = entry.pending.get(attempt.index) else {
                continue;
            };
            let state = match &attempt.result {
                attempt::Result::Postponed | attempt::Result::Delegated => State::Postponed,
                attempt::Result::Done(client::Outcome::Delivered(words), _) => {
                    if let Some(action) = attempt.success() {
                        notice.tell(entry, attempt, action, Status::new(2, 0, 0), words);
                    }
                    State::Delivered
                }
                attempt::Result::Done(client::Outcome::Failed(status, reason), _) => {
                    notice.tell(entry, attempt, Action::Failed, *status, reason);
                    State::Failed
                }
                attempt::Result::Done(client::Outcome::Deferred(status, reason), _) => {
                    if self.queue.gives_up(entry, pending, now) {
                        let expired = Status::new(4, 4, 7);
                        let (id, to) = (entry.id, &pending.recipient.address);
                        tracing::warn!(%id, %to, "given up: lifetime or attempts are used up");
                        notice.tell(entry, attempt, Action::Failed, expired, reason);
                        State::Failed
                    } else if self.queue.is_late(entry, pending, now) {
                        notice.tell(entry, attempt, Action::Delayed, *status, reason);
                        State::Delayed
                    } else {
                        State::Deferred
                    }
                }
            };
            let index = attempt.index;
            outcomes.push(Outcome { index, state });
        }
        Record { outcomes, notice }
    }
}

/// The entry with what each attempt that is made again failed for.
fn with_errors(entry: &Entry, attempts: &[Attempt]) -> Entry {
    let (mut entry, now) = (entry.clone(), Timestamp::now());
    for attempt in attempts {
        if let attempt::Result::Done(client::Outcome::Deferred(status, reason), _) = &attempt.result
            && let Some(pending) = entry.pending.get_mut(attempt.index)
        {
            let host = attempt.remote.as_ref().map(|remote| remote.host.clone());
            let error = LastError::new(now, status.to_string(), reason.clone(), host);
            pending.last_error = Some(error);
        }
    }
    entry
}
