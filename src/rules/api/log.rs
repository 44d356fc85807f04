//! `log(level, text)`: what a rule says to the operator.

use super::documented;
use crate::rules::object;
use crate::script::Fault;
use rhai::{Dynamic, Engine, EvalAltResult};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

const LOG: &str = "Tells the operator something. The levels are `trace`, `debug`, `info`, `warn` and `error`. Writes to \
    the log of the server, or to `app.logs.filename` where that is set.";

/// Registers `log(level, text)`, which writes to `file` when there is one.
///
/// # Errors
/// The file cannot be opened for writing.
pub(super) fn register(engine: &mut Engine, file: Option<&Path>) -> io::Result<()> {
    let file = file
        .map(|file| OpenOptions::new().create(true).append(true).open(file))
        .transpose()?
        .map(Mutex::new);
    let log = move |level: &str, text: Dynamic| -> Result<()> {
        let text = object::text(&text).unwrap_or_else(|_| text.to_string());
        Ok(write(file.as_ref(), level, &text)?)
    };
    documented("log", &["level: &str", "text: Dynamic", "()"], LOG)
        .register_into_engine(engine, log);
    Ok(())
}

fn write(file: Option<&Mutex<File>>, level: &str, text: &str) -> std::result::Result<(), Fault> {
    let level = level.to_ascii_lowercase();
    if !matches!(
        level.as_str(),
        "trace" | "debug" | "info" | "warn" | "error"
    ) {
        return Err(Fault::new(
            format!("{level:?} is no log level"),
            "take one of trace, debug, info, warn, error",
        ));
    }
    let Some(file) = file else {
        match level.as_str() {
            "trace" => tracing::trace!(target: "rules", "{text}"),
            "debug" => tracing::debug!(target: "rules", "{text}"),
            "info" => tracing::info!(target: "rules", "{text}"),
            "warn" => tracing::warn!(target: "rules", "{text}"),
            _ => tracing::error!(target: "rules", "{text}"),
        }
        return Ok(());
    };
    // One write, so that lines of several sessions do not mix; escaped, so that a client cannot forge one.
    let line = format!(
        "{} {level} {}\n",
        jiff::Timestamp::now(),
        text.escape_debug()
    );
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    // A log that cannot be written must not change what happens to mail.
    if let Err(error) = file.write_all(line.as_bytes()) {
        tracing::warn!(target: "rules", %error, "log file cannot be written: {text}");
    }
    Ok(())
}
