//! MTA-STS (RFC 8461): what a domain says of its mail exchangers over HTTPS, remembered so that nobody can take it back
//! by breaking the DNS.
//!
//! Policies are kept in memory: after a restart they are fetched anew.

mod fetch;
mod policy;

pub(crate) use policy::{Mode, Policy};

use super::trust::Trust;
use crate::dns::Resolver;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Domains whose policies are remembered.
const DOMAINS_MAX: usize = 10_000;
/// How long to leave a server alone that gave no policy.
const FAILURE_PAUSE: Duration = Duration::from_secs(300);

/// The policies of every domain that has one.
#[derive(Debug)]
pub(super) struct Policies {
    trust: Trust,
    port: u16,
    known: Arc<Mutex<HashMap<String, Known>>>,
}

#[derive(Clone, Debug)]
struct Known {
    /// The id under which it was announced.
    id: String,
    /// `None`: it could not be had.
    policy: Option<Policy>,
    until: Instant,
}

impl Policies {
    /// Fetches from `port` (443) of servers that `trust` vouches for.
    pub(super) fn new(trust: Trust, port: u16) -> Self {
        Self {
            trust,
            port,
            known: Arc::default(),
        }
    }

    /// The same memory, for a relay that fetches otherwise.
    pub(super) fn renewed(&self, trust: Trust, port: u16) -> Self {
        Self {
            trust,
            port,
            known: Arc::clone(&self.known),
        }
    }

    /// What holds for `domain` at `now`, fetched where it must be. A policy that cannot be had is none, unless one is
    /// remembered (RFC 8461 §3.3).
    pub(super) async fn of(
        &self,
        resolver: &dyn Resolver,
        domain: &str,
        now: Instant,
    ) -> Option<Policy> {
        let domain = domain.to_ascii_lowercase();
        let remembered = self.remembered(&domain, now);
        let records = resolver.txt(&format!("_mta-sts.{domain}")).await;
        let announced = records
            .ok()
            .and_then(|answer| policy::announced(&answer.records));
        let policy = match (announced, remembered) {
            (Some(id), Some(known)) if known.id == id => known.policy,
            (None, remembered) => remembered?.policy,
            (Some(id), remembered) => {
                let before = remembered.and_then(|known| known.policy);
                match fetch::policy(resolver, &self.trust, &domain, self.port).await {
                    Ok(policy) => {
                        let until = now + policy.max_age;
                        self.remember(
                            domain,
                            Known {
                                id,
                                policy: Some(policy.clone()),
                                until,
                            },
                            now,
                        );
                        Some(policy)
                    }
                    Err(error) => {
                        tracing::info!(%domain, %error, "MTA-STS policy cannot be had");
                        if before.is_none() {
                            let until = now + FAILURE_PAUSE;
                            self.remember(
                                domain,
                                Known {
                                    id,
                                    policy: None,
                                    until,
                                },
                                now,
                            );
                        }
                        before
                    }
                }
            }
        };
        policy.filter(|policy| policy.mode != Mode::None)
    }

    fn remembered(&self, domain: &str, now: Instant) -> Option<Known> {
        let known = self.known();
        known.get(domain).filter(|known| known.until > now).cloned()
    }

    fn remember(&self, domain: String, fact: Known, now: Instant) {
        let mut known = self.known();
        if known.len() >= DOMAINS_MAX {
            known.retain(|_, known| known.until > now);
        }
        if known.len() < DOMAINS_MAX {
            known.insert(domain, fact);
        }
    }

    /// A panic elsewhere leaves the map whole: each change is one call.
    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
