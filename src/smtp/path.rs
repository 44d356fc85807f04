//! The paths of MAIL and RCPT (RFC 5321 §4.1.2): what stands in angle brackets.

use crate::mail::{Address, AddressError, is_domain};

/// The forward-path of RCPT TO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ForwardPath {
    Mailbox(Address),
    /// `<Postmaster>` without a domain: ours (RFC 5321 §4.5.1).
    Postmaster,
}

impl ForwardPath {
    /// Reads what stands in the angle brackets.
    pub(super) fn parse(path: &str) -> Result<Self, AddressError> {
        if path.eq_ignore_ascii_case("postmaster") {
            Ok(Self::Postmaster)
        } else {
            mailbox(path).map(Self::Mailbox)
        }
    }

    /// The mailbox that it leads to on a server named `server_name`.
    pub(super) fn mailbox(self, server_name: &str) -> Result<Address, AddressError> {
        match self {
            Self::Mailbox(address) => Ok(address),
            Self::Postmaster => Address::parse(&format!("postmaster@{server_name}")),
        }
    }
}

/// Parts `text` into what stands in the angle brackets at its front, and what follows them.
pub(super) fn bracketed(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('<')?;
    let (path, rest) = text.split_at_checked(length(text)?)?;
    Some((path, rest.strip_prefix('>')?))
}

/// How far it is to the `>` that ends a path: one in a quoted string does not.
fn length(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    text.bytes().position(|octet| {
        let end = octet == b'>' && !quoted;
        if octet == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = octet == b'\\' && quoted && !escaped;
        end
    })
}

/// Reads what stands in the angle brackets as a mailbox, and ignores a source route before it, as RFC 5321 §4.1.1.3
/// and appendix C want it.
///
/// ```text
/// Path      = "<" [ A-d-l ":" ] Mailbox ">"
/// A-d-l     = At-domain *( "," At-domain )
/// At-domain = "@" Domain
/// ```
pub(super) fn mailbox(path: &str) -> Result<Address, AddressError> {
    if !path.starts_with('@') {
        return Address::parse(path);
    }
    let (route, mailbox) = path.split_once(':').ok_or(AddressError::Incomplete)?;
    let at_domain = |hop: &str| hop.strip_prefix('@').is_some_and(is_domain);
    if !route.split(',').all(at_domain) {
        return Err(AddressError::Domain);
    }
    Address::parse(mailbox)
}

#[cfg(test)]
mod tests {
    use super::{ForwardPath, bracketed, mailbox};
    use crate::mail::AddressError;

    #[test]
    fn a_bracket_in_quotes_ends_no_path() {
        for (text, expected) in [
            ("<>", Some(("", ""))),
            ("<a@b> X", Some(("a@b", " X"))),
            ("<a@b>>", Some(("a@b", ">"))),
            (r#"<"a>b"@c>"#, Some((r#""a>b"@c"#, ""))),
            (r#"<"a\">b"@c>"#, Some((r#""a\">b"@c"#, ""))),
            (r#"<"a\\"@c>"#, Some((r#""a\\"@c"#, ""))),
            ("<\"a@b>", None),
            ("<a@b", None),
            ("a@b>", None),
            (" <a@b>", None),
        ] {
            assert_eq!(bracketed(text), expected, "{text}");
        }
    }

    #[test]
    fn a_source_route_is_read_and_ignored() {
        use AddressError::{Domain, Incomplete};
        for (path, expected) in [
            ("a@b", Ok("a@b")),
            ("@r.example:a@b", Ok("a@b")),
            ("@r,@s.example:a@b", Ok("a@b")),
            ("@r:a", Err(Incomplete)),
            ("@r a@b", Err(Incomplete)),
            ("@r,s:a@b", Err(Domain)),
            ("@:a@b", Err(Domain)),
            ("@[1.2.3.4]:a@b", Err(Domain)),
        ] {
            let read = mailbox(path).map(|address| address.to_string());
            assert_eq!(read.as_deref().map_err(|error| *error), expected, "{path}");
        }
    }

    #[test]
    fn postmaster_needs_no_domain() {
        for name in ["postmaster", "Postmaster", "POSTMASTER"] {
            let address = ForwardPath::parse(name).unwrap().mailbox("mx.example.com");
            assert_eq!(address.unwrap().as_str(), "postmaster@mx.example.com");
        }
        assert!(ForwardPath::Postmaster.mailbox("no name").is_err());
    }
}
