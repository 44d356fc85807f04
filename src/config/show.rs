//! Writes the keys down: as the map that a script is handed, and as the text of `config show` and `config diff`.

use super::keys::{self, Visitor};
use super::kind::Kind;
use super::{Config, Domain, Loaded};
use rhai::{Array, Dynamic, Map};
use std::fmt::Write;

/// Every key as an assignment that means the same when it stands in `on_config`; those of the domains in comments.
pub fn show(loaded: &Loaded) -> String {
    render(loaded, |_, _| true)
}

/// As [`show`], but only what differs from the defaults.
pub fn diff(loaded: &Loaded) -> String {
    render(loaded, Entry::differs)
}

fn render(loaded: &Loaded, wanted: impl Fn(&Entry, &[Entry]) -> bool) -> String {
    let lines = |entries: Vec<Entry>, defaults: &[Entry], indent: &str| -> String {
        entries
            .iter()
            .filter(|entry| wanted(entry, defaults))
            .map(|Entry { path, value, .. }| {
                format!("{indent}config.{path} = {};\n", literal(value))
            })
            .collect()
    };
    let defaults = Config::defaults(&loaded.environment, &loaded.root);
    let mut text = lines(root_entries(&loaded.config), &root_entries(&defaults), "");
    for domain in loaded.config.hosted.values() {
        let defaults = Domain::new(&domain.name, &domain.folder, &loaded.config).settled();
        let lines = lines(domain_entries(domain), &domain_entries(&defaults), "// ");
        if !lines.is_empty() {
            let file = domain.folder.join("config.vsl");
            let _ = write!(text, "\n// {}\n{lines}", file.display());
        }
    }
    text
}

/// One key and what it says.
pub(super) struct Entry {
    /// `server.tls.handshake_timeout`
    pub(super) path: String,
    value: Dynamic,
    /// Where it hangs on other keys.
    default: Option<Dynamic>,
}

impl Entry {
    fn differs(&self, defaults: &[Self]) -> bool {
        let default = self.default.as_ref().or_else(|| {
            defaults
                .iter()
                .find(|default| default.path == self.path)
                .map(|default| &default.value)
        });
        default.map(literal) != Some(literal(&self.value))
    }
}

/// The keys of the root configuration.
pub(super) fn root_entries(config: &Config) -> Vec<Entry> {
    let mut writer = Writer::default();
    keys::root(&mut writer, &mut config.clone());
    writer.entries
}

/// The keys of one domain.
pub(super) fn domain_entries(domain: &Domain) -> Vec<Entry> {
    let mut writer = Writer::default();
    keys::domain(&mut writer, &mut domain.clone());
    writer.entries
}

/// What a script is handed.
pub(super) fn map(entries: &[Entry]) -> Map {
    let mut map = Map::new();
    for entry in entries {
        insert(&mut map, &entry.path, entry.value.clone());
    }
    map
}

fn insert(map: &mut Map, path: &str, value: Dynamic) {
    let Some((section, rest)) = path.split_once('.') else {
        map.insert(path.into(), value);
        return;
    };
    let section = map
        .entry(section.into())
        .or_insert_with(|| Map::new().into());
    if let Some(mut section) = section.write_lock::<Map>() {
        insert(&mut section, rest, value);
    }
}

/// Goes through the keys and writes down each.
#[derive(Default)]
struct Writer {
    prefix: String,
    entries: Vec<Entry>,
}

impl Writer {
    fn push(&mut self, key: &str, value: Dynamic, default: Option<Dynamic>) {
        self.entries.push(Entry {
            path: format!("{}{key}", self.prefix),
            value,
            default,
        });
    }
}

impl Visitor for Writer {
    fn key<T, K: Kind<T>>(&mut self, key: &'static str, kind: K, value: &mut T) {
        self.push(key, kind.write(value), None);
    }

    fn derived<T, K: Kind<T>>(&mut self, key: &'static str, kind: K, value: &mut T, default: T) {
        self.push(key, kind.write(value), Some(kind.write(&default)));
    }

    fn section(&mut self, key: &'static str, keys: impl FnOnce(&mut Self)) {
        let outer = self.prefix.len();
        self.prefix.push_str(key);
        self.prefix.push('.');
        keys(self);
        self.prefix.truncate(outer);
    }

    fn refuse(&mut self, _: &'static str, _: impl Into<String>, _: impl Into<String>) {}
}

/// `value` as it stands in a script. Functions and other things that no key holds are shown as nothing.
fn literal(value: &Dynamic) -> String {
    if let Ok(flag) = value.as_bool() {
        return flag.to_string();
    }
    if let Ok(number) = value.as_int() {
        return number.to_string();
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return quoted(&text);
    }
    if let Some(items) = value.read_lock::<Array>() {
        let items: Vec<String> = items.iter().map(literal).collect();
        return format!("[{}]", items.join(", "));
    }
    if let Some(map) = value.read_lock::<Map>() {
        let entries: Vec<String> = map
            .iter()
            .map(|(key, value)| format!("{}: {}", quoted(key), literal(value)))
            .collect();
        return match entries.is_empty() {
            true => "#{}".into(),
            false => format!("#{{ {} }}", entries.join(", ")),
        };
    }
    "()".into()
}

/// A string of Rhai, which has escapes of its own for control characters.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_come_back() {
        let engine = rhai::Engine::new();
        for text in [
            "plain",
            "\"",
            "a\\b\n\r\t\0\u{7f}\u{85}",
            "${x} `y`",
            "grün 🦀",
        ] {
            let list: Array = vec![text.into(), 5_i64.into(), true.into(), Dynamic::UNIT];
            let mut map = Map::new();
            map.insert(text.into(), list.into());
            let written = literal(&map.clone().into());
            let read: Map = engine.eval(&written).unwrap();
            assert_eq!(format!("{read:?}"), format!("{map:?}"), "{written}");
        }
    }
}
