//! Errors of scripts as the operator reads them.

use rhai::{Dynamic, EvalAltResult, LexError, ParseError, ParseErrorType, Position};
use std::fmt;
use std::path::{Path, PathBuf};

/// One error or warning about a file of the configuration, as the operator reads it:
/// `file:line:column: what: what to do`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, when one is to blame.
    pub file: Option<PathBuf>,
    /// Line and column from 1, where they are known.
    pub position: Option<(usize, usize)>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
        }
        if let Some((line, column)) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        if self.file.is_some() {
            f.write_str(" ")?;
        }
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

/// An error that a native function raises: what is wrong, and what the operator can do about it.
///
/// Travels through Rhai as the value of an `ErrorRuntime` and comes out again in [`diagnose`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {remedy}")]
pub struct Fault {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Fault {
    /// Of these two texts.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// As an error of the parser.
    pub fn in_syntax(self) -> ParseError {
        LexError::Runtime(format!("{}\n{}", self.what, self.remedy)).into_err(Position::NONE)
    }

    /// As an error at `position`.
    pub fn at(self, position: Position) -> Box<EvalAltResult> {
        Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(self), position))
    }
}

impl From<Fault> for Box<EvalAltResult> {
    fn from(fault: Fault) -> Self {
        fault.at(Position::NONE)
    }
}

/// What an error of a run means to the operator. `file` is named where the error itself names none.
pub fn diagnose(file: &Path, error: &EvalAltResult) -> Diagnostic {
    let (file, position, cause) = locate(file.to_owned(), None, error);
    let Fault { what, remedy } = explain(cause);
    Diagnostic {
        file: Some(file),
        position,
        what,
        remedy,
    }
}

/// The innermost error, and where it is: in the module or the function that it came from.
fn locate(
    file: PathBuf,
    outer: Option<(usize, usize)>,
    error: &EvalAltResult,
) -> (PathBuf, Option<(usize, usize)>, &EvalAltResult) {
    let here = line_and_column(error.position());
    match error {
        EvalAltResult::ErrorInModule(module, inner, _) if !module.is_empty() => {
            locate(PathBuf::from(module), None, inner)
        }
        EvalAltResult::ErrorInFunctionCall(_, source, inner, _) => {
            let (file, outer) = if source.is_empty() || Path::new(source) == file {
                (file, here.or(outer))
            } else {
                (PathBuf::from(source), None)
            };
            locate(file, outer, inner)
        }
        _ => (file, here.or(outer), error),
    }
}

/// Line and column from 1, where `position` has them. Rhai has no column for the very start of a line.
pub fn line_and_column(position: Position) -> Option<(usize, usize)> {
    position
        .line()
        .map(|line| (line, position.position().unwrap_or(1)))
}

fn explain(error: &EvalAltResult) -> Fault {
    use EvalAltResult as E;
    match error {
        E::ErrorRuntime(value, _) | E::ErrorTerminated(value, _) => {
            value.clone().try_cast::<Fault>().unwrap_or_else(|| {
                Fault::new(
                    format!("the script threw: {value}"),
                    "see the `throw` that raised it",
                )
            })
        }
        E::ErrorParsing(kind, _) => explain_syntax(kind),
        E::ErrorModuleNotFound(path, _) if is_path(path) => Fault::new(
            format!("no module `{path}`"),
            format!(
                "put it at {}.vsl below the configuration root, or next to this file",
                path.trim_end_matches(".vsl")
            ),
        ),
        E::ErrorModuleNotFound(name, _) => Fault::new(
            format!("no module or namespace `{name}`"),
            "import it at the top of the file, or check its name",
        ),
        E::ErrorFunctionNotFound(signature, _) => Fault::new(
            format!("function not found: {}", in_our_words(signature)),
            "check its name and its arguments",
        ),
        E::ErrorVariableNotFound(name, _) => Fault::new(
            format!("variable not found: {name}"),
            "declare it, or check its name",
        ),
        E::ErrorStackOverflow(_) => Fault::new(
            "too many nested calls",
            "look for a function that calls itself without end",
        ),
        E::ErrorDataTooLarge(what, _) => Fault::new(
            format!("{} exceeds its limit", lower_first(what)),
            "build smaller values",
        ),
        other => Fault::new(message(other), "correct the script"),
    }
}

/// The types of a signature as the language calls them.
fn in_our_words(signature: &str) -> String {
    signature
        .replace("&str | ImmutableString | String", "string")
        .replace("i64", "integer")
        .replace("f64", "float")
}

/// The error at the bottom of those that only say by which way it came.
pub fn cause(error: &EvalAltResult) -> &EvalAltResult {
    match error {
        EvalAltResult::ErrorInModule(_, inner, _)
        | EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => cause(inner),
        _ => error,
    }
}

/// Namespaces are identifiers, the paths of modules are given as strings.
fn is_path(name: &str) -> bool {
    name.contains(['/', '.']) || !rhai::is_valid_identifier(name)
}

fn explain_syntax(kind: &ParseErrorType) -> Fault {
    match kind {
        ParseErrorType::DuplicatedProperty(name) => {
            Fault::new(format!("`{name}` is given twice"), "merge the two into one")
        }
        ParseErrorType::BadInput(LexError::Runtime(text)) => {
            let (what, remedy) = text
                .split_once('\n')
                .unwrap_or((text, "correct the syntax"));
            Fault::new(what, remedy)
        }
        ParseErrorType::BadInput(LexError::ImproperSymbol(_, text)) if text.contains("'eval'") => {
            Fault::new("`eval` is not available", "write the code out")
        }
        _ => Fault::new(lower_first(&kind.to_string()), "correct the syntax"),
    }
}

/// Rhai's own words without the position, which stands in front.
fn message(error: &EvalAltResult) -> String {
    let text = error.to_string();
    let position = format!(" ({})", error.position());
    lower_first(text.strip_suffix(&position).unwrap_or(&text))
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map(|first| first.to_lowercase().chain(characters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_the_operator_expects() {
        let mut diagnostic = Diagnostic {
            file: Some(PathBuf::from("/etc/vsmtp/filter.vsl")),
            position: Some((3, 7)),
            what: "unknown stage `conect`".to_owned(),
            remedy: "did you mean `connect`?".to_owned(),
        };
        assert_eq!(
            diagnostic.to_string(),
            "/etc/vsmtp/filter.vsl:3:7: unknown stage `conect`: did you mean `connect`?"
        );
        diagnostic.position = None;
        assert_eq!(
            diagnostic.to_string(),
            "/etc/vsmtp/filter.vsl: unknown stage `conect`: did you mean `connect`?"
        );
        diagnostic.file = None;
        assert_eq!(
            diagnostic.to_string(),
            "unknown stage `conect`: did you mean `connect`?"
        );
    }
}
