//! Names and addresses of hosts.

use super::Word;
use crate::mail::is_domain;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The name of this server (RFC 5321 §2.3.5).
pub(in crate::config) struct DomainName;

impl Word for DomainName {
    type Value = Arc<str>;

    const EXPECTED: &'static str = "a domain name";
    const EXAMPLE: &'static str = "a name such as \"mx.example.com\"";

    fn parse(text: &str) -> Result<Arc<str>, String> {
        if is_domain_name(text) {
            return Ok(text.into());
        }
        Err("its labels are letters, digits and hyphens, parted by dots".into())
    }

    fn print(name: &Arc<str>) -> String {
        name.to_string()
    }
}

/// Whether `text` names a host or a mail domain; an internationalised one does so in its `xn--` form.
pub(in crate::config) fn is_domain_name(text: &str) -> bool {
    text.is_ascii() && is_domain(text) && text.parse::<IpAddr>().is_err()
}

/// Where to listen.
pub(in crate::config) struct Socket;

impl Word for Socket {
    type Value = SocketAddr;

    const EXPECTED: &'static str = "an address with a port";
    const EXAMPLE: &'static str = "\"192.0.2.1:25\", \"0.0.0.0:25\" or \"[::]:25\"";

    fn parse(text: &str) -> Result<SocketAddr, String> {
        text.parse().map_err(|_| {
            let address = text
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .unwrap_or(text);
            if address.parse::<IpAddr>().is_ok() {
                "it has no port".into()
            } else {
                "names are not looked up here".into()
            }
        })
    }

    fn print(address: &SocketAddr) -> String {
        address.to_string()
    }
}

/// A name server, at port 53 unless it says otherwise.
pub(in crate::config) struct NameServer;

impl Word for NameServer {
    type Value = SocketAddr;

    const EXPECTED: &'static str = "the address of a name server";
    const EXAMPLE: &'static str = "\"192.0.2.1\", \"2001:db8::1\" or \"192.0.2.1:5353\"";

    fn parse(text: &str) -> Result<SocketAddr, String> {
        const DNS: u16 = 53;
        text.parse::<IpAddr>()
            .map(|ip| SocketAddr::new(ip, DNS))
            .or_else(|_| text.parse())
            .map_err(|_| "it is neither an IP address nor one with a port".into())
    }

    fn print(address: &SocketAddr) -> String {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_names() {
        for name in [
            "example.com",
            "localhost",
            "MX1.example.com",
            "xn--bcher-kva.example",
        ] {
            assert!(is_domain_name(name), "{name}");
        }
        let long = format!("{}.com", "a".repeat(64));
        for name in [
            "",
            ".",
            "a..b",
            "a_b.c",
            "a.",
            "-a.b",
            "a-.b",
            "a b",
            "b\u{fc}cher.example",
            "192.0.2.1",
            "a/b",
            &long,
        ] {
            assert!(!is_domain_name(name), "{name}");
        }
    }

    #[test]
    fn sockets() {
        assert!(Socket::parse("0.0.0.0:25").is_ok());
        assert!(Socket::parse("[::1]:0").is_ok());
        assert_eq!(Socket::parse("0.0.0.0"), Err("it has no port".into()));
        assert_eq!(Socket::parse("[::]"), Err("it has no port".into()));
        assert!(Socket::parse("localhost:25").is_err());
        assert_eq!(NameServer::parse("::1").unwrap().to_string(), "[::1]:53");
        assert_eq!(NameServer::parse("192.0.2.1:5").unwrap().port(), 5);
    }
}
