//! Takes the keys from what a script returned, strictly, and gathers everything that does not fit.

use super::keys::Visitor;
use super::kind::{Kind, describe, nearest};
use rhai::{Dynamic, ImmutableString, Map};
use std::mem;
use std::path::Path;

/// A key that does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// `server.tls.handshake_timeout`
    pub(super) path: String,
    /// What is wrong with it.
    pub(super) what: String,
    /// What to do about it.
    pub(super) remedy: String,
}

/// Goes through the keys and leaves in place the default of each that is missing or does not fit.
pub(super) struct Reader<'a> {
    /// What relative paths are relative to.
    base: &'a Path,
    /// Every path that there is.
    known: &'a [String],
    /// `server.tls.`, or nothing at the root.
    prefix: String,
    /// What the script returned for this section, less what was taken.
    found: Map,
    /// What it was handed.
    handed: Map,
    /// Whether every key of this section could be read.
    fits: bool,
    misfits: Vec<Misfit>,
}

impl<'a> Reader<'a> {
    /// Of what a script `returned`, which was `handed` all defaults and may set the `known` paths.
    pub(super) fn new(base: &'a Path, known: &'a [String], handed: Map, returned: Map) -> Self {
        Self {
            base,
            known,
            prefix: String::new(),
            found: returned,
            handed,
            fits: true,
            misfits: Vec::new(),
        }
    }

    /// What did not fit, keys that there are not among it.
    pub(super) fn finish(mut self) -> Vec<Misfit> {
        self.refuse_rest();
        self.misfits
    }

    fn take(&mut self, key: &str) -> Option<Dynamic> {
        self.found.remove(key).map(Dynamic::flatten)
    }

    fn misfit(&mut self, key: &str, what: String, remedy: String) {
        self.misfits.push(Misfit {
            path: format!("{}{key}", self.prefix),
            what,
            remedy,
        });
    }

    /// Whatever nobody took is no key.
    fn refuse_rest(&mut self) {
        for key in mem::take(&mut self.found).into_keys() {
            let path = format!("{}{key}", self.prefix);
            let misfit = unknown(path, self.known);
            self.misfits.push(misfit);
        }
    }
}

impl Visitor for Reader<'_> {
    fn key<T, K: Kind<T>>(&mut self, key: &'static str, kind: K, value: &mut T) {
        let Some(found) = self.take(key) else {
            return;
        };
        match kind.read(found, self.base) {
            Ok(read) => *value = read,
            Err(unfit) => {
                let what = format!("expected {}, {unfit}", kind.expected());
                self.misfit(key, what, format!("write {}", kind.example()));
                self.fits = false;
            }
        }
    }

    fn derived<T, K: Kind<T>>(&mut self, key: &'static str, kind: K, value: &mut T, default: T) {
        *value = default;
        if is_untouched(self.handed.get(key), self.found.get(key)) {
            self.found.remove(key);
        }
        self.key(key, kind, value);
    }

    fn section(&mut self, key: &'static str, keys: impl FnOnce(&mut Self)) {
        let found = match self.take(key).map(Dynamic::try_cast_result::<Map>) {
            Some(Ok(map)) => map,
            None => Map::new(),
            Some(Err(other)) => {
                let what = format!("expected a map, found {}", describe(&other));
                self.misfit(key, what, "write #{ key: value, … }".into());
                self.fits = false;
                Map::new()
            }
        };
        let handed = self
            .handed
            .remove(key)
            .and_then(Dynamic::try_cast::<Map>)
            .unwrap_or_default();
        let outer_found = mem::replace(&mut self.found, found);
        let outer_handed = mem::replace(&mut self.handed, handed);
        let outer_length = self.prefix.len();
        self.prefix.push_str(key);
        self.prefix.push('.');
        let outer_fits = mem::replace(&mut self.fits, true);
        keys(self);
        self.refuse_rest();
        self.fits &= outer_fits;
        self.prefix.truncate(outer_length);
        self.found = outer_found;
        self.handed = outer_handed;
    }

    fn refuse(&mut self, key: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        // A default that stands for what could not be read is not the operator's contradiction.
        if self.fits {
            self.misfit(key, what.into(), remedy.into());
        }
    }
}

/// Whether the script left alone the very string that it was handed. An equal one that it wrote itself is another: a
/// path that the operator spelled out must not move along with the spool.
fn is_untouched(handed: Option<&Dynamic>, found: Option<&Dynamic>) -> bool {
    let string = |value: Option<&Dynamic>| {
        value.and_then(|value| value.clone().try_cast::<ImmutableString>())
    };
    match (string(handed), string(found)) {
        (Some(handed), Some(found)) => handed.ptr_eq(&found),
        _ => false,
    }
}

/// `path` is none of the `known` ones.
pub(super) fn unknown(path: String, known: &[String]) -> Misfit {
    let (section, key) = match path.rsplit_once('.') {
        Some((section, key)) => (format!("{section}."), key),
        None => (String::new(), path.as_str()),
    };
    // Sections, too, can be misspelt.
    let mut all: Vec<&str> = known
        .iter()
        .flat_map(|known| {
            let ends = known.match_indices('.').map(|(at, _)| at);
            ends.chain([known.len()]).filter_map(|end| known.get(..end))
        })
        .collect();
    all.dedup();
    let mut siblings: Vec<&str> = all
        .iter()
        .filter_map(|known| known.strip_prefix(section.as_str()))
        .filter(|sibling| !sibling.contains('.'))
        .collect();
    siblings.sort_unstable();
    siblings.dedup();
    let remedy = match nearest(key, siblings.iter().copied()) {
        Some(sibling) => format!("did you mean {section}{sibling}?"),
        None => match nearest(key, all.iter().copied().map(last)) {
            Some(name) => {
                let elsewhere = all.into_iter().find(|known| last(known) == name);
                format!("did you mean {}?", elsewhere.unwrap_or(name))
            }
            None => format!("remove it; the keys here are {}", siblings.join(", ")),
        },
    };
    Misfit {
        path,
        what: "unknown key".into(),
        remedy,
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}
