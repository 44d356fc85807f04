//! One integration binary: every dialogue, every configuration and every session with a real client is a test of its
//! own name. `cargo test --release -- NAME` runs those whose name contains NAME.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs
)]

mod authentication;
mod clients;
mod configs;
mod daemon;
mod databases;
mod dialogs;
mod durability;
mod examples;
mod handshake;
mod layers;
mod maildir;
mod manual;
mod message;
mod message_on_wire;
mod notifications;
mod outbound_tls;
mod packaging;
mod page;
mod peers;
mod properties;
mod queue;
mod quickstart;
mod readme;
mod relay;
mod reload;
mod rules;
mod rules_on_wire;
mod sendmail;
mod services;
mod simulate;
mod stages;
mod support;
mod teaching;
mod tools;
mod transport;
mod wire;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials: Vec<Trial> = [
        authentication::trials(),
        clients::trials(),
        configs::trials(),
        daemon::trials(),
        databases::trials(),
        dialogs::trials(),
        durability::trials(),
        examples::trials(),
        handshake::trials(),
        layers::trials(),
        maildir::trials(),
        manual::trials(),
        message::trials(),
        message_on_wire::trials(),
        notifications::trials(),
        outbound_tls::trials(),
        packaging::trials(),
        page::trials(),
        peers::trials(),
        properties::trials(),
        queue::trials(),
        quickstart::trials(),
        readme::trials(),
        relay::trials(),
        reload::trials(),
        rules::trials(),
        rules_on_wire::trials(),
        sendmail::trials(),
        services::trials(),
        simulate::trials(),
        stages::trials(),
        teaching::trials(),
        tools::trials(),
        transport::trials(),
        wire::trials(),
    ]
    .into_iter()
    .flatten()
    .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
