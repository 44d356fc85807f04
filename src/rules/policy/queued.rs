//! The stages of a message in the queue, whose client is gone: `postq` once, `delivery` before each attempt. Both run once
//! for each group of recipients, and what the rules of one group decide or edit is for that group alone.

use super::{Policy, members_with_edition};
use crate::mail::{Edition, Recipient, ReversePath, Transaction};
use crate::rules::groups::{self, Group};
use crate::rules::state::State;
use crate::rules::{Rules, Stage};
use crate::smtp::Reply;
use std::sync::Arc;

/// What the rules of one file made of the recipients that it answers for.
#[derive(Clone, Debug)]
pub struct Ruling {
    /// Which recipients they were, by their place in the envelope.
    pub members: Vec<usize>,
    /// May they have the message?
    pub fate: Fate,
    /// The sender, as rules left it.
    pub reverse_path: ReversePath,
    /// The recipients, as rules left them: some may be gone, and others have come.
    pub recipients: Vec<Recipient>,
    /// What rules made of the header section, if they edited it.
    pub edition: Option<Arc<Edition>>,
}

/// What is to become of the recipients of a [`Ruling`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They may have the message.
    Proceed,
    /// They do not get it: not now (4yz), or never (5yz).
    Refuse(Reply),
}

impl Rules {
    /// Whether a rule would run at `stage` for a message from `sender` to one of `recipients`. Where none would, nobody
    /// needs to read the message.
    pub fn concern<'a>(
        &self,
        stage: Stage,
        sender: &ReversePath,
        recipients: impl IntoIterator<Item = &'a Recipient>,
    ) -> bool {
        let speaks = |recipient: &Recipient| {
            let group = Group::of(&self.domains, sender.0.as_ref(), &recipient.address);
            let file = self.file(&group);
            file.is_some_and(|file| !file.directives(stage).is_empty())
        };
        self.stages.contains(&stage) && recipients.into_iter().any(speaks)
    }
}

impl Policy {
    /// Runs the rules of `stage`, one of those of the queue, for each group of recipients of `transaction`, which is given
    /// its message to read. There is one ruling for each group; what they say is for the caller to do.
    pub fn rule(&mut self, stage: Stage, transaction: &mut Transaction) -> Vec<Ruling> {
        let rules = Arc::clone(&self.rules);
        let Some(envelope) = &mut transaction.envelope else {
            return Vec::new();
        };
        let sender = envelope.reverse_path.clone();
        let arrived = transaction.message.clone();
        let mut rulings = Vec::new();
        for (group, numbered) in groups::part(&rules.domains, envelope) {
            let (members, recipients) = numbered.into_iter().unzip();
            if let Some(envelope) = &mut transaction.envelope {
                envelope.reverse_path.clone_from(&sender);
                envelope.recipients = recipients;
            }
            transaction.message.clone_from(&arrived);
            let file = rules.file(&group).filter(|_| !self.skips(&group));
            let state = file.map_or(State::Next, |file| self.decide(file, stage, transaction));
            let fate = self.fate(state, transaction);
            let envelope = transaction.envelope.as_ref();
            let reverse_path = envelope.map_or_else(|| sender.clone(), |e| e.reverse_path.clone());
            let mut recipients = members_with_edition(transaction);
            let edition = recipients.first().and_then(|first| first.edition.clone());
            for recipient in &mut recipients {
                recipient.edition = None;
            }
            rulings.push(Ruling {
                members,
                fate,
                reverse_path,
                recipients,
                edition,
            });
        }
        rulings
    }

    /// The stage as a whole: as the queue would find the message afterwards, and the first refusal.
    pub(super) fn rule_at_once(
        &mut self,
        stage: Stage,
        transaction: &mut Transaction,
    ) -> Option<Reply> {
        let arrived = transaction.message.clone();
        let mut recipients = Vec::new();
        let mut refusal = None;
        for ruling in self.rule(stage, transaction) {
            let Ruling { fate, edition, .. } = ruling;
            if let Fate::Refuse(reply) = fate {
                refusal.get_or_insert(reply);
            }
            let edited = ruling.recipients.into_iter().map(|recipient| Recipient {
                edition: edition.clone(),
                ..recipient
            });
            recipients.extend(edited);
            if let Some(envelope) = &mut transaction.envelope {
                envelope.reverse_path = ruling.reverse_path;
            }
        }
        transaction.message = arrived;
        if let Some(envelope) = &mut transaction.envelope {
            envelope.recipients = recipients;
        }
        refusal
    }

    fn fate(&mut self, state: State, transaction: &mut Transaction) -> Fate {
        match state {
            State::Next | State::Accept(_) => Fate::Proceed,
            State::Faccept(_) => {
                self.decided.finally = true;
                Fate::Proceed
            }
            State::Deny(reply) => Fate::Refuse(reply),
            State::Quarantine(name) => {
                let envelope = transaction.envelope.iter_mut();
                for recipient in envelope.flat_map(|envelope| &mut envelope.recipients) {
                    recipient.quarantine = Some(name.clone());
                }
                Fate::Proceed
            }
        }
    }
}
