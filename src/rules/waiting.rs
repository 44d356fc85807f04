//! How a rule waits for somebody else: a name server, a database, a command.

use super::scene::Stand;
use crate::script::{self, Fault};
use crate::services;
use rhai::{Dynamic, EvalAltResult, NativeCallContext};
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many rules may wait at once. Each holds a thread, of which the daemon has no more than it says.
const PLACES: usize = 512;

/// Places that are taken, by the rules of every configuration together.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// A place among those who wait.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let place = Self;
        // Dropping the place gives it back.
        (TAKEN.fetch_add(1, Ordering::Relaxed) < PLACES).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Asks `service` for the function that was called with `call`; `ask` may wait, and has a time limit of its own.
///
/// # Errors
/// There is no answer, or no rule runs that could wait for one: nobody is asked while files are read, or a check would
/// change the world.
pub(super) fn ask<T>(
    call: &NativeCallContext<'_>,
    service: &str,
    ask: impl FnOnce() -> Result<T, services::Error>,
) -> Result<T, Box<EvalAltResult>> {
    let position = call.call_position();
    if !call.tag().is_some_and(Dynamic::is::<Stand>) {
        return Err(Fault::new(
            format!("{service} is asked while the file is read"),
            "ask it inside a rule",
        )
        .at(position));
    }
    let _place = Place::take().ok_or_else(|| {
        Fault::new(
            format!("{service} is not asked: {PLACES} rules wait for somebody already"),
            "see who is so slow, or give the functions that wait a shorter timeout",
        )
        .at(position)
    })?;
    script::wait(call, ask)
        .map_err(|error| Fault::new(format!("{service} {error}"), error.remedy()).at(position))
}
