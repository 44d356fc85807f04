//! Arguments, nothing else. Exit codes: see `commands::report`.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod commands;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use commands::configuration::{self, Check, Root};
use commands::{install_units, queue, report, rules, sendmail, serve};
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vsmtp::{manual, simulate};

/// A mail server whose policy is a script.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server in the foreground, until SIGTERM or SIGINT.
    Serve(Root),
    /// Check configuration, certificates and rules, as a start does, without binding anything.
    Check(Check),
    /// Show the configuration.
    Config {
        #[command(subcommand)]
        command: configuration::Show,
    },
    /// Look at the queue of the daemon, and change it.
    Queue(queue::Arguments),
    /// Send mail, as the programs of this machine do: `vsmtp sendmail --help` says how.
    #[command(disable_help_flag = true)]
    Sendmail {
        /// As other sendmails take them.
        #[arg(
            value_name = "ARGUMENT",
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        arguments: Vec<OsString>,
    },
    /// The manual of the rule language: every directive, stage, function, object and code.
    HelpRules {
        /// A namespace (ctx), a function (ctx::helo, helo), a directive (rule), a stage or a code [default: a list of all].
        name: Option<String>,
    },
    /// Run the rules without a server: on one message that flags describe, or on dialogues, which can be tests.
    ///
    /// Tells every stage, every rule with its result and its time, and every reply, as a dialogue that can be kept and
    /// played again. Leaves with 1 when a dialogue went otherwise than it says.
    Simulate(simulate::Arguments),
    /// Make a demo with certificates, rules and mailboxes (or take the one that is there), and run it on loopback.
    Quickstart {
        /// Where the demo is [default: vsmtp-demo, for root /var/lib/vsmtp-demo].
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Write the units that run this program under systemd, with as few rights as it needs.
    InstallUnits(install_units::Arguments),
    /// The manual page, for packages.
    #[command(hide = true)]
    Man,
    /// The completions of a shell, for packages.
    #[command(hide = true)]
    Completions { shell: Shell },
}

fn main() -> ExitCode {
    let program = env::args_os().next().map(PathBuf::from);
    let called = program.as_deref().and_then(Path::file_name);
    match called.and_then(OsStr::to_str) {
        Some("vqueue") => return queue::run(queue::Arguments::parse()),
        Some("sendmail" | "mailq" | "newaliases") => return sendmail::run(env::args_os()),
        _ => {}
    }
    match Arguments::parse().command {
        Command::Serve(root) => serve::run(&root.config, |_| {}),
        Command::Check(arguments) => configuration::check(&arguments),
        Command::Config { command } => configuration::show(&command),
        Command::Queue(arguments) => queue::run(arguments),
        Command::Sendmail { arguments } => {
            sendmail::run(std::iter::once("sendmail".into()).chain(arguments))
        }
        Command::HelpRules { name } => rules::help(name.as_deref()),
        Command::Simulate(arguments) => rules::simulate(&arguments),
        Command::Quickstart { dir } => serve::quickstart(dir),
        Command::InstallUnits(arguments) => install_units::run(&arguments),
        Command::Man => match manual::page(&Arguments::command()) {
            Ok(page) => report::write(&page),
            Err(error) => report::fail(error),
        },
        Command::Completions { shell } => {
            report::write(&manual::completions(&Arguments::command(), shell))
        }
    }
}
