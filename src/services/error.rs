//! Why a service gives no answer, and what to do about it.

use std::time::Duration;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It took longer than it may.
    #[error("gave no answer within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// It is not there, or does not let us in.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// It has understood, and does not want to.
    #[error("refuses: {0}")]
    Refused(String),
    /// A program is to run as somebody whom the server is not.
    #[error("is to run as {0:?}, and the server is somebody else")]
    SomebodyElse(String),
    /// Each of its connections, of which there are so many, was in use for as long as a question may wait.
    #[error("has no connection to spare: all {0} are in use")]
    Busy(usize),
    /// The answer is larger than a script may hold.
    #[error("answers with more than {max} {what}")]
    TooMuch {
        /// Of what there is too much.
        what: &'static str,
        /// What there may be.
        max: usize,
    },
    /// A row cannot become a map.
    #[error("answers with two columns named {0:?}")]
    SameName(String),
    /// A column of a type that a script knows nothing like.
    #[cfg(feature = "postgresql")]
    #[error("answers with a column {column:?} of type {kind}")]
    NoCounterpart {
        /// The column.
        column: String,
        /// Its type in the words of the database.
        kind: String,
    },
    /// A file that is written by rules and no longer is what it should be.
    #[error("cannot be read or written: {0}")]
    File(String),
    /// The thread that waits cannot be started, or what it ran came to no end.
    #[error("cannot be waited for: {0}")]
    Runtime(String),
}

impl Error {
    /// What an operator can do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::TimedOut(_) => "see why it is slow, or give it a longer timeout",
            Self::Unreachable(_) => "see that it is there and that the server may use it",
            Self::Refused(_) => "correct what it is asked",
            Self::SomebodyElse(_) => "leave the user out: commands run as the server does",
            Self::Busy(_) => "give it more connections, or see why its answers are slow",
            Self::TooMuch { .. } => "ask for less: name the columns, and LIMIT the rows",
            Self::SameName(_) => "give one of them another name: SELECT … AS …",
            #[cfg(feature = "postgresql")]
            Self::NoCounterpart { .. } => "make it a text in the statement: SELECT column::text",
            Self::File(_) => "check the file, and that the server may use it",
            Self::Runtime(_) => "see the log of the system for what it has run out of",
        }
    }
}
