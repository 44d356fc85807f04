//! Rules for what runs without a daemon.

use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::Arc;
use vsmtp::mail::Domains;
use vsmtp::rules::{Options, Rules};
use vsmtp::script::Limits;

/// As of a configuration without any rule file.
pub fn no_rules() -> Arc<ArcSwap<Rules>> {
    let nowhere = PathBuf::from("/nonexistent");
    let options = Options {
        root: nowhere.clone(),
        filter: nowhere.join("filter.vsl"),
        domains: Vec::new(),
        app: nowhere.clone(),
        log: None,
        saslauthd: nowhere,
        listed: None,
        limits: Limits::default(),
    };
    let rules = Rules::load(&options, Arc::new(Domains::default())).unwrap();
    Arc::new(ArcSwap::new(rules))
}
