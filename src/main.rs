//! Arguments and exit codes, nothing else.
//!
//! Exit codes are those of sysexits(3): 0 stopped when told to, or nothing wrong; 78 the configuration is wrong; what
//! else keeps a start from happening: see `vsmtp::daemon::Error::exit_code`. 2 is a wrong command line.

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

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use commands::{queue, sendmail};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;
use vsmtp::config::Loaded;
use vsmtp::mail::Service;
use vsmtp::rules::Manual;
use vsmtp::script::Diagnostic;
use vsmtp::units::{self, Outcome};
use vsmtp::{config, daemon, manual, quickstart, simulate};

/// As clap has it.
const WRONG_COMMAND_LINE: u8 = 2;
/// EX_CONFIG of sysexits(3).
const EX_CONFIG: u8 = 78;
/// EX_DATAERR of sysexits(3).
const EX_DATAERR: u8 = 65;
/// EX_NOINPUT of sysexits(3).
const EX_NOINPUT: u8 = 66;
/// EX_CANTCREAT of sysexits(3).
const EX_CANTCREAT: u8 = 73;

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
    Check {
        #[command(flatten)]
        root: Root,
        /// Leave certificates and keys unread: for a check on another machine than the one that they are on.
        #[arg(long)]
        no_host: bool,
    },
    /// Show the configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
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
    InstallUnits {
        #[command(flatten)]
        configuration: Root,
        /// Where the system is: the files go to etc/systemd/system and etc/sysusers.d below.
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        /// Replace files that are there and differ, instead of leaving them and saying so.
        #[arg(long)]
        force: bool,
        /// Show the files instead of writing them.
        #[arg(long, conflicts_with_all = ["root", "force"])]
        print: bool,
    },
    /// The manual page, for packages.
    #[command(hide = true)]
    Man,
    /// The completions of a shell, for packages.
    #[command(hide = true)]
    Completions { shell: Shell },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Every key with the value in effect.
    Show(Root),
    /// The keys whose values differ from the defaults.
    Diff(Root),
}

#[derive(Args)]
struct Root {
    /// The configuration root, or its vsmtp.vsl.
    #[arg(long, value_name = "DIR", default_value = "/etc/vsmtp")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let program = std::env::args_os().next().map(PathBuf::from);
    let called = program.as_deref().and_then(Path::file_name);
    match called.and_then(OsStr::to_str) {
        Some("vqueue") => return queue::run(queue::Arguments::parse()),
        Some("sendmail" | "mailq" | "newaliases") => return sendmail::run(env::args_os()),
        _ => {}
    }
    match Arguments::parse().command {
        Command::Serve(root) => serve(&root.config, |_| {}),
        Command::Check {
            root,
            no_host: true,
        } => check_elsewhere(&root.config),
        Command::Check { root, .. } => check(&root.config),
        Command::Config { command } => match command {
            ConfigCommand::Show(root) => show(&root.config, config::show),
            ConfigCommand::Diff(root) => show(&root.config, config::diff),
        },
        Command::Queue(arguments) => queue::run(arguments),
        Command::Sendmail { arguments } => {
            sendmail::run(std::iter::once("sendmail".into()).chain(arguments))
        }
        Command::InstallUnits {
            configuration,
            root,
            force,
            print,
        } => install_units(&configuration.config, (!print).then_some(&root), force),
        Command::Man => match manual::page(&Arguments::command()) {
            Ok(page) => write(&page),
            Err(error) => fail(error),
        },
        Command::Completions { shell } => write(&manual::completions(&Arguments::command(), shell)),
        Command::HelpRules { name } => help_rules(name.as_deref()),
        Command::Simulate(arguments) => simulate(&arguments),
        Command::Quickstart { dir } => {
            let dir = dir.unwrap_or_else(quickstart::default_dir);
            match quickstart::prepare(&dir) {
                Ok(demo) => serve(demo.root(), |addresses| {
                    say(io::stdout(), demo.guide(addresses));
                }),
                Err(error) => fail(error),
            }
        }
    }
}

fn serve(root: &Path, on_ready: impl FnOnce(&[(Service, SocketAddr)])) -> ExitCode {
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

fn check(root: &Path) -> ExitCode {
    match daemon::prepare(root) {
        Ok(prepared) => {
            list("warning", &prepared.warnings);
            list("hint", &prepared.hints);
            say(io::stdout(), format_args!("{}: ok", root.display()));
            ExitCode::SUCCESS
        }
        Err(errors) => refuse(&errors),
    }
}

fn check_elsewhere(root: &Path) -> ExitCode {
    match daemon::check_without_host(root) {
        Ok(warnings) => {
            list("warning", &warnings);
            say(io::stdout(), format_args!("{}: ok", root.display()));
            ExitCode::SUCCESS
        }
        Err(errors) => refuse(&errors),
    }
}

fn show(root: &Path, render: fn(&Loaded) -> String) -> ExitCode {
    let loaded = config::load(root);
    if !loaded.errors.is_empty() {
        return refuse(&loaded.errors);
    }
    say(io::stdout(), render(&loaded).trim_end());
    ExitCode::SUCCESS
}

/// Writes the units below `root`, or shows them where there is none.
fn install_units(configuration: &Path, root: Option<&PathBuf>, force: bool) -> ExitCode {
    let paths = env::current_exe().and_then(|program| Ok((program, absolute(configuration)?)));
    let (program, configuration) = match paths {
        Ok(paths) => paths,
        Err(error) => return fail(error),
    };
    let units = match units::units(&program, &configuration) {
        Ok(units) => units,
        Err(error) => return fail(error),
    };
    if units::is_hidden(&program) {
        let program = program.display();
        let advice = "the service will not see it there: copy it to /usr/local/bin first";
        say(io::stderr(), format_args!("warning: {program}: {advice}"));
    }
    let Some(root) = root else {
        for unit in units {
            say(
                io::stdout(),
                format_args!("# /{}\n{}", unit.path, unit.text),
            );
        }
        return ExitCode::SUCCESS;
    };
    let mut code = ExitCode::SUCCESS;
    for unit in units {
        match units::install(&unit, root, force) {
            Ok((path, Outcome::Kept)) => {
                let advice = "kept, though it differs: look at --print, or replace it with --force";
                say(io::stderr(), format_args!("{}: {advice}", path.display()));
                code = ExitCode::from(EX_CANTCREAT);
            }
            Ok((path, outcome)) => {
                let outcome = match outcome {
                    Outcome::Written => "written",
                    Outcome::Replaced => "replaced",
                    Outcome::Unchanged | Outcome::Kept => "unchanged",
                };
                say(io::stdout(), format_args!("{}: {outcome}", path.display()));
            }
            Err(error) => return fail(error),
        }
    }
    code
}

/// Text that a program reads: octets as they are.
fn write(text: &[u8]) -> ExitCode {
    let mut output = io::stdout();
    match output.write_all(text).and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

fn fail(error: impl Display) -> ExitCode {
    say(io::stderr(), error);
    ExitCode::from(EX_CANTCREAT)
}

fn help_rules(name: Option<&str>) -> ExitCode {
    let manual = match Manual::new() {
        Ok(manual) => manual,
        Err(error) => return refuse(&[error]),
    };
    match name.map(|name| manual.find(name)) {
        None => say(io::stdout(), manual.to_string().trim_end()),
        Some(Ok(pages)) => say(io::stdout(), pages),
        Some(Err(unknown)) => {
            say(io::stderr(), unknown);
            return ExitCode::from(WRONG_COMMAND_LINE);
        }
    }
    ExitCode::SUCCESS
}

fn simulate(arguments: &simulate::Arguments) -> ExitCode {
    match simulate::run(arguments, io::stdout().lock()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(simulate::Error::Configuration(errors)) => refuse(&errors),
        Err(error) => {
            say(io::stderr(), &error);
            ExitCode::from(match error {
                simulate::Error::Malformed(_) => EX_DATAERR,
                simulate::Error::Unreadable { .. } => EX_NOINPUT,
                _ => EX_CANTCREAT,
            })
        }
    }
}

fn refuse(errors: &[Diagnostic]) -> ExitCode {
    for error in errors {
        say(io::stderr(), error);
        show_line(error);
    }
    ExitCode::from(EX_CONFIG)
}

fn list(kind: &str, diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        say(io::stderr(), format_args!("{kind}: {diagnostic}"));
        show_line(diagnostic);
    }
}

/// What begins with white space belongs to the line above it: a program can leave it out.
fn show_line(diagnostic: &Diagnostic) {
    if let Some(excerpt) = diagnostic.excerpt() {
        say(io::stderr(), excerpt);
    }
}

/// One line, or more. Not `println!`, which panics when the reader is gone: `vsmtp config show | head` is no crash.
fn say(mut output: impl Write, text: impl Display) {
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}
