//! Sends: takes messages from the queue and brings each recipient's copy where it belongs. Never receives.
//!
//! That is a mailbox or a quarantine on this machine, the server that a domain of ours names, or, for mail that goes
//! elsewhere, the mail exchangers of its domain.
//!
//! - What fails for now is tried again on the queue's schedule. What fails for good, or for too long, is reported to the
//!   sender, and the report is durable before the queue forgets the recipient.
//! - Rules have their say first, once for each message and before each attempt (`screening`); what they decide is durable
//!   before anybody acts on it.
//! - A slow destination holds up nobody else (`lanes`).
//! - After a crash a message may be delivered again, when the crash came between the delivery and its record; a mailbox
//!   of ours sees that it is there already.

mod attempt;
mod backscatter;
mod folder;
mod lanes;
mod local;
mod maildir;
mod mbox;
mod name;
mod notice;
mod outbound;
mod route;
mod screening;
mod worker;

pub mod next_hops;
pub mod quarantine;
pub mod relay;

pub use backscatter::ReportLimits;

use crate::mail::Domains;
use crate::queue::Queue;
use crate::rules::Rules;
use arc_swap::ArcSwap;
use relay::Relay;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use tokio::task::JoinSet;
use worker::Worker;

/// How many messages are taken from the queue at the same time. Most of them only wait for their turn, and more than all
/// the lanes may hold, so that something is left for local mail.
const TAKEN: usize = 10_000;

/// Where local mail lands, and how much senders are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `app.mail_dirpath`: Maildirs, `DOMAIN/USER/`.
    pub mail_dirpath: PathBuf,
    /// `app.dirpath`: quarantines.
    pub dirpath: PathBuf,
    /// `server.queues.delivery`: reports to senders who may not have sent anything.
    pub reports: ReportLimits,
}

/// Delivers until `shutdown` completes; finishes the deliveries in flight. Each delivery goes by the `domains` and the
/// `rules` that are in force when it begins; what leaves this machine, by the `relay` that is.
pub async fn run(
    queue: Queue,
    domains: Arc<ArcSwap<Domains>>,
    rules: Arc<ArcSwap<Rules>>,
    relay: Arc<ArcSwap<Relay>>,
    options: Options,
    shutdown: impl Future<Output = ()>,
) {
    let worker = Worker::new(queue.clone(), domains, rules, relay, options);
    let worker = Arc::new(worker);
    // What no transport could take when it came may have one now.
    let waking = tokio::spawn(worker.clone().wake());
    let mut deliveries = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let entry = tokio::select! {
            () = &mut shutdown => break,
            entry = queue.next_due(), if deliveries.len() < TAKEN => entry,
            Some(_) = deliveries.join_next() => continue,
        };
        let worker = worker.clone();
        deliveries.spawn(async move { worker.deliver(entry).await });
    }
    waking.abort();
    worker.stop();
    while deliveries.join_next().await.is_some() {}
    worker.close().await;
}
