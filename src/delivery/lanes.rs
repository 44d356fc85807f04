//! A fair share for each destination: so many deliveries to one at a time, so many to all of them, and a bound on those
//! that wait for their turn. A slow destination fills its own lane and no other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How many deliveries there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// At the same time, to one destination.
    pub per_destination: usize,
    /// At the same time, to all of them.
    pub total: usize,
    /// Under way or waiting, to one destination.
    pub waiting_per_destination: usize,
    /// Under way or waiting, to all of them.
    pub waiting: usize,
}

/// The lanes of all destinations.
pub(super) struct Lanes {
    limits: Limits,
    total: Semaphore,
    lanes: Mutex<Occupied>,
}

#[derive(Default)]
struct Occupied {
    by_name: HashMap<String, Lane>,
    waiting: usize,
}

struct Lane {
    turns: Arc<Semaphore>,
    waiting: usize,
}

/// A place in a lane, given back when dropped.
struct Place<'a> {
    lanes: &'a Lanes,
    name: &'a str,
}

/// The right to deliver, given back when dropped.
pub(super) struct Turn<'a> {
    _of_lane: tokio::sync::OwnedSemaphorePermit,
    _of_total: SemaphorePermit<'a>,
    _place: Place<'a>,
}

impl Lanes {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            total: Semaphore::new(limits.total),
            lanes: Mutex::default(),
        }
    }

    /// Waits for a turn to deliver to `name`. `None`: too many wait already.
    pub async fn enter<'a>(&'a self, name: &'a str) -> Option<Turn<'a>> {
        let (turns, place) = self.queue_up(name)?;
        // The narrower gate first, so that nobody keeps others from the wider one while waiting.
        let of_lane = turns.acquire_owned().await.ok()?;
        let of_total = self.total.acquire().await.ok()?;
        Some(Turn {
            _of_lane: of_lane,
            _of_total: of_total,
            _place: place,
        })
    }

    fn queue_up<'a>(&'a self, name: &'a str) -> Option<(Arc<Semaphore>, Place<'a>)> {
        let mut occupied = self.occupied();
        if occupied.waiting >= self.limits.waiting {
            return None;
        }
        let lane = occupied.by_name.entry(name.to_owned()).or_insert(Lane {
            turns: Arc::new(Semaphore::new(self.limits.per_destination)),
            waiting: 0,
        });
        if lane.waiting >= self.limits.waiting_per_destination {
            return None;
        }
        lane.waiting += 1;
        let turns = Arc::clone(&lane.turns);
        occupied.waiting += 1;
        Some((turns, Place { lanes: self, name }))
    }

    fn occupied(&self) -> MutexGuard<'_, Occupied> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut occupied = self.lanes.occupied();
        occupied.waiting -= 1;
        if let Some(lane) = occupied.by_name.get_mut(self.name) {
            lane.waiting -= 1;
            if lane.waiting == 0 {
                occupied.by_name.remove(self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lanes, Limits};
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_full_lane_leaves_the_others_free() {
        let lanes = Lanes::new(Limits {
            per_destination: 1,
            total: 2,
            waiting_per_destination: 2,
            waiting: 4,
        });
        let mut first = pin!(lanes.enter("slow"));
        let Poll::Ready(Some(turn)) = poll(first.as_mut()) else {
            panic!("nobody was there");
        };
        let mut second = pin!(lanes.enter("slow"));
        assert!(poll(second.as_mut()).is_pending());
        let mut third = pin!(lanes.enter("slow"));
        assert!(matches!(poll(third.as_mut()), Poll::Ready(None)));
        let mut other = pin!(lanes.enter("other"));
        let Poll::Ready(Some(other_turn)) = poll(other.as_mut()) else {
            panic!("the other lane is free");
        };
        let mut beyond_total = pin!(lanes.enter("third"));
        assert!(poll(beyond_total.as_mut()).is_pending());
        let mut beyond_waiting = pin!(lanes.enter("fourth"));
        assert!(matches!(poll(beyond_waiting.as_mut()), Poll::Ready(None)));
        drop(turn);
        assert!(poll(beyond_total.as_mut()).is_ready());
        drop(other_turn);
        assert!(poll(second.as_mut()).is_ready());
    }

    #[test]
    fn who_goes_away_leaves_no_trace() {
        let lanes = Lanes::new(Limits {
            per_destination: 1,
            total: 1,
            waiting_per_destination: 9,
            waiting: 9,
        });
        {
            let mut first = pin!(lanes.enter("a"));
            let turn = poll(first.as_mut());
            let mut second = pin!(lanes.enter("a"));
            assert!(poll(second.as_mut()).is_pending());
            drop(turn);
        }
        let occupied = lanes.occupied();
        assert_eq!((occupied.waiting, occupied.by_name.len()), (0, 0));
    }
}
