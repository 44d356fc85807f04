//! Puts something else in the place of a message that was taken: other recipients, another header section, or several
//! messages over the same body. The change is durable as a whole or not at all.

use super::content::recast;
use super::draft::BodyPath;
use super::store::Change;
use super::{Content, Entry, Error, Queue};
use crate::mail::{Edition, MessageId};
use std::io;
use std::sync::Arc;

/// A message that takes the place of another, or a part of it.
#[derive(Clone, Debug)]
pub struct Revision {
    /// As it is to be. With the id of the message that it comes from it is that message; with an id of its own
    /// ([`Queue::next_id`]) it is another over the same body.
    pub entry: Entry,
    /// The header section that it gets in the place of the one that is there.
    pub edition: Option<Arc<Edition>>,
}

/// What a revision does to the store.
#[derive(Default)]
struct Effects {
    changes: Vec<Change>,
    bodies: Vec<BodyPath>,
    /// What is left of the message itself.
    own: Option<Entry>,
}

impl Queue {
    /// Puts `revisions` in the place of `entry`, which was taken. Gives the one that has its id, which stays taken; without
    /// one, the message leaves the queue. Those with ids of their own are there to be taken.
    ///
    /// # Errors
    /// Nothing is changed, and the message stays taken: try again. [`Error::Damaged`]: it cannot be.
    pub async fn revise(
        &self,
        entry: &Entry,
        revisions: Vec<Revision>,
    ) -> Result<Option<Entry>, Error> {
        let (queue, before) = (self.clone(), entry.clone());
        let prepared = tokio::task::spawn_blocking(move || queue.effects(&before, revisions)).await;
        let Effects {
            changes,
            bodies,
            own,
        } = prepared.map_err(|_| Error::Closed)??;
        let other = |change: &Change| match change {
            Change::Put { entry: new, .. } if new.id != entry.id => new.due_key(),
            _ => None,
        };
        let due: Vec<_> = changes.iter().filter_map(other).collect();
        self.shared.apply(changes, bodies).await?;
        if own.is_none() {
            self.shared.due.release(entry.id);
            if entry.aside {
                self.remove_body(entry.id).await;
            }
        }
        due.into_iter().for_each(|key| self.shared.due.filed(key));
        Ok(own)
    }

    /// The octets of a message that was taken, with the header section of its [`Entry::edition`]. Blocks.
    ///
    /// # Errors
    /// As those of [`Queue::content`].
    pub fn content_of(&self, entry: &Entry) -> Result<Content, Error> {
        let content = self.content(entry.id)?;
        match &entry.edition {
            Some(edition) => content.edited(edition).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => Error::Damaged(entry.id),
                _ => Error::at(&self.shared.spool.bodies)(error),
            }),
            None => Ok(content),
        }
    }

    /// Blocks.
    fn effects(&self, before: &Entry, revisions: Vec<Revision>) -> Result<Effects, Error> {
        let id = before.id;
        let is_own = |revision: &Revision| revision.entry.id == id;
        let reads = |revision: &Revision| !is_own(revision) || revision.edition.is_some();
        let content = match revisions.iter().any(reads) {
            true => self.shared.store.content(id)?,
            false => Vec::new(),
        };
        let mut effects = Effects::default();
        let bodies = &self.shared.spool.bodies;
        for revision in revisions {
            let (own, reads) = (is_own(&revision), reads(&revision));
            let mut entry = revision.entry;
            entry.aside = before.aside;
            entry.revision = match own {
                true => before.revision.saturating_add(1),
                false => 0,
            };
            let recast = || recast(&content, id, &entry, revision.edition.as_deref());
            let content = reads.then(recast).transpose()?;
            if !own && before.aside {
                let body = BodyPath::shared(bodies, id, entry.id);
                effects.bodies.push(body.map_err(Error::at(bodies))?);
            }
            let filed = before.filed.filter(|_| own);
            entry.filed = entry.due_key();
            effects.changes.push(Change::Put {
                entry: entry.clone(),
                content,
                filed,
            });
            if own {
                effects.own = Some(entry);
            }
        }
        if effects.own.is_none() {
            let filed = before.filed;
            effects.changes.push(Change::Remove { id, filed });
        }
        Ok(effects)
    }
}

impl Entry {
    /// The same message under another name, for [`Queue::revise`].
    #[must_use]
    pub fn named(&self, id: MessageId) -> Self {
        Self { id, ..self.clone() }
    }
}
