//! Where a key was assigned.
//!
//! Values of Rhai do not remember where they came from, so this follows a function's text instead: assignments, map
//! literals, variables, and the functions and constants of imported modules. It runs nothing and guesses nothing: what
//! it cannot follow has the origin of the nearest key above, in the end the file itself. Of several assignments that may
//! hold, the last counts.

mod survey;

use rhai::{Engine, OptimizationLevel};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use survey::Survey;

/// Where a key was assigned: file, line and column from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Location {
    file: PathBuf,
    position: (usize, usize),
}

/// The keys of one value, by their path below it; the value itself under the empty path.
type Keys = BTreeMap<String, Location>;

/// Where each key of one configuration was assigned.
#[derive(Debug, Default)]
pub(super) struct Origins {
    file: PathBuf,
    keys: Keys,
}

impl Origins {
    /// Nothing is known but the file.
    pub(super) fn nowhere(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            keys: Keys::new(),
        }
    }

    /// Those of the map that `function` of `file` takes and returns.
    pub(super) fn survey(engine: &mut Engine, root: &Path, file: &Path, function: &str) -> Self {
        let level = engine.optimization_level();
        // The optimizer turns map literals into constants, which have no positions.
        engine.set_optimization_level(OptimizationLevel::None);
        let keys = Survey::new(engine, root, file).returned_by(file, function);
        engine.set_optimization_level(level);
        Self {
            file: file.to_owned(),
            keys,
        }
    }

    /// Of `path`, or of the nearest key above it.
    pub(super) fn of(&self, path: &str) -> (PathBuf, Option<(usize, usize)>) {
        let mut path = path;
        loop {
            if let Some(location) = self.keys.get(path) {
                return (location.file.clone(), Some(location.position));
            }
            match path.rsplit_once('.') {
                Some((above, _)) => path = above,
                None if path.is_empty() => return (self.file.clone(), None),
                None => path = "",
            }
        }
    }

    /// The path whose assignment stands on this line.
    pub(super) fn assigned_at(&self, file: &Path, line: usize) -> Option<&str> {
        self.keys
            .iter()
            .find(|(_, location)| location.position.0 == line && location.file == file)
            .map(|(path, _)| path.as_str())
    }
}

/// Makes `path` of `held` what has these `keys`.
fn assign(held: &mut Keys, path: &str, here: Option<Location>, keys: Keys) {
    let prefix = match path {
        "" => String::new(),
        _ => format!("{path}."),
    };
    held.retain(|known, _| known != path && !known.starts_with(&prefix));
    held.extend(
        keys.into_iter()
            .filter(|(key, _)| !key.is_empty())
            .map(|(key, location)| (format!("{prefix}{key}"), location)),
    );
    if let Some(here) = here {
        held.insert(path.to_owned(), here);
    }
}

/// The keys of `path` of what holds `held`.
fn below(held: &Keys, path: &str) -> Keys {
    if path.is_empty() {
        return held.clone();
    }
    held.iter()
        .filter_map(|(known, location)| {
            let rest = known.strip_prefix(path)?;
            let rest = match rest {
                "" => rest,
                _ => rest.strip_prefix('.')?,
            };
            Some((rest.to_owned(), location.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{self, Limits};

    fn survey(files: &[(&str, &str)], path: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let mut engine = script::engine(folder.path(), &Limits::default());
        let file = folder.path().join(files[0].0);
        let origins = Origins::survey(&mut engine, folder.path(), &file, "on_config");
        let (file, position) = origins.of(path);
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        match position {
            Some((line, column)) => format!("{name}:{line}:{column}"),
            None => name,
        }
    }

    #[test]
    fn follows_what_operators_write() {
        for (text, path, expected) in [
            ("config.a = 1; config", "a", "m:1:23"),
            ("config.a.b = 1; config", "a.b", "m:1:23"),
            ("config.a.b = 1; config", "a.c", "m"),
            ("config.a = #{\n  b: 1 }; config", "a.b", "m:2:3"),
            ("config.a = #{\n  b: #{ c: 1 } }; config", "a.b.c", "m:2:9"),
            ("config.a = #{ b: 1 }; config", "a.x", "m:1:23"),
            ("config[\"a\"].b = 1; config", "a.b", "m:1:23"),
            ("let t = #{\n b: 1 }; config.a = t; config", "a.b", "m:2:2"),
            (
                "let t = #{};\nt.b = 1; config.a = t; config",
                "a.b",
                "m:2:1",
            ),
            (
                "let s = config.a;\ns.b = 1; config.a = s; config",
                "a.b",
                "m:2:1",
            ),
            ("if true {\n config.a = 1 } config", "a", "m:2:2"),
            ("config.a = 1;\nconfig.a = 2; config", "a", "m:2:1"),
            (
                "config.a = #{ b: 1 };\nconfig.a = #{}; config",
                "a.b",
                "m:2:1",
            ),
            ("config.a = 1; return config;", "a", "m:1:23"),
            ("#{ a: 1 }", "a", "m:1:26"),
            ("config", "a", "m"),
        ] {
            let text = format!("fn on_config(config) {{{text}}}");
            assert_eq!(survey(&[("m", &text)], path), expected, "{text}");
        }
    }

    #[test]
    fn follows_functions_and_modules() {
        let main = "import \"mod\" as x;\n\
                    fn tls(t, n) { t.b = n;\n t }\n\
                    fn on_config(config) {\n\
                    config.a = tls(config.a, 5);\n\
                    config.m = x::keys();\n\
                    config.c = x::CONSTANT;\n\
                    config }";
        let module = "export const CONSTANT = #{ k: 1 };\nfn keys() {\n #{ k: 2 } }";
        let files = [("main.vsl", main), ("mod.vsl", module)];
        for (path, expected) in [
            ("a.b", "main.vsl:2:16"),
            ("a.z", "main.vsl:5:1"),
            ("m.k", "mod.vsl:3:5"),
            ("c.k", "mod.vsl:1:28"),
        ] {
            assert_eq!(survey(&files, path), expected, "{path}");
        }
    }

    #[test]
    fn a_function_that_calls_itself_ends() {
        let text =
            "fn f(x) { f(x); f(x); f(x) }\nfn on_config(config) { config.a = f(config); config }";
        assert_eq!(survey(&[("m", text)], "a"), "m:2:24");
    }
}
