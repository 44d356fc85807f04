//! Hears which directives ran.

use super::event::Event;
use super::world::World;
use crate::rules::{Observer, Run};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The directives that have run since somebody looked.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<Vec<Recorded>>);

#[derive(Debug)]
struct Recorded {
    file: PathBuf,
    event: Event,
    /// It refused, or failed.
    refused: bool,
}

impl Observer for Recorder {
    fn ran(&self, run: &Run<'_>) {
        let (line, column) = run.position.unwrap_or((1, 1));
        let (result, refused) = match &run.result {
            Ok(_) if run.kind == "action" => ("done".to_owned(), false),
            Ok(state) => (state.clone(), state.starts_with("deny")),
            Err(error) => (format!("failed: {error}"), true),
        };
        let recorded = Recorded {
            file: run.file.to_owned(),
            event: Event::Ran {
                file: PathBuf::new(),
                line,
                column,
                kind: run.kind,
                name: run.name.to_owned(),
                result,
                microseconds: u64::try_from(run.took.as_micros()).unwrap_or(u64::MAX),
            },
            refused,
        };
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(recorded);
    }
}

impl Recorder {
    /// What has run, with paths as the operator writes them; and whether any of it refused.
    pub(super) fn take(&self, world: &World) -> (Vec<Event>, bool) {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = recorded.iter().any(|recorded| recorded.refused);
        let events = recorded.drain(..).map(|recorded| {
            let mut event = recorded.event;
            if let Event::Ran { file, .. } = &mut event {
                *file = world.shown(&recorded.file);
            }
            event
        });
        (events.collect(), refused)
    }
}
