//! The thread that waits for sockets and processes on behalf of rules, which are synchronous.
//!
//! A runtime of its own, so that rules can ask wherever they run: on a worker of the daemon, in a test, or where there is
//! no runtime at all. It starts with the first question.

use super::Error;
use std::io;
use std::sync::{LazyLock, mpsc};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("services")
        .enable_all()
        .build()
});

/// Runs `future` while this thread waits; it is dropped when it takes longer than `limit`.
///
/// # Errors
/// It took too long, or the thread is not to be had.
pub fn within<T: Send + 'static>(
    limit: Duration,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, Error> {
    let runtime = RUNTIME
        .as_ref()
        .map_err(|error| Error::Runtime(error.to_string()))?;
    let (tell, told) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Nobody has stopped listening: the other end waits below.
        let _ = tell.send(timeout(limit, future).await);
    });
    match told.recv() {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(Error::TimedOut(limit)),
        // A panic; it stays in its task.
        Err(_) => Err(Error::Runtime("the question came to no end".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_wherever_it_is_called() {
        let second = Duration::from_secs(60);
        let question = move || within(second, async { 1 });
        assert_eq!(question(), Ok(1));
        let current_thread = Builder::new_current_thread().build().unwrap();
        assert_eq!(current_thread.block_on(async move { question() }), Ok(1));
    }

    #[test]
    fn what_never_ends_is_dropped() {
        let limit = Duration::from_millis(20);
        let (held, dropped) = mpsc::channel::<()>();
        let never = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        assert_eq!(within(limit, never), Err(Error::TimedOut(limit)));
        let hung_up = dropped.recv_timeout(Duration::from_secs(60));
        assert_eq!(hung_up, Err(mpsc::RecvTimeoutError::Disconnected));
    }

    #[test]
    fn a_panic_is_an_error() {
        let panics = async { panic!("on purpose") };
        let error = within(Duration::from_secs(60), panics).unwrap_err();
        assert!(matches!(error, Error::Runtime(_)), "{error}");
    }
}
