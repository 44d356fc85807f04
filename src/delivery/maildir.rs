//! Maildirs: a mailbox is a folder, a message a file in its `new/`.
//!
//! A message lies in `MAIL/DOMAIN/USER/new/`, where `DOMAIN` is the domain's name and `USER` the local-part in lower case,
//! both spelled as `delivery/name.rs` says. Lines end with LF there, as Maildir readers expect, and the file begins with
//! `Return-Path` (RFC 5321 §4.4) and `Delivered-To`.
//!
//! The file is named for the message and not for the moment, so that a message that is delivered again after a crash is
//! seen to be there already.

use super::folder::{self, Access};
use super::name;
use crate::mail::MessageId;
use jiff::Timestamp;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// One mailbox.
pub(super) struct Maildir {
    folder: PathBuf,
    access: Access,
}

/// A message as a mailbox knows it.
pub(super) struct Letter<'a> {
    pub id: MessageId,
    pub arrived: Timestamp,
    /// `Return-Path` and `Delivered-To`, LF at the end of each.
    pub lines: &'a [u8],
    /// Whether an earlier delivery of it may have been forgotten in a crash.
    pub may_be_here: bool,
}

impl Maildir {
    /// The mailbox of `local_part` at `domain`, below `root`; made with its first message.
    /// `None` when its name is too long for a file system.
    pub fn of(root: &Path, domain: &str, local_part: &str) -> Option<Self> {
        let domain = name::encode(&domain.to_lowercase())?;
        let user = name::encode(&local_part.to_lowercase())?;
        Some(Self {
            folder: root.join(domain).join(user),
            access: Access::below(root),
        })
    }

    /// Where it is.
    #[cfg(test)]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts a message in, durably; one that is here already stays as it is.
    ///
    /// # Errors
    /// Nothing is in the mailbox, or all of it is and may not be durable.
    pub fn deliver(&self, letter: &Letter<'_>, content: &mut impl Read) -> io::Result<()> {
        for part in ["tmp", "cur", "new"] {
            folder::make(&self.folder.join(part), self.access)?;
        }
        let name = file_name(letter);
        let path = self.folder.join("new").join(&name);
        if path.exists() || (letter.may_be_here && self.was_seen(&name)?) {
            return Ok(());
        }
        let temporary = self.folder.join("tmp").join(&name);
        folder::write(&temporary, &path, self.access, letter.lines, content)
    }

    /// Whether a reader has moved the message to `cur/`, where it appends its flags to the name.
    fn was_seen(&self, name: &str) -> io::Result<bool> {
        for file in std::fs::read_dir(self.folder.join("cur"))? {
            let seen = file?.file_name();
            let rest = seen.to_str().and_then(|seen| seen.strip_prefix(name));
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':')) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// `time.unique.host`, as the Maildir convention wants it.
fn file_name(letter: &Letter<'_>) -> String {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let host = host
        .to_string_lossy()
        .replace('/', "\\057")
        .replace(':', "\\072");
    format!("{}.V{}.{host}", letter.arrived.as_second(), letter.id)
}
