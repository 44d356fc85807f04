//! Paths of files and folders.

use super::{Kind, Unfit, text};
use rhai::Dynamic;
use std::path::{Path, PathBuf};

/// A path, absolute or relative to the configuration root. Whether it leads anywhere is for its user to see.
pub(in crate::config) struct File;

impl Kind<PathBuf> for File {
    fn expected(&self) -> String {
        "a path".into()
    }

    fn example(&self) -> String {
        "a path, absolute or relative to the configuration root, as a string".into()
    }

    fn read(&self, value: Dynamic, base: &Path) -> Result<PathBuf, Unfit> {
        let text = text(value)?;
        if text.is_empty() {
            return Err(Unfit::of(&text.into()).because("it is empty"));
        }
        if text.contains('\0') {
            return Err(Unfit::of(&text.into()).because("it contains a NUL"));
        }
        Ok(base.join(text.as_str()))
    }

    fn write(&self, value: &PathBuf) -> Dynamic {
        value.to_string_lossy().into_owned().into()
    }
}
