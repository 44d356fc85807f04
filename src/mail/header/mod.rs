//! The header section (RFC 5322 §2.2): read where it stands, and edited field by field.
//!
//! What is not edited keeps its octets: folds, obsolete syntax, octets outside ASCII, encoded words (RFC 2047), and lines
//! that are no field. Nothing is decoded here. A line that is no field (no colon, no continuation) hides no field behind
//! it, and stays where it is.
//!
//! No edit makes another line than the ones it is for: see [`FieldError`].

mod address_list;
mod completion;
mod writing;

pub use address_list::mailboxes_of;
pub use writing::FieldError;

use memchr::{memchr, memmem};
use std::borrow::Cow;
use writing::{check_lines, check_name, field};

/// Octets of the longest header section. A longer one is no mail, and would have to be held in memory whole.
pub const SECTION_MAX: usize = 1024 * 1024;

/// Where the header section at the front of `content` ends: at the empty line before the body. `None` while there is
/// none; then all of a whole message is header section. The first `searched` octets are known to hold no end.
pub fn end(content: &[u8], searched: usize) -> Option<usize> {
    if content.starts_with(b"\r\n") {
        return Some(0);
    }
    // The empty line may have been cut in two.
    let from = searched.saturating_sub(3);
    let at = memmem::find(content.get(from..)?, b"\r\n\r\n")?;
    Some(from + at + 2)
}

/// A header section, without the empty line behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderSection {
    /// In order. Lines that are no field stand between them.
    fields: Vec<Field>,
    edited: bool,
}

/// One header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    octets: Vec<u8>,
    /// Where the colon stands; `None`: this is a line that is no field.
    colon: Option<usize>,
}

impl HeaderSection {
    /// Reads a whole header section. Lines end in CRLF, as SMTP brings them.
    pub fn parse(mut section: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !section.is_empty() {
            let (octets, rest) = section.split_at(folded_length(section));
            fields.push(Field::new(octets.to_vec()));
            section = rest;
        }
        Self {
            fields,
            edited: false,
        }
    }

    /// The whole section, as it is sent.
    pub fn octets(&self) -> Vec<u8> {
        let octets = self.fields.iter().map(|field| field.octets.as_slice());
        octets.collect::<Vec<_>>().concat()
    }

    /// Whether it is not what was read any more.
    pub fn is_edited(&self) -> bool {
        self.edited
    }

    /// Every field, in order.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.colon.is_some())
    }

    /// The fields named `name`, compared without case, in order.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Field> {
        self.fields().filter(move |field| field.is_named(name))
    }

    /// Adds a field behind all others.
    ///
    /// # Errors
    /// Nothing is changed; so it is with every edit.
    pub fn append(&mut self, name: &str, value: &str) -> Result<(), FieldError> {
        let behind = |last: usize| last + 1;
        let last = self.fields.iter().rposition(|field| field.colon.is_some());
        self.insert(last.map_or_else(|| self.front(), behind), name, value)
    }

    /// Adds a field in front of all others.
    pub fn prepend(&mut self, name: &str, value: &str) -> Result<(), FieldError> {
        self.insert(self.front(), name, value)
    }

    /// Gives the first field of that name another value and removes the others; adds it behind all fields where there
    /// is none.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), FieldError> {
        let Some(first) = self.fields.iter().position(|field| field.is_named(name)) else {
            return self.append(name, value);
        };
        let octets = field(name, value)?;
        self.replace(first, octets)?;
        let mut index = 0..;
        self.fields
            .retain(|field| index.next() <= Some(first) || !field.is_named(name));
        Ok(())
    }

    /// Gives the fields named `old` another name: all of them, or the `nth` from 0. Tells how many there were.
    pub fn rename(
        &mut self,
        old: &str,
        new: &str,
        nth: Option<usize>,
    ) -> Result<usize, FieldError> {
        check_name(new)?;
        let mut renamed = self.clone();
        let found = self.places(old, nth);
        for place in &found {
            if let Some(field) = renamed.fields.get(*place) {
                let octets = [new.as_bytes(), field.behind_name()].concat();
                renamed.replace(*place, octets)?;
            }
        }
        *self = renamed;
        Ok(found.len())
    }

    /// Removes the fields named `name`: all of them, or the `nth` from 0. Tells how many there were.
    pub fn remove(&mut self, name: &str, nth: Option<usize>) -> usize {
        let found = self.places(name, nth);
        let mut index = 0..;
        self.fields
            .retain(|_| index.next().is_none_or(|index| !found.contains(&index)));
        self.edited |= !found.is_empty();
        found.len()
    }

    /// Where the fields named `name` stand.
    fn places(&self, name: &str, nth: Option<usize>) -> Vec<usize> {
        let fields = self.fields.iter().enumerate();
        let named = fields.filter(|(_, field)| field.is_named(name));
        let places = named.map(|(index, _)| index);
        match nth {
            Some(nth) => places.skip(nth).take(1).collect(),
            None => places.collect(),
        }
    }

    /// Where a field can be put first. A section may begin with a continuation of nothing, which must not become one of
    /// that field.
    fn front(&self) -> usize {
        let first = self.fields.first().and_then(|first| first.octets.first());
        usize::from(matches!(first, Some(b' ' | b'\t')))
    }

    fn insert(&mut self, place: usize, name: &str, value: &str) -> Result<(), FieldError> {
        let mut octets = field(name, value)?;
        self.check_size(octets.len())?;
        let before = place
            .checked_sub(1)
            .and_then(|index| self.fields.get(index));
        if before.is_some_and(|before| !before.octets.ends_with(b"\n")) {
            octets.splice(..0, *b"\r\n");
        }
        self.fields.insert(place, Field::new(octets));
        self.edited = true;
        Ok(())
    }

    /// Puts other octets, which are one field, in place of a field's.
    fn replace(&mut self, place: usize, octets: Vec<u8>) -> Result<(), FieldError> {
        check_lines(&octets)?;
        self.check_size(octets.len())?;
        if let Some(field) = self.fields.get_mut(place) {
            *field = Field::new(octets);
            self.edited = true;
        }
        Ok(())
    }

    fn check_size(&self, more: usize) -> Result<(), FieldError> {
        let size: usize = self.fields.iter().map(|field| field.octets.len()).sum();
        if size + more > SECTION_MAX {
            return Err(FieldError::SectionTooLong);
        }
        Ok(())
    }
}

impl Field {
    fn new(octets: Vec<u8>) -> Self {
        let first_line = octets.split(|octet| *octet == b'\n').next();
        let colon = first_line.and_then(|line| memchr(b':', line));
        Self { octets, colon }
    }

    /// What stands before the colon, without the white space that obsolete syntax allows there (RFC 5322 §4.5).
    pub fn name(&self) -> &[u8] {
        let colon = self.colon.unwrap_or(0);
        self.octets
            .get(..colon)
            .unwrap_or_default()
            .trim_ascii_end()
    }

    /// Whether this is its name, compared without case.
    pub fn is_named(&self, name: &str) -> bool {
        self.colon.is_some() && self.name().eq_ignore_ascii_case(name.as_bytes())
    }

    /// The whole field: name, colon, body with its folds, final CRLF.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What stands behind the colon, unfolded (RFC 5322 §2.2.3) and without white space around it.
    pub fn value(&self) -> Cow<'_, [u8]> {
        let body = self.body().trim_ascii();
        if memchr(b'\n', body).is_none() {
            return Cow::Borrowed(body);
        }
        let mut value = Vec::with_capacity(body.len());
        for line in body.split_inclusive(|octet| *octet == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            value.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        }
        Cow::Owned(value)
    }

    /// What stands behind the colon, folds and final CRLF included.
    fn body(&self) -> &[u8] {
        self.behind_name().get(1..).unwrap_or_default()
    }

    fn behind_name(&self) -> &[u8] {
        self.colon
            .and_then(|colon| self.octets.get(colon..))
            .unwrap_or_default()
    }
}

/// The octets up to the first line end that no continuation follows (RFC 5322 §2.2.3).
fn folded_length(section: &[u8]) -> usize {
    let mut length = 0;
    while let Some(line_feed) = section.get(length..).and_then(|rest| memchr(b'\n', rest)) {
        length += line_feed + 1;
        if !matches!(section.get(length), Some(b' ' | b'\t')) {
            return length;
        }
    }
    section.len()
}

#[cfg(test)]
mod tests;
