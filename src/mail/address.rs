//! Addresses as they stand in an envelope: `Mailbox` of RFC 5321 §4.1.2, with the UTF-8 of RFC 6531 §3.3.
//!
//! Only syntax is read here. Whether a domain exists or a local-part is somebody's is not: an odd local-part such as
//! `../../x` or `$(id)` is literal text wherever it goes.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Octets of a local-part (RFC 5321 §4.5.3.1.1).
const LOCAL_PART_MAX: usize = 64;
/// Octets of a domain (RFC 5321 §4.5.3.1.2).
const DOMAIN_MAX: usize = 255;
/// Octets of a whole address: those of a path, less its angle brackets (RFC 5321 §4.5.3.1.3).
const ADDRESS_MAX: usize = 254;
/// Octets of one label of a domain (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// A mailbox: local-part, `@`, domain or address literal.
///
/// Kept in one canonical spelling: a local-part is quoted only where it must be, so that `"a"@x` and `a@x` are one
/// address. Domains compare without case, local-parts with (RFC 5321 §2.4). Holds no control character.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    text: String,
    /// Where the `@` that parts local-part and domain stands in `text`.
    at: usize,
}

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text is empty, or the local-part or the domain is.
    #[error("address is incomplete")]
    Incomplete,
    /// The local-part is neither a dot-string nor a quoted string.
    #[error("malformed local-part")]
    LocalPart,
    /// The domain is neither a domain name nor an address literal.
    #[error("malformed domain")]
    Domain,
    /// Longer than RFC 5321 §4.5.3.1 lets an address be.
    #[error("address is too long")]
    TooLong,
}

impl Address {
    /// Reads a whole text as one address. Non-ASCII is taken (RFC 6531); see [`Address::is_ascii`].
    ///
    /// ```text
    /// Mailbox    = Local-part "@" ( Domain / address-literal )
    /// Local-part = Dot-string / Quoted-string
    /// ```
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (local_part, domain) = if text.starts_with('"') {
            let (content, rest) = quoted_string(text)?;
            let domain = rest.strip_prefix('@').ok_or(AddressError::LocalPart)?;
            (Cow::Owned(canonical_local_part(content)?), domain)
        } else {
            let (local_part, domain) = text.split_once('@').ok_or(AddressError::Incomplete)?;
            if local_part.is_empty() {
                return Err(AddressError::Incomplete);
            }
            if !is_dot_string(local_part) {
                return Err(AddressError::LocalPart);
            }
            (Cow::Borrowed(local_part), domain)
        };
        let domain = canonical_domain(domain)?;
        if local_part.len() > LOCAL_PART_MAX || local_part.len() + 1 + domain.len() > ADDRESS_MAX {
            return Err(AddressError::TooLong);
        }
        Ok(Self {
            at: local_part.len(),
            text: [&local_part, "@", &domain].concat(),
        })
    }

    /// The local-part as it stands on the wire, in quotes where they are needed.
    pub fn local_part(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// The domain as it was written, or the address literal in its brackets.
    pub fn domain(&self) -> &str {
        self.text.get(self.at + 1..).unwrap_or_default()
    }

    /// The whole address as it stands on the wire, without angle brackets.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a server without SMTPUTF8 can be told this address.
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }
}

/// Whether `text` is a domain name: not an address literal, and without a dot at its end.
///
/// ```text
/// Domain     = sub-domain *("." sub-domain)
/// sub-domain = Let-dig [Ldh-str] / U-label
/// ```
pub fn is_domain(text: &str) -> bool {
    text.len() <= DOMAIN_MAX && text.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let letter_or_digit = |c: char| {
        if c.is_ascii() {
            c.is_ascii_alphanumeric()
        } else {
            !c.is_control() && !c.is_whitespace()
        }
    };
    (1..=LABEL_MAX).contains(&label.len())
        && label.chars().all(|c| c == '-' || letter_or_digit(c))
        && label.starts_with(letter_or_digit)
        && label.ends_with(letter_or_digit)
}

/// `Dot-string = Atom *("." Atom)`
fn is_dot_string(text: &str) -> bool {
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// `atext` of RFC 5322 §3.2.3, or `UTF8-non-ascii` of RFC 6531 §3.3.
fn is_atext(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
    } else {
        !c.is_control()
    }
}

/// Reads the quoted string at the front of `text`: what it stands for, and what follows it.
///
/// ```text
/// Quoted-string   = DQUOTE *QcontentSMTP DQUOTE
/// quoted-pairSMTP = %d92 %d32-126
/// qtextSMTP       = %d32-33 / %d35-91 / %d93-126 / UTF8-non-ascii
/// ```
fn quoted_string(text: &str) -> Result<(String, &str), AddressError> {
    let mut content = String::new();
    let mut chars = text.chars();
    chars.next();
    while let Some(c) = chars.next() {
        let literal = match c {
            '"' => return Ok((content, chars.as_str())),
            '\\' => chars
                .next()
                .filter(char::is_ascii)
                .ok_or(AddressError::LocalPart)?,
            _ => c,
        };
        if literal.is_control() {
            return Err(AddressError::LocalPart);
        }
        content.push(literal);
    }
    Err(AddressError::LocalPart)
}

/// The one spelling of the local-part that stands for `content`: quoted, and escaped, only where it must be.
fn canonical_local_part(content: String) -> Result<String, AddressError> {
    if content.is_empty() {
        return Err(AddressError::Incomplete);
    }
    if is_dot_string(&content) {
        return Ok(content);
    }
    let mut quoted = String::with_capacity(content.len() + 2);
    quoted.push('"');
    for c in content.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    Ok(quoted)
}

/// ```text
/// address-literal = "[" ( IPv4-address-literal / IPv6-address-literal ) "]"
/// ```
///
/// `General-address-literal` is refused: no tag but `IPv6` was ever registered.
fn canonical_domain(text: &str) -> Result<Cow<'_, str>, AddressError> {
    if text.is_empty() {
        return Err(AddressError::Incomplete);
    }
    if text.len() > DOMAIN_MAX {
        return Err(AddressError::TooLong);
    }
    let Some(literal) = text.strip_prefix('[') else {
        return if is_domain(text) {
            Ok(Cow::Borrowed(text))
        } else {
            Err(AddressError::Domain)
        };
    };
    let literal = literal.strip_suffix(']').ok_or(AddressError::Domain)?;
    if Ipv4Addr::from_str(literal).is_ok() {
        return Ok(Cow::Borrowed(text));
    }
    literal
        .split_once(':')
        .filter(|(tag, _)| tag.eq_ignore_ascii_case("IPv6"))
        .and_then(|(_, address)| Ipv6Addr::from_str(address).ok())
        .map(|address| Cow::Owned(format!("[IPv6:{address}]")))
        .ok_or(AddressError::Domain)
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.text
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.local_part() == other.local_part()
            && self.domain().eq_ignore_ascii_case(other.domain())
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.local_part().hash(state);
        for octet in self.domain().bytes() {
            octet.to_ascii_lowercase().hash(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, AddressError, LABEL_MAX, LOCAL_PART_MAX};

    #[test]
    fn reads_each_form_of_mailbox_into_its_canonical_spelling() {
        for (written, canonical) in [
            ("smith@example.com", "smith@example.com"),
            ("Smith@EXAMPLE.com", "Smith@EXAMPLE.com"),
            ("a.b+c@x", "a.b+c@x"),
            ("!#$%&'*+-/=?^_`{|}~@x", "!#$%&'*+-/=?^_`{|}~@x"),
            ("../../x@x.org", "refused"),
            ("/etc/passwd@x.org", "/etc/passwd@x.org"),
            ("|id@x.org", "|id@x.org"),
            ("-rf@x.org", "-rf@x.org"),
            (r#""a"@x"#, "a@x"),
            (r#""a.b"@x"#, "a.b@x"),
            (r#""a b"@x"#, r#""a b"@x"#),
            (r#""a\b"@x"#, "ab@x"),
            (r#""a\"b\\c"@x"#, r#""a\"b\\c"@x"#),
            (r#""a@b"@x"#, r#""a@b"@x"#),
            (r#""a>b"@x"#, r#""a>b"@x"#),
            (r#""..""@x"#, "refused"),
            (r#""..\/x"@x"#, r#""../x"@x"#),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
            ("a@[ipv6:2001:DB8:0::1]", "a@[IPv6:2001:db8::1]"),
            ("élodie@exämple.org", "élodie@exämple.org"),
            (r#""é e"@x"#, r#""é e"@x"#),
        ] {
            let read = Address::parse(written).map_or("refused".to_owned(), |a| a.to_string());
            assert_eq!(read, canonical, "{written}");
        }
    }

    #[test]
    fn refuses_what_is_no_mailbox() {
        use AddressError::{Domain, Incomplete, LocalPart, TooLong};
        let long_label = format!("a@{}", "x".repeat(LABEL_MAX + 1));
        let long_local = format!("{}@x", "a".repeat(LOCAL_PART_MAX + 1));
        let long_domain = format!("a@{}", ["label"; 50].join("."));
        for (text, error) in [
            ("", Incomplete),
            ("a", Incomplete),
            ("@x", Incomplete),
            ("a@", Incomplete),
            (r#"""@x"#, Incomplete),
            ("a..b@x", LocalPart),
            (".a@x", LocalPart),
            ("a.@x", LocalPart),
            ("a b@x", LocalPart),
            ("a\r\nb@x", LocalPart),
            ("a\0@x", LocalPart),
            ("a\u{85}@x", LocalPart),
            (r#""a"b@x"#, LocalPart),
            (r#""a@x"#, LocalPart),
            (r#""a\"@x"#, LocalPart),
            ("\"a\nb\"@x", LocalPart),
            ("a@b@c", Domain),
            ("a@x.", Domain),
            ("a@.x", Domain),
            ("a@x..y", Domain),
            ("a@-x", Domain),
            ("a@x-", Domain),
            ("a@x_y", Domain),
            ("a@x y", Domain),
            ("a@[1.2.3", Domain),
            ("a@[1.2.3.4", Domain),
            ("a@[1.2.3.400]", Domain),
            ("a@[::1]", Domain),
            ("a@[IPv6:1.2.3.4]", Domain),
            ("a@[tag:content]", Domain),
            (&long_label, Domain),
            (&long_local, TooLong),
            (&long_domain, TooLong),
        ] {
            assert_eq!(Address::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn domains_compare_without_case_and_local_parts_with() {
        let parse = |text| Address::parse(text).unwrap();
        assert_eq!(parse("a@X.org"), parse("\"a\"@x.ORG"));
        assert_ne!(parse("A@x.org"), parse("a@x.org"));
        let set = std::collections::HashSet::from([parse("a@X.org")]);
        assert!(set.contains(&parse("a@x.org")));
    }
}
