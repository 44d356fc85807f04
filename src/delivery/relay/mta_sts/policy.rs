//! The policy file of a domain (RFC 8461 §3.2), and the record that announces it (§3.1).

use std::time::Duration;

/// A policy is good for a year at most (RFC 8461 §3.2).
const MAX_AGE_MAX: u64 = 31_557_600;

/// What to do where a policy is not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Deliver nothing.
    Enforce,
    /// Deliver as if there were no policy.
    Testing,
    /// There is no policy, and none is to be remembered.
    None,
}

/// What a domain says of its mail exchangers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) mode: Mode,
    /// Names, or `*.` and a name, in lower case.
    mx: Vec<String>,
    pub(super) max_age: Duration,
}

/// Why a text is no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PolicyError {
    /// The first field is not `version: STSv1`.
    #[error("no version that is known")]
    Version,
    /// `mode` is missing or unknown.
    #[error("no mode that is known")]
    Mode,
    /// `max_age` is missing or no number.
    #[error("no max_age")]
    MaxAge,
    /// No `mx`, which every mode but `none` needs.
    #[error("no mx")]
    Mx,
}

impl Policy {
    /// Reads a policy file. Of a field given twice the first counts, `mx` aside; unknown fields are left out.
    pub(crate) fn parse(text: &str) -> Result<Self, PolicyError> {
        let fields: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect();
        let value = |wanted| {
            fields
                .iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, v)| *v)
        };
        if value("version") != Some("STSv1") {
            return Err(PolicyError::Version);
        }
        let mode = match value("mode") {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err(PolicyError::Mode),
        };
        let max_age: u64 = value("max_age")
            .filter(|value| value.len() <= 10 && value.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|value| value.parse().ok())
            .ok_or(PolicyError::MaxAge)?;
        let mx: Vec<String> = fields
            .iter()
            .filter(|(name, value)| *name == "mx" && !value.is_empty())
            .map(|(_, value)| value.to_ascii_lowercase())
            .collect();
        if mx.is_empty() && mode != Mode::None {
            return Err(PolicyError::Mx);
        }
        Ok(Self {
            mode,
            mx,
            max_age: Duration::from_secs(max_age.min(MAX_AGE_MAX)),
        })
    }

    /// Whether `host` is one of the mail exchangers (RFC 8461 §4.1): a wildcard stands for one label.
    pub(crate) fn allows(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        self.mx
            .iter()
            .any(|pattern| match pattern.strip_prefix("*.") {
                Some(suffix) => host.split_once('.').is_some_and(|(_, rest)| rest == suffix),
                None => host == pattern,
            })
    }
}

/// The id of the policy that the TXT records of `_mta-sts.DOMAIN` announce (RFC 8461 §3.1); `None`: they announce none.
pub(super) fn announced(records: &[String]) -> Option<String> {
    let mut ours = records.iter().filter(|text| {
        let version = text.split(';').next().unwrap_or_default();
        version.trim_end() == "v=STSv1"
    });
    let record = ours.next()?;
    // Two of them are as good as none.
    if ours.next().is_some() {
        return None;
    }
    let id = record
        .split(';')
        .find_map(|field| field.trim().strip_prefix("id="))?;
    let well_formed =
        (1..=32).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_alphanumeric());
    well_formed.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_policies() {
        let text = "version: STSv1\r\nmode: enforce\r\nmx: Mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\nx: y\r\n";
        let policy = Policy::parse(text).unwrap();
        assert_eq!(
            (policy.mode, policy.max_age),
            (Mode::Enforce, Duration::from_secs(604_800))
        );
        for (host, allowed) in [
            ("mail.example.com", true),
            ("MAIL.example.com.", true),
            ("a.example.net", true),
            ("example.net", false),
            ("a.b.example.net", false),
            ("evilexample.net", false),
            ("a.mail.example.com", false),
        ] {
            assert_eq!(policy.allows(host), allowed, "{host}");
        }
        assert!(Policy::parse("version: STSv1\nmode: none\nmax_age: 1").is_ok());
        let long = Policy::parse("version: STSv1\nmode: none\nmax_age: 9999999999").unwrap();
        assert_eq!(long.max_age.as_secs(), MAX_AGE_MAX);
    }

    #[test]
    fn refuses_what_is_no_policy() {
        for (text, error) in [
            ("", PolicyError::Version),
            ("<html>", PolicyError::Version),
            (
                "version: STSv2\nmode: none\nmax_age: 1",
                PolicyError::Version,
            ),
            ("version: STSv1\nmode: maybe\nmax_age: 1", PolicyError::Mode),
            ("version: STSv1\nmax_age: 1", PolicyError::Mode),
            ("version: STSv1\nmode: none", PolicyError::MaxAge),
            (
                "version: STSv1\nmode: none\nmax_age: -1",
                PolicyError::MaxAge,
            ),
            (
                "version: STSv1\nmode: none\nmax_age: 99999999999",
                PolicyError::MaxAge,
            ),
            ("version: STSv1\nmode: enforce\nmax_age: 1", PolicyError::Mx),
        ] {
            assert_eq!(Policy::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn reads_announcements() {
        let announced = |records: &[&str]| {
            let records: Vec<String> = records.iter().map(ToString::to_string).collect();
            super::announced(&records)
        };
        assert_eq!(
            announced(&["v=STSv1; id=20160831085700Z;"]).unwrap(),
            "20160831085700Z"
        );
        assert_eq!(announced(&["x", "v=STSv1;id=1"]).unwrap(), "1");
        for bad in [
            &[][..],
            &["v=STSv1"],
            &["v=STSv1; id="],
            &["v=STSv1; id=a b"],
            &["v=STSv12; id=1"],
            &["id=1; v=STSv1"],
            &["v=STSv1; id=1", "v=STSv1; id=2"],
        ] {
            assert_eq!(announced(bad), None, "{bad:?}");
        }
    }
}
