//! Messages as files, for another server or for a person.

use super::output::{Output, progress};
use super::{Failure, account, open, text};
use serde_json::json;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use vsmtp::control::{Answer, Message, Place, Request, Summary, Target};

/// A folder that is being filled.
struct Export<'a> {
    folder: &'a Path,
    /// The message that octets belong to.
    open: Option<File>,
}

pub(super) fn export(
    place: &Place,
    folder: &Path,
    targets: Vec<Target>,
    json: bool,
) -> Result<(), Failure> {
    let access = open(place)?;
    let mut output = Output::of(&access)?;
    let mut done = Summary::default();
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)?;
    let mut export = Export { folder, open: None };
    access.ask(&Request::Export { targets }, &mut |answer| {
        match answer {
            Answer::Message(message) => {
                let path = export.begin(&message)?;
                if json {
                    output.json(&json!({ "id": message.name(), "file": path }))?;
                }
            }
            Answer::Octets(octets) => export.append(&octets)?,
            Answer::Progress(summary) => progress(&summary),
            Answer::Done(summary) => done = summary,
            _ => {}
        }
        Ok(())
    })?;
    if !json {
        let messages = text::count(done.messages, "message");
        output.line(format_args!("{messages} in {}", folder.display()))?;
    }
    output.finish()?;
    account(&done)
}

impl Export<'_> {
    /// Writes what is known of a message, and opens the file of its octets.
    fn begin(&mut self, message: &Message) -> io::Result<PathBuf> {
        let name = match &message.quarantine {
            Some(quarantine) => format!("{quarantine}-{}", message.id),
            None => message.id.clone(),
        };
        let mut envelope = create(&self.folder.join(format!("{name}.json")))?;
        serde_json::to_writer(&mut envelope, message)?;
        envelope.write_all(b"\n")?;
        let path = self.folder.join(format!("{name}.eml"));
        self.open = Some(create(&path)?);
        Ok(path)
    }

    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.open
            .as_mut()
            .map_or(Ok(()), |file| file.write_all(octets))
    }
}

/// A new file for its owner's eyes; which one it is, an error says.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let created = options.write(true).create_new(true).mode(0o600).open(path);
    created.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
