//! Quarantines: folders for messages that a rule accepted and keeps from their recipients.
//!
//! A message lies in `APP/quarantine/NAME/ID`, once for all its recipients, each with a `Delivered-To` line.

use super::folder::{self, Access};
use super::name;
use crate::mail::MessageId;
use std::io::{self, Read};
use std::path::Path;

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
    let name = name::encode(name).ok_or(io::ErrorKind::InvalidFilename)?;
    let folder = root.join("quarantine").join(name);
    folder::make(&folder, Access::Owner)?;
    let path = folder.join(id.to_string());
    let temporary = folder.join(format!("{id}.tmp"));
    folder::write(&temporary, &path, Access::Owner, lines, content)
}
