//! Writes a message into a folder so that it is there whole, durably, or not at all: a temporary file, its sync, a rename
//! to its name, the sync of the folder.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The setgid bit of a folder: what is made inside belongs to the folder's group, which is meant to read it.
const SET_GROUP_ID: u32 = 0o2000;
/// Enough that a small message is written at once.
const BUFFER: usize = 64 * 1024;

/// Who may read what is made below a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The owner.
    Owner,
    /// The owner and the group of the root.
    Group,
}

impl Access {
    /// What the mode of `root` says; a root that is yet to be made is its owner's.
    pub fn below(root: &Path) -> Self {
        match root.metadata() {
            Ok(metadata) if metadata.permissions().mode() & SET_GROUP_ID != 0 => Self::Group,
            _ => Self::Owner,
        }
    }

    fn folder_mode(self) -> u32 {
        match self {
            Self::Owner => 0o700,
            Self::Group => 0o750,
        }
    }

    /// The mode of a file.
    pub fn file_mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Group => 0o640,
        }
    }
}

/// Makes a folder and those above it where they are missing, durably.
pub(super) fn make(folder: &Path, access: Access) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(parent) = parent {
        make(parent, access)?;
    }
    let mode = access.folder_mode();
    match DirBuilder::new().mode(mode).create(folder) {
        // Another delivery was faster; it may not have synced yet.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    parent.map_or(Ok(()), sync)
}

/// Writes `lines` and then `content`, line ends as LF, into a file that is moved from `temporary` to `path` once it is
/// whole and synced. What was at either place is replaced.
pub(super) fn write(
    temporary: &Path,
    path: &Path,
    access: Access,
    lines: &[u8],
    content: &mut impl Read,
) -> io::Result<()> {
    let written = write_temporary(temporary, access, lines, content)
        .and_then(|()| std::fs::rename(temporary, path));
    if let Err(error) = written {
        // Where this fails too, the next attempt writes over it.
        let _ = std::fs::remove_file(temporary);
        return Err(error);
    }
    path.parent().map_or(Ok(()), sync)
}

fn write_temporary(
    temporary: &Path,
    access: Access,
    lines: &[u8],
    content: &mut impl Read,
) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(access.file_mode())
        .open(temporary)?;
    let mut lines_end = LineEnds {
        to: BufWriter::with_capacity(BUFFER, &file),
        pending: false,
    };
    lines_end.write_all(lines)?;
    io::copy(content, &mut lines_end)?;
    lines_end.finish()?;
    file.sync_data()
}

/// Makes what was renamed into or removed from a folder durable.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Turns CRLF into LF: a mailbox keeps lines as local programs do.
struct LineEnds<W> {
    to: W,
    /// A CR was seen whose next octet was not.
    pending: bool,
}

impl<W: Write> LineEnds<W> {
    fn finish(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.pending) {
            self.to.write_all(b"\r")?;
        }
        self.to.flush()
    }
}

impl<W: Write> Write for LineEnds<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut rest = octets;
        while let Some(first) = rest.first() {
            if std::mem::take(&mut self.pending) && *first != b'\n' {
                self.to.write_all(b"\r")?;
            }
            let line = memchr::memchr(b'\r', rest).unwrap_or(rest.len());
            let (plain, behind) = rest.split_at_checked(line).unwrap_or((rest, &[]));
            self.to.write_all(plain)?;
            self.pending = !behind.is_empty();
            rest = behind.get(1..).unwrap_or_default();
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, LineEnds, make, write};
    use proptest::prelude::*;
    use std::fs::{self, Permissions};
    use std::io::{self, Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn local(pieces: &[&[u8]]) -> Vec<u8> {
        let mut line_ends = LineEnds {
            to: Vec::new(),
            pending: false,
        };
        pieces
            .iter()
            .for_each(|piece| line_ends.write_all(piece).unwrap());
        line_ends.finish().unwrap();
        line_ends.to
    }

    #[test]
    fn only_crlf_becomes_lf() {
        for (wire, expected) in [
            ("a\r\nb\r\n", "a\nb\n"),
            ("a\rb\r\r\n\r", "a\rb\r\n\r"),
            ("a\nb", "a\nb"),
            ("", ""),
        ] {
            assert_eq!(local(&[wire.as_bytes()]), expected.as_bytes(), "{wire:?}");
        }
    }

    proptest! {
        #[test]
        fn however_it_is_cut(text in "[a\r\n]{0,20}", at in 0_usize..20) {
            let (front, back) = text.as_bytes().split_at(at.min(text.len()));
            prop_assert_eq!(local(&[front, back]), text.replace("\r\n", "\n").into_bytes());
        }
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn owner_or_group_as_the_root_says() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o700)).unwrap();
        for (name, root_mode, folder_mode, file_mode) in
            [("a", 0o700, 0o700, 0o600), ("b", 0o2750, 0o2750, 0o640)]
        {
            let root = root.path().join(name);
            make(&root, Access::Owner).unwrap();
            fs::set_permissions(&root, Permissions::from_mode(root_mode)).unwrap();
            let access = Access::below(&root);
            let folder = root.join("x/y");
            make(&folder, access).unwrap();
            let file = folder.join("file");
            write(&folder.join("tmp"), &file, access, b"", &mut io::empty()).unwrap();
            assert_eq!(
                [mode(&folder), mode(&file)],
                [folder_mode, file_mode],
                "{name}"
            );
        }
    }

    /// Half a message, then an error.
    struct Broken(bool);

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::take(&mut self.0) {
                buffer[..4].copy_from_slice(b"half");
                return Ok(4);
            }
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    #[test]
    fn never_half_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let (temporary, path) = (folder.path().join("tmp"), folder.path().join("new"));
        let error = write(&temporary, &path, Access::Owner, b"x", &mut Broken(true)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
