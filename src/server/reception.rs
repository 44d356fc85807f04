//! A message that is arriving: from 354 to the moment when it is durable.

use crate::mail::header::SECTION_MAX;
use crate::mail::{Message, MessageId};
use crate::queue::{self, Draft, Queue};
use crate::smtp::{Reply, replies};
use memchr::memchr;

/// A message with more `Received` fields than this goes round in circles (RFC 5321 §6.3).
const HOPS_MAX: usize = 100;

/// So much of a line is kept to see what field it begins.
const LINE_START: usize = 64;

/// The content so far.
pub(super) struct Reception {
    /// After an error the rest is read all the same, since the client listens only after its final dot.
    draft: Result<Draft, queue::Error>,
    size: u64,
    header: HeaderSection,
}

/// The header section as it goes by: nothing of it is kept.
#[derive(Debug, Default)]
struct HeaderSection {
    /// How the current line begins.
    line: Vec<u8>,
    length: usize,
    /// `Received` fields.
    hops: usize,
    /// The empty line has come.
    complete: bool,
}

impl Reception {
    /// Nothing has arrived yet.
    pub fn new(queue: &Queue, id: MessageId) -> Self {
        Self {
            draft: Ok(queue.draft(id)),
            size: 0,
            header: HeaderSection::default(),
        }
    }

    /// Octets of content that have arrived.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes `octets` of decoded content.
    pub async fn append(&mut self, octets: &[u8]) {
        self.size += octets.len() as u64;
        self.header.look_at(octets);
        if let Ok(draft) = &mut self.draft
            && let Err(error) = draft.append(octets).await
        {
            self.draft = Err(error);
        }
    }

    /// What has arrived is whole: the draft, and the message for those who want to read it. Or why it cannot be taken,
    /// whatever policy says.
    pub fn finish(self) -> Result<(Draft, Message), Reply> {
        if self.header.hops > HOPS_MAX {
            return Err(replies::MAIL_LOOP);
        }
        if self.header.length > SECTION_MAX {
            return Err(replies::HEADER_TOO_LARGE);
        }
        let draft = self.draft.map_err(|error| refusal(&error))?;
        let source = draft.source().map_err(|error| refusal(&error))?;
        Ok((draft, Message::new(source)))
    }
}

/// The reply to a message that the queue cannot take.
pub(super) fn refusal(error: &queue::Error) -> Reply {
    tracing::error!(%error, "message refused: it could not be made durable");
    match error {
        queue::Error::Full => replies::INSUFFICIENT_STORAGE,
        _ => replies::LOCAL_ERROR,
    }
}

impl HeaderSection {
    fn look_at(&mut self, mut octets: &[u8]) {
        while !self.complete && !octets.is_empty() {
            let line_feed = memchr(b'\n', octets).map(|at| at + 1);
            let (piece, rest) = octets.split_at(line_feed.unwrap_or(octets.len()));
            let room = LINE_START.saturating_sub(self.line.len()).min(piece.len());
            self.line
                .extend_from_slice(piece.get(..room).unwrap_or_default());
            self.length += piece.len();
            if line_feed.is_some() {
                self.complete = self.line == b"\r\n";
                self.hops += usize::from(is_received(&self.line));
                self.line.clear();
            }
            octets = rest;
        }
    }
}

/// Obsolete syntax has white space before the colon (RFC 5322 §4.5).
fn is_received(line: &[u8]) -> bool {
    let name = line
        .split(|octet| *octet == b':')
        .next()
        .unwrap_or_default();
    name.len() < line.len() && name.trim_ascii_end().eq_ignore_ascii_case(b"Received")
}

#[cfg(test)]
mod tests {
    use super::{HeaderSection, LINE_START};

    fn read(content: &[u8], piece: usize) -> HeaderSection {
        let mut header = HeaderSection::default();
        for octets in content.chunks(piece) {
            header.look_at(octets);
        }
        header
    }

    #[test]
    fn counts_hops_in_the_header_section_only() {
        let long = format!("Received: {}\r\n\r\n", "Received: ".repeat(20));
        for (content, hops, complete) in [
            (
                "Received: a\r\nReceived: b\r\n\r\nReceived: c\r\n\r\n",
                2,
                true,
            ),
            (
                "received\t : a\r\nX-Received: b\r\n Received: b\r\nReceived\r\n\r\n",
                1,
                true,
            ),
            ("\r\nReceived: c\r\n\r\n", 0, true),
            ("Received: a\r\nSubject: b\r\n", 1, false),
            (&long, 1, true),
        ] {
            for piece in 1..=content.len() {
                let header = read(content.as_bytes(), piece);
                let found = (header.hops, header.complete);
                assert_eq!(found, (hops, complete), "{content:?} {piece}");
            }
        }
    }

    #[test]
    fn an_endless_header_section_takes_no_memory() {
        let header = read(&[b'x'; 100_000], 1000);
        assert_eq!((header.length, header.line.len()), (100_000, LINE_START));
    }
}
