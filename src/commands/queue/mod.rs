//! `vsmtp queue`, also known as `vqueue`: looks at the queue of the daemon, and changes it.
//!
//! Exit codes are those of sysexits(3): 65 an id that names several messages, 66 no such message, 69 the daemon is not
//! running, 74 the answer was cut off or cannot be written, 75 a message was being delivered all the time, 77 this user
//! may not, 78 the configuration is wrong.

mod export;
mod list;
mod output;
mod stats;
mod text;

use super::report;
use clap::{Args, Parser, Subcommand};
use output::{Output, progress};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::process::ExitCode;
use vsmtp::config::{self, Environment};
use vsmtp::control::{Access, Action, Answer, Error, Place, Refusal, Request, Summary, Target};

const EX_DATAERR: u8 = 65;
const EX_NOINPUT: u8 = 66;
const EX_UNAVAILABLE: u8 = 69;
const EX_IOERR: u8 = 74;
const EX_TEMPFAIL: u8 = 75;
const EX_PROTOCOL: u8 = 76;
const EX_NOPERM: u8 = 77;
const EX_CONFIG: u8 = 78;

/// Look at the queue, and change it.
#[derive(Parser)]
#[command(name = "vqueue", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
struct Options {
    /// The configuration root, or its vsmtp.vsl.
    #[arg(long, global = true, value_name = "DIR", default_value = "/etc/vsmtp")]
    config: PathBuf,
    /// Print JSON, one value a line.
    #[arg(long, global = true)]
    json: bool,
}

/// A TARGET is the beginning of a message's id, or a domain (@NAME where it could be taken for an id), or QUARANTINE/ID,
/// or QUARANTINE/ for all that is in it.
#[derive(Subcommand)]
enum Command {
    /// List the messages in the queue, oldest first.
    #[command(visible_alias = "ls")]
    List {
        /// Only these.
        #[arg(value_name = "TARGET")]
        targets: Vec<Target>,
        /// What is in quarantine instead: in this one, or in each.
        #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true)]
        quarantine: Option<Option<String>>,
    },
    /// Show one message: its envelope, and why each recipient waits.
    Show {
        /// Which.
        #[arg(value_name = "ID")]
        target: Target,
    },
    /// Print the octets of one message.
    Cat {
        /// Which.
        #[arg(value_name = "ID")]
        target: Target,
    },
    /// Try again now; without TARGET all that is not held.
    Retry {
        /// Which.
        #[arg(value_name = "TARGET")]
        targets: Vec<Target>,
    },
    /// Keep in the queue, whatever happens, until released; without TARGET all of it.
    Hold {
        /// Which.
        #[arg(value_name = "TARGET")]
        targets: Vec<Target>,
    },
    /// Let go what is held, or what is in quarantine; without TARGET all that is held.
    Release {
        /// Which.
        #[arg(value_name = "TARGET")]
        targets: Vec<Target>,
    },
    /// Forget messages, and tell nobody.
    Remove {
        /// Which.
        #[arg(value_name = "TARGET", required_unless_present = "all")]
        targets: Vec<Target>,
        /// The whole queue.
        #[arg(long, conflicts_with = "targets")]
        all: bool,
    },
    /// Write each message into a folder: ID.eml, its octets, and ID.json, what `show --json` says. Nothing is changed.
    Export {
        /// Where; it is made where it is missing. What is there is not written over.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Only these.
        #[arg(value_name = "TARGET")]
        targets: Vec<Target>,
    },
    /// Count who waits, by destination and by age in minutes.
    Stats {
        /// Only these.
        #[arg(value_name = "TARGET")]
        targets: Vec<Target>,
        /// How many destinations to print.
        #[arg(long, value_name = "COUNT", default_value_t = 20)]
        rows: usize,
    },
}

/// Why the command did not do what it was told.
enum Failure {
    Access(Error),
    /// Some of what was asked for is not there, or not as it should be.
    Partly(u8),
}

/// `mailq`, and `sendmail -bp`.
pub fn list_all(config: PathBuf) -> ExitCode {
    run(Arguments::all(config, |targets| Command::List {
        targets,
        quarantine: None,
    }))
}

/// `sendmail -q`.
pub fn retry_all(config: PathBuf) -> ExitCode {
    run(Arguments::all(config, |targets| Command::Retry { targets }))
}

impl Arguments {
    /// A command about the whole queue.
    fn all(config: PathBuf, command: impl FnOnce(Vec<Target>) -> Command) -> Self {
        let command = command(Vec::new());
        let json = false;
        Self {
            command,
            options: Options { config, json },
        }
    }
}

/// Does what the command line says.
pub fn run(arguments: Arguments) -> ExitCode {
    let Arguments { command, options } = arguments;
    let loaded = config::load_in(&options.config, &Environment::of_the_daemon());
    let config = &loaded.config;
    let mut sockets = vec![config.control.clone(), config.queue.dirpath.join("control")];
    sockets.dedup();
    let place = Place {
        sockets,
        queue: config.queue.clone(),
        app: config.delivery.dirpath.clone(),
    };
    match execute(command, &place, options.json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Partly(code)) => ExitCode::from(code),
        // Whoever read it has had enough.
        Err(Failure::Access(Error::Output(error))) if error.kind() == ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Access(error)) => {
            let is_elsewhere = matches!(error, Error::Down { .. } | Error::Closed(_));
            if is_elsewhere && !loaded.errors.is_empty() {
                loaded.errors.iter().for_each(complain);
                return ExitCode::from(EX_CONFIG);
            }
            complain(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn execute(command: Command, place: &Place, json: bool) -> Result<(), Failure> {
    match command {
        Command::List {
            mut targets,
            quarantine,
        } => {
            targets.extend(quarantine.map(|name| Target::Quarantine {
                name,
                id: String::new(),
            }));
            list::list(place, targets, json)
        }
        Command::Show { target } => list::show(place, target, json),
        Command::Cat { target } => list::cat(place, target, json),
        Command::Export { folder, targets } => export::export(place, &folder, targets, json),
        Command::Stats { targets, rows } => stats::stats(place, targets, rows, json),
        Command::Retry { targets } => act(place, Action::Retry, targets, json),
        Command::Hold { targets } => act(place, Action::Hold, targets, json),
        Command::Release { targets } => act(place, Action::Release, targets, json),
        Command::Remove { targets, all: _ } => act(place, Action::Remove, targets, json),
    }
}

fn act(place: &Place, action: Action, targets: Vec<Target>, json: bool) -> Result<(), Failure> {
    let access = Access::open(place)?;
    let mut output = Output::of(&access)?;
    let mut done = Summary::default();
    access.ask(&Request::Act { action, targets }, &mut |answer| {
        match answer {
            Answer::Progress(summary) => progress(&summary),
            Answer::Done(summary) => done = summary,
            _ => {}
        }
        Ok(())
    })?;
    if json {
        output.json(&done)?;
    } else {
        let past = match action {
            Action::Retry => "due now",
            Action::Hold => "held",
            Action::Release => "released",
            Action::Remove => "removed",
        };
        let (messages, recipients) = (done.messages, done.recipients);
        output.line(format_args!(
            "{past}: {} for {}",
            text::count(messages, "message"),
            text::count(recipients, "recipient")
        ))?;
    }
    output.finish()?;
    account(&done)
}

/// A way to the queue, for those who only look at it.
fn open(place: &Place) -> Result<Access, Failure> {
    let access = Access::open(place)?;
    if matches!(access, Access::Spool(_)) {
        complain("the daemon is not running: this is what it has left, to be read only");
    }
    Ok(access)
}

/// Says what was not there, or not as it should be.
fn account(summary: &Summary) -> Result<(), Failure> {
    for target in &summary.unknown {
        complain(format_args!("no such message: {target}"));
    }
    for target in &summary.ambiguous {
        complain(format_args!("several messages begin so: {target}"));
    }
    for id in &summary.busy {
        complain(format_args!("{id} is being delivered: try again"));
    }
    summary.failed.iter().for_each(complain);
    let faults = [
        (&summary.failed, EX_IOERR),
        (&summary.unknown, EX_NOINPUT),
        (&summary.ambiguous, EX_DATAERR),
        (&summary.busy, EX_TEMPFAIL),
    ];
    match faults.into_iter().find(|(names, _)| !names.is_empty()) {
        Some((_, code)) => Err(Failure::Partly(code)),
        None => Ok(()),
    }
}

fn complain(what: impl std::fmt::Display) {
    report::say(io::stderr(), what);
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Down { .. } | Error::Refused(Refusal::ReadOnly) => EX_UNAVAILABLE,
        Error::Silent { .. } => EX_TEMPFAIL,
        Error::Closed(_) | Error::Refused(Refusal::Forbidden) => EX_NOPERM,
        Error::Refused(Refusal::Overloaded) => EX_TEMPFAIL,
        Error::Refused(Refusal::Malformed(_)) => EX_PROTOCOL,
        Error::Refused(Refusal::Failed(_)) | Error::Cut(_) | Error::Output(_) => EX_IOERR,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Access(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Access(Error::Output(error))
    }
}
