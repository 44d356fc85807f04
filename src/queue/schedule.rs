//! When to try again (RFC 5321 §4.5.4.1): a pure function of attempts, arrival, now and chance.
//!
//! Whatever the clock says, the next attempt is never further away than [`Schedule::retry_max`], and a message is
//! given up only after an attempt failed.

use jiff::Timestamp;
use std::time::Duration;

/// `server.queues.delivery`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The first pause (`retry_min`, `deferred_retry_period`).
    pub retry_min: Duration,
    /// The longest pause.
    pub retry_max: Duration,
    /// From arrival to the bounce.
    pub lifetime: Duration,
    /// From arrival to the warning.
    pub warn_after: Duration,
    /// `deferred_retry_max`: give up after so many attempts.
    pub attempts_max: Option<u32>,
}

/// What follows an attempt that failed for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextAttempt {
    /// The next attempt is due at this time.
    At(Timestamp),
    /// There is none: the lifetime or the number of attempts is used up.
    GiveUp,
}

impl Schedule {
    /// The attempt after the one that just failed.
    ///
    /// `attempts` counts the attempts made, that one included. `jitter` is a number from 0 to 1 that the caller draws:
    /// it spreads the attempts of messages that failed together over the second half of the pause, which doubles from
    /// `retry_min` to `retry_max`. The last attempt falls on the end of the lifetime, not beyond it.
    pub fn next(
        &self,
        attempts: u32,
        arrived: Timestamp,
        now: Timestamp,
        jitter: f64,
    ) -> NextAttempt {
        // A clock that was set back makes arrival lie ahead: such a message has just come.
        let age = Duration::try_from(now.duration_since(arrived)).unwrap_or_default();
        let remaining = self.lifetime.saturating_sub(age);
        let exhausted = self.attempts_max.is_some_and(|most| attempts >= most);
        if remaining.is_zero() || exhausted {
            return NextAttempt::GiveUp;
        }
        later(now, self.pause(attempts, jitter).min(remaining))
    }

    fn pause(&self, attempts: u32, jitter: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts);
        let longest = self.retry_min.saturating_mul(doubled).min(self.retry_max);
        let shortest = (longest / 2).max(self.retry_min).min(longest);
        shortest + (longest - shortest).mul_f64(jitter.clamp(0.0, 1.0))
    }
}

/// `now + pause`; at the end of time there is no later attempt.
fn later(now: Timestamp, pause: Duration) -> NextAttempt {
    now.checked_add(pause)
        .map_or(NextAttempt::GiveUp, NextAttempt::At)
}

#[cfg(test)]
mod tests {
    use super::{NextAttempt, Schedule};
    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;
    use std::time::Duration;

    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;

    fn schedule() -> Schedule {
        Schedule {
            retry_min: Duration::from_secs(MINUTE),
            retry_max: Duration::from_secs(HOUR),
            lifetime: Duration::from_secs(5 * DAY),
            warn_after: Duration::from_secs(4 * HOUR),
            attempts_max: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn pauses_double_from_the_least_to_the_greatest() {
        let pause = |attempts, jitter| match schedule().next(attempts, at(0), at(1000), jitter) {
            NextAttempt::At(due) => due.duration_since(at(1000)).as_secs(),
            NextAttempt::GiveUp => panic!("gave up after {attempts}"),
        };
        for (attempts, shortest, longest) in [
            (1, 60, 120),
            (2, 120, 240),
            (3, 240, 480),
            (5, 960, 1920),
            (6, 1800, 3600),
            (7, 1800, 3600),
            (u32::MAX, 1800, 3600),
        ] {
            assert_eq!(pause(attempts, 0.0), shortest, "{attempts}");
            assert_eq!(pause(attempts, 1.0), longest, "{attempts}");
        }
    }

    #[test]
    fn gives_up_at_the_end_of_the_lifetime_after_a_last_attempt_there() {
        let end = i64::try_from(5 * DAY).unwrap();
        let next = |now| schedule().next(9, at(0), at(now), 0.5);
        assert_eq!(next(end - 10), NextAttempt::At(at(end)));
        assert_eq!(next(end), NextAttempt::GiveUp);
        assert_eq!(next(end + 1), NextAttempt::GiveUp);
    }

    #[test]
    fn gives_up_after_so_many_attempts() {
        let schedule = Schedule {
            attempts_max: Some(3),
            ..schedule()
        };
        assert!(matches!(
            schedule.next(2, at(0), at(9), 0.0),
            NextAttempt::At(_)
        ));
        assert_eq!(schedule.next(3, at(0), at(9), 0.0), NextAttempt::GiveUp);
    }

    #[test]
    fn one_pause_where_the_least_exceeds_the_greatest() {
        let schedule = Schedule {
            retry_min: Duration::from_secs(2 * HOUR),
            ..schedule()
        };
        assert_eq!(
            schedule.next(1, at(0), at(0), 0.7),
            NextAttempt::At(at(3600))
        );
    }

    proptest! {
        #[test]
        fn the_next_attempt_is_bounded_whatever_the_clock_says(
            attempts in 1_u32..,
            arrived in -1_000_000_000_i64..4_000_000_000,
            now in -1_000_000_000_i64..4_000_000_000,
            jitter in 0.0_f64..=1.0,
        ) {
            if let NextAttempt::At(due) = schedule().next(attempts, at(arrived), at(now), jitter) {
                prop_assert!(due > at(now));
                prop_assert!(due.duration_since(at(now)) <= SignedDuration::from_hours(1));
            }
        }
    }
}
