//! What the programs of this machine ask of the daemon, over a unix socket: to look at its queue and to change it, and to
//! take mail; and the client that asks. Where no daemon runs, the client looks at the queue by itself.
//!
//! The kernel says who is at the other end (SO_PEERCRED): root and the daemon's own user may ask everything, everybody may
//! hand in mail (`server::submission`), and nobody else learns anything about the queue.
//!
//! Invariants: nothing that a peer says or leaves unsaid holds up the daemon: requests are short, answers are made as
//! fast as they are read and no faster, both end in bounded time, and peers without rights have few places. A listing of
//! a million messages takes the memory of a few hundred.
//!
//! | file | what it is |
//! |---|---|
//! | `protocol` | requests and answers, as they stand on the wire |
//! | `message` | a message as tools show it |
//! | `socket` | made with its rights, removed at the end |
//! | `connection` | one request, from the first octet to the last |
//! | `reading`, `acting` | the answers: those that change nothing, and the others |
//! | `client` | asks the daemon |

mod acting;
mod client;
mod connection;
mod message;
mod protocol;
mod reading;
mod socket;

pub use client::{Access, Error, Offline, Place, submit};
pub use message::{Message, State, Waiting};
pub use protocol::{Action, Answer, NoTarget, Refusal, Request, Summary, Target};
pub use socket::{Error as SocketError, Socket};

use crate::mail::Submitter;
use crate::queue::Queue;
use crate::server;
use arc_swap::ArcSwap;
use nix::unistd::{Uid, User};
use reading::Archive;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

/// How many are served at the same time: of the owners, and of all others.
const OWNERS: usize = 64;
const OTHERS: usize = 64;
/// How many more may wait for a place, and for how long: a machine whose jobs all end at midnight has much to say at once.
const WAITING: usize = 512;
const WAITING_TIMEOUT: Duration = Duration::from_secs(20);
/// After an accept that failed for want of resources.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a message that is being handed in may still take when the daemon stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// What requests are about.
pub struct Desk {
    /// The queue.
    pub queue: Queue,
    /// `server.queues.dirpath`: told to clients, so that none takes this queue for another.
    pub spool: PathBuf,
    /// `app.dirpath`: the quarantines.
    pub app: PathBuf,
    /// The user that the daemon runs as, who owns the queue as root does.
    pub owner: u32,
    /// What sessions that hand in mail begin with.
    pub sessions: Arc<ArcSwap<server::Shared>>,
}

impl Desk {
    fn is_owner(&self, uid: u32) -> bool {
        uid == 0 || uid == self.owner
    }

    fn archive(&self) -> Archive {
        Archive {
            queue: self.queue.reader(),
            app: self.app.clone(),
        }
    }
}

/// Answers at `socket` until `shutdown` completes; then the socket is gone, and so are those who wait for an answer.
/// Messages that are being handed in are finished (bounded).
pub async fn run(socket: Socket, desk: Desk, shutdown: impl Future<Output = ()>) {
    let desk = Arc::new(desk);
    let places = [OWNERS, OTHERS].map(|places| Arc::new(Semaphore::new(places)));
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = socket.listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let peer = accepted.and_then(|(stream, _)| {
            let uid = stream.peer_cred()?.uid();
            Ok((stream, uid))
        });
        let (stream, uid) = match peer {
            Ok(peer) => peer,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections to the control socket, trying again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let [owners, others] = &places;
        let places = if desk.is_owner(uid) { owners } else { others };
        let (desk, places) = (Arc::clone(&desk), Arc::clone(places));
        match connections.len() < OWNERS + OTHERS + WAITING {
            true => drop(connections.spawn(answer(stream, uid, desk, places, stopping.clone()))),
            false => drop(connections.spawn(connection::turn_away(stream, desk))),
        }
    }
    drop(socket);
    stop.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!("some messages of local programs did not end in time and were dropped");
    }
}

async fn answer(
    stream: UnixStream,
    uid: u32,
    desk: Arc<Desk>,
    places: Arc<Semaphore>,
    mut stopping: watch::Receiver<bool>,
) {
    let Ok(Ok(_place)) = timeout(WAITING_TIMEOUT, places.acquire()).await else {
        return connection::turn_away(stream, desk).await;
    };
    let served = tokio::select! {
        served = connection::serve(stream, uid, Arc::clone(&desk)) => served,
        _ = stopping.wait_for(|stopping| *stopping) => return,
    };
    match served {
        Ok(None) => {}
        Ok(Some(stream)) => {
            let submitter = submitter(uid).await;
            let shared = desk.sessions.load_full();
            server::submission(stream, submitter, shared, stopping).await;
        }
        Err(error) => tracing::debug!(uid, %error, "connection to the control socket lost"),
    }
}

/// Who has this number. To ask may take as long as whoever knows the users of this machine.
async fn submitter(uid: u32) -> Submitter {
    let user = spawn_blocking(move || User::from_uid(Uid::from_raw(uid))).await;
    let user = user.ok().and_then(|found| found.ok().flatten());
    Submitter {
        uid,
        user: user.map(|user| user.name),
    }
}
