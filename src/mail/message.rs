//! The content of a message (RFC 5321 §2.3.9) as rules meet it: a header section that can be read and edited, and a body
//! that stays where it is.
//!
//! Nothing is read before somebody asks.

use super::header::{self, HeaderSection, SECTION_MAX};
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

/// How much of a content is read at once in search of the end of its header section.
const PIECE: usize = 8 * 1024;

/// Where the octets of a content lie. Reading may block.
pub trait Source: fmt::Debug + Send + Sync {
    /// How many there are.
    fn length(&self) -> u64;

    /// Reads octets from `offset` on, fewer than `octets` has room for where it pleases. None: the end.
    fn read_at(&self, octets: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// A content in memory.
impl Source for Vec<u8> {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, octets: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..));
        rest.unwrap_or_default().read(octets)
    }
}

/// The content of a message, and the edits of its header section. A clone is edited apart.
#[derive(Clone, Debug)]
pub struct Message {
    source: Arc<dyn Source>,
    /// `None` until somebody asks.
    header: Option<Header>,
}

#[derive(Clone, Debug)]
struct Header {
    section: HeaderSection,
    /// Octets that it had when it was read.
    length: u64,
}

/// An edited header section, and how much of the content as it arrived gives way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edition {
    /// The header section, without the empty line behind it.
    pub header: Vec<u8>,
    /// So many octets at the front of the content are the header section as it arrived.
    pub replaces: u64,
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Its octets cannot be.
    #[error("the message cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The header section has more than [`SECTION_MAX`] octets.
    #[error("the header section is too long")]
    HeaderTooLong,
}

impl Message {
    /// A message that nobody edited.
    pub fn new(source: Arc<dyn Source>) -> Self {
        Self {
            source,
            header: None,
        }
    }

    /// The header section, to be read and edited. Blocks the first time.
    pub fn header(&mut self) -> Result<&mut HeaderSection, MessageError> {
        let header = match self.header.take() {
            Some(header) => header,
            None => Header::read(&*self.source)?,
        };
        Ok(&mut self.header.insert(header).section)
    }

    /// What edits made of the header section; `None` when there were none.
    pub fn edition(&self) -> Option<Edition> {
        let edited = self.header.as_ref();
        let header = edited.filter(|header| header.section.is_edited())?;
        Some(Edition {
            header: header.section.octets(),
            replaces: header.length,
        })
    }

    /// Octets of the whole message as it stands now.
    pub fn size(&self) -> u64 {
        match self.edition() {
            Some(edition) => {
                let body = self.source.length().saturating_sub(edition.replaces);
                edition.header.len() as u64 + body
            }
            None => self.source.length(),
        }
    }

    /// Reads the whole message as it stands now. Reading blocks.
    pub fn octets(&self) -> Octets<'_> {
        let edition = self.edition();
        Octets {
            offset: edition.as_ref().map_or(0, |edition| edition.replaces),
            front: io::Cursor::new(edition.map(|edition| edition.header).unwrap_or_default()),
            source: &*self.source,
        }
    }

    /// Reads what follows the empty line behind the header section. Reading blocks.
    pub fn body(&mut self) -> Result<Octets<'_>, MessageError> {
        self.header()?;
        let header = self.header.as_ref().map_or(0, |header| header.length);
        Ok(Octets {
            offset: header + b"\r\n".len() as u64,
            front: io::Cursor::default(),
            source: &*self.source,
        })
    }
}

impl Header {
    fn read(source: &dyn Source) -> Result<Self, MessageError> {
        let mut octets = Vec::new();
        let end = loop {
            let from = octets.len();
            octets.resize(from + PIECE, 0);
            let read = source.read_at(octets.get_mut(from..).unwrap_or_default(), from as u64)?;
            octets.truncate(from + read);
            match header::end(&octets, from) {
                Some(end) => break end,
                None if octets.len() > SECTION_MAX => return Err(MessageError::HeaderTooLong),
                None if read == 0 => break octets.len(),
                None => {}
            }
        };
        if end > SECTION_MAX {
            return Err(MessageError::HeaderTooLong);
        }
        octets.truncate(end);
        Ok(Self {
            section: HeaderSection::parse(&octets),
            length: end as u64,
        })
    }
}

/// The octets of a message, one after the other.
#[derive(Debug)]
pub struct Octets<'a> {
    front: io::Cursor<Vec<u8>>,
    source: &'a dyn Source,
    offset: u64,
}

impl Read for Octets<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.front.read(buffer)?;
        if read > 0 {
            return Ok(read);
        }
        let read = self.source.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::{Edition, Message, MessageError, PIECE, Source};
    use crate::mail::header::SECTION_MAX;
    use std::io::{self, Read};
    use std::sync::Arc;

    /// Gives a few octets at a time.
    #[derive(Debug)]
    struct Dripping(Vec<u8>, usize);

    impl Source for Dripping {
        fn length(&self) -> u64 {
            self.0.length()
        }

        fn read_at(&self, octets: &mut [u8], offset: u64) -> io::Result<usize> {
            let room = octets.len().min(self.1);
            self.0.read_at(&mut octets[..room], offset)
        }
    }

    fn all(mut octets: impl Read) -> String {
        let mut text = String::new();
        octets.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_header_section_ends_where_it_ends() {
        let long = format!("A: {}\r\n", "x ".repeat(PIECE));
        for (header, rest) in [
            ("A: 1\r\n", "\r\nB: 2\r\n\r\n"),
            ("", "\r\nB: 2\r\n\r\n"),
            ("A: 1\r\n", ""),
            ("", ""),
            ("no header\r\n", "\r\n"),
            (&long, "\r\nbody"),
        ] {
            let content = [header, rest].concat();
            for drip in [1, 2, 3, 5, PIECE] {
                let source = Dripping(content.clone().into_bytes(), drip);
                let mut message = Message::new(Arc::new(source));
                assert_eq!(message.header().unwrap().octets(), header.as_bytes());
                assert_eq!(message.edition(), None);
                assert_eq!(all(message.octets()), content);
                assert_eq!(all(message.body().unwrap()), rest.get(2..).unwrap_or(""));
                message.header().unwrap().append("X", "y").unwrap();
                let edited = Edition {
                    header: [header, "X: y\r\n"].concat().into_bytes(),
                    replaces: header.len() as u64,
                };
                let edited = match header {
                    "no header\r\n" => Edition {
                        header: b"X: y\r\nno header\r\n".to_vec(),
                        ..edited
                    },
                    _ => edited,
                };
                let whole = [&*String::from_utf8_lossy(&edited.header), rest].concat();
                assert_eq!(message.size(), whole.len() as u64);
                assert_eq!(all(message.octets()), whole);
                assert_eq!(message.edition(), Some(edited));
            }
        }
    }

    #[test]
    fn an_endless_header_section_is_not_read() {
        for (length, fits) in [(SECTION_MAX - 2, true), (SECTION_MAX - 1, false)] {
            let content = [vec![b'x'; length], b"\r\n\r\nbody".to_vec()].concat();
            let mut message = Message::new(Arc::new(content));
            let header = message.header();
            assert_eq!(header.is_ok(), fits, "{length}");
            if let Err(error) = header {
                assert!(matches!(error, MessageError::HeaderTooLong));
            }
        }
    }
}
