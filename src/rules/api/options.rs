//! The map of options that a service is made with: read strictly, so that a misspelt key is no silent default.

use crate::rules::file::suggestion;
use crate::rules::object;
use crate::script::Fault;
use rhai::{Array, Dynamic, Map};
use std::time::Duration;

type Result<T> = std::result::Result<T, Fault>;

/// How long anything may wait at most: as long as a client waits for its reply (RFC 5321 §4.5.3.2).
const TIMEOUT_MAX: Duration = Duration::from_secs(5 * 60);

/// How many connections to one database there may be: more than any has use for.
const CONNECTIONS_MAX: usize = 256;

/// What `function` was called with.
pub(super) struct Options {
    function: &'static str,
    map: Map,
}

impl Options {
    /// # Errors
    /// There is a key that is not `known`.
    pub(super) fn new(function: &'static str, map: Map, known: &[&str]) -> Result<Self> {
        match map.keys().find(|key| !known.contains(&key.as_str())) {
            Some(unknown) => Err(Fault::new(
                format!("{function}() has no option `{unknown}`"),
                suggestion(unknown, known.iter().copied()),
            )),
            None => Ok(Self { function, map }),
        }
    }

    fn given(&self, key: &str) -> Option<&Dynamic> {
        self.map.get(key).filter(|value| !value.is_unit())
    }

    /// What is wrong with the value of `key`, and how to write it.
    pub(super) fn fault(&self, key: &str, what: impl std::fmt::Display, example: &str) -> Fault {
        Fault::new(
            format!("`{key}` of {}() {what}", self.function),
            format!("write it as in {key}: {example}"),
        )
    }

    pub(super) fn text(&self, key: &str, example: &str) -> Result<Option<String>> {
        let text = |value: &Dynamic| {
            let kind = value.type_name();
            object::text(value).map_err(|_| self.fault(key, format!("is of type {kind}"), example))
        };
        self.given(key).map(text).transpose()
    }

    pub(super) fn required_text(&self, key: &str, example: &str) -> Result<String> {
        self.text(key, example)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.fault(key, "is missing", example))
    }

    /// One of `words`, the first where none is given.
    pub(super) fn word(&self, key: &str, words: &[&'static str]) -> Result<&'static str> {
        let first = words.first().copied().unwrap_or_default();
        let Some(text) = self.text(key, &format!("{first:?}"))? else {
            return Ok(first);
        };
        let found = words.iter().copied().find(|word| *word == text);
        found.ok_or_else(|| {
            Fault::new(
                format!("`{key}` of {}() is {text:?}", self.function),
                suggestion(&text, words.iter().copied()),
            )
        })
    }

    /// A single ASCII character.
    pub(super) fn ascii(&self, key: &str, default: u8, example: &str) -> Result<u8> {
        let Some(value) = self.given(key) else {
            return Ok(default);
        };
        let text = value.as_char().map(String::from);
        let text = text.or_else(|_| object::text(value)).unwrap_or_default();
        match text.as_bytes() {
            [character] => Ok(*character),
            _ => Err(self.fault(key, "is no single ASCII character", example)),
        }
    }

    /// Texts; none where the key is not given.
    pub(super) fn texts(&self, key: &str, example: &str) -> Result<Vec<String>> {
        let Some(value) = self.given(key) else {
            return Ok(Vec::new());
        };
        let list = value.read_lock::<Array>();
        let list = list.ok_or_else(|| self.fault(key, "is no list", example))?;
        texts(&list).map_err(|fault| {
            self.fault(
                key,
                format!("has an element that is none: {}", fault.what),
                example,
            )
        })
    }

    #[cfg(any(feature = "mysql", feature = "postgresql", feature = "redis"))]
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        let flag = |value: &Dynamic| {
            let kind = value.type_name();
            let flag = value.as_bool();
            flag.map_err(|_| self.fault(key, format!("is of type {kind}"), "true"))
        };
        self.given(key).map(flag).transpose()
    }

    /// How many connections to have at most.
    pub(super) fn connections(&self, default: usize) -> Result<usize> {
        let Some(value) = self.given("connections") else {
            return Ok(default);
        };
        value
            .as_int()
            .ok()
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| (1..=CONNECTIONS_MAX).contains(number))
            .ok_or_else(|| {
                let what = format!("is no number from 1 to {CONNECTIONS_MAX}");
                self.fault("connections", what, "4")
            })
    }

    /// How long to wait.
    pub(super) fn timeout(&self, default: Duration) -> Result<Duration> {
        let Some(text) = self.text("timeout", "\"5s\"")? else {
            return Ok(default);
        };
        match humantime::parse_duration(&text) {
            Ok(Duration::ZERO) | Err(_) => {
                Err(self.fault("timeout", format!("is {text:?}"), "\"5s\""))
            }
            Ok(timeout) if timeout > TIMEOUT_MAX => {
                let max = humantime::format_duration(TIMEOUT_MAX);
                Err(self.fault("timeout", format!("is longer than {max}"), "\"5s\""))
            }
            Ok(timeout) => Ok(timeout),
        }
    }
}

/// What each of `values` says, be it a string, an object or a number.
pub(super) fn texts(values: &Array) -> Result<Vec<String>> {
    let text = |value: &Dynamic| match value.as_int() {
        Ok(number) => Ok(number.to_string()),
        Err(_) => object::text(value),
    };
    values.iter().map(text).collect()
}
