//! What the programs of this machine ask of the daemon: its queue, looked at and changed, over a unix socket; and the
//! client that asks. Where no daemon runs, the client looks for itself.
//!
//! The kernel says who is at the other end (SO_PEERCRED): root and the daemon's own user may ask everything, nobody else
//! anything about the queue.
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

pub use client::{Access, Error, Offline, Place};
pub use message::{Message, State, Waiting};
pub use protocol::{Action, Answer, NoTarget, Refusal, Request, Summary, Target};
pub use socket::{Error as SocketError, Socket};

use crate::queue::Queue;
use reading::Archive;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many are served at the same time: of the owners, and of all others.
const OWNERS: usize = 16;
const OTHERS: usize = 64;
/// After an accept that failed for want of resources.
const PAUSE: Duration = Duration::from_secs(1);

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
pub async fn run(socket: Socket, desk: Desk, shutdown: impl Future<Output = ()>) {
    let desk = Arc::new(desk);
    let places = [OWNERS, OTHERS].map(|places| Arc::new(Semaphore::new(places)));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => return,
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
        connections.spawn(answer(stream, uid, Arc::clone(&desk), Arc::clone(places)));
    }
}

async fn answer(stream: UnixStream, uid: u32, desk: Arc<Desk>, places: Arc<Semaphore>) {
    let served = match places.try_acquire() {
        Ok(_place) => connection::serve(stream, uid, desk).await,
        Err(_) => connection::turn_away(stream, desk).await,
    };
    if let Err(error) = served {
        tracing::debug!(uid, %error, "connection to the control socket lost");
    }
}
