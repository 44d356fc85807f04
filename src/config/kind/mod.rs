//! Kinds of value: how one value of a script is read strictly, what to say when it does not fit, and how it is written
//! back. Nothing here knows any key.

mod account;
mod mail;
mod network;
mod number;
mod path;
mod tls;

pub(super) use account::{Account, Level, Requirement};
pub(super) use mail::{Aliases, Mailboxes, Mechanism, Selector, Transport};
pub(super) use network::{DomainName, NameServer, Socket, is_domain_name};
pub(super) use number::{Count, Duration, Flag, Pause, Size, Unlimited, UpTo};
pub(super) use path::File;
pub(super) use tls::{CipherSuite, TlsVersion, has_suite};

use rhai::{Array, Dynamic, ImmutableString};
use std::fmt;
use std::path::Path;

/// How a `T` stands in a script.
pub(super) trait Kind<T> {
    /// What is expected, to stand after "expected": `a duration`.
    fn expected(&self) -> String;

    /// What to write, to stand after "write": `"1s" or "1h 30m"`.
    fn example(&self) -> String;

    /// Takes `value` or says why not. Relative paths are below `base`.
    fn read(&self, value: Dynamic, base: &Path) -> Result<T, Unfit>;

    /// What a script must say to mean `value`: reading it gives `value` again.
    fn write(&self, value: &T) -> Dynamic;
}

/// A kind that is written as one string.
pub(super) trait Word {
    /// What such a string means.
    type Value;
    /// See [`Kind::expected`].
    const EXPECTED: &'static str;
    /// See [`Kind::example`].
    const EXAMPLE: &'static str;

    /// What `text` means, or why it means nothing.
    fn parse(text: &str) -> Result<Self::Value, String>;

    /// The text that means `value`.
    fn print(value: &Self::Value) -> String;
}

impl<W: Word> Kind<W::Value> for W {
    fn expected(&self) -> String {
        W::EXPECTED.into()
    }

    fn example(&self) -> String {
        W::EXAMPLE.into()
    }

    fn read(&self, value: Dynamic, _base: &Path) -> Result<W::Value, Unfit> {
        let text = text(value)?;
        W::parse(&text).map_err(|why| Unfit::of(&text.into()).because(why))
    }

    fn write(&self, value: &W::Value) -> Dynamic {
        W::print(value).into()
    }
}

/// A value that does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    /// What was found: `the integer 1000`.
    pub(super) found: String,
    /// Why it does not fit, where its type is not reason enough.
    pub(super) why: Option<String>,
}

impl Unfit {
    /// `value` has the wrong type.
    pub(super) fn of(value: &Dynamic) -> Self {
        Self {
            found: describe(value),
            why: None,
        }
    }

    /// It has the right type and does not fit all the same.
    pub(super) fn because(self, why: impl Into<String>) -> Self {
        Self {
            why: Some(why.into()),
            ..self
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}", self.found)?;
        match &self.why {
            Some(why) => write!(f, " ({why})"),
            None => Ok(()),
        }
    }
}

/// A string, or why not.
fn text(value: Dynamic) -> Result<ImmutableString, Unfit> {
    value
        .try_cast_result::<ImmutableString>()
        .map_err(|other| Unfit::of(&other))
}

/// `value` as an error names it.
pub(super) fn describe(value: &Dynamic) -> String {
    if value.is_unit() {
        return "()".into();
    }
    if let Ok(flag) = value.as_bool() {
        return flag.to_string();
    }
    if let Ok(number) = value.as_int() {
        return format!("the integer {number}");
    }
    if let Ok(number) = value.as_float() {
        return format!("the number {number}");
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return format!("the string {}", quoted(&text));
    }
    if value.is_array() {
        "a list".into()
    } else if value.is_map() {
        "a map".into()
    } else if value.is_fnptr() {
        "a function".into()
    } else {
        format!("a value of the type {}", value.type_name())
    }
}

/// `text` in quotes, shortened to what fits a line.
fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// The candidate that `word` may be a misspelling of.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    const ALIKE: f64 = 0.6;
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let alike = strsim::normalized_damerau_levenshtein(&word, &candidate.to_lowercase());
            (alike, candidate)
        })
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// `()` for none.
pub(super) struct Optional<K>(pub(super) K);

impl<T, K: Kind<T>> Kind<Option<T>> for Optional<K> {
    fn expected(&self) -> String {
        self.0.expected()
    }

    fn example(&self) -> String {
        format!("{}, or () for none", self.0.example())
    }

    fn read(&self, value: Dynamic, base: &Path) -> Result<Option<T>, Unfit> {
        if value.is_unit() {
            return Ok(None);
        }
        self.0.read(value, base).map(Some)
    }

    fn write(&self, value: &Option<T>) -> Dynamic {
        value
            .as_ref()
            .map_or(Dynamic::UNIT, |value| self.0.write(value))
    }
}

/// A list, or its one item.
pub(super) struct List<K> {
    item: K,
    least: usize,
}

impl<K> List<K> {
    /// Any number of items.
    pub(super) fn of(item: K) -> Self {
        Self { item, least: 0 }
    }

    /// One item at least.
    pub(super) fn some(item: K) -> Self {
        Self { item, least: 1 }
    }
}

impl<T: PartialEq, K: Kind<T>> Kind<Vec<T>> for List<K> {
    fn expected(&self) -> String {
        format!("{}, or a list of them", self.item.expected())
    }

    fn example(&self) -> String {
        format!("{}, or several in [ ]", self.item.example())
    }

    fn read(&self, value: Dynamic, base: &Path) -> Result<Vec<T>, Unfit> {
        let items = match value.try_cast_result::<Array>() {
            Ok(items) => items,
            Err(single) => return self.item.read(single, base).map(|item| vec![item]),
        };
        if items.len() < self.least {
            return Err(Unfit::of(&items.into()).because("it is empty"));
        }
        let mut read = Vec::with_capacity(items.len());
        for value in items {
            let unfit = Unfit::of(&value);
            let item = self.item.read(value.flatten(), base)?;
            if read.contains(&item) {
                return Err(unfit.because("it is given twice"));
            }
            read.push(item);
        }
        Ok(read)
    }

    fn write(&self, value: &Vec<T>) -> Dynamic {
        let items: Array = value.iter().map(|item| self.item.write(item)).collect();
        items.into()
    }
}

/// One of a few names.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Kind<T> for Choice<T> {
    fn expected(&self) -> String {
        "one of a few names".into()
    }

    fn example(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|(name, _)| format!("{name:?}")).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }

    fn read(&self, value: Dynamic, _base: &Path) -> Result<T, Unfit> {
        let text = text(value)?;
        self.0
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&text))
            .map(|(_, value)| *value)
            .ok_or_else(|| Unfit::of(&text.into()))
    }

    fn write(&self, value: &T) -> Dynamic {
        self.0
            .iter()
            .find(|(_, known)| known == value)
            .map_or(Dynamic::UNIT, |(name, _)| (*name).into())
    }
}
