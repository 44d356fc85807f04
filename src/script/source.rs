//! The lines that errors are about, as the operator wrote them.

use super::{Diagnostic, read};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// How much of a line is shown, in characters.
const WIDTH: usize = 120;

/// The texts of some files, as they were when they were loaded: a line of a running rule is shown as it runs.
#[derive(Debug, Default)]
pub struct Sources(HashMap<PathBuf, String>);

impl Sources {
    /// Reads these files; one that cannot be read has no lines.
    pub fn read(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let texts = files.into_iter().filter_map(|file| {
            let text = read(&file).ok()?;
            Some((file, text))
        });
        Self(texts.collect())
    }

    /// The line that `diagnostic` is about, without the white space around it.
    pub fn line(&self, diagnostic: &Diagnostic) -> Option<&str> {
        let text = self.0.get(diagnostic.file.as_ref()?)?;
        let (line, _) = diagnostic.position?;
        text.lines().nth(line.checked_sub(1)?).map(str::trim)
    }
}

impl Diagnostic {
    /// The line that this is about and a caret below its column: two lines, indented, for people. Reads the file; `None`
    /// where there is no such line any more.
    pub fn excerpt(&self) -> Option<String> {
        excerpt(self.file.as_deref()?, self.position?)
    }
}

fn excerpt(file: &Path, (number, column): (usize, usize)) -> Option<String> {
    let text = read(file).ok()?;
    let line = text.lines().nth(number.checked_sub(1)?)?;
    let column = column.saturating_sub(1);
    // Of a long line, what is around the column.
    let skipped = (column + 1).saturating_sub(WIDTH);
    let shown: String = line
        .chars()
        .skip(skipped)
        .take(WIDTH)
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect();
    let margin = " ".repeat(number.to_string().len());
    let caret = " ".repeat(column.saturating_sub(skipped));
    Some(format!(
        "  {number} | {}\n  {margin} | {caret}^",
        shown.trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caret_stands_below_the_column() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.vsl");
        let long = format!("{}x", " ".repeat(200));
        std::fs::write(&file, format!("let a = 1;\n\té = nothing();  \n{long}\n")).unwrap();
        for (position, expected) in [
            ((1, 5), Some("  1 | let a = 1;\n    |     ^")),
            ((2, 6), Some("  2 |  é = nothing();\n    |      ^")),
            ((4, 1), None),
            ((0, 1), None),
        ] {
            assert_eq!(excerpt(&file, position).as_deref(), expected);
        }
        let shown = excerpt(&file, (3, 201)).unwrap();
        let (line, caret) = shown.split_once('\n').unwrap();
        assert!(line.ends_with('x') && line.chars().count() == caret.chars().count());
    }
}
