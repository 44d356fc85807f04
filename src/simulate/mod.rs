//! `vsmtp simulate`: policy without a server, so that it can be tried out, and tested as the code that it is.
//!
//! Runs the real [`Session`](crate::smtp::Session) and the real [`Rules`](crate::rules::Rules) on a conversation that
//! flags describe or that a dialogue spells out, and tells what happens: each stage, each directive with its result and
//! its time, each reply. Whatever rules write goes to a folder that is gone afterwards, and no queue ever hears of the
//! message.
//!
//! Has no socket, no privileges and no queue. So it has nothing of what hangs on them either: time-outs, the limits of
//! clients, certificates, and the delay after errors.

mod client;
mod conversation;
pub mod dialogue;
mod event;
mod queued;
mod recorder;
mod world;

use crate::config::{self, Loaded};
use crate::mail::Service;
use crate::script::Diagnostic;
use client::Intent;
use conversation::Conversation;
use dialogue::Dialogue;
use event::{Event, Listener};
use std::cell::RefCell;
use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use world::{Settings, World};

/// The password of the user of `--auth`.
const PASSWORD: &str = "password";

/// What is sent where no file is given.
const MESSAGE: &[u8] = b"Subject: A simulated message\r\n\r\nHello.\r\n";

/// What `vsmtp simulate` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The configuration root, or its vsmtp.vsl.
    #[arg(long, value_name = "DIR", default_value = "/etc/vsmtp")]
    config: PathBuf,
    /// Dialogues to play, or folders of them (*.smtp). Where they say what the server answers, they are tests.
    #[arg(value_name = "DIALOGUE")]
    dialogues: Vec<PathBuf>,
    /// The address of the client [default: 192.0.2.1].
    #[arg(long, value_name = "IP", conflicts_with = "dialogues")]
    client_ip: Option<IpAddr>,
    /// What the client says to: smtp, submission or submissions [default: smtp].
    #[arg(long, value_name = "NAME", conflicts_with = "dialogues")]
    service: Option<Service>,
    /// The name of the client in EHLO.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "client.example.org",
        conflicts_with = "dialogues"
    )]
    helo: String,
    /// Use TLS, and ask for this server name: STARTTLS, at submissions from the first octet.
    #[arg(long, value_name = "SNI", num_args = 0..=1, require_equals = true, conflicts_with = "dialogues")]
    tls: Option<Option<String>>,
    /// Authenticate as this user, with a password that is right.
    #[arg(long, value_name = "USER", conflicts_with = "dialogues")]
    auth: Option<String>,
    /// The reverse-path; <> is the null one. Without it the client leaves after EHLO.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "dialogues")]
    from: Option<String>,
    /// A forward-path; may be given several times.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "dialogues")]
    to: Vec<String>,
    /// The message, headers and body [default: one that says hello].
    #[arg(long, value_name = "FILE", conflicts_with = "dialogues")]
    message: Option<PathBuf>,
    /// One JSON object for each thing that happens.
    #[arg(long)]
    json: bool,
    /// Only what became of each dialogue.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
}

/// Why nothing could be simulated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration or its rules.
    #[error("the configuration is wrong")]
    Configuration(Vec<Diagnostic>),
    /// A dialogue or a message.
    #[error("{file}: {error}")]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A dialogue that is none.
    #[error(transparent)]
    Malformed(#[from] dialogue::Fault),
    /// There is no place for what rules write.
    #[error("no temporary folder: {0}")]
    Folder(#[from] io::Error),
}

/// Simulates what `arguments` say and tells it to `output`. Gives how many dialogues went otherwise than they say.
///
/// # Errors
/// Something of what is needed for it is missing or wrong.
pub fn run(arguments: &Arguments, output: impl Write) -> Result<usize, Error> {
    let loaded = config::load(&arguments.config);
    if !loaded.errors.is_empty() {
        return Err(Error::Configuration(loaded.errors));
    }
    let loaded = Arc::new(loaded);
    let output = RefCell::new(output);
    if arguments.dialogues.is_empty() {
        let (settings, intent) = arguments.wishes()?;
        let world = World::new(&loaded, settings)?;
        let mut conversation = Conversation::new(&world, arguments.listener(&output));
        client::converse(&intent, &mut conversation);
        return Ok(0);
    }
    let mut failed = 0;
    let dialogues = all(&arguments.dialogues)?;
    for dialogue in &dialogues {
        failed += usize::from(!play(arguments, dialogue, &loaded, &output)?);
    }
    if !arguments.json {
        let passed = dialogues.len() - failed;
        tell(&output, &format!("{passed} passed, {failed} failed"));
    }
    Ok(failed)
}

/// Plays one dialogue against a server of its own. Whether it went as it says.
fn play(
    arguments: &Arguments,
    dialogue: &Dialogue,
    loaded: &Arc<Loaded>,
    output: &RefCell<impl Write>,
) -> Result<bool, Error> {
    let mut settings = Settings::default();
    for (line, setting) in &dialogue.settings {
        let taken = settings.take(setting);
        taken.map_err(|what| dialogue.fault(*line, what))?;
    }
    let world = World::new(loaded, settings)?;
    let mut conversation = Conversation::new(&world, arguments.listener(output));
    let played = dialogue.play(&mut conversation);
    let name = dialogue.file.display().to_string();
    if arguments.json {
        let difference = played.as_ref().err().map(ToString::to_string);
        let event =
            serde_json::json!({ "event": "played", "dialogue": name, "difference": difference });
        tell(output, &event.to_string());
        return Ok(played.is_ok());
    }
    match &played {
        Ok(()) => tell(output, &format!("ok {name}")),
        Err(difference) => tell(output, &format!("FAILED {difference}")),
    }
    Ok(played.is_ok())
}

/// The dialogues at these paths; of a folder those in it.
fn all(paths: &[PathBuf]) -> Result<Vec<Dialogue>, Error> {
    let mut dialogues = Vec::new();
    for path in paths {
        let mut files = vec![path.clone()];
        if path.is_dir() {
            let entries = fs::read_dir(path).map_err(|error| unreadable(path, error))?;
            files = entries.flatten().map(|entry| entry.path()).collect();
            files.retain(|file| file.extension().is_some_and(|end| end == "smtp"));
            files.sort();
        }
        for file in files {
            let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, error))?;
            dialogues.push(Dialogue::parse(&file, &text)?);
        }
    }
    Ok(dialogues)
}

fn unreadable(file: &Path, error: io::Error) -> Error {
    Error::Unreadable {
        file: file.to_owned(),
        error,
    }
}

/// A line. Where nobody reads it, there is nobody to tell.
fn tell(output: &RefCell<impl Write>, line: &str) {
    let _ = writeln!(output.borrow_mut(), "{line}");
}

impl Arguments {
    fn listener<'a>(&self, output: &'a RefCell<impl Write>) -> Listener<'a> {
        let (json, quiet) = (self.json, self.quiet);
        Box::new(move |event: &Event| match (json, quiet) {
            (_, true) => {}
            (true, _) => tell(output, &serde_json::to_string(event).unwrap_or_default()),
            (false, _) => tell(output, &event.to_string()),
        })
    }

    /// What the flags say, of the server and of the client.
    fn wishes(&self) -> Result<(Settings, Intent), Error> {
        let mut settings = Settings::default();
        if let Some(address) = self.client_ip {
            settings.client.set_ip(address);
        }
        settings.service = self.service.unwrap_or(Service::Relay);
        if settings.service == Service::Submissions {
            settings.implicit_tls = Some(self.tls.clone().flatten());
        }
        if let Some(user) = &self.auth {
            settings.users.add(user, PASSWORD);
        }
        let content = match &self.message {
            Some(file) => fs::read(file).map_err(|error| unreadable(file, error))?,
            None => MESSAGE.to_vec(),
        };
        let bare = |address: &String| {
            address
                .trim_start_matches('<')
                .trim_end_matches('>')
                .to_owned()
        };
        let starttls = self.tls.clone().filter(|_| settings.implicit_tls.is_none());
        let intent = Intent {
            helo: self.helo.clone(),
            starttls,
            auth: self.auth.clone().map(|user| (user, PASSWORD.to_owned())),
            from: self.from.as_ref().map(bare),
            to: self.to.iter().map(bare).collect(),
            content,
        };
        Ok((settings, intent))
    }
}
