//! A bound on what strangers are told.
//!
//! Whoever forges a sender and finds a recipient that fails makes us write to somebody who has sent nothing. No report is
//! certain to be wanted but one to a client that had authenticated; of the others only so many go out in an hour. What does
//! not go out is in the log.

use crate::mail::{Domains, Origin};
use crate::queue::Entry;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const HOUR: f64 = 3600.0;
/// Reports to senders of our own domains stay here and harm nobody else: so many times more of them may go out.
const OURS: f64 = 10.0;
/// From so many domains on, those that are as good as new are forgotten.
const DOMAINS: usize = 1024;
/// How often that is looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// How many reports may go to senders who did not authenticate, in an hour. `None`: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportLimits {
    /// To all of them, save those of our own domains.
    pub total: Option<u32>,
    /// To those of one domain.
    pub per_domain: Option<u32>,
}

/// Counts reports. Shared by all deliveries.
pub(super) struct Backscatter {
    limits: ReportLimits,
    counts: Mutex<Counts>,
}

struct Counts {
    total: Bucket,
    domains: HashMap<String, Bucket>,
    swept: Instant,
}

/// A bucket that leaks as much in an hour as it holds.
#[derive(Clone, Copy)]
struct Bucket {
    level: f64,
    at: Instant,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Total,
    Domain,
}

impl Backscatter {
    pub fn new(limits: ReportLimits, now: Instant) -> Self {
        let counts = Counts {
            total: Bucket::new(now),
            domains: HashMap::new(),
            swept: now,
        };
        Self {
            limits,
            counts: Mutex::new(counts),
        }
    }

    /// Whether one more report may go to the sender of `entry`. Counts it, or says in the log that it does not go out.
    pub fn admits(&self, entry: &Entry, domains: &Domains, now: Instant) -> bool {
        let Some(to) = entry.reverse_path.0.as_ref() else {
            return true;
        };
        let user = |origin: &Origin| origin.connection.authenticated.is_some();
        if entry.origin.as_deref().is_some_and(user) {
            return true;
        }
        let ours = domains.find(to.domain()).is_some();
        let limit = match self.count(to.domain(), ours, now) {
            Ok(()) => return true,
            Err(Limit::Total) => "server.queues.delivery.report_count_max",
            Err(Limit::Domain) => "server.queues.delivery.report_count_max_per_domain",
        };
        let about = entry.id;
        tracing::warn!(%about, %to, limit, "notification suppressed: too many went out within the hour");
        false
    }

    fn count(&self, domain: &str, ours: bool, now: Instant) -> Result<(), Limit> {
        // Nothing can panic while the lock is held; were it otherwise, counts would still be counts.
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.sweep(self.limits.per_domain, now);
        let factor = if ours { OURS } else { 1.0 };
        let per_domain = self
            .limits
            .per_domain
            .map(|limit| f64::from(limit) * factor);
        let total = self.limits.total.filter(|_| !ours).map(f64::from);
        let domain = domain.to_ascii_lowercase();
        let of_domain = counts.domains.get(&domain).copied();
        let of_domain = of_domain.unwrap_or(Bucket::new(now));
        let of_domain = of_domain.filled(per_domain, now).ok_or(Limit::Domain)?;
        counts.total = counts.total.filled(total, now).ok_or(Limit::Total)?;
        counts.domains.insert(domain, of_domain);
        Ok(())
    }
}

impl Counts {
    /// Forgets domains that have had nothing for long. Memory is bounded by what goes out in an hour.
    fn sweep(&mut self, per_domain: Option<u32>, now: Instant) {
        if self.domains.len() < DOMAINS || now.saturating_duration_since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        let capacity = per_domain.map(f64::from);
        self.domains
            .retain(|_, bucket| capacity.is_some_and(|c| bucket.leaked(c, now) > 0.0));
    }
}

impl Bucket {
    const fn new(now: Instant) -> Self {
        Self {
            level: 0.0,
            at: now,
        }
    }

    fn leaked(self, capacity: f64, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.level - capacity * elapsed / HOUR).max(0.0)
    }

    /// With one more in it; `None`: it is full.
    fn filled(self, capacity: Option<f64>, now: Instant) -> Option<Self> {
        let Some(capacity) = capacity else {
            return Some(Self::new(now));
        };
        let level = self.leaked(capacity, now) + 1.0;
        (level <= capacity).then_some(Self { level, at: now })
    }
}

#[cfg(test)]
mod tests {
    use super::{Backscatter, DOMAINS, Limit, ReportLimits};
    use std::time::{Duration, Instant};

    fn limited(total: u32, per_domain: u32, now: Instant) -> Backscatter {
        let limits = ReportLimits {
            total: Some(total),
            per_domain: Some(per_domain),
        };
        Backscatter::new(limits, now)
    }

    #[test]
    fn a_domain_gets_so_many_an_hour() {
        let start = Instant::now();
        let counts = limited(100, 2, start);
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let ask = |minutes| counts.count("victim.example", false, at(minutes));
        assert_eq!([ask(0), ask(0)], [Ok(()); 2]);
        assert_eq!(ask(29), Err(Limit::Domain));
        assert_eq!(
            counts.count("Victim.Example", false, at(29)),
            Err(Limit::Domain)
        );
        assert_eq!(counts.count("other.example", false, at(29)), Ok(()));
        assert_eq!([ask(31), ask(31)], [Ok(()), Err(Limit::Domain)]);
        assert_eq!(
            [ask(300), ask(300), ask(300)],
            [Ok(()), Ok(()), Err(Limit::Domain)]
        );
    }

    #[test]
    fn all_of_them_get_so_many_an_hour() {
        let now = Instant::now();
        let counts = limited(3, 10, now);
        let refused = (0..5).filter(|n| counts.count(&format!("{n}.example"), false, now).is_err());
        assert_eq!(refused.count(), 2);
        let ours = (0..100).filter(|_| counts.count("home.example", true, now).is_ok());
        assert_eq!(ours.count(), 100);
        assert_eq!(counts.count("home.example", true, now), Err(Limit::Domain));
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let now = Instant::now();
        let limits = ReportLimits {
            total: None,
            per_domain: None,
        };
        let counts = Backscatter::new(limits, now);
        assert!((0..1000).all(|_| counts.count("a.example", false, now).is_ok()));
    }

    #[test]
    fn what_has_leaked_is_forgotten() {
        let start = Instant::now();
        let counts = limited(100_000, 1, start);
        for number in 0..DOMAINS {
            assert_eq!(
                counts.count(&format!("{number}.example"), false, start),
                Ok(())
            );
        }
        let later = start + Duration::from_secs(7200);
        assert_eq!(counts.count("a.example", false, later), Ok(()));
        assert_eq!(counts.counts.lock().unwrap().domains.len(), 1);
    }
}
