//! How entries and contents stand on disk: each in a frame that names itself, so that it can be told whole from
//! damaged, and found in the raw octets of a store that cannot be opened any more.
//!
//! ```text
//! magic 8 │ kind 1 │ version 1 │ revision 4 │ id 8 │ length 4 │ checksum 8 │ payload
//! ```
//!
//! Numbers are little-endian; the checksum (XXH3, 64 bits) covers all that follows the magic but itself. The magic holds
//! bare CRs: content that came by SMTP has none (RFC 5321 §2.3.8), so nobody can send a message with a frame in it.

use super::{Entry, Error};
use crate::mail::MessageId;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

const MAGIC: &[u8; 8] = b"\rvsmtp\r\r";
const VERSION: u8 = 1;
const HEADER: usize = 34;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An [`Entry`] as JSON.
    Entry = 1,
    /// Trace fields and content, as they are sent.
    Content = 2,
    /// An [`Aside`]: JSON on one line, then the front.
    Aside = 3,
}

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub kind: Kind,
    pub revision: u32,
    pub id: MessageId,
    pub payload: &'a [u8],
}

/// A content that lies in a file of its own, save for its front.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Aside {
    /// What comes first.
    #[serde(skip)]
    pub front: Vec<u8>,
    /// So many octets at the front of the file give way to it.
    pub replaces: u64,
    /// Octets of the file.
    pub length: u64,
    /// XXH3 of the file.
    pub checksum: u64,
}

/// Frames the concatenation of `parts`. A payload is at most a few times the threshold from which bodies are put aside,
/// a header section or an envelope: far below the 4 GiB of the length field, which would make the frame unreadable, not wrong.
pub(super) fn frame(kind: Kind, revision: u32, id: MessageId, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut frame = Vec::with_capacity(HEADER + length);
    frame.extend_from_slice(MAGIC);
    frame.extend_from_slice(&[kind as u8, VERSION]);
    frame.extend_from_slice(&revision.to_le_bytes());
    frame.extend_from_slice(&id.0.to_le_bytes());
    frame.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    let mut checksum = Xxh3::new();
    checksum.update(frame.get(MAGIC.len()..).unwrap_or_default());
    parts.iter().for_each(|part| checksum.update(part));
    frame.extend_from_slice(&checksum.digest().to_le_bytes());
    parts.iter().for_each(|part| frame.extend_from_slice(part));
    frame
}

/// Frames what is told of a content that lies aside. A content has the revision of the entry that it came with.
pub(super) fn frame_aside(id: MessageId, revision: u32, aside: &Aside) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_vec(aside).map_err(|_| Error::Damaged(id))?;
    let parts = [json.as_slice(), b"\n", &aside.front];
    Ok(frame(Kind::Aside, revision, id, &parts))
}

/// Frames an entry.
pub(super) fn frame_entry(entry: &Entry) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_vec(entry).map_err(|_| Error::Damaged(entry.id))?;
    Ok(frame(Kind::Entry, entry.revision, entry.id, &[&json]))
}

impl<'a> Record<'a> {
    /// The frame at the front of `octets`; `None` where there is none, or none that is whole.
    pub fn at_front(octets: &'a [u8]) -> Option<Self> {
        let rest = octets.strip_prefix(MAGIC)?;
        let (kind, rest) = rest.split_first()?;
        let (version, rest) = rest.split_first()?;
        let (revision, rest) = rest.split_first_chunk::<4>()?;
        let (id, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (checksum, rest) = rest.split_first_chunk::<8>()?;
        let payload = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let kind = match kind {
            1 => Kind::Entry,
            2 => Kind::Content,
            3 => Kind::Aside,
            _ => return None,
        };
        let mut actual = Xxh3::new();
        actual.update(octets.get(MAGIC.len()..HEADER - 8)?);
        actual.update(payload);
        let whole = *version == VERSION && actual.digest() == u64::from_le_bytes(*checksum);
        whole.then(|| Self {
            kind,
            revision: u32::from_le_bytes(*revision),
            id: MessageId(u64::from_le_bytes(*id)),
            payload,
        })
    }

    /// The octets that the frame takes.
    pub fn size(&self) -> usize {
        HEADER + self.payload.len()
    }

    /// What it tells of a content that lies aside.
    pub fn aside(&self) -> Option<Aside> {
        let line = memchr::memchr(b'\n', self.payload)?;
        let aside: Aside = serde_json::from_slice(self.payload.get(..line)?).ok()?;
        let front = self.payload.get(line + 1..)?.to_vec();
        (self.kind == Kind::Aside).then_some(Aside { front, ..aside })
    }

    /// The entry in it.
    pub fn entry(&self) -> Option<Entry> {
        let entry: Entry = serde_json::from_slice(self.payload).ok()?;
        let right = self.kind == Kind::Entry && entry.id == self.id;
        right.then_some(Entry {
            revision: self.revision,
            ..entry
        })
    }
}

/// Every whole frame in `octets`, with its offset. What lies inside a whole frame is not searched.
pub(super) fn find(octets: &[u8]) -> impl Iterator<Item = (usize, Record<'_>)> {
    let magic = memmem::Finder::new(MAGIC);
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let at = from + magic.find(octets.get(from..)?)?;
            match octets.get(at..).and_then(Record::at_front) {
                Some(record) => {
                    from = at + record.size();
                    return Some((at, record));
                }
                None => from = at + 1,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Aside, Kind, Record, find, frame, frame_aside, frame_entry};
    use crate::mail::{Envelope, MessageId, Origin};
    use crate::queue::{Entry, Front, Screening, Version};
    use jiff::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let version = Version {
            id: MessageId(9),
            front: Front::default(),
            envelope: Envelope::default(),
            origin: Some(Origin::ourselves("mx.example.com", Timestamp::UNIX_EPOCH)),
            screening: Screening::Over,
        };
        let entry = Entry {
            revision: 7,
            ..Entry::new(version, Timestamp::UNIX_EPOCH, true)
        };
        let frame = frame_entry(&entry).unwrap();
        assert_eq!(Record::at_front(&frame).unwrap().entry(), Some(entry));
    }

    #[test]
    fn an_entry_of_an_older_version_is_read() {
        let json = r#"{"id":9,"reverse_path":"jane@example.net","arrived":"2026-08-01T12:34:56Z","pending":[
            {"recipient":{"address":"john@example.com"},"attempts":2,"due":null}]}"#;
        let frame = frame(Kind::Entry, 3, MessageId(9), &[json.as_bytes()]);
        let entry = Record::at_front(&frame).unwrap().entry().unwrap();
        assert_eq!(entry.origin, None);
        assert_eq!(entry.pending[0].screening, Screening::Ahead);
    }

    #[test]
    fn the_front_of_a_content_aside_is_any_octets() {
        let aside = Aside {
            front: b"A: \xff\n\r\nB: \"\r\n".to_vec(),
            replaces: 7,
            length: 1 << 40,
            checksum: u64::MAX,
        };
        let frame = frame_aside(MessageId(3), 0, &aside).unwrap();
        assert_eq!(Record::at_front(&frame).unwrap().aside(), Some(aside));
    }

    #[test]
    fn any_flipped_octet_is_noticed() {
        let good = frame(Kind::Content, 1, MessageId(2), &[b"abc", b"defg"]);
        assert_eq!(Record::at_front(&good).unwrap().payload, b"abcdefg");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(Record::at_front(&bad), None, "octet {at}");
            assert_eq!(Record::at_front(&good[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn frames_within_a_whole_frame_are_content() {
        let inner = frame(Kind::Entry, 0, MessageId(1), &[b"{}"]);
        let outer = frame(Kind::Content, 0, MessageId(2), &[&inner]);
        let ids: Vec<_> = find(&outer).map(|(_, record)| record.id).collect();
        assert_eq!(ids, [MessageId(2)]);
    }

    proptest! {
        #[test]
        fn frames_are_found_amid_anything(
            before: Vec<u8>,
            payload: Vec<u8>,
            after: Vec<u8>,
            id: u64,
            revision: u32,
        ) {
            let frame = frame(Kind::Content, revision, MessageId(id), &[&payload]);
            let octets = [&before[..], &frame, &after].concat();
            let found: Vec<_> = find(&octets).collect();
            let record = Record { kind: Kind::Content, revision, id: MessageId(id), payload: &payload };
            prop_assert_eq!(found, [(before.len(), record)]);
        }
    }
}
