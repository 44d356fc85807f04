//! Mailboxes that are one file: `MAIL/DOMAIN/USER/mbox`, beside the Maildir that the folder may be as well, with the
//! spelling and the access of [`Maildir`](crate::delivery::maildir::Maildir)s.
//!
//! A message that is delivered again after a crash stands there twice: an mbox has no names to know it by.

use super::{MboxError, append};
use crate::delivery::folder::{self, Access};
use crate::delivery::name;
use crate::mail::ReversePath;
use jiff::Timestamp;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait for a reader that has the file locked; then the message waits for its next attempt.
const PATIENCE: Duration = Duration::from_secs(10);

/// One mailbox.
pub(in crate::delivery) struct Mbox {
    path: PathBuf,
    access: Access,
}

impl Mbox {
    /// The mailbox of `local_part` at `domain`, below `root`; made with its first message.
    /// `None` when its name is too long for a file system.
    pub(in crate::delivery) fn of(root: &Path, domain: &str, local_part: &str) -> Option<Self> {
        let domain = name::encode(&domain.to_lowercase())?;
        let user = name::encode(&local_part.to_lowercase())?;
        Some(Self {
            path: root.join(domain).join(user).join("mbox"),
            access: Access::below(root),
        })
    }

    /// Where it is.
    #[cfg(test)]
    pub(in crate::delivery) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a message, durably; `lines` stand in front of it.
    ///
    /// # Errors
    /// Nothing was appended.
    pub(in crate::delivery) fn deliver(
        &self,
        sender: &ReversePath,
        arrived: Timestamp,
        lines: &[u8],
        content: &mut impl Read,
    ) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            folder::make(folder, self.access)?;
        }
        let mut content = lines.chain(content);
        append(
            &self.path,
            self.access,
            sender,
            arrived,
            &mut content,
            PATIENCE,
        )
        .map_err(|error| {
            match error {
                // What kind of error it is tells whether the message is damaged.
                MboxError::Source(source) => source,
                other => io::Error::other(other),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn is_made_with_its_first_message() {
        let root = tempfile::tempdir().unwrap();
        for (mode, expected) in [(0o700, 0o600), (0o2750, 0o640)] {
            let root = root.path().join(mode.to_string());
            fs::create_dir(&root).unwrap();
            fs::set_permissions(&root, Permissions::from_mode(mode)).unwrap();
            let mbox = Mbox::of(&root, "Example.com", "../John").unwrap();
            for content in ["Subject: 1\r\n\r\nx\r\n", "Subject: 2\r\n\r\n"] {
                let mut content = content.as_bytes();
                let arrived = Timestamp::UNIX_EPOCH;
                mbox.deliver(
                    &ReversePath(None),
                    arrived,
                    b"Return-Path: <>\n",
                    &mut content,
                )
                .unwrap();
            }
            let path = root.join("example.com/%2E.%2Fjohn/mbox");
            let separator = "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nReturn-Path: <>\n";
            assert_eq!(
                fs::read_to_string(&path).unwrap(),
                format!("{separator}Subject: 1\n\nx\n\n{separator}Subject: 2\n\n\n")
            );
            assert_eq!(
                path.metadata().unwrap().permissions().mode() & 0o777,
                expected
            );
        }
    }

    #[test]
    fn a_damaged_message_is_told_from_a_full_disk() {
        struct Damaged;
        impl Read for Damaged {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::InvalidData.into())
            }
        }
        let root = tempfile::tempdir().unwrap();
        let mbox = Mbox::of(root.path(), "example.com", "john").unwrap();
        let deliver = || mbox.deliver(&ReversePath(None), Timestamp::UNIX_EPOCH, b"", &mut Damaged);
        assert_eq!(deliver().unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::create_dir_all(root.path().join("example.com/john")).unwrap();
        fs::remove_file(mbox.path()).unwrap();
        fs::create_dir(mbox.path()).unwrap();
        assert_ne!(deliver().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
