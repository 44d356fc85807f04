//! Which file runs, by the domains of sender and recipient.
//!
//! | sender | recipient | file |
//! |---|---|---|
//! | not ours, or `<>` | ours | that domain's `incoming.vsl` |
//! | not ours, or `<>` | not ours | `filter.vsl` |
//! | ours | the same domain | its `internal.vsl` |
//! | ours | any other | its `outgoing.vsl` |
//!
//! Recipients that share a file form a group: from the final dot on the file runs once for them all.

use super::file::RuleFile;
use crate::mail::{Address, Domains, Envelope, Recipient};
use crate::script::Diagnostic;
use rhai::Engine;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The name that a bookmark knows a group by.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relay => f.write_str("relay"),
            Self::Incoming(domain) => write!(f, "incoming {domain}"),
            Self::Outgoing(domain) => write!(f, "outgoing {domain}"),
            Self::Internal(domain) => write!(f, "internal {domain}"),
        }
    }
}

/// The rule files of one domain; each may be missing.
#[derive(Debug, Default)]
struct DomainFiles {
    incoming: Option<RuleFile>,
    outgoing: Option<RuleFile>,
    internal: Option<RuleFile>,
}

/// Every rule file but `filter.vsl`, by domain.
#[derive(Debug, Default)]
pub(super) struct DomainRules {
    by_domain: HashMap<String, DomainFiles>,
}

/// A choice of file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Group {
    /// `filter.vsl`
    Relay,
    /// `incoming.vsl` of this domain.
    Incoming(String),
    /// `outgoing.vsl` of this domain.
    Outgoing(String),
    /// `internal.vsl` of this domain.
    Internal(String),
}

impl Group {
    /// The group of mail from `sender` to `recipient`.
    pub(super) fn of(domains: &Domains, sender: Option<&Address>, recipient: &Address) -> Self {
        let ours = |address: &Address| domains.find(address.domain()).map(|domain| &domain.name);
        match (sender.and_then(ours), ours(recipient)) {
            (None, None) => Self::Relay,
            (None, Some(to)) => Self::Incoming(to.clone()),
            (Some(from), Some(to)) if from == to => Self::Internal(from.clone()),
            (Some(from), _) => Self::Outgoing(from.clone()),
        }
    }

    /// The group of that name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name.split_once(' ') {
            None if name == "relay" => Some(Self::Relay),
            Some(("incoming", domain)) => Some(Self::Incoming(domain.to_owned())),
            Some(("outgoing", domain)) => Some(Self::Outgoing(domain.to_owned())),
            Some(("internal", domain)) => Some(Self::Internal(domain.to_owned())),
            _ => None,
        }
    }

    /// The group that answers for `sender` before any recipient is known.
    pub(super) fn of_sender(domains: &Domains, sender: Option<&Address>) -> Self {
        sender
            .and_then(|sender| domains.find(sender.domain()))
            .map_or(Self::Relay, |domain| Self::Outgoing(domain.name.clone()))
    }
}

/// The recipients of one group, each with its place in the envelope.
pub(super) type Members = Vec<(usize, Recipient)>;

/// Takes the recipients of `envelope` by group, in the order in which the groups first appear.
pub(super) fn part(domains: &Domains, envelope: &mut Envelope) -> Vec<(Group, Members)> {
    let mut groups: Vec<(Group, Members)> = Vec::new();
    let sender = envelope.reverse_path.0.as_ref();
    let recipients = std::mem::take(&mut envelope.recipients).into_iter();
    for (place, recipient) in recipients.enumerate() {
        let group = Group::of(domains, sender, &recipient.address);
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, members)) => members.push((place, recipient)),
            None => groups.push((group, vec![(place, recipient)])),
        }
    }
    groups
}

impl DomainRules {
    /// Reads the files of each domain. All errors at once.
    pub(super) fn load(
        engine: &Engine,
        domains: &[(String, PathBuf)],
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut rules = Self::default();
        let mut errors = Vec::new();
        for (name, folder) in domains {
            let mut read = |file: &str| {
                load_if_present(engine, &folder.join(file)).unwrap_or_else(|found| {
                    errors.extend(found);
                    None
                })
            };
            let files = DomainFiles {
                incoming: read("incoming.vsl"),
                outgoing: read("outgoing.vsl"),
                internal: read("internal.vsl"),
            };
            rules.by_domain.insert(name.to_lowercase(), files);
        }
        if errors.is_empty() {
            Ok(rules)
        } else {
            Err(errors)
        }
    }

    /// Every file there is.
    pub(super) fn files(&self) -> impl Iterator<Item = &RuleFile> {
        let of_domains = self.by_domain.values();
        of_domains
            .flat_map(|files| [&files.incoming, &files.outgoing, &files.internal])
            .flatten()
    }

    /// The file of `group`, where it has one of its own; never `filter.vsl`.
    pub(super) fn file(&self, group: &Group) -> Option<&RuleFile> {
        let files = |name: &String| self.by_domain.get(name);
        match group {
            Group::Relay => None,
            Group::Incoming(domain) => files(domain)?.incoming.as_ref(),
            Group::Outgoing(domain) => files(domain)?.outgoing.as_ref(),
            Group::Internal(domain) => files(domain)?.internal.as_ref(),
        }
    }
}

/// A file that does not exist is no error; one that cannot be read is.
pub(super) fn load_if_present(
    engine: &Engine,
    file: &Path,
) -> Result<Option<RuleFile>, Vec<Diagnostic>> {
    match file.try_exists() {
        Ok(false) => Ok(None),
        _ => RuleFile::load(engine, file).map(Some),
    }
}
