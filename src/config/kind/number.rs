//! Numbers, sizes and durations.

use super::{Kind, Unfit, Word};
use rhai::{Dynamic, INT};
use std::path::Path;
use std::time;

/// `true` or `false`.
pub(in crate::config) struct Flag;

impl Kind<bool> for Flag {
    fn expected(&self) -> String {
        "true or false".into()
    }

    fn example(&self) -> String {
        "true or false, without quotes".into()
    }

    fn read(&self, value: Dynamic, _base: &Path) -> Result<bool, Unfit> {
        value.as_bool().map_err(|_| Unfit::of(&value))
    }

    fn write(&self, value: &bool) -> Dynamic {
        (*value).into()
    }
}

/// A whole number from 1.
pub(in crate::config) struct Count;

impl<T: Copy + TryFrom<INT> + TryInto<INT>> Kind<T> for Count {
    fn expected(&self) -> String {
        "a whole number from 1".into()
    }

    fn example(&self) -> String {
        "a number such as 10, without quotes".into()
    }

    fn read(&self, value: Dynamic, _base: &Path) -> Result<T, Unfit> {
        let number = value.as_int().map_err(|_| Unfit::of(&value))?;
        if number < 1 {
            return Err(Unfit::of(&value));
        }
        T::try_from(number).map_err(|_| Unfit::of(&value).because("it is too large"))
    }

    fn write(&self, value: &T) -> Dynamic {
        (*value).try_into().unwrap_or(INT::MAX).into()
    }
}

/// What another kind reads, up to this value.
pub(in crate::config) struct UpTo<K, T>(pub(in crate::config) K, pub(in crate::config) T);

impl<T: PartialOrd, K: Kind<T>> Kind<T> for UpTo<K, T> {
    fn expected(&self) -> String {
        let most = self.0.write(&self.1);
        format!("{}, {most} at most", self.0.expected())
    }

    fn example(&self) -> String {
        self.0.example()
    }

    fn read(&self, value: Dynamic, base: &Path) -> Result<T, Unfit> {
        let read = self.0.read(value.clone(), base)?;
        if read > self.1 {
            return Err(Unfit::of(&value).because("it is too large"));
        }
        Ok(read)
    }

    fn write(&self, value: &T) -> Dynamic {
        self.0.write(value)
    }
}

/// A whole number from 1, or -1 for no limit.
pub(in crate::config) struct Unlimited;

impl<T: Copy + TryFrom<INT> + TryInto<INT>> Kind<Option<T>> for Unlimited {
    fn expected(&self) -> String {
        "a whole number from 1, or -1".into()
    }

    fn example(&self) -> String {
        "a number such as 10, or -1 for no limit".into()
    }

    fn read(&self, value: Dynamic, base: &Path) -> Result<Option<T>, Unfit> {
        if value.as_int() == Ok(-1) {
            return Ok(None);
        }
        Count.read(value, base).map(Some)
    }

    fn write(&self, value: &Option<T>) -> Dynamic {
        value
            .as_ref()
            .map_or_else(|| (-1 as INT).into(), |value| Count.write(value))
    }
}

/// Octets: an integer, or a string with a unit. `KB` is 1000 octets, `KiB` 1024.
pub(in crate::config) struct Size;

const UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl<T: Copy + TryFrom<u64> + TryFrom<INT> + TryInto<INT>> Kind<T> for Size {
    fn expected(&self) -> String {
        "a size".into()
    }

    fn example(&self) -> String {
        "\"25MB\", \"16MiB\" or a number of octets".into()
    }

    fn read(&self, value: Dynamic, base: &Path) -> Result<T, Unfit> {
        if value.is_int() {
            return Count.read(value, base);
        }
        let text = super::text(value)?;
        parse_size(&text)
            .and_then(|size| T::try_from(size).map_err(|_| "it is too large".into()))
            .map_err(|why| Unfit::of(&text.into()).because(why))
    }

    fn write(&self, value: &T) -> Dynamic {
        Count.write(value)
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text
        .find(|octet: char| !octet.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = unit.trim_start();
    let Ok(number) = digits.parse::<u64>() else {
        return Err(if digits.is_empty() {
            "it does not start with a whole number".into()
        } else {
            "it is too large".into()
        });
    };
    let (_, factor) = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .ok_or_else(|| match unit {
            "" => "it has no unit".to_owned(),
            _ => format!("the unit {unit:?} is unknown"),
        })?;
    match number.checked_mul(*factor) {
        Some(0) => Err("it is nothing at all".into()),
        Some(size) if INT::try_from(size).is_ok() => Ok(size),
        _ => Err("it is too large".into()),
    }
}

/// A duration, longer than nothing.
pub(in crate::config) struct Duration;

impl Word for Duration {
    type Value = time::Duration;

    const EXPECTED: &'static str = "a duration";
    const EXAMPLE: &'static str = "\"1000ms\", \"5m\" or \"1h 30m\"";

    fn parse(text: &str) -> Result<time::Duration, String> {
        let duration = Pause::parse(text)?;
        if duration.is_zero() {
            return Err("it is no time at all".into());
        }
        Ok(duration)
    }

    fn print(duration: &time::Duration) -> String {
        Pause::print(duration)
    }
}

/// A duration that may be nothing.
pub(in crate::config) struct Pause;

impl Word for Pause {
    type Value = time::Duration;

    const EXPECTED: &'static str = "a duration";
    const EXAMPLE: &'static str = "\"0s\", \"1000ms\" or \"5m\"";

    fn parse(text: &str) -> Result<time::Duration, String> {
        humantime::parse_duration(text).map_err(|error| match error {
            humantime::DurationError::UnknownUnit { unit, value, .. } if unit.is_empty() => {
                format!("{value} of which unit? ms, s, m, h and d are known")
            }
            humantime::DurationError::UnknownUnit { unit, .. } => {
                format!("the unit {unit:?} is unknown; ms, s, m, h and d are known")
            }
            humantime::DurationError::Empty => "it is empty".into(),
            humantime::DurationError::NumberOverflow => "it is too large, or too precise".into(),
            _ => "it is no number with a unit".into(),
        })
    }

    fn print(duration: &time::Duration) -> String {
        humantime::format_duration(*duration).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [
            ("25MB", Ok(25_000_000)),
            ("16 MiB", Ok(16 << 20)),
            ("1kb", Ok(1000)),
            ("7B", Ok(7)),
            ("25", Err("it has no unit")),
            ("MB", Err("it does not start with a whole number")),
            ("-1MB", Err("it does not start with a whole number")),
            ("1.5MB", Err("the unit \".5MB\" is unknown")),
            ("25M", Err("the unit \"M\" is unknown")),
            ("0KB", Err("it is nothing at all")),
            ("99999999999TB", Err("it is too large")),
            ("99999999999999999999B", Err("it is too large")),
        ] {
            assert_eq!(parse_size(text), size.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn durations_come_back() {
        for (text, milliseconds) in [
            ("1000ms", 1_000),
            ("5m", 300_000),
            ("1h 30m", 5_400_000),
            ("5d", 432_000_000),
            ("1s", 1_000),
        ] {
            let duration = Duration::parse(text).unwrap();
            assert_eq!(duration.as_millis(), milliseconds, "{text}");
            assert_eq!(Duration::parse(&Duration::print(&duration)), Ok(duration));
        }
        for text in ["", "5", "1 fortnight", "-1s", "0s"] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
        assert_eq!(Pause::parse("0s"), Ok(time::Duration::ZERO));
    }

    #[test]
    fn counts_have_bounds() {
        let base = Path::new("/");
        let count = |number: INT| Kind::<u32>::read(&Count, number.into(), base);
        assert_eq!(count(1), Ok(1));
        assert!(count(0).is_err());
        assert!(count(-1).is_err());
        assert!(count(1 << 40).is_err());
        let unlimited = |number: INT| Kind::<Option<u32>>::read(&Unlimited, number.into(), base);
        assert_eq!(unlimited(-1), Ok(None));
        assert_eq!(unlimited(5), Ok(Some(5)));
        assert!(unlimited(-2).is_err());
    }
}
