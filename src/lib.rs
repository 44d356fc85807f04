//! vsmtp, a mail server whose policy is a script.
//!
//! The folder tree is the architecture: a folder is a layer, a file is a noun of RFC 5321 or RFC 5598, and imports
//! only point down. `tests/layers.rs` holds the table of who may import whom, and fails on any other edge.
//!
//! | layer | module | what it is |
//! |---|---|---|
//! | 0 | [`mail`] | what a mail is: addresses, envelopes, transactions, header fields; values only |
//! | 0 | [`dns`] | the one resolver |
//! | 0 | [`script`] | the Rhai engine: limits, file loading, errors with file:line:column |
//! | 1 | [`smtp`] | the protocol: no socket, no clock, no file, no policy |
//! | 1 | [`queue`] | what was acknowledged and is not yet delivered, durably |
//! | 1 | [`tls`] | certificates by server name, rustls configurations |
//! | 1 | [`authentication`] | who sent it: back ends that verify passwords |
//! | 1 | [`services`] | whom rules may ask: databases, lists in files, commands |
//! | 2 | [`rules`] | policy: the vSL rules, stage by stage, and the built-in guard |
//! | 3 | [`server`] | receives: listeners, and the loop that drives one session |
//! | 3 | [`delivery`] | sends: from the queue to a mailbox or to the next server |
//! | 4 | [`control`] | what the programs of this machine ask: to look at the queue, to change it, to take mail |
//! | 4 | [`config`] | the only place that knows every option |
//! | 5 | [`daemon`] | systemd's sockets, readiness, signals; builds and joins everything |
//! | 5 | [`quickstart`] | a demo configuration, made on the spot |
//! | 5 | [`manual`] | the manual page and the completions of shells |
//! | 5 | [`units`] | the units for systemd, to install where there is no package |
//! | 5 | [`simulate`] | policy without a server: what rules would do, told line by line |
//!
//! # The path of a message
//!
//! ```text
//! socket ─ server::listener ─ server::connection ─┬─ tls            from the first octet, or after STARTTLS
//!                                                 ├─ smtp::session  lines in, Step out
//!                                                 ├─ rules          on Step::Ask, stage by stage
//!                                                 └─ queue          a draft fills while DATA arrives
//!           final dot: rules (preq) → trace header field → queue.commit (durable) → 250
//! program of this machine ─ control ─ server::connection, the same without rules
//! queue ─ rules (postq, delivery) ─ delivery::worker ─┬─ delivery::relay ─ smtp::client ─ next hop
//!                                                     ├─ delivery::maildir
//!                                                     └─ mail::dsn ─ queue
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod authentication;
pub mod config;
pub mod control;
pub mod daemon;
pub mod delivery;
pub mod dns;
pub mod mail;
pub mod manual;
pub mod queue;
pub mod quickstart;
pub mod rules;
pub mod script;
pub mod server;
pub mod services;
pub mod simulate;
pub mod smtp;
pub mod tls;
pub mod units;
