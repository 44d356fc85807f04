//! Whoever wants to know which directives ran, such as a simulation. A server has none, and pays nothing.

use super::Stage;
use crate::script::Diagnostic;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Hears of each directive that has run.
pub trait Observer: fmt::Debug + Send + Sync {
    /// One has.
    fn ran(&self, run: &Run<'_>);
}

/// A directive that has run.
#[derive(Debug)]
pub struct Run<'a> {
    /// When.
    pub stage: Stage,
    /// The rule file that it stands in.
    pub file: &'a Path,
    /// Line and column of its name, from 1.
    pub position: Option<(usize, usize)>,
    /// `rule`, `action` or `delegate`.
    pub kind: &'static str,
    /// Its name.
    pub name: &'a str,
    /// The state that it returned, with its code, as in `deny 554 5.7.1 Refused by policy`; or why it failed.
    pub result: Result<String, &'a Diagnostic>,
    /// How long it took, what it waited for included.
    pub took: Duration,
}
