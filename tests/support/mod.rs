//! What the tests of the real daemon stand on: a configuration folder, the daemon itself, and clients.
//!
//! No test sleeps in the hope that something has happened by then: each waits for the thing itself, with a bound.

mod certificate;
mod client;
mod configuration;
mod daemon;
#[cfg(any(feature = "mysql", feature = "postgresql", feature = "redis"))]
pub mod database;
mod dns;
mod filter;
mod hop;
mod maildir;
mod name_server;
mod notify;
mod openssl;
pub mod peers;
mod program;
mod report;
mod rules;
mod saslauthd;

pub use certificate::{Certificate, KeyKind};
pub use client::Client;
pub use configuration::Configuration;
pub use daemon::{Daemon, PROGRAM, Start, is_root, unprivileged};
pub use dns::SignedZone;
pub use filter::{Filter, Verdict};
pub use hop::Hop;
pub use maildir::Maildir;
pub use name_server::name_server;
pub use openssl::{Handshake, SClient};
pub use program::{Output, run, trial_with};
pub use report::read_report;
pub use rules::{no_rules, options};

use std::time::{Duration, Instant};

/// How long anything may take that should take no time at all, on a machine that has other things to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until `probe` has something, for at most [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
