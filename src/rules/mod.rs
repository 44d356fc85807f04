//! Policy: the vSL rules of `filter.vsl` and of each domain, run stage by stage, and the built-in guard behind them.
//!
//! [`Rules`] are compiled once and shared; a [`Policy`] is one session's memory of what they decided. Start at
//! [`Policy::run`].
//!
//! | file | what |
//! |---|---|
//! | `policy` | a stage from its question to its [`Verdict`]: which state of which file does what |
//! | `groups` | which file runs, by sender and recipient |
//! | `guard` | what decides where no rule did |
//! | `file`, `directive`, `review` | how a rule file is read, run, and found wanting before mail arrives |
//! | `scene` | how a native function reaches the transaction of the rule that called it |
//! | `setting`, `waiting` | how it reaches what all sessions share, and waits for somebody else |
//! | `state`, `object` | the values of the language |
//! | `api` | its functions, one file for each namespace |
//! | `manual` | what is written about them there, as pages for the operator |
//!
//! Invariants: rules run in place, and whatever waits hands its worker thread back; nothing is compiled while mail arrives; a rule that fails,
//! in whatever way, answers 451 and harms nobody else; no rule puts a raw octet on the wire (see [`Reply`]).
//!
//! [`Reply`]: crate::smtp::Reply

mod api;
mod directive;
mod file;
mod groups;
mod guard;
mod manual;
mod object;
mod observer;
mod policy;
mod review;
mod scene;
mod setting;
mod stage;
mod state;
mod waiting;

pub use manual::{Manual, UnknownPage};
pub use observer::{Observer, Run};
pub use policy::{Fate, Policy, Ruling, Verdict};
pub use stage::Stage;

use crate::authentication::{BackEnd, Listed, Saslauthd};
use crate::dns::{self, Resolver};
use crate::mail::Domains;
use crate::script::{self, Diagnostic, Limits, Literals};
use file::RuleFile;
use groups::{DomainRules, Group, load_if_present};
use rhai::{Engine, OptimizationLevel};
use setting::Setting;
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the rules are (`app.vsl`), and what they may touch.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration root: imports never leave it.
    pub root: PathBuf,
    /// `app.vsl.filter_path`, absolute.
    pub filter: PathBuf,
    /// `NAME` and folder of each enabled domain.
    pub domains: Vec<(String, PathBuf)>,
    /// `app.dirpath`: where rules may write files.
    pub app: PathBuf,
    /// `app.logs.filename`: where `log()` writes instead of the log.
    pub log: Option<PathBuf>,
    /// `server.smtp.auth.saslauthd`: the socket of the daemon that verifies the users of this machine.
    pub saslauthd: PathBuf,
    /// `server.dns`: whom `dns::` asks.
    pub dns: dns::Options,
    /// `server.system.user` and `group`: whom the server runs as, and so do its commands.
    pub identity: (String, String),
    /// Users in place of those of the machine, for a simulation.
    pub listed: Option<Listed>,
    /// `app.vsl.limits`: what one run of one rule may use up.
    pub limits: Limits,
}

/// Every rule, compiled once, shared by all sessions.
pub struct Rules {
    engine: Engine,
    /// `filter.vsl`; without it everything is refused.
    filter: Option<RuleFile>,
    of_domains: DomainRules,
    /// Those at which any file has rules.
    stages: HashSet<Stage>,
    domains: Arc<Domains>,
    /// `app.dirpath`
    app: Arc<Path>,
    resolver: Arc<dyn Resolver>,
}

impl Rules {
    /// Reads and compiles every rule file. `domains` are those that the guard and the choice of files go by.
    ///
    /// # Errors
    /// All that is wrong in all files. A missing `filter.vsl` is no error: it is logged, and everything is refused.
    pub fn load(options: &Options, domains: Arc<Domains>) -> Result<Arc<Self>, Vec<Diagnostic>> {
        let resolver = resolver(&options.dns).map_err(|error| vec![error])?;
        let engine = engine(options, &resolver).map_err(|error| vec![error])?;
        let filter = load_if_present(&engine, &options.filter);
        let of_domains = DomainRules::load(&engine, &options.domains);
        match (filter, of_domains) {
            (Ok(filter), Ok(of_domains)) => {
                if filter.is_none() {
                    let file = options.filter.display();
                    tracing::warn!(target: "rules", "{file} is missing: every connection is refused");
                }
                let speaks = |stage: &Stage| {
                    let mut files = filter.iter().chain(of_domains.files());
                    files.any(|file| !file.directives(*stage).is_empty())
                };
                Ok(Arc::new(Self {
                    engine,
                    stages: Stage::ALL.into_iter().filter(speaks).collect(),
                    filter,
                    of_domains,
                    domains,
                    app: options.app.as_path().into(),
                    resolver,
                }))
            }
            (filter, of_domains) => {
                let errors = [filter.err(), of_domains.err()];
                let mut errors: Vec<_> = errors.into_iter().flatten().flatten().collect();
                // A module is found wanting by each file that imports it.
                let mut seen = HashSet::new();
                errors.retain(|error| seen.insert(error.to_string()));
                Err(errors)
            }
        }
    }

    /// The resolver that rules ask, for whoever else has a question: its memory is worth sharing.
    pub fn resolver(&self) -> Arc<dyn Resolver> {
        Arc::clone(&self.resolver)
    }

    /// The file that answers for `group`, if there is one.
    fn file(&self, group: &Group) -> Option<&RuleFile> {
        match group {
            Group::Relay => self.filter.as_ref(),
            _ => self.of_domains.file(group),
        }
    }
}

/// An engine that knows all that rules may call.
fn engine(options: &Options, resolver: &Arc<dyn Resolver>) -> Result<Engine, Diagnostic> {
    let mut engine = script::engine(&options.root, &options.limits);
    // The review wants to see what was written, not what is left of it.
    engine.set_optimization_level(OptimizationLevel::None);
    directive::register(&mut engine);
    let (user, group) = options.identity.clone();
    let setting = Setting {
        root: options.root.clone(),
        app: options.app.clone(),
        user,
        group,
        resolver: Arc::clone(resolver),
        literals: Literals::of(&mut engine),
    };
    setting.install(&mut engine);
    let users = match &options.listed {
        Some(listed) => BackEnd::Listed(listed.clone()),
        None => BackEnd::Saslauthd(Saslauthd::new(options.saslauthd.clone())),
    };
    let log = options.log.as_deref();
    api::register(&mut engine, &options.root, log, users)?;
    Ok(engine)
}

fn resolver(options: &dns::Options) -> Result<Arc<dyn Resolver>, Diagnostic> {
    match dns::System::start(options) {
        Ok(resolver) => Ok(Arc::new(resolver)),
        Err(error) => Err(Diagnostic {
            file: None,
            position: None,
            what: format!("there is no resolver: {error}"),
            remedy: "see server.dns".to_owned(),
        }),
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("filter", &self.filter)
            .field("of_domains", &self.of_domains)
            .finish_non_exhaustive()
    }
}
