//! One session's policy: what each state of a rule does at each stage, and for how long it lasts. `execution` runs what a
//! file has for a stage; a message in the queue meets policy again when its session is over (`queued`).

mod execution;
mod queued;

pub use queued::{Fate, Ruling};

use super::file::RuleFile;
use super::groups::{self, Group};
use super::guard::{self, Refusal};
use super::observer::Observer;
use super::scene::Stand;
use super::state::State;
use super::{Rules, Stage};
use crate::mail::{Credentials, Message, Recipient, Transaction};
use crate::smtp::Reply;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The rules as one session meets them: remembers what was accepted for good.
#[derive(Debug)]
pub struct Policy {
    rules: Arc<Rules>,
    stand: Stand,
    /// `faccept` at `connect`: this client may do what it likes.
    trusted: bool,
    /// `faccept` at `helo` or `authenticate`, and whether that was under TLS. STARTTLS makes both sides forget what was said before
    /// (RFC 3207 §4.2).
    greeted: Option<bool>,
    decided: Decided,
    observer: Option<Arc<dyn Observer>>,
}

/// What was decided for one transaction.
#[derive(Debug, Default)]
struct Decided {
    /// `faccept`: no later rule runs.
    finally: bool,
    /// `quarantine` at `mail`: every recipient, and no later rule runs.
    quarantine: Option<String>,
    /// `quarantine` at `rcpt`: the recipients of that group, for which no later rule runs.
    quarantines: HashMap<Group, String>,
}

/// What policy decided, after the built-in guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on, with this reply where a rule gave one.
    Proceed(Option<Reply>),
    /// Refuse with this reply.
    Refuse(Reply),
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal.reply())
    }
}

impl Policy {
    /// For a new session.
    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            stand: Stand::default(),
            trusted: false,
            greeted: None,
            decided: Decided::default(),
            observer: None,
        }
    }

    /// The same, and `observer` hears of each directive that runs.
    pub fn observed(rules: Arc<Rules>, observer: Arc<dyn Observer>) -> Self {
        Self {
            observer: Some(observer),
            ..Self::new(rules)
        }
    }

    /// Runs the rules of `stage`. May edit the envelope. At [`Stage::Rcpt`] the recipient in question is the last of the
    /// envelope; when it is refused the envelope is as it was, with that recipient still in it.
    pub fn run(&mut self, stage: Stage, transaction: &mut Transaction) -> Verdict {
        let rules = Arc::clone(&self.rules);
        let Some(filter) = &rules.filter else {
            return Refusal::NoRules.into();
        };
        let secured = transaction.connection.tls.is_some();
        if self.greeted.is_some_and(|before| before != secured) {
            self.greeted = None;
        }
        match stage {
            Stage::Connect | Stage::Helo | Stage::Authenticate => {
                self.connection(stage, filter, transaction)
            }
            Stage::Mail => self.mail(filter, transaction),
            Stage::Rcpt => self.rcpt(transaction),
            Stage::Preq => self.preq(transaction),
            // As one would find the message afterwards; the queue asks for each group.
            Stage::Postq | Stage::Delivery => self
                .rule_at_once(stage, transaction)
                .map_or(Verdict::Proceed(None), Verdict::Refuse),
        }
    }

    /// Whether a rule would decide about credentials. Where none would, there is no use in asking a client for them.
    pub fn takes_credentials(&self) -> bool {
        let filter = self.rules.filter.as_ref();
        let skips = self.trusted || self.greeted.is_some();
        !skips && filter.is_some_and(|filter| !filter.directives(Stage::Authenticate).is_empty())
    }

    /// Whether no rule runs any more for the transaction at hand.
    pub fn is_over(&self) -> bool {
        self.skips_all()
    }

    /// Forgets what was decided for the transaction (RSET, or its end).
    pub fn reset(&mut self) {
        self.decided = Decided::default();
    }

    fn connection(
        &mut self,
        stage: Stage,
        filter: &RuleFile,
        transaction: &mut Transaction,
    ) -> Verdict {
        if self.skips_all() {
            return Verdict::Proceed(None);
        }
        match self.decide(filter, stage, transaction) {
            // A quarantine is for messages; the function refuses to make one here.
            State::Next | State::Quarantine(_) => Verdict::Proceed(None),
            State::Accept(reply) => Verdict::Proceed(reply),
            State::Faccept(reply) => {
                let credentials = transaction.credentials.as_ref();
                match stage {
                    Stage::Connect => self.trusted = true,
                    // What nobody verified is refused in the end, whatever the rule says.
                    Stage::Authenticate if !credentials.is_some_and(Credentials::is_verified) => {}
                    _ => self.greeted = Some(transaction.connection.tls.is_some()),
                }
                Verdict::Proceed(reply)
            }
            State::Deny(reply) => Verdict::Refuse(reply),
        }
    }

    /// `filter.vsl` first, so that what it demands of everyone is demanded of senders of ours too.
    fn mail(&mut self, filter: &RuleFile, transaction: &mut Transaction) -> Verdict {
        self.reset();
        if self.trusted {
            return Verdict::Proceed(None);
        }
        let rules = Arc::clone(&self.rules);
        let sender = transaction.envelope.as_ref();
        let sender = sender.and_then(|envelope| envelope.reverse_path.0.clone());
        let group = Group::of_sender(&rules.domains, sender.as_ref());
        let files = [Some(filter), rules.of_domains.file(&group)];
        let mut accepted = false;
        let mut answer = None;
        for file in files.into_iter().flatten() {
            if self.skips_all() {
                break;
            }
            match self.decide(file, Stage::Mail, transaction) {
                State::Next => continue,
                State::Accept(reply) => (accepted, answer) = (true, reply),
                State::Faccept(reply) => {
                    (accepted, answer) = (true, reply);
                    self.decided.finally = true;
                }
                State::Deny(reply) => return Verdict::Refuse(reply),
                State::Quarantine(name) => self.decided.quarantine = Some(name),
            }
            break;
        }
        let proven = transaction.connection.authenticated.is_some();
        if !accepted
            && !proven
            && let Err(refusal) = guard::sender(&rules.domains, sender.as_ref())
        {
            return refusal.into();
        }
        Verdict::Proceed(answer)
    }

    fn rcpt(&mut self, transaction: &mut Transaction) -> Verdict {
        let rules = Arc::clone(&self.rules);
        let Some((group, asked)) = transaction.envelope.as_ref().and_then(|envelope| {
            let recipient = envelope.recipients.last()?.address.clone();
            let sender = envelope.reverse_path.0.as_ref();
            Some((Group::of(&rules.domains, sender, &recipient), recipient))
        }) else {
            return Verdict::Proceed(None);
        };
        // Who has proved who it is may relay.
        let proven = transaction.connection.authenticated.is_some();
        let file = rules.file(&group).filter(|_| !self.skips(&group));
        let Some((state, edits)) = file.and_then(|f| self.execute(f, Stage::Rcpt, transaction))
        else {
            return match guard::recipient(&rules.domains, &asked, self.trusted || proven) {
                Ok(()) => self.mark(transaction, None),
                Err(refusal) => refusal.into(),
            };
        };
        let verdict = match self.recipient_decided(state, &group) {
            Ok((accepted, answer)) => match edits.recipient {
                Some(recipient) => {
                    // Mail for us that a rule sends elsewhere goes there by the will of the rule.
                    let forwarded =
                        recipient != asked && rules.domains.find(asked.domain()).is_some();
                    let accepted = accepted || forwarded || proven;
                    guard::recipient(&rules.domains, &recipient, accepted)
                        .map_or_else(Verdict::from, |()| self.mark(transaction, answer))
                }
                None => self.mark(transaction, answer),
            },
            Err(reply) => Verdict::Refuse(reply),
        };
        if let (Verdict::Refuse(_), Some(before)) = (&verdict, edits.before) {
            transaction.envelope = Some(before);
        }
        verdict
    }

    /// Whether the recipient was accepted, and with which reply; or the refusal.
    fn recipient_decided(
        &mut self,
        state: State,
        group: &Group,
    ) -> Result<(bool, Option<Reply>), Reply> {
        match state {
            State::Next => Ok((false, None)),
            State::Accept(reply) => Ok((true, reply)),
            State::Faccept(reply) => {
                self.decided.finally = true;
                Ok((true, reply))
            }
            State::Deny(reply) => Err(reply),
            State::Quarantine(name) => {
                self.decided.quarantines.insert(group.clone(), name);
                Ok((false, None))
            }
        }
    }

    /// Puts the recipients into the quarantine that was decided for them, and goes on.
    fn mark(&self, transaction: &mut Transaction, answer: Option<Reply>) -> Verdict {
        let Decided {
            quarantine,
            quarantines,
            ..
        } = &self.decided;
        let Some(envelope) = &mut transaction.envelope else {
            return Verdict::Proceed(answer);
        };
        if quarantine.is_some() || !quarantines.is_empty() {
            let sender = envelope.reverse_path.0.as_ref();
            for recipient in &mut envelope.recipients {
                let group = Group::of(&self.rules.domains, sender, &recipient.address);
                let name = quarantines.get(&group).or(quarantine.as_ref());
                if recipient.quarantine.is_none() {
                    recipient.quarantine = name.cloned();
                }
            }
        }
        Verdict::Proceed(answer)
    }

    /// Once for each group. One group's refusal is the message's; one group's edits of the message are for its recipients.
    fn preq(&mut self, transaction: &mut Transaction) -> Verdict {
        let rules = Arc::clone(&self.rules);
        let Some(envelope) = &mut transaction.envelope else {
            return Verdict::Proceed(None);
        };
        let arrived = transaction.message.clone();
        let mut recipients = Vec::new();
        let mut verdict = Verdict::Proceed(None);
        for (group, members) in groups::part(&rules.domains, envelope) {
            if let Some(envelope) = &mut transaction.envelope {
                let members = members.into_iter().map(|(_, member)| member);
                envelope.recipients = members.collect();
            }
            transaction.message.clone_from(&arrived);
            let file = rules.file(&group).filter(|_| !self.skips(&group));
            let file = file.filter(|_| !matches!(verdict, Verdict::Refuse(_)));
            if let Some(file) = file {
                let state = self.decide(file, Stage::Preq, transaction);
                self.take_message(state, transaction, &mut verdict);
            }
            recipients.append(&mut members_with_edition(transaction));
        }
        transaction.message = arrived;
        // A rule of one group may have added who stands in another.
        let mut seen = HashSet::new();
        recipients.retain(|recipient: &Recipient| seen.insert(recipient.address.clone()));
        if let Some(envelope) = &mut transaction.envelope {
            envelope.recipients = recipients;
        }
        verdict
    }

    fn take_message(&mut self, state: State, transaction: &mut Transaction, verdict: &mut Verdict) {
        match state {
            State::Next | State::Accept(None) => {}
            State::Accept(reply) => *verdict = Verdict::Proceed(reply),
            State::Faccept(reply) => {
                self.decided.finally = true;
                if reply.is_some() {
                    *verdict = Verdict::Proceed(reply);
                }
            }
            State::Deny(reply) => *verdict = Verdict::Refuse(reply),
            State::Quarantine(name) => {
                let envelope = transaction.envelope.iter_mut();
                for recipient in envelope.flat_map(|envelope| &mut envelope.recipients) {
                    recipient.quarantine = Some(name.clone());
                }
            }
        }
    }

    /// Whether no rule runs any more, for this transaction at least.
    fn skips_all(&self) -> bool {
        self.trusted
            || self.greeted.is_some()
            || self.decided.finally
            || self.decided.quarantine.is_some()
    }

    fn skips(&self, group: &Group) -> bool {
        self.skips_all() || self.decided.quarantines.contains_key(group)
    }
}

/// Takes the recipients of the group at hand; each gets the header section that its rules made, if they made one.
fn members_with_edition(transaction: &mut Transaction) -> Vec<Recipient> {
    let edition = transaction.message.as_ref().and_then(Message::edition);
    let edition = edition.map(Arc::new);
    let envelope = transaction.envelope.as_mut();
    let mut members = envelope.map_or_else(Vec::new, |e| std::mem::take(&mut e.recipients));
    for member in &mut members {
        member.edition.clone_from(&edition);
    }
    members
}
