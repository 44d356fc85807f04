//! The addresses in the fields From, To and Cc (RFC 5322 §3.4): found where they stand, so that an edit leaves the names,
//! comments and folds around them alone.
//!
//! ```text
//! address-list = (address *("," address))
//! address      = mailbox / group
//! mailbox      = [display-name] "<" addr-spec ">" / addr-spec
//! group        = display-name ":" [mailbox-list] ";"
//! ```
//!
//! Obsolete syntax (routes, empty elements, comments anywhere) is read. What is no address is passed over.

use super::writing::LINE_SHOULD;
use super::{Field, FieldError, HeaderSection};
use crate::mail::Address;
use std::ops::Range;

/// The fields that name recipients to all readers.
const RECIPIENTS: [&str; 2] = ["To", "Cc"];

impl HeaderSection {
    /// Puts `new` in place of the author's address in From; of several authors the first stays. Display name and comments
    /// stay too. Adds the field where there is none.
    ///
    /// # Errors
    /// Nothing is changed; so it is with every edit.
    pub fn rewrite_author(&mut self, new: &Address) -> Result<(), FieldError> {
        let Some(place) = self.places("From", Some(0)).pop() else {
            return self.append("From", new.as_str());
        };
        let octets = self.octets_at(place);
        let part = |range: Range<usize>| octets.get(range).unwrap_or_default();
        let new = new.as_str().as_bytes();
        let octets = match mailboxes(octets).as_slice() {
            [] => [b"From: ", new, b"\r\n"].concat(),
            [Mailbox { spec, .. }] => {
                [part(0..spec.start), new, part(spec.end..octets.len())].concat()
            }
            [Mailbox { element, spec, .. }, ..] => {
                let name = part(element.start..spec.start);
                let rest = part(spec.end..element.end);
                [b"From: ", name, new, rest, b"\r\n"].concat()
            }
        };
        self.replace(place, octets)
    }

    /// Puts `new` in place of `old` in To and Cc; display names stay. Tells whether `old` was there.
    pub fn rewrite_recipient(&mut self, old: &Address, new: &Address) -> Result<bool, FieldError> {
        let mut rewritten = self.clone();
        for place in self.recipient_fields() {
            let mut octets = self.octets_at(place).to_vec();
            // From the end, so that what stands before keeps its place.
            for mailbox in mailboxes(&octets).into_iter().rev() {
                if mailbox.is_of(old) {
                    octets.splice(mailbox.spec, new.as_str().bytes());
                }
            }
            if octets != self.octets_at(place) {
                rewritten.replace(place, octets)?;
            }
        }
        let found = self.names(old);
        *self = rewritten;
        Ok(found)
    }

    /// Adds `new` to To, or adds that field, unless To or Cc names it already.
    pub fn add_recipient(&mut self, new: &Address) -> Result<(), FieldError> {
        if self.names(new) {
            return Ok(());
        }
        let Some(place) = self.places("To", None).pop() else {
            return self.append("To", new.as_str());
        };
        let list = self.octets_at(place).trim_ascii_end();
        let last_line = list.rsplit(|octet| *octet == b'\n').next();
        let length = last_line.map_or(0, <[u8]>::len) + ", ".len() + new.as_str().len();
        let separator: &[u8] = if list.ends_with(b":") {
            b" "
        } else if length > LINE_SHOULD {
            b",\r\n "
        } else {
            b", "
        };
        let octets = [list, separator, new.as_str().as_bytes(), b"\r\n"].concat();
        self.replace(place, octets)
    }

    /// Removes `old` from To and Cc, and a field that is empty then. Tells whether `old` was there.
    pub fn remove_recipient(&mut self, old: &Address) -> Result<bool, FieldError> {
        let found = self.names(old);
        let mut rest = self.clone();
        for place in self.recipient_fields().into_iter().rev() {
            let octets = without(self.octets_at(place), old);
            if octets == self.octets_at(place) {
                continue;
            }
            if Field::new(octets.clone()).value().is_empty() {
                rest.fields.remove(place);
                rest.edited = true;
            } else {
                rest.replace(place, octets)?;
            }
        }
        *self = rest;
        Ok(found)
    }

    /// Whether To or Cc names `address`.
    fn names(&self, address: &Address) -> bool {
        self.recipient_fields().into_iter().any(|place| {
            let mailboxes = mailboxes(self.octets_at(place));
            mailboxes.iter().any(|mailbox| mailbox.is_of(address))
        })
    }

    /// Where those fields stand, in order.
    fn recipient_fields(&self) -> Vec<usize> {
        let named = RECIPIENTS.iter().flat_map(|name| self.places(name, None));
        let mut places: Vec<_> = named.collect();
        places.sort_unstable();
        places
    }

    fn octets_at(&self, place: usize) -> &[u8] {
        self.fields.get(place).map_or(&[], Field::octets)
    }
}

/// The addr-specs that a list of mailboxes names (`john, "Jane" <jane@example.com>`), without names, comments and routes.
/// What has no domain may stand for a mailbox of the machine that it is written on.
pub fn mailboxes_of(list: &[u8]) -> Vec<String> {
    let field = [b"To:", list].concat();
    let mailboxes = mailboxes(&field).into_iter();
    mailboxes.map(|mailbox| mailbox.text).collect()
}

/// One mailbox of a field.
#[derive(Debug)]
struct Mailbox {
    /// All of it, without the white space at both ends.
    element: Range<usize>,
    /// The addr-spec in it.
    spec: Range<usize>,
    /// The addr-spec without what may stand between its parts.
    text: String,
    /// `None`: what stands there is no address.
    address: Option<Address>,
    /// The commas before and behind it, in its list or group.
    commas: (Option<usize>, Option<usize>),
}

impl Mailbox {
    fn is_of(&self, address: &Address) -> bool {
        self.address.as_ref() == Some(address)
    }
}

/// The octets of a field without the mailboxes of `address`, and without the commas that they leave over.
fn without(field: &[u8], address: &Address) -> Vec<u8> {
    let mut rest = Vec::with_capacity(field.len());
    let mut copied = 0;
    let mut stays_before = false;
    for mailbox in mailboxes(field) {
        let Mailbox {
            element, commas, ..
        } = &mailbox;
        stays_before &= commas.0.is_some();
        if !mailbox.is_of(address) {
            stays_before = true;
            continue;
        }
        let gone = match commas {
            (Some(comma), _) if stays_before => *comma..element.end,
            (_, Some(comma)) => {
                let behind = field.get(comma + 1..).unwrap_or_default();
                let space = behind.len() - behind.trim_ascii_start().len();
                element.start..comma + 1 + space
            }
            (_, None) => element.clone(),
        };
        rest.extend_from_slice(field.get(copied..gone.start).unwrap_or_default());
        copied = gone.end;
    }
    rest.extend_from_slice(field.get(copied..).unwrap_or_default());
    rest
}

/// The mailboxes that a field names.
fn mailboxes(field: &[u8]) -> Vec<Mailbox> {
    let mut mailboxes: Vec<Mailbox> = Vec::new();
    let mut at = memchr::memchr(b':', field).map_or(field.len(), |colon| colon + 1);
    let (mut start, mut angle, mut comma) = (at, None, None);
    loop {
        let octet = field.get(at).copied();
        match octet {
            None | Some(b',' | b';') => {
                let behind = (octet == Some(b',')).then_some(at);
                mailboxes.extend(mailbox(field, start..at, angle.take(), (comma, behind)));
                (start, comma) = (at + 1, behind);
                if octet.is_none() {
                    return mailboxes;
                }
                at += 1;
            }
            // What came before was the name of a group.
            Some(b':') => {
                at += 1;
                (start, angle, comma) = (at, None, None);
            }
            Some(_) => {
                let end = lexeme_end(field, at);
                if octet == Some(b'<') {
                    angle = Some(at + 1..end - 1);
                }
                at = end;
            }
        }
    }
}

/// The mailbox that stands in `element`, whose addr-spec may stand in angle brackets.
fn mailbox(
    field: &[u8],
    element: Range<usize>,
    angle: Option<Range<usize>>,
    commas: (Option<usize>, Option<usize>),
) -> Option<Mailbox> {
    let element = trimmed(field, element);
    let within = angle.map_or_else(|| element.clone(), |angle| without_route(field, angle));
    let mut text = Vec::new();
    let mut spec: Option<Range<usize>> = None;
    let mut at = within.start;
    let mut apart = false;
    while at < within.end {
        let end = lexeme_end(field, at).min(within.end);
        let lexeme = field.get(at..end)?;
        if lexeme.starts_with(b"(") || lexeme.trim_ascii().is_empty() {
            apart = true;
        } else {
            // Obsolete syntax has white space around dots and the at sign. Other words stay apart.
            let joins = |octets: &[u8]| octets.ends_with(b".") || octets.ends_with(b"@");
            if apart && !text.is_empty() && !joins(&text) && !joins(lexeme) {
                text.push(b' ');
            }
            text.extend_from_slice(lexeme);
            spec = Some(spec.map_or(at, |spec| spec.start)..end);
            apart = false;
        }
        at = end;
    }
    let address = std::str::from_utf8(&text).ok();
    Some(Mailbox {
        element,
        spec: spec?,
        address: address.and_then(|text| Address::parse(text).ok()),
        text: String::from_utf8_lossy(&text).into_owned(),
        commas,
    })
}

/// `obs-angle-addr = "<" 1*("," / "@" domain) ":" addr-spec ">"`, more or less.
fn without_route(field: &[u8], angle: Range<usize>) -> Range<usize> {
    let angle = trimmed(field, angle);
    let inner = field.get(angle.clone()).unwrap_or_default();
    match memchr::memchr(b':', inner) {
        Some(colon) if inner.starts_with(b"@") => angle.start + colon + 1..angle.end,
        _ => angle,
    }
}

fn trimmed(field: &[u8], range: Range<usize>) -> Range<usize> {
    let octets = field.get(range.clone()).unwrap_or_default();
    let start = range.start + octets.len() - octets.trim_ascii_start().len();
    start..start + octets.trim_ascii().len()
}

/// Where what begins at `at` ends: a quoted string, a comment, a domain literal, an address in angle brackets, or else
/// one octet. What is never closed ends with the field.
fn lexeme_end(field: &[u8], at: usize) -> usize {
    let (open, close) = match field.get(at) {
        Some(b'"') => (None, b'"'),
        Some(b'[') => (None, b']'),
        Some(b'(') => (Some(b'('), b')'),
        Some(b'<') => return angle_end(field, at),
        _ => return at + 1,
    };
    let mut depth = 1;
    let mut at = at + 1;
    while let Some(octet) = field.get(at) {
        at += 1;
        match octet {
            b'\\' => at += 1,
            octet if *octet == close => depth -= 1,
            octet if Some(*octet) == open => depth += 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    at.min(field.len())
}

fn angle_end(field: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(octet) = field.get(at) {
        at = match octet {
            b'>' => return at + 1,
            b'<' => at + 1,
            _ => lexeme_end(field, at),
        };
    }
    field.len()
}

#[cfg(test)]
mod tests;
