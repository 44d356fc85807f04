//! `fs`: copies of messages as files below `app.dirpath`, for people and programs to look at. Nothing is ever written
//! elsewhere.

use crate::mail::{Message, MessageError, Octets, Transaction};
use crate::rules::Stage;
use crate::rules::object::text;
use crate::rules::scene::{Scene, with};
use crate::script::Fault;
use rhai::plugin::*;
use rhai::{Dynamic, EvalAltResult};
use serde::{Serialize, Serializer};
use std::cell::RefCell;
use std::fmt::{self, Display, Write as _};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use tokio::runtime::{Handle, RuntimeFlavor};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// How much of a body is turned into text at once.
const PIECE: usize = 16 * 1024;

#[export_module]
pub(super) mod functions {
    /// Writes the message as it stands now to `DIR/ID.eml` below `app.dirpath`, where `ID` is `ctx::message_id()`:
    /// `fs::write("suspicious")`. The folder is made where it is missing; a file of that name is replaced. A folder that
    /// leads out of `app.dirpath` is an error of the rule. From `preq` on.
    #[rhai_fn(return_raw)]
    pub fn write(call: NativeCallContext<'_>, dir: Dynamic) -> Result<()> {
        with(&call, Stage::Preq, |scene| {
            save(scene, &text(&dir)?, "eml", |_, message, file| {
                io::copy(&mut message.octets(), file).map(drop)
            })
        })
    }

    /// Writes the message as it stands now, its envelope and what is known of the client to `DIR/ID.json` below
    /// `app.dirpath`: `fs::dump("statistics")`. The body is text, in which octets that are no UTF-8 become `�`; for the very
    /// octets use `fs::write`. From `preq` on.
    #[rhai_fn(return_raw)]
    pub fn dump(call: NativeCallContext<'_>, dir: Dynamic) -> Result<()> {
        with(&call, Stage::Preq, |scene| {
            save(scene, &text(&dir)?, "json", |transaction, message, file| {
                let header = header(message).map_err(io::Error::other)?;
                let body = Text(RefCell::new(message.body().map_err(io::Error::other)?));
                serde_json::to_writer_pretty(file, &Dump::new(transaction, header, body))?;
                Ok(())
            })
        })
    }
}

/// Makes the file of a message below the folder `dir`: whole and durable, or not at all.
fn save(
    scene: &mut Scene,
    dir: &str,
    extension: &str,
    write: impl FnOnce(&Transaction, &mut Message, &mut BufWriter<&File>) -> io::Result<()>,
) -> std::result::Result<(), Fault> {
    let mut message = scene.message()?.clone();
    let transaction = &scene.transaction;
    let id = transaction.id.map(|id| id.to_string()).unwrap_or_default();
    let folder = below(&scene.app, dir)?;
    let path = folder.join(format!("{id}.{extension}"));
    let temporary = folder.join(format!(".{id}.{extension}"));
    let saved = hand_back(|| {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let written = write_file(&temporary, |file| write(transaction, &mut message, file))
            .and_then(|()| std::fs::rename(&temporary, &path));
        if written.is_err() {
            // Where this fails too, the next one writes over it.
            let _ = std::fs::remove_file(&temporary);
        }
        written.and_then(|()| File::open(&folder)?.sync_all())
    });
    saved.map_err(|error| {
        Fault::new(
            format!("{} cannot be written: {error}", path.display()),
            "see that the server may write to app.dirpath, and that there is space",
        )
    })
}

/// The folder `dir` below `app`. No path leads out: the names in it may come from a client.
fn below(app: &Path, dir: &str) -> std::result::Result<PathBuf, Fault> {
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if Path::new(dir).components().all(inside) && !dir.contains('\0') {
        return Ok(app.join(dir));
    }
    Err(Fault::new(
        format!("{dir:?} leads out of app.dirpath"),
        "name a folder inside, as in \"suspicious\" or \"copies/2026\"",
    ))
}

fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let mut buffered = BufWriter::new(&file);
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    file.sync_all()
}

/// Runs what waits for a disk, and lets the other tasks of this thread go elsewhere meanwhile.
fn hand_back<T>(f: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(f),
        _ => f(),
    }
}

/// A message and its envelope, as JSON.
#[derive(Serialize)]
struct Dump<'a> {
    id: Option<String>,
    mail_timestamp: Option<String>,
    client_address: String,
    server_address: String,
    server_name: &'a str,
    service: &'static str,
    helo: Option<&'a str>,
    tls: Option<Tls<'a>>,
    mail_from: String,
    rcpt_list: Vec<&'a str>,
    header: Vec<NamedValue>,
    body: Text<'a>,
}

#[derive(Serialize)]
struct Tls<'a> {
    version: &'a str,
    cipher: &'a str,
    sni: Option<&'a str>,
}

#[derive(Serialize)]
struct NamedValue {
    name: String,
    value: String,
}

impl<'a> Dump<'a> {
    fn new(transaction: &'a Transaction, header: Vec<NamedValue>, body: Text<'a>) -> Self {
        let connection = &transaction.connection;
        let envelope = transaction.envelope.as_ref();
        Self {
            id: transaction.id.map(|id| id.to_string()),
            mail_timestamp: transaction.started.map(|started| started.to_string()),
            client_address: connection.client.to_string(),
            server_address: connection.server.to_string(),
            server_name: &connection.server_name,
            service: connection.service.as_str(),
            helo: connection.helo.as_ref().map(|helo| helo.name.as_str()),
            tls: connection.tls.as_ref().map(|tls| Tls {
                version: &tls.version,
                cipher: &tls.cipher,
                sni: tls.sni.as_deref(),
            }),
            mail_from: envelope.map_or_else(String::new, |e| e.reverse_path.to_string()),
            rcpt_list: envelope
                .into_iter()
                .flat_map(|envelope| &envelope.recipients)
                .map(|recipient| recipient.address.as_str())
                .collect(),
            header,
            body,
        }
    }
}

fn header(message: &mut Message) -> std::result::Result<Vec<NamedValue>, MessageError> {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let fields = message.header()?.fields().map(|field| NamedValue {
        name: text(field.name()),
        value: text(&field.value()),
    });
    Ok(fields.collect())
}

/// Octets as text, without ever holding all of them.
struct Text<'a>(RefCell<Octets<'a>>);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut octets = self.0.try_borrow_mut().map_err(|_| fmt::Error)?;
        let mut piece = Vec::with_capacity(PIECE);
        loop {
            let begun = piece.len();
            let more = octets.by_ref().take((PIECE - begun) as u64);
            let read = { more }.read_to_end(&mut piece).map_err(|_| fmt::Error)?;
            let mut rest = piece.as_slice();
            while !rest.is_empty() {
                let (valid, skip) = match std::str::from_utf8(rest) {
                    Ok(text) => (text, None),
                    Err(error) => {
                        let valid = rest.get(..error.valid_up_to()).unwrap_or_default();
                        let text = std::str::from_utf8(valid).unwrap_or_default();
                        (text, Some(error.error_len()))
                    }
                };
                f.write_str(valid)?;
                rest = rest.get(valid.len()..).unwrap_or_default();
                match skip {
                    // A character that the next piece may complete.
                    Some(None) if read > 0 => break,
                    Some(length) => {
                        f.write_char(char::REPLACEMENT_CHARACTER)?;
                        let length = length.unwrap_or(rest.len());
                        rest = rest.get(length..).unwrap_or_default();
                    }
                    None => {}
                }
            }
            if read == 0 {
                return Ok(());
            }
            let done = piece.len() - rest.len();
            piece.drain(..done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PIECE, Text, below};
    use crate::mail::Message;
    use std::cell::RefCell;
    use std::path::Path;
    use std::sync::Arc;

    #[test]
    fn no_path_leads_out() {
        for (dir, expected) in [
            ("", Some("/app/")),
            ("a", Some("/app/a")),
            ("a/b", Some("/app/a/b")),
            ("./a", Some("/app/./a")),
            ("..a", Some("/app/..a")),
            ("..", None),
            ("a/../../b", None),
            ("a/..", None),
            ("/etc", None),
            ("a\0b", None),
        ] {
            let folder = below(Path::new("/app"), dir).ok();
            assert_eq!(folder.as_deref(), expected.map(Path::new), "{dir:?}");
        }
    }

    #[test]
    fn octets_become_text_wherever_they_are_cut() {
        for octets in [
            b"".to_vec(),
            b"plain".to_vec(),
            [b"x".repeat(PIECE - 1), "é".into(), b"y".repeat(PIECE)].concat(),
            [b"x".repeat(PIECE - 2), "😀".into()].concat(),
            [b"x".repeat(PIECE - 1), b"\xc3".to_vec()].concat(),
            b"\xffa\xc3(\xe2\x82".to_vec(),
        ] {
            let message = Message::new(Arc::new(octets.clone()));
            let text = Text(RefCell::new(message.octets())).to_string();
            assert!(text == String::from_utf8_lossy(&octets), "{}", text.len());
        }
    }
}
