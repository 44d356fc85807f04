//! What a domain of ours says about its mail.

use super::{Kind, List, Unfit, Word, is_domain_name};
use crate::mail::{self, Address};
use crate::smtp::Mechanism as SaslMechanism;
use rhai::{Dynamic, Map};
use std::collections::{HashMap, HashSet};
use std::path::Path;

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

/// How mail for a domain leaves the queue. Its password is shown to nobody, not even where it does not fit.
pub(in crate::config) struct Transport;

impl Kind<mail::Transport> for Transport {
    fn expected(&self) -> String {
        "a transport".into()
    }

    fn example(&self) -> String {
        "\"maildir\", \"mbox\", \"lmtp:unix:/path\", \"lmtp:host:port\", \"smtp://host:port\" or \
         \"smtps://user:password@host\""
            .into()
    }

    fn read(&self, value: Dynamic, _base: &Path) -> Result<mail::Transport, Unfit> {
        let text = super::text(value)?;
        mail::Transport::parse(&text).map_err(|error| {
            let shown = mail::without_password(&text).into_owned();
            Unfit::of(&shown.into()).because(error.to_string())
        })
    }

    fn write(&self, transport: &mail::Transport) -> Dynamic {
        transport.to_string().into()
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
    fn a_transport_tells_no_password() {
        let base = Path::new("/");
        let read = |text: &str| Transport.read(text.into(), base);
        let shown = Transport.write(&read("smtp://tim:secret@mx.example").unwrap());
        assert_eq!(shown.into_string().unwrap(), "smtp://tim:***@mx.example:25");
        let unfit = read("smtp://tim:secret@mx.example:smtp").unwrap_err();
        assert_eq!(
            unfit.to_string(),
            "found the string \"smtp://tim:***@mx.example:smtp\" (invalid port number)"
        );
    }

    #[test]
    fn mechanisms_in_any_spelling() {
        for text in ["CRAM-MD5", "cram_md5", "CramMd5"] {
            assert_eq!(Mechanism::parse(text), Ok(SaslMechanism::CramMd5), "{text}");
        }
        assert!(Mechanism::parse("GSSAPI").is_err());
    }
}
