//! Objects of the rule language: typed values that compare with each other and with the strings that spell them.

use crate::mail::{Address, ReversePath};
use crate::script::Fault;
use crate::smtp::Reply;
use ipnet::{Ipv4Net, Ipv6Net};
use regex::Regex;
use rhai::{Dynamic, ImmutableString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// One object.
#[derive(Clone, Debug)]
pub(super) enum Object {
    Ip4(Ipv4Addr),
    Ip6(Ipv6Addr),
    Rg4(Ipv4Net),
    Rg6(Ipv6Net),
    /// An address, or the null reverse-path.
    Path(ReversePath),
    /// A domain name, in lower case and without the dot at its end.
    Fqdn(String),
    Identifier(String),
    Regex(Regex),
    Code(Reply),
    /// The lines of a file.
    List(Arc<[Object]>),
}

/// What an object can be made as, in the words of the rule language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ip4,
    Ip6,
    Rg4,
    Rg6,
    Address,
    Fqdn,
    Identifier,
    Regex,
    Code,
}

impl Kind {
    pub(super) const ALL: [(&'static str, Self); 9] = [
        ("ip4", Self::Ip4),
        ("ip6", Self::Ip6),
        ("rg4", Self::Rg4),
        ("rg6", Self::Rg6),
        ("address", Self::Address),
        ("fqdn", Self::Fqdn),
        ("identifier", Self::Identifier),
        ("regex", Self::Regex),
        ("code", Self::Code),
    ];

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find_map(|(known, kind)| (known == name).then_some(kind))
    }

    /// The object of this kind that `text` spells.
    pub(super) fn parse(self, text: &str) -> Result<Object, Fault> {
        match self {
            Self::Ip4 => text
                .parse()
                .map(Object::Ip4)
                .map_err(|_| misspelt(text, "an IPv4 address", "192.0.2.1")),
            Self::Ip6 => text
                .parse()
                .map(Object::Ip6)
                .map_err(|_| misspelt(text, "an IPv6 address", "2001:db8::1")),
            Self::Rg4 => text
                .parse()
                .map(Object::Rg4)
                .map_err(|_| misspelt(text, "an IPv4 network", "192.0.2.0/24")),
            Self::Rg6 => text
                .parse()
                .map(Object::Rg6)
                .map_err(|_| misspelt(text, "an IPv6 network", "2001:db8::/32")),
            Self::Address => address(text).map(|address| Object::Path(ReversePath(Some(address)))),
            Self::Fqdn if is_fqdn(text) => Ok(Object::Fqdn(folded(text))),
            Self::Fqdn => Err(misspelt(text, "a domain name", "mail.example.com")),
            Self::Identifier if text.is_empty() || text.contains(char::is_whitespace) => {
                Err(misspelt(text, "an identifier", "john"))
            }
            Self::Identifier => Ok(Object::Identifier(text.to_owned())),
            Self::Regex => Regex::new(text).map(Object::Regex).map_err(|error| {
                let last = error.to_string();
                let last = last.lines().last().unwrap_or_default();
                Fault::new(
                    format!(
                        "{text:?} is no regular expression: {}",
                        last.trim_start_matches("error: ")
                    ),
                    "see docs.rs/regex for the syntax",
                )
            }),
            Self::Code => super::state::parse_reply(text).map(Object::Code),
        }
    }
}

/// What an argument says, be it a string or an object.
pub(super) fn text(argument: &Dynamic) -> Result<String, Fault> {
    if let Some(object) = argument.read_lock::<Object>() {
        return Ok(object.to_string());
    }
    argument
        .read_lock::<ImmutableString>()
        .map(|text| text.to_string())
        .ok_or_else(|| {
            Fault::new(
                format!(
                    "a value of type {} is neither string nor object",
                    argument.type_name()
                ),
                "give a string or an object",
            )
        })
}

/// The address that `text` spells.
pub(super) fn address(text: &str) -> Result<Address, Fault> {
    Address::parse(text).map_err(|_| misspelt(text, "an address", "john@example.com"))
}

fn misspelt(text: &str, what: &str, example: &str) -> Fault {
    Fault::new(
        format!("{text:?} is not {what}"),
        format!("write it as in {example:?}"),
    )
}

fn is_fqdn(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    (1..=253).contains(&name.len())
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .chars()
                    .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
        })
}

/// A domain name as it compares.
fn folded(domain: &str) -> String {
    domain.strip_suffix('.').unwrap_or(domain).to_lowercase()
}

impl Object {
    /// Whether both are the same thing.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip4(a), Self::Ip4(b)) => a == b,
            (Self::Ip6(a), Self::Ip6(b)) => a == b,
            (Self::Rg4(a), Self::Rg4(b)) => a.trunc() == b.trunc(),
            (Self::Rg6(a), Self::Rg6(b)) => a.trunc() == b.trunc(),
            (Self::Path(a), Self::Path(b)) => a == b,
            (Self::Fqdn(a), Self::Fqdn(b)) | (Self::Identifier(a), Self::Identifier(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            (Self::Code(a), Self::Code(b)) => a == b,
            (Self::List(a), Self::List(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.equals(b))
            }
            (Self::Regex(regex), other) | (other, Self::Regex(regex)) => {
                regex.is_match(&other.to_string())
            }
            _ => false,
        }
    }

    /// Whether `text` spells this.
    pub(super) fn is_spelt(&self, text: &str) -> bool {
        match self {
            Self::Ip4(address) => text.parse() == Ok(*address),
            Self::Ip6(address) => text.parse() == Ok(*address),
            Self::Rg4(network) => text
                .parse()
                .is_ok_and(|other: Ipv4Net| other.trunc() == network.trunc()),
            Self::Rg6(network) => text
                .parse()
                .is_ok_and(|other: Ipv6Net| other.trunc() == network.trunc()),
            Self::Path(ReversePath(None)) => matches!(text, "" | "<>"),
            Self::Path(ReversePath(Some(address))) => {
                Address::parse(text).is_ok_and(|other| other == *address)
            }
            Self::Fqdn(name) => folded(text) == *name,
            Self::Identifier(name) => name == text,
            Self::Regex(regex) => regex.is_match(text),
            Self::Code(reply) => reply.to_string() == text,
            Self::List(_) => false,
        }
    }

    /// `item in self`.
    pub(super) fn contains(&self, item: &Self) -> bool {
        match (self, item) {
            (Self::Rg4(network), Self::Ip4(address)) => network.contains(address),
            (Self::Rg6(network), Self::Ip6(address)) => network.contains(address),
            (Self::Rg4(network), Self::Rg4(part)) => network.contains(part),
            (Self::Rg6(network), Self::Rg6(part)) => network.contains(part),
            (Self::Fqdn(name), Self::Path(ReversePath(Some(address)))) => {
                folded(address.domain()) == *name
            }
            (Self::Identifier(name), Self::Path(ReversePath(Some(address)))) => {
                name == address.local_part()
            }
            (Self::List(objects), item) => objects
                .iter()
                .any(|object| object.equals(item) || object.contains(item)),
            _ => self.equals(item),
        }
    }

    /// `text in self`.
    pub(super) fn contains_text(&self, text: &str) -> bool {
        match self {
            Self::Rg4(network) => match text.parse() {
                Ok(IpAddr::V4(address)) => network.contains(&address),
                _ => self.is_spelt(text),
            },
            Self::Rg6(network) => match text.parse() {
                Ok(IpAddr::V6(address)) => network.contains(&address),
                _ => self.is_spelt(text),
            },
            Self::Fqdn(name) => match Address::parse(text) {
                Ok(address) => folded(address.domain()) == *name,
                Err(_) => self.is_spelt(text),
            },
            Self::Identifier(name) => match Address::parse(text) {
                Ok(address) => address.local_part() == name,
                Err(_) => self.is_spelt(text),
            },
            Self::List(objects) => objects.iter().any(|object| object.contains_text(text)),
            _ => self.is_spelt(text),
        }
    }

    /// What the language calls its type.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Ip4(_) => "ip4",
            Self::Ip6(_) => "ip6",
            Self::Rg4(_) => "rg4",
            Self::Rg6(_) => "rg6",
            Self::Path(_) => "address",
            Self::Fqdn(_) => "fqdn",
            Self::Identifier(_) => "identifier",
            Self::Regex(_) => "regex",
            Self::Code(_) => "code",
            Self::List(_) => "file",
        }
    }
}

/// As it would be written in a string.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip4(address) => address.fmt(f),
            Self::Ip6(address) => address.fmt(f),
            Self::Rg4(network) => network.fmt(f),
            Self::Rg6(network) => network.fmt(f),
            Self::Path(path) => path.fmt(f),
            Self::Fqdn(text) | Self::Identifier(text) => f.write_str(text),
            Self::Regex(regex) => f.write_str(regex.as_str()),
            Self::Code(reply) => reply.fmt(f),
            Self::List(objects) => objects.iter().enumerate().try_for_each(|(index, object)| {
                if index > 0 {
                    f.write_str(", ")?;
                }
                object.fmt(f)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, text: &str) -> Object {
        Kind::from_name(kind).unwrap().parse(text).unwrap()
    }

    #[test]
    fn strings_spell_objects() {
        for (kind, text, spelling, expected) in [
            ("ip4", "192.0.2.1", "192.0.2.1", true),
            ("ip4", "192.0.2.1", "192.0.2.10", false),
            ("ip6", "2001:db8::1", "2001:DB8:0::1", true),
            ("rg4", "10.0.0.0/8", "10.0.0.0/8", true),
            ("rg4", "10.0.0.0/8", "10.1.2.3", false),
            ("address", "john@example.com", "john@EXAMPLE.com", true),
            ("address", "john@example.com", "John@example.com", false),
            ("fqdn", "Example.COM.", "example.com", true),
            ("fqdn", "example.com", "mail.example.com", false),
            ("identifier", "john", "john", true),
            ("identifier", "john", "John", false),
            ("regex", "^j.*@", "john@example.com", true),
            ("regex", "^j.*@", "bob@example.com", false),
            ("code", "550 5.7.1 no", "550 5.7.1 no", true),
        ] {
            assert_eq!(
                object(kind, text).is_spelt(spelling),
                expected,
                "{kind} {text} {spelling}"
            );
        }
    }

    #[test]
    fn networks_and_names_contain() {
        for (container, text, item, expected) in [
            ("rg4", "192.168.0.0/16", "192.168.1.254", true),
            ("rg4", "192.168.0.0/16", "192.169.0.0", false),
            ("rg4", "192.168.0.0/16", "::1", false),
            ("rg4", "192.168.0.0/16", "nonsense", false),
            ("rg6", "fc00::/7", "fd00::1", true),
            ("fqdn", "example.com", "john@Example.com", true),
            ("fqdn", "example.com", "john@example.org", false),
            ("identifier", "john", "john@example.org", true),
            ("address", "john@example.org", "john@example.org", true),
            ("regex", "org$", "john@example.org", true),
        ] {
            let container = object(container, text);
            assert_eq!(
                container.contains_text(item),
                expected,
                "{container} {item}"
            );
        }
        assert!(object("rg4", "10.0.0.0/8").contains(&object("ip4", "10.9.9.9")));
        assert!(object("fqdn", "example.com").contains(&object("address", "a@EXAMPLE.com")));
        assert!(!object("rg4", "10.0.0.0/8").contains(&object("ip6", "::1")));
    }

    #[test]
    fn misspellings_say_what_was_meant() {
        for (kind, text, expected) in [
            (
                "ip4",
                "1.2.3",
                "\"1.2.3\" is not an IPv4 address: write it as in \"192.0.2.1\"",
            ),
            (
                "fqdn",
                "a b",
                "\"a b\" is not a domain name: write it as in \"mail.example.com\"",
            ),
            (
                "address",
                "john",
                "\"john\" is not an address: write it as in \"john@example.com\"",
            ),
            (
                "regex",
                "(",
                "\"(\" is no regular expression: unclosed group: see docs.rs/regex for the syntax",
            ),
        ] {
            let fault = Kind::from_name(kind).unwrap().parse(text).unwrap_err();
            assert_eq!(fault.to_string(), expected);
        }
    }
}
