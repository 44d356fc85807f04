//! A bounded number of connections, each with one question at a time.

use super::Error;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Connections that wait for the next question, and places for those that are in use or not made yet.
#[derive(Debug)]
pub(super) struct Pool<C> {
    state: Mutex<State<C>>,
    freed: Condvar,
    max: usize,
}

#[derive(Debug)]
struct State<C> {
    /// The one used last is the first to be used again.
    idle: Vec<(C, Instant)>,
    /// Places that nobody has.
    free: usize,
}

/// A place in the pool, given back when dropped. A connection that is not given back is closed.
pub(super) struct Place<'a, C> {
    pool: &'a Pool<C>,
    idle: Option<(C, Instant)>,
}

impl<C> Pool<C> {
    /// Without a connection yet, and never with more than `max`.
    pub(super) fn new(max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                idle: Vec::new(),
                free: max,
            }),
            freed: Condvar::new(),
            max,
        }
    }

    /// Waits for a place until `deadline`.
    ///
    /// # Errors
    /// There was none.
    pub(super) fn take(&self, deadline: Instant) -> Result<Place<'_, C>, Error> {
        let mut state = self.state();
        while state.free == 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Busy(self.max));
            }
            let waited = self.freed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.free -= 1;
        let idle = state.idle.pop();
        drop(state);
        Ok(Place { pool: self, idle })
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Place<'_, C> {
    /// A connection that was used before, and how long it has been idle.
    pub(super) fn connection(&mut self) -> Option<(C, Duration)> {
        let (connection, since) = self.idle.take()?;
        Some((connection, since.elapsed()))
    }

    /// Keeps the connection for the next question.
    pub(super) fn give_back(mut self, connection: C) {
        self.idle = Some((connection, Instant::now()));
    }
}

impl<C> Drop for Place<'_, C> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.idle.extend(self.idle.take());
        state.free += 1;
        drop(state);
        self.pool.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn no_more_than_there_are() {
        let pool: Pool<u8> = Pool::new(2);
        let mut first = pool.take(soon()).unwrap();
        assert!(first.connection().is_none());
        let second = pool.take(soon()).unwrap();
        assert_eq!(pool.take(soon()).err(), Some(Error::Busy(2)));
        first.give_back(1);
        let mut again = pool.take(soon()).unwrap();
        assert_eq!(again.connection().map(|(one, _)| one), Some(1));
        // Not given back, as after an error.
        drop(again);
        drop(second);
        assert!(pool.take(soon()).unwrap().connection().is_none());
    }

    #[test]
    fn who_waits_is_woken() {
        let pool: Pool<u8> = Pool::new(1);
        let deadline = Instant::now() + Duration::from_secs(60);
        let place = pool.take(deadline).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.take(deadline).is_ok());
            place.give_back(1);
            assert!(waiting.join().unwrap());
        });
    }
}
