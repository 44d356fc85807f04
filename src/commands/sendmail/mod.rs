//! `vsmtp sendmail`, also known as `sendmail` and `mailq`: takes mail from the programs of this machine and hands it to the
//! daemon, with the options that such programs have given to every sendmail.
//!
//! All of a message is read before the daemon is asked to take it, since a program may write for hours. It is durable in
//! the queue when this ends with 0; otherwise nothing of it is anywhere. Anybody may name any sender (`-f`): the user whose
//! program it was stands in the Received field.
//!
//! Exit codes are those of sysexits(3): 64 wrong usage, 65 an address or a message that cannot be, 67 a recipient that does
//! not exist, 69 refused for good, 74 the message cannot be read, 75 try again later, 77 not yours to see.

mod conversation;
mod letter;

use super::{queue, report};
use clap::Parser;
use conversation::Conversation;
use letter::Letter;
use nix::unistd::{User, getuid};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use vsmtp::config::{self, Environment};
use vsmtp::control;
use vsmtp::mail::header::mailboxes_of;

const EX_USAGE: u8 = 64;
const EX_DATAERR: u8 = 65;
const EX_IOERR: u8 = 74;
const EX_TEMPFAIL: u8 = 75;

/// A daemon that is restarted is there again after so long.
const RESTART: Duration = Duration::from_secs(5);
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// Send mail: the message is read from standard input.
#[derive(Parser)]
#[command(
    name = "sendmail",
    disable_help_flag = true,
    disable_version_flag = true
)]
struct Arguments {
    /// Take the recipients from To, Cc and Bcc as well, and remove Bcc.
    #[arg(short = 't')]
    recipients_from_header: bool,
    /// A line with nothing but a dot is content, and not the end.
    #[arg(short = 'i')]
    ignore_dots: bool,
    /// The sender; empty or <> for none.
    #[arg(short = 'f', short_alias = 'r', value_name = "ADDRESS")]
    sender: Option<String>,
    /// The sender's name, for a message without From.
    #[arg(short = 'F', value_name = "NAME")]
    name: Option<String>,
    /// m: send (the default); s: speak SMTP; p: list the queue; i: nothing, for newaliases.
    #[arg(short = 'b', value_name = "MODE", default_value = "m")]
    mode: String,
    /// i as -i; others are of no effect here.
    #[arg(short = 'o', value_name = "OPTION")]
    options: Vec<String>,
    /// Try what waits in the queue now.
    #[arg(short = 'q', value_name = "INTERVAL", num_args = 0..=1)]
    flush: Option<Option<String>>,
    /// When to tell the sender: never, or a list of success, failure, delay (RFC 3461).
    #[arg(short = 'N', value_name = "WHEN")]
    notify: Option<String>,
    /// How much of the message a report returns: full or hdrs (RFC 3461).
    #[arg(short = 'R', value_name = "RETURN")]
    returns: Option<String>,
    /// The sender's own name for the transaction (RFC 3461).
    #[arg(short = 'V', value_name = "ENVID")]
    envelope_id: Option<String>,
    /// Say what the daemon said.
    #[arg(short = 'v', action = clap::ArgAction::Count)]
    verbose: u8,
    /// The configuration root, or its vsmtp.vsl.
    #[arg(
        short = 'C',
        long = "config",
        value_name = "DIR",
        default_value = "/etc/vsmtp"
    )]
    config: PathBuf,
    #[command(flatten)]
    ignored: Ignored,
    /// Print this.
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Who gets it.
    #[arg(value_name = "RECIPIENT")]
    recipients: Vec<String>,
}

/// What other sendmails know and what changes nothing here.
#[derive(clap::Args)]
#[allow(
    dead_code,
    reason = "they are read by nobody: that is what they are for"
)]
struct Ignored {
    #[arg(short = 'B', hide = true)]
    body: Option<String>,
    #[arg(short = 'h', hide = true)]
    hops: Option<String>,
    #[arg(short = 'L', hide = true)]
    label: Option<String>,
    #[arg(short = 'O', hide = true)]
    long_options: Vec<String>,
    #[arg(short = 'p', hide = true)]
    protocol: Option<String>,
    #[arg(short = 'X', hide = true)]
    log: Option<String>,
    #[arg(short = 'A', hide = true)]
    which: Option<String>,
    #[arg(short = 'G', hide = true)]
    relay: bool,
    #[arg(short = 'U', hide = true)]
    submission: bool,
    #[arg(short = 'm', hide = true)]
    me_too: bool,
    #[arg(short = 'n', hide = true)]
    no_aliases: bool,
}

/// Why a message is not in the queue.
#[derive(Debug)]
struct Failure {
    code: u8,
    what: String,
}

impl Failure {
    fn new(code: u8, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { code, what }
    }
}

/// Does what `arguments` say, the name of the program among them.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let name = arguments.first().map(PathBuf::from).unwrap_or_default();
    let mut arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { EX_USAGE } else { 0 };
            // Where nobody can be told there is still the code.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    if name.ends_with("mailq") {
        "p".clone_into(&mut arguments.mode);
    }
    if name.ends_with("newaliases") {
        "i".clone_into(&mut arguments.mode);
    }
    let done = match arguments.mode.as_str() {
        _ if arguments.flush.is_some() => return queue::retry_all(arguments.config),
        "p" => return queue::list_all(arguments.config),
        // Aliases stand in the configuration, and nothing is made of them.
        "i" => Ok(()),
        "m" => send(&arguments),
        "s" => converse(&arguments),
        "d" | "D" => Err(Failure::new(EX_USAGE, "to start the daemon: vsmtp serve")),
        mode => Err(Failure::new(EX_USAGE, format!("-b{mode} is not known"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::say(io::stderr(), format_args!("sendmail: {}", failure.what));
            ExitCode::from(failure.code)
        }
    }
}

/// Reads a message, and hands it in.
fn send(arguments: &Arguments) -> Result<(), Failure> {
    let ignore_dots = arguments.ignore_dots || arguments.options.iter().any(|option| option == "i");
    let letter = Letter::read(io::stdin().lock(), ignore_dots);
    let mut letter = letter.map_err(|error| Failure::new(EX_IOERR, error.to_string()))?;
    let mut recipients: Vec<String> = arguments
        .recipients
        .iter()
        .flat_map(|list| mailboxes_of(list.as_bytes()))
        .collect();
    if arguments.recipients_from_header {
        recipients.extend(letter.take_recipients());
    }
    if recipients.is_empty() {
        return Err(Failure::new(EX_USAGE, "no recipient is named"));
    }
    let mut conversation = begin(arguments)?;
    let sender = match arguments.sender.as_deref() {
        Some("" | "<>") => None,
        Some(sender) => Some(conversation.address(sender)?),
        None => Some(conversation.address(&user())?),
    };
    if let (Some(name), Some(sender)) = (&arguments.name, &sender) {
        letter.sign(name, sender);
    }
    let addresses = recipients
        .iter()
        .map(|recipient| conversation.address(recipient));
    let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
    let wishes = conversation::Wishes {
        notify: arguments.notify.as_deref(),
        returns: arguments.returns.as_deref(),
        envelope_id: arguments.envelope_id.as_deref(),
    };
    let said = conversation.hand_in(sender.as_ref(), &addresses, &wishes, &mut letter)?;
    if arguments.verbose > 0 {
        report::say(io::stderr(), said);
    }
    Ok(())
}

/// `-bs`: whoever called us speaks SMTP with the daemon itself.
fn converse(arguments: &Arguments) -> Result<(), Failure> {
    let mut from_daemon = connect(arguments).inspect_err(|_| {
        report::say(io::stdout(), "421 4.3.2 Service not available\r");
    })?;
    let gone = |error: io::Error| Failure::new(EX_TEMPFAIL, error.to_string());
    let mut said = [0; 8192];
    let mut begun = false;
    loop {
        let count = from_daemon.read(&mut said).map_err(gone)?;
        let mut output = io::stdout();
        let written = output.write_all(said.get(..count).unwrap_or_default());
        if count == 0 || written.and_then(|()| output.flush()).is_err() {
            return Ok(());
        }
        // Nothing is said to the daemon before it has begun to speak SMTP.
        if !std::mem::replace(&mut begun, true) {
            let mut to_daemon = from_daemon.try_clone().map_err(gone)?;
            std::thread::spawn(move || {
                // Either end closes when it likes.
                let _ = io::copy(&mut io::stdin().lock(), &mut to_daemon);
                let _ = to_daemon.shutdown(Shutdown::Write);
            });
        }
    }
}

/// A session with the daemon. One that goes away before it has begun is of a daemon that is being restarted.
fn begin(arguments: &Arguments) -> Result<Conversation, Failure> {
    let start = Instant::now();
    loop {
        match connect(arguments).and_then(Conversation::begin) {
            Err(failure) if failure.code == EX_TEMPFAIL && start.elapsed() < RESTART => {
                std::thread::sleep(RESTART_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// The daemon; one that is just being restarted is waited for.
fn connect(arguments: &Arguments) -> Result<UnixStream, Failure> {
    let start = Instant::now();
    loop {
        // Each time anew: where the socket is by default is known by its folder, which comes and goes with the daemon. What
        // cannot be read, by this user or at all, leaves the default, and that is where most daemons are.
        let config = config::load_in(&arguments.config, &Environment::of_the_daemon()).config;
        let mut sockets = vec![config.control, config.queue.dirpath.join("control")];
        sockets.dedup();
        match control::submit(&sockets) {
            Ok(Some(stream)) => return Ok(stream),
            // Without the first socket there is the way to the second, which is closed to most users.
            Ok(None) | Err(_) if start.elapsed() < RESTART => std::thread::sleep(RESTART_PAUSE),
            Ok(None) => {
                let what = "the daemon is not running: the message is not sent";
                return Err(Failure::new(EX_TEMPFAIL, what));
            }
            Err(error) => {
                let what = format!("the daemon cannot be reached: {error}");
                return Err(Failure::new(EX_TEMPFAIL, what));
            }
        }
    }
}

/// Who calls, as a local-part.
fn user() -> String {
    let uid = getuid();
    let user = User::from_uid(uid).ok().flatten();
    user.map_or_else(|| format!("uid{uid}"), |user| user.name)
}
