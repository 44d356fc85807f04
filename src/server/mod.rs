//! Receives: listeners, and the loop that drives one session. Never sends mail on.
//!
//! One task a listening socket, one task a client: a session that waits, hangs or panics harms no other. All limits of
//! time and number are kept here; what is said is `smtp`'s business, what is allowed that of `rules`.

mod connection;
mod decision;
mod listener;
mod local;
mod patience;
mod reception;
mod record;
mod slots;
mod stream;
#[cfg(test)]
mod tests;

pub use local::submission;

use crate::mail::{Domains, Service};
use crate::queue::Queue;
use crate::rules::Rules;
use crate::smtp::Limits;
use crate::tls::Tls;
use arc_swap::ArcSwap;
use slots::Slots;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// `server.smtp.timeout_client`: how long to wait for the client in each state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From accept to the first command.
    pub connect: Duration,
    /// For the command after EHLO or HELO.
    pub helo: Duration,
    /// For the command after MAIL.
    pub mail_from: Duration,
    /// For the command after RCPT.
    pub rcpt_to: Duration,
    /// Between two pieces of content.
    pub data: Duration,
}

/// What the receiving side is told by the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// `server.name`
    pub name: Arc<str>,
    /// `server.client_count_max`; `None`: unlimited.
    pub client_count_max: Option<usize>,
    /// `server.client_count_max_per_address`, where an IPv6 /64 is one address; `None`: unlimited.
    pub client_count_max_per_address: Option<usize>,
    /// `server.smtp`, `server.message_size_limit`
    pub limits: Arc<Limits>,
    /// `server.smtp.error.delay`
    pub error_delay: Duration,
    /// `server.smtp.timeout_client`
    pub timeouts: Timeouts,
}

/// What every session shares. A reload replaces it as a whole; a session keeps what it began with.
pub struct Shared {
    /// See [`Options`].
    pub options: Options,
    /// Certificates.
    pub tls: Arc<Tls>,
    /// Policy.
    pub rules: Arc<Rules>,
    /// The domains that are ours.
    pub domains: Arc<Domains>,
    /// Where messages go.
    pub queue: Queue,
}

/// Serves `listeners` until `shutdown` completes, then finishes what is in flight (bounded). Returns earlier only when an
/// accept loop has ended, which is a fault.
pub async fn run(
    listeners: Vec<(Service, TcpListener)>,
    shared: Arc<ArcSwap<Shared>>,
    shutdown: impl Future<Output = ()>,
) {
    let slots = Slots::default();
    let (stop, stopping) = watch::channel(false);
    let mut loops = JoinSet::new();
    for (service, listener) in listeners {
        loops.spawn(listener::listen(
            service,
            listener,
            Arc::clone(&shared),
            slots.clone(),
            stopping.clone(),
        ));
    }
    tokio::select! {
        () = shutdown => {}
        Some(_) = loops.join_next() => tracing::error!("an accept loop ended"),
    }
    // Fails only when no loop is left to be told.
    let _ = stop.send(true);
    while loops.join_next().await.is_some() {}
}

/// Completes when the server is told to stop.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, which means the same.
    let _ = stopping.wait_for(|stop| *stop).await;
}
