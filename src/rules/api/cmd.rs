//! `cmd`: programs of this machine that a rule may run. Never by way of a shell.

use super::options::{self, Options};
use crate::rules::setting::Setting;
use crate::rules::waiting;
use crate::script::Fault;
use crate::services::{Command, Outcome};
use rhai::plugin::*;
use rhai::{Array, Dynamic, EvalAltResult, INT, Map};
use std::sync::Arc;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// How long a command may run when nothing is said.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A command as a value of the language.
pub(super) type SharedCommand = Arc<Command>;

#[export_module]
#[allow(
    clippy::unwrap_used,
    reason = "of the macro, on arguments whose type the engine has checked"
)]
pub(super) mod functions {
    /// A command to run later. Make it once, in a file of `services`:
    ///
    /// ```vsl services/scanner.vsl
    /// export const scan = cmd::build(#{
    ///     command: "/usr/bin/my-scanner",   // a path, or a name in the server's PATH
    ///     args: ["--quiet"],                // for run() without arguments
    ///     timeout: "10s",                   // then it is killed, with all that it has started; default "5s"
    /// });
    /// ```
    ///
    /// `user` and `group` may name whom the command must run as. The server gives up every right to become somebody else,
    /// so these can only be its own, `server.system.user` and `group`; another name is an error.
    #[rhai_fn(return_raw)]
    pub fn build(call: NativeCallContext<'_>, options: Map) -> Result<SharedCommand> {
        command(&call, options).map_err(|fault| fault.at(call.call_position()))
    }

    /// Runs the command with its own arguments and waits for its end. See `run(command, args)`.
    #[rhai_fn(global, name = "run", pure, return_raw)]
    pub fn run(call: NativeCallContext<'_>, command: &mut SharedCommand) -> Result<Outcome> {
        run_with(&call, command, &command.arguments)
    }

    /// Runs the command with these arguments in place of its own, waits for its end and returns how it ended:
    ///
    /// ```vsl
    /// import "services/scanner" as services;
    /// #{
    ///     rcpt: [
    ///         rule "ask the scanner" || {
    ///             let status = services::scan.run(["--", ctx::rcpt()]);
    ///             if status == 0 { state::next() } else { state::deny() }
    ///         }
    ///     ]
    /// }
    /// ```
    ///
    /// The status equals its exit code, and has `.code` (`()` when a signal ended it), `.signal`, `.has_code`, `.has_signal`
    /// and `.output`, the first 64 KiB that the command wrote to standard output. What it wrote to standard error is in the
    /// log when it fails.
    ///
    /// No shell sees the arguments: each arrives as it is. An argument from a client may begin with `-`, which is why `--`
    /// stands before it above. The command has no input, nothing but `PATH` in its environment, and runs in `/`, as the
    /// server's user and within the limits of its unit. A command that cannot be run, or does not end in time, is an error of
    /// the rule (451).
    #[rhai_fn(global, name = "run", pure, return_raw)]
    pub fn run_with_arguments(
        call: NativeCallContext<'_>,
        command: &mut SharedCommand,
        args: Array,
    ) -> Result<Outcome> {
        let arguments = options::texts(&args).map_err(|fault| fault.at(call.call_position()))?;
        run_with(&call, command, &arguments)
    }

    /// The exit code of a command, or `()` when a signal ended it.
    #[rhai_fn(global, get = "code", pure)]
    pub fn code(status: &mut Outcome) -> Dynamic {
        status
            .code
            .map_or(Dynamic::UNIT, |code| INT::from(code).into())
    }

    /// The signal that ended a command, or `()` when it ended by itself.
    #[rhai_fn(global, get = "signal", pure)]
    pub fn signal(status: &mut Outcome) -> Dynamic {
        status
            .signal
            .map_or(Dynamic::UNIT, |signal| INT::from(signal).into())
    }

    /// Whether a command ended by itself, and so has an exit code.
    #[rhai_fn(global, get = "has_code", pure)]
    pub fn has_code(status: &mut Outcome) -> bool {
        status.code.is_some()
    }

    /// Whether a signal ended a command.
    #[rhai_fn(global, get = "has_signal", pure)]
    pub fn has_signal(status: &mut Outcome) -> bool {
        status.signal.is_some()
    }

    /// What a command wrote to its standard output.
    #[rhai_fn(global, get = "output", pure)]
    pub fn output(status: &mut Outcome) -> String {
        status.output.clone()
    }

    /// Whether a command ended with that exit code.
    #[rhai_fn(global, name = "==")]
    pub fn equals(status: Outcome, code: INT) -> bool {
        status.code.map(INT::from) == Some(code)
    }

    /// Whether a command ended otherwise than with that exit code.
    #[rhai_fn(global, name = "!=")]
    pub fn differs(status: Outcome, code: INT) -> bool {
        status.code.map(INT::from) != Some(code)
    }

    /// How a command ended, in words.
    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn to_string(status: &mut Outcome) -> String {
        match (status.code, status.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "no exit code".to_owned(),
        }
    }
}

fn command(
    call: &NativeCallContext<'_>,
    options: Map,
) -> std::result::Result<SharedCommand, Fault> {
    let setting = Setting::of(call)?;
    let known = ["command", "args", "timeout", "user", "group"];
    let options = Options::new("cmd::build", options, &known)?;
    let command = Command {
        program: options.required_text("command", "\"/usr/bin/my-scanner\"")?,
        arguments: options.texts("args", "[\"--quiet\"]")?,
        timeout: options.timeout(TIMEOUT)?,
        user: options.text("user", "\"vsmtp\"")?,
        group: options.text("group", "\"vsmtp\"")?,
    };
    for (key, given, own) in [
        ("user", &command.user, &setting.user),
        ("group", &command.group, &setting.group),
    ] {
        if let Some(given) = given.as_ref().filter(|given| *given != own) {
            return Err(Fault::new(
                format!(
                    "`{key}` of cmd::build() is {given:?}, and the server, which runs as {own:?}, has no right to change"
                ),
                format!(
                    "leave `{key}` out, or let a service of {given:?} do the work and the command talk to it"
                ),
            ));
        }
    }
    Ok(Arc::new(command))
}

fn run_with(
    call: &NativeCallContext<'_>,
    command: &Command,
    arguments: &[String],
) -> Result<Outcome> {
    let program = &command.program;
    let outcome = waiting::ask(call, &format!("the command {program:?}"), || {
        command.run(arguments)
    })?;
    if outcome.code != Some(0) && !outcome.complaint.is_empty() {
        let complaint = outcome.complaint.trim_end();
        tracing::warn!(target: "rules", program, code = outcome.code, "the command failed: {complaint:?}");
    }
    Ok(outcome)
}
