//! What every command has in common: how it speaks, and the code that it leaves with.
//!
//! Exit codes are those of sysexits(3): 0 stopped when told to, or nothing wrong; 78 the configuration is wrong; what
//! else keeps a start from happening: see `vsmtp::daemon::Error::exit_code`. 2 is a wrong command line.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use vsmtp::script::Diagnostic;

/// As clap has it.
pub const WRONG_COMMAND_LINE: u8 = 2;
/// EX_DATAERR of sysexits(3).
pub const EX_DATAERR: u8 = 65;
/// EX_NOINPUT of sysexits(3).
pub const EX_NOINPUT: u8 = 66;
/// EX_CANTCREAT of sysexits(3).
pub const EX_CANTCREAT: u8 = 73;
/// EX_CONFIG of sysexits(3).
const EX_CONFIG: u8 = 78;

/// One line, or more. Not `println!`, which panics when the reader is gone: `vsmtp config show | head` is no crash.
pub fn say(mut output: impl Write, text: impl Display) {
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}

/// Text that a program reads: octets as they are.
pub fn write(text: &[u8]) -> ExitCode {
    let mut output = io::stdout();
    match output.write_all(text).and_then(|()| output.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

/// Something could not be written.
pub fn fail(error: impl Display) -> ExitCode {
    say(io::stderr(), error);
    ExitCode::from(EX_CANTCREAT)
}

/// The configuration is wrong.
pub fn refuse(errors: &[Diagnostic]) -> ExitCode {
    for error in errors {
        say(io::stderr(), error);
        show_line(error);
    }
    ExitCode::from(EX_CONFIG)
}

/// What is no error, and worth knowing.
pub fn list(kind: &str, diagnostics: &[Diagnostic]) {
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
