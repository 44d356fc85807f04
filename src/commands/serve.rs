//! `serve` and `quickstart`: the server in the foreground.

use super::report::{fail, refuse, say};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vsmtp::mail::Service;
use vsmtp::{daemon, quickstart};

/// The server of the configuration at `root`, until it is told to stop. `on_ready` hears where it listens.
pub fn run(root: &Path, on_ready: impl FnOnce(&[(Service, SocketAddr)])) -> ExitCode {
    match daemon::prepare(root).map(|prepared| daemon::run(prepared, on_ready)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            let code = error.exit_code();
            say(io::stderr(), error);
            ExitCode::from(code)
        }
        Err(errors) => refuse(&errors),
    }
}

/// The demo in `dir`, made if it is not there.
pub fn quickstart(dir: Option<PathBuf>) -> ExitCode {
    let dir = dir.unwrap_or_else(quickstart::default_dir);
    match quickstart::prepare(&dir) {
        Ok(demo) => run(demo.root(), |addresses| {
            say(io::stdout(), demo.guide(addresses));
        }),
        Err(error) => fail(error),
    }
}
