//! The daemon: builds and joins everything, and answers to the service manager.
//!
//! A start is two steps. [`prepare`] reads and checks all that the configuration names, and is also what `vsmtp check`
//! does. [`run`] then goes through the things that change the world, in the order that safety asks for: sockets while
//! root may still bind them, folders while root may still give them away, then root is given up for good, and only then
//! come threads, the queue and the first octet of a stranger.

mod live;
mod logging;
mod notify;
mod outbound;
mod prepare;
mod privileges;
mod sockets;

pub use prepare::{Prepared, check_without_host, prepare};

use crate::control::{self, Desk};
use crate::delivery::relay::TrustError;
use crate::mail::Service;
use crate::queue::{self, Queue};
use crate::script::Limits;
use crate::{delivery, server};
use live::Live;
use nix::unistd::geteuid;
use privileges::Identity;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Threads for what waits: passwords that are verified, rules that ask somebody, and disks. More than the first two can
/// have together, so that a disk never waits for a thread.
const WAITING_THREADS: usize = 1024;

/// How long everything together may take to stop; below the 90 s after which systemd kills.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Binds (or takes the sockets that systemd passed), drops privileges, opens the queue, serves until SIGTERM or
/// SIGINT, and finishes what is in flight. Makes its own runtime: call it from a thread without one, before others start.
///
/// `on_ready` is called once, when every socket listens and the queue is open, with the real addresses (a configured
/// port 0 stands there as the port that was given).
///
/// # Errors
///
/// See [`Error`]; [`Error::exit_code`] tells `main` what to exit with.
pub fn run(
    prepared: Prepared,
    on_ready: impl FnOnce(&[(Service, SocketAddr)]),
) -> Result<(), Error> {
    let config = &prepared.config;
    let identity = Identity::choose(&config.system)?;
    logging::start(&config.logs)?;
    for warning in &prepared.warnings {
        tracing::warn!("{warning}");
    }
    let sockets = sockets::open(&config.interfaces)?;
    for path in [&config.queue.dirpath, &config.delivery.dirpath] {
        privileges::make_folder(path, identity.as_ref())?;
    }
    privileges::make_mail_folder(&config.delivery.mail_dirpath, identity.as_ref())?;
    if let Some(folder) = config.control.parent() {
        privileges::make_open_folder(folder, identity.as_ref())?;
    }
    if let Some(identity) = identity {
        identity.assume()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.system.thread_pool.max(1))
        .max_blocking_threads(WAITING_THREADS)
        .thread_stack_size(Limits::STACK)
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let outcome = runtime.block_on(serve(prepared, sockets, on_ready));
    // A blocking call that hangs (a disk that does not answer) must not hold the exit up.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn serve(
    prepared: Prepared,
    sockets: Vec<(Service, TcpListener)>,
    on_ready: impl FnOnce(&[(Service, SocketAddr)]),
) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    let hangup = signal(SignalKind::hangup()).map_err(Error::Runtime)?;
    let queue = Queue::open(&prepared.config.queue)?;
    let control = control::Socket::bind(&prepared.config.control).await?;
    let spool = prepared.config.queue.dirpath.clone();
    let (listeners, addresses) = listeners(sockets).map_err(Error::Runtime)?;
    let mailboxes = prepared.config.delivery.clone();
    let relay = outbound::relay(&prepared, &addresses, None)?;
    let status = status(&addresses);
    let mut live = Live::new(
        prepared,
        relay,
        queue.clone(),
        addresses.clone(),
        status.clone(),
    );
    let desk = Desk {
        queue: queue.clone(),
        spool,
        app: mailboxes.dirpath.clone(),
        owner: geteuid().as_raw(),
        sessions: Arc::clone(&live.shared),
    };
    let (stop, stopped) = watch::channel(false);
    let receiving = server::run(listeners, Arc::clone(&live.shared), told(stopped.clone()));
    let (domains, rules) = (Arc::clone(&live.domains), Arc::clone(&live.rules));
    let relay = Arc::clone(&live.relay);
    let shutdown = told(stopped.clone());
    let sending = delivery::run(queue, domains, rules, relay, mailboxes, shutdown);
    let asked = control::run(control, desk, told(stopped));
    let work = async { tokio::join!(receiving, sending, asked) };
    tokio::pin!(work);

    on_ready(&addresses);
    notify::ready(&status).await;
    tracing::info!("{status}");
    tokio::select! {
        _ = &mut work => return Err(Error::Ended),
        () = notify::watchdog() => {}
        () = live.run(hangup) => {}
        () = received(&mut terminate) => {}
        () = received(&mut interrupt) => {}
    }
    tracing::info!("stopping: finishing what is in flight");
    notify::stopping("finishing what is in flight").await;
    // Fails only when nobody listens any more, and then there is nothing to stop.
    let _ = stop.send(true);
    tokio::select! {
        _ = &mut work => tracing::info!("stopped"),
        () = notify::watchdog() => {}
        () = tokio::time::sleep(STOP_TIMEOUT) => tracing::warn!("stopped before all was finished"),
    }
    Ok(())
}

type Listeners = Vec<(Service, tokio::net::TcpListener)>;

fn listeners(
    sockets: Vec<(Service, TcpListener)>,
) -> io::Result<(Listeners, Vec<(Service, SocketAddr)>)> {
    let mut listeners = Vec::new();
    let mut addresses = Vec::new();
    for (service, socket) in sockets {
        addresses.push((service, socket.local_addr()?));
        socket.set_nonblocking(true)?;
        listeners.push((service, tokio::net::TcpListener::from_std(socket)?));
    }
    Ok((listeners, addresses))
}

async fn told(mut stopped: watch::Receiver<bool>) {
    // An error says that the sender is gone, which means the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn received(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending().await
    }
}

/// One line for `systemctl status`.
fn status(addresses: &[(Service, SocketAddr)]) -> String {
    let list: Vec<String> = addresses
        .iter()
        .map(|(service, address)| {
            let name = match service {
                Service::Relay => "smtp",
                Service::Submission => "submission",
                Service::Submissions => "submissions",
            };
            format!("{name} {address}")
        })
        .collect();
    format!("listening: {}", list.join(", "))
}

/// Why the daemon did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No socket to listen on.
    #[error(transparent)]
    Sockets(#[from] sockets::Error),
    /// The rights of the process are not what they must be.
    #[error(transparent)]
    Privileges(#[from] privileges::Error),
    /// The log has nowhere to go.
    #[error(transparent)]
    Log(#[from] logging::Error),
    /// The spool cannot be opened.
    #[error("cannot open the queue (server.queues.dirpath): {0}")]
    Queue(#[from] queue::Error),
    /// The control socket cannot be made.
    #[error("cannot listen to the programs of this machine (server.control): {0}")]
    Control(#[from] control::SocketError),
    /// The TLS library refuses its own defaults.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The system has no thread, no descriptor or no memory left for a runtime.
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    /// An accept loop or the delivery ended without being told to.
    #[error("a part of the daemon ended by itself; the log says why")]
    Ended,
}

impl Error {
    /// The code of sysexits(3) that says the same.
    pub fn exit_code(&self) -> u8 {
        const EX_NOUSER: u8 = 67;
        const EX_SOFTWARE: u8 = 70;
        const EX_OSERR: u8 = 71;
        const EX_CANTCREAT: u8 = 73;
        const EX_IOERR: u8 = 74;
        const EX_NOPERM: u8 = 77;
        match self {
            Self::Sockets(error) if error.is_permission() => EX_NOPERM,
            Self::Sockets(_) | Self::Runtime(_) => EX_OSERR,
            Self::Privileges(privileges::Error::NoUser(_) | privileges::Error::NoGroup { .. }) => {
                EX_NOUSER
            }
            Self::Privileges(privileges::Error::Folder { .. }) | Self::Log(_) => EX_CANTCREAT,
            Self::Privileges(_) => EX_NOPERM,
            Self::Control(_) => EX_CANTCREAT,
            Self::Queue(_) => EX_IOERR,
            Self::Trust(_) => EX_OSERR,
            Self::Ended => EX_SOFTWARE,
        }
    }
}
