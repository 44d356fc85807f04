//! What a domain of ours says about its mail.

use super::{Kind, List, Unfit, Word, is_domain_name};
use crate::mail::{self, Address};
use crate::smtp::Mechanism as SaslMechanism;
use rhai::{Dynamic, Map};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// `"*"`, or local-parts.
pub(in crate::config) struct Mailboxes;

impl Kind<mail::Mailboxes> for Mailboxes {
    fn expected(&self) -> String {
        "a list of local-parts, or \"*\"".into()
    }

    fn example(&self) -> String {
        "local-parts without domain, such as [\"alice\", \"bob\"], or \"*\" for every one".into()
    }

    fn read(&self, value: Dynamic, base: &Path) -> Result<mail::Mailboxes, Unfit> {
        let names: Vec<String> = List::of(LocalPart).read(value, base)?;
        if names.iter().any(|name| name == "*") {
            return Ok(mail::Mailboxes::All);
        }
        Ok(mail::Mailboxes::Named(names.into_iter().collect()))
    }

    fn write(&self, value: &mail::Mailboxes) -> Dynamic {
        match value {
            mail::Mailboxes::All => "*".into(),
            mail::Mailboxes::Named(names) => List::of(LocalPart).write(&sorted(names)),
        }
    }
}

fn sorted(names: &HashSet<String>) -> Vec<String> {
    let mut names: Vec<String> = names.iter().cloned().collect();
    names.sort();
    names
}

/// A local-part, in lower case as mailboxes of ours compare.
struct LocalPart;

impl Word for LocalPart {
    type Value = String;

    const EXPECTED: &'static str = "a local-part";
    const EXAMPLE: &'static str = "what stands before the @, such as \"alice\"";

    fn parse(text: &str) -> Result<String, String> {
        if text == "*" {
            return Ok(text.into());
        }
        match Address::parse(&format!("{text}@example.com")) {
            Ok(address) => Ok(address.local_part().to_lowercase()),
            Err(_) if text.contains('@') => Err("the domain is known already".into()),
            Err(_) => Err("it cannot stand before an @".into()),
        }
    }

    fn print(text: &String) -> String {
        text.clone()
    }
}

/// From local-part to the addresses that stand for it.
pub(in crate::config) struct Aliases;

impl Kind<HashMap<String, Vec<Address>>> for Aliases {
    fn expected(&self) -> String {
        "a map from local-part to addresses".into()
    }

    fn example(&self) -> String {
        "#{ \"sales\": [\"alice@example.com\", \"bob@example.com\"] }".into()
    }

    fn read(&self, value: Dynamic, base: &Path) -> Result<HashMap<String, Vec<Address>>, Unfit> {
        let entries = value
            .try_cast_result::<Map>()
            .map_err(|other| Unfit::of(&other))?;
        let mut aliases = HashMap::new();
        for (name, addresses) in entries {
            let unfit = |why: String| Unfit {
                found: "a map".into(),
                why: Some(format!("{name}: {why}")),
            };
            let local_part = match LocalPart::parse(&name) {
                Ok(local_part) if local_part != "*" => local_part,
                _ => return Err(unfit("is no local-part".into())),
            };
            let addresses = List::some(Whole)
                .read(addresses.flatten(), base)
                .map_err(|inner| unfit(inner.to_string()))?;
            if aliases.insert(local_part, addresses).is_some() {
                return Err(unfit("is given twice, in different case".into()));
            }
        }
        Ok(aliases)
    }

    fn write(&self, value: &HashMap<String, Vec<Address>>) -> Dynamic {
        let map: Map = value
            .iter()
            .map(|(name, addresses)| (name.into(), List::some(Whole).write(addresses)))
            .collect();
        map.into()
    }
}

/// An address with its domain.
struct Whole;

impl Word for Whole {
    type Value = Address;

    const EXPECTED: &'static str = "an address";
    const EXAMPLE: &'static str = "a whole address such as \"alice@example.com\"";

    fn parse(text: &str) -> Result<Address, String> {
        Address::parse(text).map_err(|error| error.to_string())
    }

    fn print(address: &Address) -> String {
        address.to_string()
    }
}

/// How mail for a domain leaves the queue.
pub(in crate::config) struct Transport;

impl Word for Transport {
    type Value = mail::Transport;

    const EXPECTED: &'static str = "a transport";
    const EXAMPLE: &'static str =
        "\"maildir\", \"lmtp:unix:/path\", \"lmtp:host:port\" or \"smtp://host:port\"";

    fn parse(text: &str) -> Result<mail::Transport, String> {
        if text == "maildir" {
            return Ok(mail::Transport::Maildir);
        }
        if let Some(path) = text.strip_prefix("lmtp:unix:") {
            let path = PathBuf::from(path);
            return match path.is_absolute() {
                true => Ok(mail::Transport::LmtpUnix(path)),
                false => Err("the path of the socket is not absolute".into()),
            };
        }
        if let Some(rest) = text.strip_prefix("lmtp:") {
            let (host, port) = host_and_port(rest)?;
            return Ok(mail::Transport::LmtpTcp { host, port });
        }
        if let Some(rest) = text.strip_prefix("smtp://") {
            let (host, port) = host_and_port(rest)?;
            return Ok(mail::Transport::Smtp { host, port });
        }
        Err("there is no such transport".into())
    }

    fn print(transport: &mail::Transport) -> String {
        match transport {
            mail::Transport::Maildir => "maildir".into(),
            mail::Transport::LmtpUnix(path) => format!("lmtp:unix:{}", path.display()),
            mail::Transport::LmtpTcp { host, port } => format!("lmtp:{}:{port}", bracketed(host)),
            mail::Transport::Smtp { host, port } => format!("smtp://{}:{port}", bracketed(host)),
        }
    }
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| "it has no port".to_owned())?;
    let port = match port.parse() {
        Ok(0) | Err(_) => return Err(format!("{port:?} is no port")),
        Ok(port) => port,
    };
    let literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = literal.unwrap_or(host);
    let is_ip = host.parse::<IpAddr>().is_ok();
    let is_v6 = is_ip && host.contains(':');
    if is_v6 != literal.is_some() || !(is_ip || is_domain_name(host)) {
        return Err(format!("{host:?} is no host; IPv6 addresses stand in [ ]"));
    }
    Ok((host.to_owned(), port))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// A DKIM selector (RFC 6376 §3.1).
pub(in crate::config) struct Selector;

impl Word for Selector {
    type Value = String;

    const EXPECTED: &'static str = "a DKIM selector";
    const EXAMPLE: &'static str = "a name such as \"mail2026\"";

    fn parse(text: &str) -> Result<String, String> {
        match is_domain_name(text) {
            true => Ok(text.to_owned()),
            false => Err("it is letters, digits and hyphens, parted by dots".into()),
        }
    }

    fn print(selector: &String) -> String {
        selector.clone()
    }
}

/// A SASL mechanism, in any case, its hyphens optional.
pub(in crate::config) struct Mechanism;

impl Word for Mechanism {
    type Value = SaslMechanism;

    const EXPECTED: &'static str = "a SASL mechanism";
    const EXAMPLE: &'static str = "\"PLAIN\", \"LOGIN\" or \"CRAM-MD5\"";

    fn parse(text: &str) -> Result<SaslMechanism, String> {
        match text.to_ascii_uppercase().replace(['-', '_'], "").as_str() {
            "PLAIN" => Ok(SaslMechanism::Plain),
            "LOGIN" => Ok(SaslMechanism::Login),
            "CRAMMD5" => Ok(SaslMechanism::CramMd5),
            _ => Err("there is no such mechanism here".into()),
        }
    }

    fn print(mechanism: &SaslMechanism) -> String {
        mechanism.name().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_come_back() {
        for text in [
            "maildir",
            "lmtp:unix:/run/dovecot/lmtp",
            "lmtp:127.0.0.1:24",
            "lmtp:[::1]:24",
            "smtp://mx.example.com:25",
        ] {
            let transport = Transport::parse(text).unwrap();
            assert_eq!(Transport::print(&transport), text);
        }
        for text in [
            "",
            "mbox",
            "lmtp:unix:relative",
            "lmtp:host",
            "lmtp:host:0",
            "lmtp:::1:24",
            "smtp://a b:25",
            "smtp://host:smtp",
        ] {
            assert!(Transport::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mechanisms_in_any_spelling() {
        for text in ["CRAM-MD5", "cram_md5", "CramMd5"] {
            assert_eq!(Mechanism::parse(text), Ok(SaslMechanism::CramMd5), "{text}");
        }
        assert!(Mechanism::parse("GSSAPI").is_err());
    }
}
