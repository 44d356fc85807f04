//! What changes while the daemon runs: a reload on SIGHUP, and certificates that were renewed on disk.
//!
//! A reload replaces rules, domains, certificates, limits and the way to other servers as one, for the sessions and
//! deliveries that begin after it; those that run finish with what they began with. A configuration with an error replaces
//! nothing. Spool, log, user, threads and sockets are those of the start, save that new rules may name further addresses
//! where content filters give messages back.

use super::prepare::{Prepared, prepare_in};
use super::{Error, notify, outbound, sockets};
use crate::config::{Config, Environment};
use crate::delivery::relay::Relay;
use crate::mail::{Domains, Service};
use crate::queue::Queue;
use crate::rules::Rules;
use crate::server::Shared;
use crate::tls;
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

/// How often certificates are looked at: a renewal is seen within a minute, and a look costs two stat(2) a domain.
const LOOK_AT_CERTIFICATES: Duration = Duration::from_secs(10);

/// The parts of a running daemon that can be replaced.
pub(super) struct Live {
    root: PathBuf,
    environment: Environment,
    /// Of the start, or of the last reload.
    config: Config,
    /// What sessions begin with.
    pub(super) shared: Arc<ArcSwap<Shared>>,
    /// What deliveries go by.
    pub(super) domains: Arc<ArcSwap<Domains>>,
    pub(super) rules: Arc<ArcSwap<Rules>>,
    /// What leaves this machine goes by it.
    pub(super) relay: Arc<ArcSwap<Relay>>,
    queue: Queue,
    /// Where it listens.
    addresses: Vec<(Service, SocketAddr)>,
    /// Where content filters give messages back, as rules name it. What rules name no more stays until the restart, for
    /// what is still with a filter.
    receivers: Vec<SocketAddr>,
    /// Brings a socket to those who serve.
    listen: mpsc::UnboundedSender<(Service, TcpListener)>,
    /// The certificate files as they were when they were last read.
    seen: Vec<Look>,
}

/// One file, as far as stat(2) tells; `None` while there is none.
type Look = Option<(SystemTime, u64)>;

impl Live {
    /// What `prepared` starts with.
    pub(super) fn new(
        prepared: Prepared,
        relay: Relay,
        queue: Queue,
        addresses: Vec<(Service, SocketAddr)>,
        listen: mpsc::UnboundedSender<(Service, TcpListener)>,
    ) -> Self {
        let domains = Arc::clone(&prepared.config.domains);
        Self {
            shared: Arc::new(ArcSwap::from_pointee(shared(&prepared, &queue))),
            domains: Arc::new(ArcSwap::new(domains)),
            rules: Arc::new(ArcSwap::new(Arc::clone(&prepared.rules))),
            relay: Arc::new(ArcSwap::from_pointee(relay)),
            seen: look(&prepared.config.tls),
            root: prepared.root,
            environment: prepared.environment,
            config: prepared.config,
            queue,
            receivers: prepared.rules.receivers(),
            listen,
            addresses,
        }
    }

    /// Reloads at each `hangup` and shows renewed certificates, for as long as it is polled; never completes.
    pub(super) async fn run(&mut self, mut hangup: Signal) {
        let mut looks = interval(LOOK_AT_CERTIFICATES);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(()) = hangup.recv() => self.reload().await,
                _ = looks.tick() => self.renew_certificates().await,
            }
        }
    }

    async fn reload(&mut self) {
        notify::reloading("reloading the configuration").await;
        let (root, environment) = (self.root.clone(), self.environment.clone());
        let status = match spawn_blocking(move || prepare_in(&root, environment)).await {
            Ok(Ok(prepared)) => match self.replace(prepared) {
                Ok(()) => {
                    tracing::info!("reloaded: sessions that begin now go by the new configuration");
                    super::status(&self.addresses)
                }
                Err(error) => {
                    tracing::error!(%error, "not reloaded: the configuration from before stays in force");
                    format!("reload failed, going on as before: {error}")
                }
            },
            Ok(Err(errors)) => {
                for error in &errors {
                    tracing::error!("{error}");
                }
                tracing::error!("not reloaded: the configuration from before stays in force");
                let first = errors.first().map(ToString::to_string).unwrap_or_default();
                format!("reload failed, going on as before: {first}")
            }
            Err(error) => {
                tracing::error!(%error, "not reloaded: the check did not end");
                "reload failed, going on as before".to_owned()
            }
        };
        notify::ready(&status).await;
    }

    fn replace(&mut self, prepared: Prepared) -> Result<(), Error> {
        let relay = outbound::relay(&prepared, &self.addresses, Some(&self.relay.load()))?;
        let mut receivers = prepared.rules.receivers();
        receivers.retain(|receiver| !self.receivers.contains(receiver));
        let sockets = sockets::for_filters(&receivers)?;
        let (listeners, addresses) = super::listeners(sockets).map_err(Error::Runtime)?;
        self.receivers.extend(receivers);
        self.addresses.extend(addresses);
        for listener in listeners {
            // Fails only when nobody serves any more.
            let _ = self.listen.send(listener);
        }
        for warning in &prepared.warnings {
            tracing::warn!("{warning}");
        }
        for key in of_the_start(&self.config, &prepared.config) {
            tracing::warn!("{key} has changed: it takes effect at the next restart");
        }
        self.shared.store(Arc::new(shared(&prepared, &self.queue)));
        self.domains.store(Arc::clone(&prepared.config.domains));
        self.rules.store(Arc::clone(&prepared.rules));
        self.relay.store(Arc::new(relay));
        self.seen = look(&prepared.config.tls);
        // What only a restart changes stays that of the start, or the next reload would not name it again.
        self.config = Config {
            interfaces: self.config.interfaces.clone(),
            system: self.config.system.clone(),
            logs: self.config.logs.clone(),
            queue: self.config.queue.clone(),
            control: self.config.control.clone(),
            delivery: self.config.delivery.clone(),
            ..prepared.config
        };
        Ok(())
    }

    /// Until certificate and key fit, the pair from before is shown, and the files are read again at each change.
    async fn renew_certificates(&mut self) {
        let options = self.config.tls.clone();
        let Ok((seen, options)) = spawn_blocking(move || (look(&options), options)).await else {
            return;
        };
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        let certificates = Arc::clone(&self.shared.load().tls);
        match spawn_blocking(move || certificates.reload(&options)).await {
            Ok(Ok(warnings)) => {
                for warning in warnings {
                    tracing::warn!(domain = warning.domain, "{}", warning.oddity);
                }
                tracing::info!("certificates have changed on disk: handshakes show the new ones");
            }
            Ok(Err(errors)) => {
                for error in errors {
                    let domain = error.domain.as_deref().unwrap_or("server.tls.root");
                    tracing::warn!(domain, "certificate not renewed: {}", error.fault);
                }
            }
            Err(error) => tracing::error!(%error, "certificates not renewed"),
        }
    }
}

fn shared(prepared: &Prepared, queue: &Queue) -> Shared {
    Shared {
        options: prepared.config.server.clone(),
        tls: Arc::clone(&prepared.tls),
        rules: Arc::clone(&prepared.rules),
        domains: Arc::clone(&prepared.config.domains),
        queue: queue.clone(),
    }
}

fn look(options: &tls::Options) -> Vec<Look> {
    let look = |file| {
        let facts = std::fs::metadata(file).ok()?;
        Some((facts.modified().ok()?, facts.len()))
    };
    options.files().map(look).collect()
}

/// The keys that differ and that a running daemon cannot change.
fn of_the_start(before: &Config, after: &Config) -> Vec<&'static str> {
    [
        ("server.interfaces", before.interfaces != after.interfaces),
        ("server.system", before.system != after.system),
        ("server.logs", before.logs != after.logs),
        ("server.queues", before.queue != after.queue),
        ("server.control", before.control != after.control),
        ("app", before.delivery != after.delivery),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}
