//! `help-rules` and `simulate`: the rule language looked up, and rules tried without a server.

use super::report::{EX_CANTCREAT, EX_DATAERR, EX_NOINPUT, WRONG_COMMAND_LINE, refuse, say};
use std::io;
use std::process::ExitCode;
use vsmtp::rules::Manual;
use vsmtp::simulate;

/// The pages called `name`, or a list of all.
pub fn help(name: Option<&str>) -> ExitCode {
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

/// Leaves with 1 when a dialogue went otherwise than it says.
pub fn simulate(arguments: &simulate::Arguments) -> ExitCode {
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
