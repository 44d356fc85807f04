//! Accept loops: one a listening socket, one task a client.

use super::connection::{self, Arrival};
use super::slots::{Full, Slots};
use super::{Shared, stopped};
use crate::mail::Service;
use arc_swap::ArcSwap;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a transaction in flight may still take when the daemon stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// The pauses after an accept that failed for want of resources: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Serves one socket until told to stop, then finishes what is in flight.
pub(super) async fn listen(
    service: Service,
    listener: TcpListener,
    shared: Arc<ArcSwap<Shared>>,
    slots: Slots,
    mut stopping: watch::Receiver<bool>,
) {
    let mut sessions = JoinSet::new();
    let mut pause = None;
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stopping) => break,
            accepted = listener.accept() => accepted,
            // Sessions that have ended are let go; a panic was logged where it happened.
            Some(_) = sessions.join_next() => continue,
        };
        match accepted {
            Ok((stream, client)) => {
                if pause.take().is_some() {
                    tracing::info!("accepting connections again");
                }
                let Some(arrival) = arrival(&stream, client, service) else {
                    continue;
                };
                let shared = shared.load_full();
                let slot = match slots.take(arrival.client, &shared.options) {
                    Ok(slot) => slot,
                    Err(full) => {
                        turn_away(stream, arrival, &shared, full);
                        continue;
                    }
                };
                let stopping = stopping.clone();
                sessions.spawn(async move {
                    connection::serve(stream, arrival, shared, stopping).await;
                    drop(slot);
                });
            }
            Err(error) if is_exhaustion(&error) => {
                if pause.is_none() {
                    tracing::error!(%error, "cannot accept connections, trying again");
                }
                let time = pause.map_or(PAUSE.0, |last: Duration| (last * 2).min(PAUSE.1));
                pause = Some(time);
                tokio::time::sleep(time).await;
            }
            // The client went away before it was accepted (accept(2) passes its errors on).
            Err(error) => tracing::debug!(%error, "connection lost before it was accepted"),
        }
    }
    drop(listener);
    let drained = async { while sessions.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!("some transactions did not end in time and were dropped");
        sessions.shutdown().await;
    }
}

/// What is known of a connection when it is accepted; `None` when it is gone already.
fn arrival(stream: &TcpStream, client: SocketAddr, service: Service) -> Option<Arrival> {
    let client = canonical(client);
    let server = canonical(stream.local_addr().ok()?);
    // Replies are small and each is waited for: not to be held back for company (RFC 896).
    let _ = stream.set_nodelay(true);
    Some(Arrival {
        client,
        server,
        service,
        spoke_first: service != Service::Submissions && has_spoken(stream),
    })
}

/// Whether octets stand unread. Asks the system, since the runtime does not know of a socket so new.
fn has_spoken(stream: &TcpStream) -> bool {
    let look = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(stream.as_raw_fd(), &mut [0], look).is_ok_and(|octets| octets > 0)
}

/// 421 without a session, a task or a wait: a flood must cost nothing. Under implicit TLS nothing can be said in clear.
fn turn_away(stream: TcpStream, arrival: Arrival, shared: &Shared, full: Full) {
    let client = arrival.client.ip();
    tracing::info!(%client, "turned away: {full}");
    if arrival.service == Service::Submissions {
        return;
    }
    let reply = connection::too_many_clients(arrival, shared);
    // A socket this new takes so few octets at once, or its client is gone.
    let _ = stream
        .into_std()
        .and_then(|mut stream| stream.write(&reply));
}

/// An IPv4 client of an IPv6 socket is an IPv4 client.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn is_exhaustion(error: &io::Error) -> bool {
    let exhaustion = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS];
    error
        .raw_os_error()
        .is_some_and(|code| exhaustion.contains(&Errno::from_raw(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_want_of_resources_makes_a_pause() {
        for (errno, expected) in [
            (Errno::EMFILE, true),
            (Errno::ENFILE, true),
            (Errno::ENOMEM, true),
            (Errno::ECONNABORTED, false),
            (Errno::EPROTO, false),
        ] {
            assert_eq!(is_exhaustion(&io::Error::from(errno)), expected);
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let mapped = "[::ffff:192.0.2.1]:7".parse().unwrap();
        assert_eq!(canonical(mapped), "192.0.2.1:7".parse().unwrap());
    }
}
