//! Runs the directives of a file, one after the other, up to the first decision.

use super::Policy;
use crate::mail::Transaction;
use crate::rules::Stage;
use crate::rules::directive::{Directive, SharedDirective};
use crate::rules::file::RuleFile;
use crate::rules::guard::Refusal;
use crate::rules::observer::Run;
use crate::rules::scene::{Edits, Scene};
use crate::rules::state::State;
use crate::script::{Diagnostic, line_and_column};
use std::time::Instant;

impl Policy {
    /// Runs what `file` has for `stage`, up to the first decision, for which a directive that fails counts. `None` where
    /// the file has nothing for it.
    pub(super) fn execute(
        &self,
        file: &RuleFile,
        stage: Stage,
        transaction: &mut Transaction,
    ) -> Option<(State, Edits)> {
        self.execute_some(file, file.directives(stage), stage, transaction)
    }

    /// The same for `directives`, those of `file` at `stage` or a part of them.
    pub(super) fn execute_some(
        &self,
        file: &RuleFile,
        directives: &[SharedDirective],
        stage: Stage,
        transaction: &mut Transaction,
    ) -> Option<(State, Edits)> {
        if directives.is_empty() {
            return None;
        }
        self.stand
            .put(Scene::set(stage, &self.rules.app, transaction));
        let decision = directives.iter().find_map(|directive| {
            match self.run_directive(directive, file, stage) {
                Ok(State::Next) => None,
                Ok(state) => Some(state),
                Err(error) => {
                    let client = transaction.connection.client;
                    let id = transaction.id.map(tracing::field::display);
                    let rule = directive.name.as_str();
                    let line = file.sources.line(&error);
                    tracing::error!(target: "rules", %client, id, %stage, rule, line, "{error}");
                    Some(State::Deny(Refusal::RuleFailed.reply()))
                }
            }
        });
        let edits = self.stand.take()?.strike(transaction);
        Some((decision.unwrap_or(State::Next), edits))
    }

    /// Runs one directive, and tells the observer where there is one.
    fn run_directive(
        &self,
        directive: &Directive,
        file: &RuleFile,
        stage: Stage,
    ) -> Result<State, Diagnostic> {
        let run = || directive.run(&self.rules.engine, &file.path, &self.stand);
        let Some(observer) = &self.observer else {
            return run();
        };
        let start = Instant::now();
        let result = run();
        observer.ran(&Run {
            stage,
            file: &file.path,
            position: line_and_column(directive.position),
            kind: directive.kind.keyword(),
            name: &directive.name,
            result: result.as_ref().map(ToString::to_string),
            took: start.elapsed(),
        });
        result
    }

    /// What `file` decides at a stage whose edits stay whatever it decides.
    pub(super) fn decide(
        &self,
        file: &RuleFile,
        stage: Stage,
        transaction: &mut Transaction,
    ) -> State {
        let executed = self.execute(file, stage, transaction);
        executed.map_or(State::Next, |(state, _)| state)
    }
}
