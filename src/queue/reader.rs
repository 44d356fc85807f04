//! The queue for those who only look at it.

use super::spool::Spool;
use super::store::Store;
use super::{Content, Entry, Error, Listed, Queue};
use crate::mail::MessageId;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Reads what is in the queue and changes nothing. Every call blocks.
#[derive(Clone)]
pub struct Reader {
    store: Arc<dyn Store>,
    spool: Arc<Spool>,
    lifetime: Duration,
    /// The queue of a daemon that runs, which alone knows what it has taken.
    queue: Option<Queue>,
}

impl Queue {
    /// This queue, to be read.
    pub fn reader(&self) -> Reader {
        Reader {
            store: Arc::clone(&self.shared.store),
            spool: Arc::clone(&self.shared.spool),
            lifetime: self.shared.schedule.lifetime,
            queue: Some(self.clone()),
        }
    }
}

impl Reader {
    /// Of a store that no daemon has open.
    pub(super) fn offline(store: Arc<dyn Store>, spool: Arc<Spool>, lifetime: Duration) -> Self {
        Self {
            store,
            spool,
            lifetime,
            queue: None,
        }
    }

    /// At most `limit` messages from the id `from` on, ascending; `None` where the entry cannot be understood.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn entries(&self, from: MessageId, limit: usize) -> Result<Vec<Listed>, Error> {
        self.store.entries(from, limit)
    }

    /// The messages whose names begin so, two of them at most: enough to tell whether it is one.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn beginning_with(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let Some((first, last)) = range(prefix) else {
            return Ok(Vec::new());
        };
        let mut found = self.store.entries(first, 2)?;
        found.retain(|(id, _)| *id <= last);
        Ok(found)
    }

    /// The octets of a message.
    ///
    /// # Errors
    /// See [`Queue::content`].
    pub fn content(&self, id: MessageId) -> Result<Content, Error> {
        Content::open(&*self.store, id, &self.spool.body(id))
    }

    /// When the message will be given up.
    pub fn expires(&self, entry: &Entry) -> Timestamp {
        let expires = entry.arrived.checked_add(self.lifetime);
        expires.unwrap_or(Timestamp::MAX)
    }

    /// Whether somebody is delivering the message now.
    pub fn is_taken(&self, id: MessageId) -> bool {
        let queue = self.queue.as_ref();
        queue.is_some_and(|queue| queue.shared.due.is_taken(id))
    }
}

/// The least and the greatest id whose hexadecimal spelling begins with `prefix`.
fn range(prefix: &str) -> Option<(MessageId, MessageId)> {
    let rest = 16_usize.checked_sub(prefix.len())?;
    if !prefix.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return None;
    }
    let bound = |digit: &str| u64::from_str_radix(&[prefix, &digit.repeat(rest)].concat(), 16);
    Some((MessageId(bound("0").ok()?), MessageId(bound("f").ok()?)))
}

#[cfg(test)]
mod tests {
    use super::range;
    use crate::mail::MessageId;

    #[test]
    fn a_name_may_be_cut_short() {
        for (prefix, expected) in [
            ("", Some((0, u64::MAX))),
            ("0", Some((0, u64::MAX >> 4))),
            ("Ff", Some((0xff << 56, u64::MAX))),
            (
                "0123456789abcdef",
                Some((0x0123_4567_89ab_cdef, 0x0123_4567_89ab_cdef)),
            ),
            ("0123456789abcdef0", None),
            ("+1", None),
            ("g", None),
        ] {
            let expected = expected.map(|(first, last)| (MessageId(first), MessageId(last)));
            assert_eq!(range(prefix), expected, "{prefix}");
        }
    }
}
