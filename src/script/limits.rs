//! What a script may use up.

use super::Fault;
use super::wait::waited;
use rhai::{Dynamic, Engine};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a script may use up. Always on. The default is what suits a rule: arrays and maps are small because they can be
/// nested as deep as they are large, and are then dropped by recursion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Operations of one run.
    pub operations: u64,
    /// Wall-clock time of one run.
    pub deadline: Duration,
    /// Nested calls.
    pub call_levels: usize,
    /// Octets of one string.
    pub string_size: usize,
    /// Elements of one array, those of the arrays in it included.
    pub array_size: usize,
    /// Entries of one map, those of the maps in it included.
    pub map_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            operations: 1_000_000,
            deadline: Duration::from_secs(1),
            call_levels: 16,
            string_size: 1 << 20,
            array_size: 1024,
            map_size: 256,
        }
    }
}

/// Where the operations of a run end and its beginning starts in the engine's counter.
const OPERATION_BITS: u32 = 24;

/// What [`stamp`] counts from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The value that a run's counter of operations (`GlobalRuntimeState::num_operations`) starts with.
///
/// The engine tells its progress callback nothing but this counter, and copies it wherever a native function calls
/// back into a script, where the copy's operations are lost. Its upper bits say when the run began, so that the
/// deadline holds in such copies too.
pub fn stamp() -> u64 {
    (since_epoch() + 1) << OPERATION_BITS
}

/// The run that a counter of operations belongs to, named by when it began; 0 for one without a stamp.
pub(super) const fn run(counter: u64) -> u64 {
    counter >> OPERATION_BITS
}

/// Milliseconds.
fn since_epoch() -> u64 {
    u64::try_from(EPOCH.elapsed().as_millis()).unwrap_or(u64::MAX >> (OPERATION_BITS + 1))
}

impl Limits {
    /// Beyond these a script could harm others whatever its operator wants: overflow the stack, or hold a worker thread
    /// or the memory of the process.
    pub const MAX: Self = Self {
        operations: (1 << OPERATION_BITS) - 1,
        deadline: Duration::from_secs(60),
        call_levels: 64,
        string_size: 64 << 20,
        array_size: 4096,
        map_size: 4096,
    };

    /// Octets of stack that a thread needs for whatever a script can do within [`Limits::MAX`]: values are measured, copied
    /// and dropped by recursion.
    pub const STACK: usize = 8 << 20;

    /// Makes `engine` keep them.
    pub(super) fn impose(&self, engine: &mut Engine) {
        engine.set_max_call_levels(self.call_levels);
        engine.set_max_string_size(self.string_size);
        engine.set_max_array_size(self.array_size);
        engine.set_max_map_size(self.map_size);
        engine.set_max_variables(1000);
        engine.set_max_functions(1000);
        engine.set_max_modules(1000);
        engine.set_max_expr_depths(64, 32);
        let operations = self.operations.min(Self::MAX.operations);
        let deadline = self.deadline;
        let unstamped = AtomicU64::new(0);
        engine.on_progress(move |counter| {
            let done = counter & ((1 << OPERATION_BITS) - 1);
            if done > operations {
                return Some(Dynamic::from(Fault::new(
                    format!("took more than {operations} operations"),
                    "look for a loop that does not end",
                )));
            }
            // A run that was started without a stamp begins at its first operation.
            if counter == 1 {
                unstamped.store(since_epoch(), Ordering::Relaxed);
            }
            let (began, waited) = match run(counter) {
                0 => (unstamped.load(Ordering::Relaxed), Duration::ZERO),
                run => (run - 1, waited(run)),
            };
            let ran = Duration::from_millis(since_epoch().saturating_sub(began));
            let ran = ran.saturating_sub(waited);
            (ran > deadline).then(|| {
                Dynamic::from(Fault::new(
                    format!("ran for more than {}", humantime::format_duration(deadline)),
                    "look for a loop that does not end, or do less at once",
                ))
            })
        });
    }
}
