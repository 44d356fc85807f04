//! A message while rules decide about it: which copies may leave, how they differ from what is in the queue, and what
//! the queue must hold before any of them does.
//!
//! What rules do to recipients is for good, at either stage. Edits of the header section and of the sender are for good at
//! `postq`, where recipients whose rules edit differently become messages of their own; at `delivery` they are for the
//! attempt at hand. Recipients whose rules want a content filter to see the message first become a message of their own,
//! with all edits so far. Knows neither disk nor clock.

use super::attempt::{Attempt, Place};
use crate::mail::{Bookmark, Domains, Edition, MessageId, Recipient, ReversePath, Secret};
use crate::queue::{Delegation, Entry, Pending, Revision, Screening, Whereabouts};
use crate::rules::{Fate, Ruling, Stage};
use crate::smtp::client::Outcome;
use jiff::Timestamp;
use std::sync::Arc;

/// A message and what was decided about each of its copies.
#[derive(Debug)]
pub(super) struct Screened {
    /// As the queue has it, save that the recipients are among `copies`.
    entry: Entry,
    /// The recipients as the queue has them.
    held: Vec<Recipient>,
    copies: Vec<Copy>,
    now: Timestamp,
}

/// What may leave now, and what may not.
#[derive(Debug)]
pub(super) struct Cleared {
    /// The message as the queue has it.
    pub entry: Arc<Entry>,
    /// The same message once for each way in which it goes out; due are those who get it so.
    pub outgoing: Vec<Arc<Entry>>,
    /// Those whom rules refused.
    pub refused: Vec<Attempt>,
}

/// The copy of one recipient.
#[derive(Clone, Debug)]
struct Copy {
    pending: Pending,
    refused: Option<Outcome>,
    dress: Dress,
}

/// How a copy goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dress {
    edition: Option<Arc<Edition>>,
    reverse_path: ReversePath,
    /// To a content filter, after which rules go on here.
    bookmark: Option<Bookmark>,
}

impl Dress {
    fn plain(entry: &Entry) -> Self {
        Self {
            edition: None,
            reverse_path: entry.reverse_path.clone(),
            bookmark: None,
        }
    }
}

impl Cleared {
    /// Everything that is due, as it is: there is no rule.
    pub fn unruled(mut entry: Entry, now: Timestamp) -> Self {
        let due = entry.pending.iter_mut().filter(|p| is_due(p, now));
        due.for_each(|pending| pass(pending, false));
        let entry = Arc::new(entry);
        Self {
            outgoing: vec![Arc::clone(&entry)],
            entry,
            refused: Vec::new(),
        }
    }
}

/// Whether rules have a say about a recipient at `stage`.
pub(super) fn is_asked(pending: &Pending, stage: Stage, now: Timestamp) -> bool {
    let screening = match stage {
        Stage::Postq => Screening::Ahead,
        _ => Screening::Attempts,
    };
    let recipient = &pending.recipient;
    // Nobody gets a copy by the name of an alias that was expanded.
    let gets_it = recipient.quarantine.is_none() && !recipient.expanded;
    gets_it && is_due(pending, now) && pending.screening == screening
}

fn is_due(pending: &Pending, now: Timestamp) -> bool {
    pending.due.is_some_and(|due| due <= now)
}

/// What was decided once is. `over`: no rule runs any more.
fn pass(pending: &mut Pending, over: bool) {
    pending.screening = match pending.screening {
        Screening::Ahead => Screening::Attempts,
        other => other,
    };
    if over {
        pending.screening = Screening::Over;
    }
}

impl Screened {
    /// Nothing was decided yet.
    pub fn new(mut entry: Entry, now: Timestamp) -> Self {
        let dress = Dress::plain(&entry);
        let pending = std::mem::take(&mut entry.pending);
        Self {
            held: pending.iter().map(|p| p.recipient.clone()).collect(),
            copies: pending
                .into_iter()
                .map(|pending| Copy {
                    pending,
                    refused: None,
                    dress: dress.clone(),
                })
                .collect(),
            entry,
            now,
        }
    }

    /// The message, without its recipients.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The copies about which rules have a say at `stage`, by their place.
    pub fn asked(&self, stage: Stage) -> Vec<usize> {
        let numbered = self.copies.iter().enumerate();
        let asked = numbered
            .filter(|(_, copy)| copy.refused.is_none() && is_asked(&copy.pending, stage, self.now));
        asked.map(|(place, _)| place).collect()
    }

    /// Who stands at `places`.
    pub fn recipients(&self, places: &[usize]) -> Vec<Recipient> {
        let copies = places.iter().filter_map(|&place| self.copies.get(place));
        copies.map(|copy| copy.pending.recipient.clone()).collect()
    }

    /// Does what the `rulings` of `stage` say about the copies that were `asked` about. `over`: no rule runs any more for
    /// this message.
    pub fn apply(
        &mut self,
        stage: Stage,
        asked: &[usize],
        rulings: Vec<Ruling>,
        over: bool,
        domains: &Domains,
    ) {
        let mut slots: Vec<Option<Copy>> = std::mem::take(&mut self.copies)
            .into_iter()
            .map(Some)
            .collect();
        let mut newcomers = Vec::new();
        for ruling in rulings {
            let members = ruling.members.iter();
            let places: Vec<usize> = members.filter_map(|&m| asked.get(m).copied()).collect();
            let bookmark = match ruling.fate {
                Fate::Refuse(reply) => {
                    for place in places {
                        if let Some(copy) = slots.get_mut(place).and_then(Option::as_mut) {
                            copy.refused = Some(Outcome::refused(&reply));
                        }
                    }
                    continue;
                }
                Fate::Proceed => None,
                Fate::Delegate(bookmark) => Some(bookmark),
            };
            let dress = Dress {
                edition: ruling.edition,
                reverse_path: ruling.reverse_path,
                bookmark,
            };
            let new = rearrange(&mut slots, &places, ruling.recipients, &dress);
            let new = domains.expand(new).into_iter();
            newcomers.extend(new.map(|recipient| (recipient, dress.clone())));
        }
        self.copies = slots.into_iter().flatten().collect();
        let screening = match stage {
            Stage::Postq => Screening::Ahead,
            _ => Screening::Attempts,
        };
        for (recipient, dress) in newcomers {
            self.admit(recipient, screening, dress);
        }
        let is_back = self.entry.delegation.as_ref();
        let is_back = is_back.is_some_and(|d| d.bookmark.stage == stage.name());
        if is_back && self.copies.iter().all(|copy| copy.refused.is_none()) {
            self.entry.delegation = None;
        }
        let now = self.now;
        let is_decided = |copy: &&mut Copy| copy.refused.is_none() && copy.dress.bookmark.is_none();
        let decided = self.copies.iter_mut().filter(is_decided);
        let decided = decided.map(|copy| &mut copy.pending);
        decided
            .filter(|pending| is_due(pending, now) || pending.screening == Screening::Attempts)
            .for_each(|pending| pass(pending, over));
    }

    /// Takes a recipient whom a rule added, unless it is one, or became one before.
    fn admit(&mut self, recipient: Recipient, screening: Screening, dress: Dress) {
        let address = &recipient.address;
        let is_here = |copy: &Copy| copy.pending.recipient.address == *address;
        if self.entry.added.contains(address) || self.copies.iter().any(is_here) {
            return;
        }
        self.entry.added.push(address.clone());
        self.copies.push(Copy {
            pending: Pending::new(recipient, screening, self.now),
            refused: None,
            dress,
        });
    }

    /// What the queue must hold in the place of the message after `stage`; `None`: what it holds. The first keeps the name
    /// of the message, the others get theirs from `next_id`; what goes to a content filter gets a `secret`.
    pub fn divided(
        &self,
        stage: Stage,
        mut next_id: impl FnMut() -> MessageId,
        mut secret: impl FnMut() -> Secret,
    ) -> Option<Vec<Revision>> {
        let plain = Dress::plain(&self.entry);
        let is_plain = |copy: &Copy| *self.lasting(stage, copy, &plain) == plain;
        if self.copies.iter().all(is_plain) && !self.has_other_recipients() {
            return None;
        }
        let mut parts: Vec<(&Dress, Vec<Pending>)> = vec![(&plain, Vec::new())];
        for copy in &self.copies {
            let (dress, pending) = (self.lasting(stage, copy, &plain), copy.pending.clone());
            match parts.iter_mut().find(|(known, _)| *known == dress) {
                Some((_, part)) => part.push(pending),
                None => parts.push((dress, vec![pending])),
            }
        }
        let parts = parts.into_iter().filter(|(_, part)| !part.is_empty());
        let revisions = parts.enumerate().map(|(number, (dress, pending))| {
            let id = match number {
                0 => self.entry.id,
                _ => next_id(),
            };
            let mut entry = self.entry.named(id);
            entry.reverse_path.clone_from(&dress.reverse_path);
            entry.pending = pending;
            if let Some(bookmark) = &dress.bookmark {
                entry.delegation = Some(Box::new(Delegation {
                    secret: secret(),
                    bookmark: bookmark.clone(),
                    whereabouts: Whereabouts::Here,
                }));
            }
            let edition = dress.edition.clone();
            Revision { entry, edition }
        });
        Some(revisions.collect())
    }

    /// What of a copy's dress is for good after `stage`.
    fn lasting<'a>(&self, stage: Stage, copy: &'a Copy, plain: &'a Dress) -> &'a Dress {
        match stage {
            Stage::Delivery if copy.dress.bookmark.is_none() => plain,
            _ => &copy.dress,
        }
    }

    /// The queue holds `entry`, the first of what [`Screened::divided`] gave: what is left here is its recipients.
    pub fn continue_with(&mut self, stage: Stage, mut entry: Entry) {
        let plain = Dress::plain(&self.entry);
        let mut lasting = self
            .copies
            .iter()
            .map(|copy| self.lasting(stage, copy, &plain));
        let has_plain = lasting.clone().any(|dress| *dress == plain);
        let stays = match has_plain {
            true => Some(&plain),
            false => lasting.next(),
        };
        let stays = stays.cloned();
        let mut copies = std::mem::take(&mut self.copies);
        copies.retain(|copy| Some(self.lasting(stage, copy, &plain)) == stays.as_ref());
        if stage == Stage::Postq {
            let plain = Dress::plain(&entry);
            for copy in &mut copies {
                copy.dress = plain.clone();
            }
        }
        self.copies = copies;
        let pending = std::mem::take(&mut entry.pending).into_iter();
        self.held = pending.map(|pending| pending.recipient).collect();
        self.entry = entry;
    }

    fn has_other_recipients(&self) -> bool {
        let recipients = self.copies.iter().map(|copy| &copy.pending.recipient);
        !recipients.eq(&self.held)
    }

    /// What may leave now.
    pub fn clear(self) -> Cleared {
        let mut entry = self.entry;
        let (mut refused, mut worn) = (Vec::new(), Vec::new());
        for (index, copy) in self.copies.into_iter().enumerate() {
            let goes = is_due(&copy.pending, self.now) && copy.refused.is_none();
            worn.push(goes.then_some(copy.dress));
            entry.pending.push(copy.pending);
            let outcome = copy.refused.into_iter();
            refused.extend(outcome.map(|o| Attempt::local(index, Place::Mailbox, o)));
        }
        let mut dresses: Vec<&Dress> = Vec::new();
        for dress in worn.iter().flatten() {
            if !dresses.contains(&dress) {
                dresses.push(dress);
            }
        }
        let outgoing = dresses.into_iter().map(|dress| {
            let mut outgoing = entry.clone();
            for (pending, worn) in outgoing.pending.iter_mut().zip(&worn) {
                pending.due = pending.due.filter(|_| worn.as_ref() == Some(dress));
            }
            outgoing.edition.clone_from(&dress.edition);
            outgoing.reverse_path.clone_from(&dress.reverse_path);
            Arc::new(outgoing)
        });
        Cleared {
            outgoing: outgoing.collect(),
            entry: Arc::new(entry),
            refused,
        }
    }
}

/// Puts `recipients`, to whom rules changed those at `places`, where they were, and gives those who were not there.
fn rearrange(
    slots: &mut [Option<Copy>],
    places: &[usize],
    recipients: Vec<Recipient>,
    dress: &Dress,
) -> Vec<Recipient> {
    let mut new = Vec::new();
    let mut gone: Vec<usize> = places.to_vec();
    for recipient in recipients {
        let is_it = |place: &usize| {
            let copy = slots.get(*place).and_then(Option::as_ref);
            copy.is_some_and(|copy| copy.pending.recipient.address == recipient.address)
        };
        let Some(found) = gone.iter().position(is_it) else {
            new.push(recipient);
            continue;
        };
        let place = gone.remove(found);
        if let Some(copy) = slots.get_mut(place).and_then(Option::as_mut) {
            copy.pending.recipient = recipient;
            copy.dress = dress.clone();
        }
    }
    for place in gone {
        if let Some(slot) = slots.get_mut(place) {
            *slot = None;
        }
    }
    new
}

#[cfg(test)]
mod tests;
