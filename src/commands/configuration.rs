//! `check` and `config`: a configuration looked at, and nothing bound.

use super::report::{list, refuse, say};
use clap::{Args, Subcommand};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vsmtp::config::Loaded;
use vsmtp::{config, daemon};

/// Which configuration.
#[derive(Args)]
pub struct Root {
    /// The configuration root, or its vsmtp.vsl.
    #[arg(long, value_name = "DIR", default_value = "/etc/vsmtp")]
    pub config: PathBuf,
}

/// `check`
#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    root: Root,
    /// Leave certificates and keys unread: for a check on another machine than the one that they are on.
    #[arg(long)]
    no_host: bool,
}

/// `config`
#[derive(Subcommand)]
pub enum Show {
    /// Every key with the value in effect.
    Show(Root),
    /// The keys whose values differ from the defaults.
    Diff(Root),
}

/// Says all that is wrong, or that nothing is.
pub fn check(Check { root, no_host }: &Check) -> ExitCode {
    let root = &root.config;
    let (warnings, hints) = if *no_host {
        match daemon::check_without_host(root) {
            Ok(warnings) => (warnings, Vec::new()),
            Err(errors) => return refuse(&errors),
        }
    } else {
        match daemon::prepare(root) {
            Ok(prepared) => (prepared.warnings, prepared.hints),
            Err(errors) => return refuse(&errors),
        }
    };
    list("warning", &warnings);
    list("hint", &hints);
    say(io::stdout(), format_args!("{}: ok", root.display()));
    ExitCode::SUCCESS
}

/// Prints what is asked for.
pub fn show(what: &Show) -> ExitCode {
    match what {
        Show::Show(root) => render(&root.config, config::show),
        Show::Diff(root) => render(&root.config, config::diff),
    }
}

fn render(root: &Path, render: fn(&Loaded) -> String) -> ExitCode {
    let loaded = config::load(root);
    if !loaded.errors.is_empty() {
        return refuse(&loaded.errors);
    }
    say(io::stdout(), render(&loaded).trim_end());
    ExitCode::SUCCESS
}
