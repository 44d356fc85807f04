//! The octets of a message on their way out of the queue. A large body is never held in memory.

use super::record::{self, Aside, Kind, Record};
use super::store::Store;
use super::version::edited;
use super::{Entry, Error};
use crate::mail::{Edition, MessageId, Source};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// The octets of a queued message: trace fields, then the content as it arrived. Reading blocks.
///
/// A body that is not what was committed ends in an error of kind [`io::ErrorKind::InvalidData`] in place of its end:
/// nothing may be kept of what was read before the end is seen.
pub struct Content {
    front: io::Cursor<Vec<u8>>,
    body: Option<Body>,
}

struct Body {
    file: File,
    expected: Aside,
    length: u64,
    checksum: Xxh3,
}

impl Content {
    pub(super) fn open(store: &dyn Store, id: MessageId, body: &Path) -> Result<Self, Error> {
        let mut octets = store.content(id)?;
        let record = Record::at_front(&octets).filter(|record| record.id == id);
        let record = record.ok_or(Error::Damaged(id))?;
        let (front, body) = match record.kind {
            Kind::Entry => return Err(Error::Damaged(id)),
            Kind::Content => {
                octets.drain(..octets.len() - record.payload.len());
                (octets, None)
            }
            Kind::Aside => {
                let mut expected = record.aside().ok_or(Error::Damaged(id))?;
                let front = std::mem::take(&mut expected.front);
                (front, Some(Body::open(id, body, expected)?))
            }
        };
        let front = io::Cursor::new(front);
        Ok(Self { front, body })
    }

    /// With another header section.
    pub(super) fn edited(mut self, edition: &Edition) -> io::Result<Self> {
        let (front, beyond) = edited(self.front.get_ref(), edition);
        self.front = io::Cursor::new(front);
        if let Some(body) = &mut self.body {
            body.expected.replaces += beyond;
        }
        self.rewind().map(|()| self)
    }

    /// Goes back to the first octet.
    pub fn rewind(&mut self) -> io::Result<()> {
        self.front.set_position(0);
        self.body.as_mut().map_or(Ok(()), |body| {
            body.length = 0;
            body.checksum.reset();
            body.file.rewind()?;
            body.skip()
        })
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.front.read(buffer)?, &mut self.body) {
            (0, Some(body)) if !buffer.is_empty() => body.read(buffer),
            (count, _) => Ok(count),
        }
    }
}

/// Without the octets.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.length();
        f.debug_struct("Content")
            .field("length", &length)
            .finish_non_exhaustive()
    }
}

/// For whoever reads here and there. What is read so is not compared with what was committed.
impl Source for Content {
    fn length(&self) -> u64 {
        let body = self.body.as_ref().map_or(0, |body| {
            body.expected.length.saturating_sub(body.expected.replaces)
        });
        self.front.get_ref().length() + body
    }

    fn read_at(&self, octets: &mut [u8], offset: u64) -> io::Result<usize> {
        let front = self.front.get_ref();
        match (offset.checked_sub(front.length()), &self.body) {
            (Some(behind), Some(body)) => {
                let at = body.expected.replaces + behind;
                body.file.read_at(octets, at)
            }
            _ => Source::read_at(front, octets, offset),
        }
    }
}

/// The record of a content for `entry`, which takes the place of the message `from` or is made of it, with the header
/// section of `edition`.
pub(super) fn recast(
    record: &[u8],
    from: MessageId,
    entry: &Entry,
    edition: Option<&Edition>,
) -> Result<Vec<u8>, Error> {
    let unedited = Edition {
        header: Vec::new(),
        replaces: 0,
    };
    let edition = edition.unwrap_or(&unedited);
    let record = Record::at_front(record).filter(|record| record.id == from);
    let record = record.ok_or(Error::Damaged(from))?;
    match record.kind {
        Kind::Entry => Err(Error::Damaged(from)),
        Kind::Content => {
            let (content, _) = edited(record.payload, edition);
            let parts = [content.as_slice()];
            Ok(record::frame(
                Kind::Content,
                entry.revision,
                entry.id,
                &parts,
            ))
        }
        Kind::Aside => {
            let mut aside = record.aside().ok_or(Error::Damaged(from))?;
            let (front, beyond) = edited(&aside.front, edition);
            aside.front = front;
            aside.replaces += beyond;
            record::frame_aside(entry.id, entry.revision, &aside)
        }
    }
}

impl Body {
    fn open(id: MessageId, path: &Path, expected: Aside) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Damaged(id),
            _ => Error::at(path)(error),
        })?;
        let mut body = Self {
            file,
            expected,
            length: 0,
            checksum: Xxh3::new(),
        };
        match body.skip() {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Error::Damaged(id)),
            skipped => skipped.map_err(Error::at(path)).map(|()| body),
        }
    }

    /// Reads past what gives way to the front; the checksum covers it all the same.
    fn skip(&mut self) -> io::Result<()> {
        let replaced = self.expected.replaces;
        io::copy(&mut self.by_ref().take(replaced), &mut io::sink()).map(drop)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.checksum
            .update(buffer.get(..count).unwrap_or_default());
        self.length += count as u64;
        let whole = || {
            self.length == self.expected.length && self.checksum.digest() == self.expected.checksum
        };
        if count == 0 && !whole() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(count)
    }
}
