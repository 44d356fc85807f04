//! Rules for what runs without a daemon.

use arc_swap::ArcSwap;
use std::path::Path;
use std::sync::Arc;
use vsmtp::mail::Domains;
use vsmtp::rules::{Options, Rules};
use vsmtp::script::Limits;

/// Those of a configuration at `root` without domains.
pub fn options(root: &Path) -> Options {
    Options {
        root: root.to_owned(),
        filter: root.join("filter.vsl"),
        domains: Vec::new(),
        app: root.join("app"),
        log: None,
        saslauthd: root.join("mux"),
        dns: Default::default(),
        identity: ("vsmtp".to_owned(), "vsmtp".to_owned()),
        listed: None,
        limits: Limits::default(),
    }
}

/// As of a configuration without any rule file.
pub fn no_rules() -> Arc<ArcSwap<Rules>> {
    let options = options(Path::new("/nonexistent"));
    let rules = Rules::load(&options, Arc::new(Domains::default())).unwrap();
    Arc::new(ArcSwap::new(rules))
}
