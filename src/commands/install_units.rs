//! `install-units`: the units for systemd, where no package brings them.

use super::configuration::Root;
use super::report::{EX_CANTCREAT, fail, say};
use clap::Args;
use std::env;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;
use vsmtp::units::{self, Outcome, Unit};

/// `install-units`
#[derive(Args)]
pub struct Arguments {
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
}

/// Writes the units, or shows them.
pub fn run(arguments: &Arguments) -> ExitCode {
    let configuration = absolute(&arguments.configuration.config);
    let paths = env::current_exe().and_then(|program| Ok((program, configuration?)));
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
    if arguments.print {
        for unit in units {
            let text = format_args!("# /{}\n{}", unit.path, unit.text);
            say(io::stdout(), text);
        }
        return ExitCode::SUCCESS;
    }
    install(&units, &arguments.root, arguments.force)
}

fn install(units: &[Unit], root: &Path, force: bool) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for unit in units {
        match units::install(unit, root, force) {
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
