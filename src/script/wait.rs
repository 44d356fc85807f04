//! Native functions that wait for somebody else: a daemon, a name server, a database.

use super::limits::run;
use rhai::NativeCallContext;
use std::cell::Cell;
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, RuntimeFlavor};

thread_local! {
    /// The run on this thread that has waited last, and how long altogether.
    static WAITED: Cell<(u64, Duration)> = const { Cell::new((0, Duration::ZERO)) };
}

/// Runs `f`, which waits, for the native function that was called with `call`.
///
/// The worker thread is handed back to the runtime meanwhile, so that no other session waits along; and the time does not
/// count towards the deadline of the script, which cannot do anything about it. So `f` needs a time limit of its own.
pub fn wait<T>(call: &NativeCallContext<'_>, f: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let multi_thread =
        |handle: &Handle| matches!(handle.runtime_flavor(), RuntimeFlavor::MultiThread);
    let result = match Handle::try_current().ok().filter(multi_thread) {
        Some(_) => tokio::task::block_in_place(f),
        None => f(),
    };
    let run = run(call.global_runtime_state().num_operations());
    WAITED.set((run, waited(run) + start.elapsed()));
    result
}

/// How long the functions that `run` called have waited.
pub(super) fn waited(run: u64) -> Duration {
    match WAITED.get() {
        (last, waited) if last == run => waited,
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::wait;
    use crate::script::{Limits, engine, stamp};
    use rhai::{EvalAltResult, FnPtr, NativeCallContext, Position};
    use std::path::Path;
    use std::thread::sleep;
    use std::time::Duration;

    /// Whether a body that may take 50 ms comes to its end. `nap()` waits for 100.
    fn ends(body: &str) -> bool {
        let limits = Limits {
            deadline: Duration::from_millis(50),
            operations: 16_000_000,
            ..Limits::default()
        };
        let mut engine = engine(Path::new("/"), &limits);
        engine.register_fn("nap", |call: NativeCallContext<'_>| {
            wait(&call, || sleep(Duration::from_millis(100)));
        });
        engine.register_fn("run", run);
        engine
            .eval::<i64>(&format!("run(|| {{ {body} 1 }})"))
            .is_ok()
    }

    fn run(call: NativeCallContext<'_>, body: FnPtr) -> Result<i64, Box<EvalAltResult>> {
        let mut world = call.global_runtime_state().clone();
        world.num_operations = stamp();
        let (engine, name) = (call.engine(), body.fn_name());
        let place = Position::NONE;
        let call = NativeCallContext::new_with_all_fields(engine, name, None, &world, place);
        body.call_within_context(&call, ())
    }

    #[test]
    fn the_time_waited_is_not_the_script_s() {
        assert!(ends("nap(); for i in 0..100 {} nap();"));
        assert!(!ends("nap(); loop {}"));
        assert!(!ends("loop {}"));
    }

    #[test]
    fn a_worker_thread_is_handed_back() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        // The only worker waits for what another task does.
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let told = std::sync::Mutex::new(told);
        let waiting = runtime.spawn(async move {
            let mut engine = engine(Path::new("/"), &Limits::default());
            engine.register_fn("nap", move |call: NativeCallContext<'_>| {
                let told = told.lock().unwrap();
                wait(&call, || told.recv_timeout(Duration::from_secs(20)).is_ok())
            });
            tokio::spawn(async move { tell.send(()) });
            engine.eval::<bool>("nap()").unwrap()
        });
        assert!(runtime.block_on(waiting).unwrap());
    }
}
