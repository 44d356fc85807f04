//! What describes the host and this program: accounts, log levels, versions.

use super::{Kind, Unfit, Word};
use rhai::{Array, Dynamic};
use semver::{Version, VersionReq};
use std::path::Path;

/// The name of a user or group. Whether it exists is seen when privileges are dropped.
pub(in crate::config) struct Account;

impl Word for Account {
    type Value = String;

    const EXPECTED: &'static str = "the name of an account";
    const EXAMPLE: &'static str = "a name such as \"vsmtp\"";

    fn parse(text: &str) -> Result<String, String> {
        if text.is_empty() {
            return Err("it is empty".into());
        }
        match text
            .chars()
            .find(|c| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/' | ','))
        {
            Some(c) => Err(format!("{c:?} stands in no such name")),
            None => Ok(text.to_owned()),
        }
    }

    fn print(name: &String) -> String {
        name.clone()
    }
}

/// A log level, or directives of `module=level`, in a string or a list.
pub(in crate::config) struct Level;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Kind<String> for Level {
    fn expected(&self) -> String {
        "a log level".into()
    }

    fn example(&self) -> String {
        "\"error\", \"warn\", \"info\", \"debug\" or \"trace\", or directives such as \"info,vsmtp::smtp=trace\"".into()
    }

    fn read(&self, value: Dynamic, _base: &Path) -> Result<String, Unfit> {
        let text = match value.try_cast_result::<Array>() {
            Ok(items) => items
                .into_iter()
                .map(super::text)
                .collect::<Result<Vec<_>, _>>()?
                .join(","),
            Err(single) => super::text(single)?.to_string(),
        };
        for directive in text.split(',') {
            let (_, level) = directive.rsplit_once('=').unwrap_or(("", directive));
            if !LEVELS
                .iter()
                .any(|known| known.eq_ignore_ascii_case(level.trim()))
            {
                let why = format!("{:?} is no level", level.trim());
                return Err(Unfit::of(&text.into()).because(why));
            }
        }
        Ok(text)
    }

    fn write(&self, value: &String) -> Dynamic {
        value.clone().into()
    }
}

/// The versions of this program that a configuration is written for.
pub(in crate::config) struct Requirement;

impl Word for Requirement {
    type Value = VersionReq;

    const EXPECTED: &'static str = "a version requirement that this program meets";
    const EXAMPLE: &'static str = concat!(
        "a requirement such as \">=",
        env!("CARGO_PKG_VERSION"),
        "\""
    );

    fn parse(text: &str) -> Result<VersionReq, String> {
        let requirement = VersionReq::parse(text).map_err(|error| error.to_string())?;
        let ours = env!("CARGO_PKG_VERSION");
        match Version::parse(ours) {
            Ok(version) if requirement.matches(&version) => Ok(requirement),
            _ => Err(format!("this is vsmtp {ours}")),
        }
    }

    fn print(requirement: &VersionReq) -> String {
        requirement.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives() {
        let base = Path::new("/");
        for text in ["info", "WARN", "debug,vsmtp::smtp=trace", "off"] {
            assert_eq!(Level.read(text.into(), base), Ok(text.to_owned()));
        }
        for text in ["", "loud", "info,", "vsmtp=", "vsmtp::smtp"] {
            assert!(Level.read(text.into(), base).is_err(), "{text}");
        }
        let list: Array = vec!["info".into(), "vsmtp=debug".into()];
        assert_eq!(Level.read(list.into(), base), Ok("info,vsmtp=debug".into()));
    }

    #[test]
    fn requirements() {
        assert!(Requirement::parse(concat!("=", env!("CARGO_PKG_VERSION"))).is_ok());
        assert!(Requirement::parse("*").is_ok());
        assert!(Requirement::parse(">=900.0.0").is_err());
        assert!(Requirement::parse("three").is_err());
    }

    #[test]
    fn accounts() {
        assert!(Account::parse("vsmtp").is_ok());
        for text in ["", "a b", "a:b", "../x", "a\nb"] {
            assert!(Account::parse(text).is_err(), "{text}");
        }
    }
}
