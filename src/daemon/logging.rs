//! Where the log goes: journald with structured fields, lines on standard error, or lines in a file.
//!
//! A write that fails is dropped: a log that nobody reads must not stop the mail. Nothing here or elsewhere in the
//! daemon uses `eprintln!`, which panics when the other end of standard error is closed.

use crate::config::{Backend, Logs};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// The log file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the log to {} (server.logs.filename): {error}: name a file that can be written", path.display())]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

type Output = Box<dyn Layer<Registry> + Send + Sync>;

/// Sends the log of the whole process where `logs` says, panics included. The first call wins.
pub fn start(logs: &Logs) -> Result<(), Error> {
    let (output, note) = match logs.backend {
        Backend::Journald => match journald() {
            Ok(output) => (output, None),
            Err(error) => (stderr(), Some(error)),
        },
        Backend::Stderr => (stderr(), None),
        Backend::File => match &logs.filename {
            Some(path) => (lines(Mutex::new(append(path)?), false), None),
            None => (stderr(), None),
        },
    };
    let filter = EnvFilter::try_new(&logs.level).unwrap_or_else(|_| EnvFilter::new("info"));
    // Only a program that embeds this one can have set a log before; then that one is meant to be used.
    let _ = tracing_subscriber::registry()
        .with(output.with_filter(filter))
        .try_init();
    if let Some(error) = note {
        tracing::warn!(%error, "journald is away, logging to standard error");
    }
    log_panics();
    Ok(())
}

fn journald() -> io::Result<Output> {
    let layer = tracing_journald::layer()?
        .with_syslog_identifier("vsmtp".into())
        .with_field_prefix(Some("VSMTP".into()))
        .with_priority_mappings(PriorityMappings {
            info: Priority::Informational,
            debug: Priority::Debug,
            ..PriorityMappings::new()
        });
    Ok(Box::new(layer))
}

fn stderr() -> Output {
    lines(io::stderr, io::stderr().is_terminal())
}

fn lines<W>(writer: W, colour: bool) -> Output
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    Box::new(
        tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .with_ansi(colour)
            .with_target(false)
            .log_internal_errors(false),
    )
}

fn append(path: &PathBuf) -> Result<File, Error> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .map_err(|error| Error {
            path: path.clone(),
            error,
        })
}

/// tokio keeps a panic inside its task; this keeps it from being overlooked.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic: {}", panic.payload_as_str().unwrap_or("?"));
    }));
}
