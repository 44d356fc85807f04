//! Quarantines: folders for messages that a rule accepted and keeps from their recipients.
//!
//! A message lies in `APP/quarantine/NAME/ID`, once for all its recipients, each with a `Delivered-To` line. Whoever looks
//! after quarantines goes by the names of folders, which are not always what rules call them (see `name`).

use super::folder::{self, Access};
use super::name;
use crate::mail::{Address, Body, Envelope, MessageId, ReversePath};
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};

/// Octets of the longest line in front of a message: a path, and what stands before it.
const LINE_MAX: u64 = 1024;

/// Puts a message into the quarantine `name` below `root`, durably; `lines` stand in front of it.
///
/// # Errors
/// `InvalidFilename` when the name is too long for a file system.
pub(super) fn keep(
    root: &Path,
    name: &str,
    id: MessageId,
    lines: &[u8],
    content: &mut impl Read,
) -> io::Result<()> {
    let name = name::encode(name).ok_or(ErrorKind::InvalidFilename)?;
    let folder = folder_of(root).join(name);
    folder::make(&folder, Access::Owner)?;
    let path = folder.join(id.to_string());
    let temporary = folder.join(format!("{id}.tmp"));
    folder::write(&temporary, &path, Access::Owner, lines, content)
}

/// The folders of the quarantines below `root` (`app.dirpath`), in order.
///
/// # Errors
/// They cannot be read; none is no error.
pub fn names(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in entries(&folder_of(root))? {
        let folder = folder?;
        if folder.file_type()?.is_dir() {
            names.extend(folder.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

/// The messages in the quarantine whose folder has this name, oldest first; none where there is no such quarantine.
///
/// # Errors
/// It cannot be read.
pub fn messages(root: &Path, name: &str) -> io::Result<Vec<MessageId>> {
    if !is_name(name) {
        return Ok(Vec::new());
    }
    let mut messages = Vec::new();
    for file in entries(&folder_of(root).join(name))? {
        let name = file?.file_name();
        messages.extend(name.to_str().and_then(|name| {
            let id = MessageId(u64::from_str_radix(name, 16).ok()?);
            (id.to_string() == name).then_some(id)
        }));
    }
    messages.sort();
    Ok(messages)
}

/// A message in a quarantine. Reading it gives the message as it is sent, every line end as CRLF; reading blocks.
#[derive(Debug)]
pub struct Kept {
    /// To whom it was to go. What BODY= and SMTPUTF8 said of it was not kept.
    pub envelope: Envelope,
    /// Octets of the message, line ends as LF.
    pub size: u64,
    path: PathBuf,
    content: BufReader<File>,
    /// A CR was given out, and its LF is next.
    line_feed: bool,
}

impl Kept {
    /// Opens a message of the quarantine whose folder has this name.
    ///
    /// # Errors
    /// `NotFound` where there is no such message; `InvalidData` where what stands in front of it was not written by us.
    pub fn open(root: &Path, name: &str, id: MessageId) -> io::Result<Self> {
        if !is_name(name) {
            return Err(ErrorKind::NotFound.into());
        }
        let path = folder_of(root).join(name).join(id.to_string());
        let mut content = BufReader::new(File::open(&path)?);
        let mut envelope = Envelope::default();
        let sender = line(&mut content)?;
        let sender = sender.strip_prefix("Return-Path: <");
        let sender = sender.and_then(|path| path.strip_suffix('>'));
        envelope.reverse_path = match sender.ok_or(ErrorKind::InvalidData)? {
            "" => ReversePath(None),
            sender => ReversePath(Some(address(sender)?)),
        };
        while content.fill_buf()?.starts_with(b"Delivered-To: ") {
            let line = line(&mut content)?;
            let recipient = line.strip_prefix("Delivered-To: ").unwrap_or_default();
            envelope.recipients.push(address(recipient)?.into());
        }
        let before = content.stream_position()?;
        let length = content.get_ref().metadata()?.len();
        Ok(Self {
            envelope,
            size: length.saturating_sub(before),
            path,
            content,
            line_feed: false,
        })
    }

    /// Says in the envelope what has to be said where the message goes on: whether it has octets outside ASCII, or
    /// addresses. To be called before anything is read.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn survey(&mut self) -> io::Result<()> {
        let start = self.content.stream_position()?;
        let mut ascii = true;
        loop {
            let octets = self.content.fill_buf()?;
            if octets.is_empty() {
                break;
            }
            ascii &= octets.is_ascii();
            let length = octets.len();
            self.content.consume(length);
        }
        self.content.seek(io::SeekFrom::Start(start))?;
        let Envelope {
            reverse_path,
            recipients,
            ..
        } = &self.envelope;
        let mut addresses = recipients.iter().map(|recipient| &recipient.address);
        let sender = reverse_path.0.as_ref();
        self.envelope.smtputf8 =
            sender.is_some_and(|sender| !sender.is_ascii()) || addresses.any(|to| !to.is_ascii());
        if !ascii {
            self.envelope.body = Body::EightBitMime;
        }
        Ok(())
    }

    /// Removes the message, durably.
    ///
    /// # Errors
    /// It is still there.
    pub fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)?;
        self.path.parent().map_or(Ok(()), folder::sync)
    }
}

fn folder_of(root: &Path) -> PathBuf {
    root.join("quarantine")
}

/// Whether a folder of ours can have this name: none leads out of the quarantines.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

/// What a folder holds; nothing where there is none.
fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<std::fs::DirEntry>>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        entries => Some(entries?),
    };
    Ok(entries.into_iter().flatten())
}

fn line(content: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    content.take(LINE_MAX).read_line(&mut line)?;
    match line.pop() {
        Some('\n') => Ok(line),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

fn address(text: &str) -> io::Result<Address> {
    Address::parse(text).map_err(|_| ErrorKind::InvalidData.into())
}

/// Puts the CR back in front of each LF.
impl Read for Kept {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let octets = self.content.fill_buf()?;
        let line = memchr::memchr(b'\n', octets).unwrap_or(octets.len());
        let (octets, step): (&[u8], _) = match (line, octets.is_empty()) {
            (0, false) if !self.line_feed => (b"\r", 0),
            (0, false) => (b"\n", 1),
            _ => (octets.get(..line).unwrap_or_default(), line),
        };
        let count = octets.len().min(buffer.len());
        let room = buffer.get_mut(..count).unwrap_or_default();
        room.copy_from_slice(octets.get(..count).unwrap_or_default());
        if count > 0 {
            self.line_feed = step == 0;
            self.content.consume(step.min(count));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, keep, messages, names};
    use crate::mail::{Body, MessageId};
    use std::io::Read;

    const LINES: &[u8] = b"Return-Path: <a@b.org>\nDelivered-To: c@d.org\nDelivered-To: e@f.org\n";

    #[test]
    fn comes_out_as_it_went_in() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(names(root.path()).unwrap(), [""; 0]);
        let wire = "Received: x\r\nDelivered-To: not@ours.org\r\n\r\n\r\ncaf\u{e9}\r\nend\r\n";
        for id in [2, 1] {
            let (name, id) = ("../spam", MessageId(id));
            keep(root.path(), name, id, LINES, &mut wire.as_bytes()).unwrap();
        }
        let [name] = &names(root.path()).unwrap()[..] else {
            panic!("one quarantine");
        };
        let ids = messages(root.path(), name).unwrap();
        assert_eq!(ids, [MessageId(1), MessageId(2)]);
        let mut kept = Kept::open(root.path(), name, ids[0]).unwrap();
        kept.survey().unwrap();
        let recipients = kept.envelope.recipients.iter().map(|r| r.address.as_str());
        assert_eq!(recipients.collect::<Vec<_>>(), ["c@d.org", "e@f.org"]);
        assert_eq!(kept.envelope.reverse_path.to_string(), "a@b.org");
        assert_eq!(kept.envelope.body, Body::EightBitMime);
        assert_eq!(kept.size, wire.replace('\r', "").len() as u64);
        let mut octets = String::new();
        kept.read_to_string(&mut octets).unwrap();
        assert_eq!(octets, wire);
        kept.remove().unwrap();
        assert_eq!(messages(root.path(), name).unwrap(), [MessageId(2)]);
    }

    #[test]
    fn line_ends_survive_any_buffer() {
        let root = tempfile::tempdir().unwrap();
        let wire = b"\r\n\r\na\r\nbc\r\n\r\n";
        keep(root.path(), "q", MessageId(1), LINES, &mut &wire[..]).unwrap();
        for size in 1..8 {
            let mut kept = Kept::open(root.path(), "q", MessageId(1)).unwrap();
            let (mut octets, mut buffer) = (Vec::new(), vec![0; size]);
            loop {
                match kept.read(&mut buffer).unwrap() {
                    0 => break,
                    count => octets.extend_from_slice(&buffer[..count]),
                }
            }
            assert_eq!(octets, wire, "{size}");
        }
    }

    #[test]
    fn no_name_leads_out() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("quarantine")).unwrap();
        for name in ["", ".", "..", "../x", "a/b", "x\0"] {
            assert_eq!(messages(root.path(), name).unwrap(), [], "{name:?}");
            assert!(Kept::open(root.path(), name, MessageId(1)).is_err());
        }
    }
}
