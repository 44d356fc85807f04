//! The stages of a message in the queue, whose client is gone: `postq` once, `delivery` before each attempt. Both run once
//! for each group of recipients, and what the rules of one group decide or edit is for that group alone.

use super::{Policy, members_with_edition};
use crate::mail::{Bookmark, Edition, Recipient, ReversePath, Transaction};
use crate::rules::directive::SharedDirective;
use crate::rules::file::RuleFile;
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
    /// The message goes to a content filter first; when it is back, [`Policy::resume`] goes on.
    Delegate(Bookmark),
}

/// What to do next with a group.
enum Next {
    State(State),
    Delegate(Bookmark),
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
            let next = file.map_or(Next::State(State::Next), |file| {
                self.go_on(file, &group, stage, None, transaction)
            });
            rulings.push(self.ruling(members, next, transaction));
        }
        rulings
    }

    /// Goes on where [`Fate::Delegate`] said, for all recipients of `transaction`, whose message has come back. Where the
    /// rules know that place no more, the stage runs from its beginning.
    pub fn resume(&mut self, bookmark: &Bookmark, transaction: &mut Transaction) -> Vec<Ruling> {
        let rules = Arc::clone(&self.rules);
        let stage = Stage::from_name(&bookmark.stage).unwrap_or(Stage::Postq);
        let place = || {
            let group = Group::from_name(&bookmark.group)?;
            let file = rules.file(&group)?;
            let mut directives = file.directives(stage).iter();
            let is_it = |d: &SharedDirective| d.filter().is_some() && d.name == bookmark.directive;
            Some((directives.position(is_it)?, file, group))
        };
        let Some((place, file, group)) = place() else {
            return self.rule(stage, transaction);
        };
        let recipients = transaction
            .envelope
            .as_ref()
            .map_or(0, |e| e.recipients.len());
        let next = self.go_on(file, &group, stage, Some(place), transaction);
        vec![self.ruling((0..recipients).collect(), next, transaction)]
    }

    /// Runs what `file` has for `stage` up to the next directive that delegates: from the beginning, or from the one that
    /// the message is `back` from.
    fn go_on(
        &self,
        file: &RuleFile,
        group: &Group,
        stage: Stage,
        back: Option<usize>,
        transaction: &mut Transaction,
    ) -> Next {
        let directives = file.directives(stage).get(back.unwrap_or(0)..);
        let directives = directives.unwrap_or_default();
        let behind = usize::from(back.is_some());
        let mut others = directives.iter().skip(behind);
        let end = others
            .position(|d| d.filter().is_some())
            .map(|at| at + behind);
        let run = directives.get(..end.unwrap_or(directives.len()));
        let executed = self.execute_some(file, run.unwrap_or_default(), stage, transaction);
        let state = executed.map_or(State::Next, |(state, _)| state);
        match (state, end.and_then(|end| directives.get(end))) {
            (State::Next, Some(directive)) => Next::Delegate(Bookmark {
                stage: stage.to_string(),
                group: group.to_string(),
                directive: directive.name.to_string(),
            }),
            (state, _) => Next::State(state),
        }
    }

    /// What came of a group.
    fn ruling(&mut self, members: Vec<usize>, next: Next, transaction: &mut Transaction) -> Ruling {
        let fate = match next {
            Next::State(state) => self.fate(state, transaction),
            Next::Delegate(bookmark) => Fate::Delegate(bookmark),
        };
        let envelope = transaction.envelope.as_ref();
        let reverse_path = envelope.map_or_else(ReversePath::default, |e| e.reverse_path.clone());
        let mut recipients = members_with_edition(transaction);
        let edition = recipients.first().and_then(|first| first.edition.clone());
        for recipient in &mut recipients {
            recipient.edition = None;
        }
        Ruling {
            members,
            fate,
            reverse_path,
            recipients,
            edition,
        }
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
