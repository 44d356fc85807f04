//! A Maildir as its reader sees it.

use super::wait_for;
use std::fs;
use std::path::PathBuf;

/// `DOMAIN/USER/` below `app.mail_dirpath`.
pub struct Maildir {
    folder: PathBuf,
}

impl Maildir {
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Every message in `new`, in no order, with the line ends of the wire: in a Maildir a line ends with LF.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = fs::read_dir(self.folder.join("new")) else {
            return Vec::new();
        };
        entries
            .map(|entry| with_crlf(&fs::read(entry.unwrap().path()).unwrap()))
            .collect()
    }

    /// Waits until `count` messages have come, and fails when there are more.
    pub fn wait(&self, count: usize) -> Vec<Vec<u8>> {
        let what = format!("{count} messages in {}", self.folder.display());
        let messages = wait_for(&what, || {
            let messages = self.messages();
            (messages.len() >= count).then_some(messages)
        });
        assert_eq!(messages.len(), count, "{what}");
        messages
    }

    /// Waits for the one message, as text.
    pub fn wait_one(&self) -> String {
        String::from_utf8_lossy(&self.wait(1)[0]).into_owned()
    }
}

/// Nothing is lost on the way there and back: SMTP content has no bare CR and no bare LF.
fn with_crlf(stored: &[u8]) -> Vec<u8> {
    assert!(!stored.contains(&b'\r'), "a CR in a Maildir");
    let mut octets = Vec::with_capacity(stored.len() + stored.len() / 32);
    for line in stored.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => octets.extend_from_slice(&[line, b"\r\n"].concat()),
            None => octets.extend_from_slice(line),
        }
    }
    octets
}
