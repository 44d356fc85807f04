//! How long a client is waited for: idle times, and absolute ones that one octet now and then does not prolong.

use super::Timeouts;
use crate::smtp::Awaiting;
use std::time::Duration;
use tokio::time::Instant;

/// Octets a second, on the average over the whole content, that a client must reach once the time-out `data` has passed.
const CONTENT_RATE: u64 = 1024;

/// A session that brings no message for so long ends, whatever commands keep it busy.
const UNPRODUCTIVE_MAX: Duration = Duration::from_secs(3600);

/// Longer than any session; what an overflow of the clock is taken for.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The clock of one session.
#[derive(Debug)]
pub(super) struct Patience {
    timeouts: Timeouts,
    /// The most octets that earn time: what is over the limit is read, but not for ever.
    size_max: u64,
    /// When the session began, or brought its last message.
    productive: Instant,
    /// When the last reply was given: a command must be complete within its time-out from then.
    replied: Instant,
    content: Pace,
}

/// How the content of the current message arrives.
#[derive(Clone, Copy, Debug)]
struct Pace {
    began: Instant,
    last: Instant,
    octets: u64,
}

impl Patience {
    pub fn new(timeouts: Timeouts, size_max: u64, now: Instant) -> Self {
        Self {
            timeouts,
            size_max,
            productive: now,
            replied: now,
            content: Pace::new(now),
        }
    }

    /// A reply was given; what comes next has its full time.
    pub fn replied(&mut self, now: Instant) {
        self.replied = now;
        self.content = Pace::new(now);
    }

    /// A message was accepted.
    pub fn accepted(&mut self, now: Instant) {
        self.productive = now;
    }

    /// `octets` of content arrived.
    pub fn received(&mut self, octets: usize, now: Instant) {
        self.content.last = now;
        self.content.octets += octets as u64;
    }

    /// When what the session awaits is overdue.
    pub fn deadline(&self, awaiting: Awaiting) -> Instant {
        let timeouts = &self.timeouts;
        let limit = match awaiting {
            Awaiting::Helo => timeouts.connect,
            Awaiting::Mail => timeouts.helo,
            Awaiting::Recipient => timeouts.mail_from,
            Awaiting::Data => timeouts.rcpt_to,
            Awaiting::Content => {
                let earned =
                    Duration::from_secs(self.content.octets.min(self.size_max) / CONTENT_RATE);
                let idle = after(self.content.last, timeouts.data);
                return idle.min(after(after(self.content.began, timeouts.data), earned));
            }
        };
        after(self.replied, limit).min(after(self.productive, UNPRODUCTIVE_MAX))
    }
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            last: now,
            octets: 0,
        }
    }
}

fn after(start: Instant, time: Duration) -> Instant {
    start.checked_add(time).unwrap_or_else(|| start + FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE_MAX: u64 = 10 * 1024 * 1024;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn timeouts() -> Timeouts {
        Timeouts {
            connect: seconds(1),
            helo: seconds(2),
            mail_from: seconds(3),
            rcpt_to: seconds(4),
            data: seconds(100),
        }
    }

    #[test]
    fn each_state_has_its_time() {
        let start = Instant::now();
        let patience = Patience::new(timeouts(), SIZE_MAX, start);
        for (awaiting, expected) in [
            (Awaiting::Helo, 1),
            (Awaiting::Mail, 2),
            (Awaiting::Recipient, 3),
            (Awaiting::Data, 4),
            (Awaiting::Content, 100),
        ] {
            assert_eq!(patience.deadline(awaiting), start + seconds(expected));
        }
    }

    #[test]
    fn content_must_keep_moving_and_keep_a_rate() {
        let start = Instant::now();
        let mut patience = Patience::new(timeouts(), SIZE_MAX, start);
        let deadline = |patience: &Patience| patience.deadline(Awaiting::Content) - start;
        // An octet a second buys no time.
        for second in 1..50 {
            patience.received(1, start + seconds(second));
        }
        assert_eq!(deadline(&patience), seconds(100));
        // Fast enough: only silence counts.
        patience.received(1024 * 1024, start + seconds(60));
        assert_eq!(deadline(&patience), seconds(160));
        // An endless message ends when one of the size allowed would have.
        let late = start + seconds(100 + 10 * 1024 - 1);
        patience.received(usize::MAX / 2, late);
        assert_eq!(deadline(&patience), seconds(100 + 10 * 1024));
        // The next message starts anew.
        patience.replied(late);
        assert_eq!(deadline(&patience), late + seconds(100) - start);
    }

    #[test]
    fn commands_alone_do_not_keep_a_session_alive() {
        let start = Instant::now();
        let mut patience = Patience::new(timeouts(), SIZE_MAX, start);
        let end = start + UNPRODUCTIVE_MAX;
        patience.replied(end - seconds(1));
        assert_eq!(patience.deadline(Awaiting::Mail), end);
        patience.accepted(end - seconds(1));
        assert_eq!(patience.deadline(Awaiting::Mail), end + seconds(1));
    }

    #[test]
    fn an_endless_time_does_not_overflow() {
        let start = Instant::now();
        let mut timeouts = timeouts();
        timeouts.data = Duration::MAX;
        let patience = Patience::new(timeouts, SIZE_MAX, start);
        assert!(patience.deadline(Awaiting::Content) > start + seconds(3600));
    }
}
