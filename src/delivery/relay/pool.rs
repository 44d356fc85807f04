//! Connections that wait for the next message to the same server, so that one handshake serves many.
//!
//! A connection stands for another only where their [`Target`]s are equal: server, protocol, login, and all that is asked
//! of TLS. What comes unasked while it waits ends it; so does the idle time, with a QUIT.

use super::dialer::{Open, Target};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Messages over one connection: more than enough to forget the handshake, and few enough that a server behind a name
/// that has many gets no more than its share.
const MESSAGES_MAX: usize = 100;
/// Connections that wait at the same time.
const WAITING_MAX: usize = 200;

/// The connections that wait.
#[derive(Debug)]
pub(super) struct Pool {
    /// How long one waits.
    patience: Duration,
    tickets: AtomicU64,
    /// The one that has waited longest comes first.
    waiting: Mutex<Vec<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    /// Unlike any other's.
    ticket: u64,
    target: Target,
    open: Open,
}

impl Pool {
    pub(super) fn new(patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            patience,
            tickets: AtomicU64::new(0),
            waiting: Mutex::default(),
        })
    }

    /// A connection to `target` that is still there, as far as can be seen without asking the server.
    pub(super) async fn take(&self, target: &Target) -> Option<Open> {
        loop {
            let mut open = self.remove(|waiting| waiting.target == *target)?;
            if open.session.is_quiet().await {
                return Some(open);
            }
        }
    }

    /// Lets a connection wait, or takes leave where it has done its share.
    pub(super) async fn keep(self: &Arc<Self>, target: Target, open: Open) {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let is_spent = open.session.messages() >= MESSAGES_MAX;
        if is_spent || self.waiting().len() >= WAITING_MAX {
            return open.session.quit().await;
        }
        let waiting = Waiting {
            ticket,
            target,
            open,
        };
        self.waiting().push(waiting);
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            sleep(pool.patience).await;
            if let Some(open) = pool.remove(|waiting| waiting.ticket == ticket) {
                open.session.quit().await;
            }
        });
    }

    /// Takes leave of every server.
    pub(super) async fn close(&self) {
        let waiting = std::mem::take(&mut *self.waiting());
        let leaves: JoinSet<()> = waiting
            .into_iter()
            .map(|waiting| waiting.open.session.quit())
            .collect();
        leaves.join_all().await;
    }

    /// Of those that fit, the one that has waited the least: it is the likeliest to be there.
    fn remove(&self, fits: impl Fn(&Waiting) -> bool) -> Option<Open> {
        let mut waiting = self.waiting();
        let index = waiting.iter().rposition(fits)?;
        Some(waiting.remove(index).open)
    }

    /// A panic elsewhere leaves the list whole: each change is one call.
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
