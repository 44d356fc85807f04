//! What would become of a message in the queue: the stages whose client is gone.

use super::event::Event;
use super::recorder::Recorder;
use super::world::World;
use crate::mail::{Edition, Envelope, Message, Recipient, ReversePath, Transaction};
use crate::rules::{Fate, Policy, Ruling, Stage};
use std::io::Read;
use std::sync::Arc;

/// A message that was answered with 250.
#[derive(Debug)]
pub(super) struct Queued {
    transaction: Transaction,
    /// No rule runs any more.
    over: bool,
    copies: Vec<Copy>,
}

/// The message as some of its recipients get it.
#[derive(Clone, Debug)]
struct Copy {
    message: Message,
    reverse_path: ReversePath,
    recipients: Vec<Recipient>,
}

impl Queued {
    /// What `transaction` has brought; `over`: no rule runs any more.
    pub(super) fn new(transaction: &Transaction, over: bool) -> Self {
        let envelope = transaction.envelope.clone().unwrap_or_default();
        let copies = transaction.message.as_ref().map(|message| Copy {
            message: message.clone(),
            reverse_path: envelope.reverse_path,
            recipients: Vec::new(),
        });
        let copies = copies.map(|copy| by_edition(&copy, envelope.recipients));
        Self {
            transaction: transaction.clone(),
            over,
            copies: copies.unwrap_or_default(),
        }
    }

    /// Puts it into the queue, and runs the rules of `postq` and `delivery` where there are any.
    pub(super) fn go_on(
        mut self,
        world: &World,
        recorder: &Arc<Recorder>,
        tell: &mut dyn FnMut(Event),
    ) {
        let id = self
            .transaction
            .id
            .map(|id| id.to_string())
            .unwrap_or_default();
        for copy in &mut self.copies {
            copy.recipients = world.domains.expand(std::mem::take(&mut copy.recipients));
            copy.recipients
                .iter()
                .for_each(|to| tell(copy.event("queue", &id, to)));
        }
        let mut asked = false;
        for stage in [Stage::Postq, Stage::Delivery] {
            for copy in std::mem::take(&mut self.copies) {
                let (kept, free): (Vec<_>, Vec<_>) = copy
                    .recipients
                    .iter()
                    .cloned()
                    .partition(|r| r.quarantine.is_some());
                let concerned = world.rules.concern(stage, &copy.reverse_path, &free);
                if self.over || !concerned {
                    self.copies.push(copy);
                    continue;
                }
                asked = true;
                self.copies.push(Copy {
                    recipients: kept,
                    ..copy.clone()
                });
                self.rule(
                    stage,
                    Copy {
                        recipients: free,
                        ..copy
                    },
                    (world, recorder),
                    tell,
                );
            }
        }
        for copy in self.copies.iter().filter(|_| asked) {
            copy.recipients
                .iter()
                .for_each(|to| tell(copy.event("deliver", &id, to)));
        }
    }

    /// Runs the rules of `stage` about one copy, which may become several.
    fn rule(
        &mut self,
        stage: Stage,
        copy: Copy,
        (world, recorder): (&World, &Arc<Recorder>),
        tell: &mut dyn FnMut(Event),
    ) {
        let names: Vec<String> = copy
            .recipients
            .iter()
            .map(|r| r.address.to_string())
            .collect();
        tell(Event::Stage {
            stage: stage.name(),
            about: names.join(", "),
        });
        self.transaction.envelope = Some(Envelope {
            reverse_path: copy.reverse_path.clone(),
            recipients: copy.recipients.clone(),
            ..self.transaction.envelope.take().unwrap_or_default()
        });
        self.transaction.message = Some(copy.message.clone());
        let recorder = Arc::clone(recorder);
        let mut policy = Policy::observed(Arc::clone(&world.rules), recorder.clone());
        let mut rulings = policy.rule(stage, &mut self.transaction);
        // No filter is asked: each gives back what it got.
        while let Some(at) = rulings
            .iter()
            .position(|r| matches!(r.fate, Fate::Delegate(_)))
        {
            let ruling = rulings.remove(at);
            rulings.extend(self.given_back(&mut policy, &copy, ruling));
        }
        self.over |= policy.is_over();
        let (runs, _) = recorder.take(world);
        runs.into_iter().chain(world.news()).for_each(&mut *tell);
        for ruling in rulings {
            if let Fate::Refuse(reply) = ruling.fate {
                for name in ruling
                    .members
                    .iter()
                    .filter_map(|&member| names.get(member))
                {
                    let (to, reply) = (name.clone(), reply.to_string());
                    tell(Event::Refused { to, reply });
                }
                continue;
            }
            let ruled = Copy {
                reverse_path: ruling.reverse_path,
                ..copy.clone()
            };
            let recipients = world.domains.expand(ruling.recipients);
            self.copies.push(Copy {
                message: match ruling.edition {
                    Some(edition) => ruled.edited(&edition),
                    None => copy.message.clone(),
                },
                recipients,
                ..ruled
            });
        }
    }
}

impl Queued {
    /// What rules say when a filter has given back what `ruling` sends to it.
    fn given_back(&mut self, policy: &mut Policy, copy: &Copy, ruling: Ruling) -> Vec<Ruling> {
        let Fate::Delegate(bookmark) = &ruling.fate else {
            return vec![ruling];
        };
        let message = match &ruling.edition {
            Some(edition) => copy.edited(edition),
            None => copy.message.clone(),
        };
        self.transaction.message = Some(message);
        if let Some(envelope) = &mut self.transaction.envelope {
            envelope.reverse_path.clone_from(&ruling.reverse_path);
            envelope.recipients.clone_from(&ruling.recipients);
        }
        let mut rulings = policy.resume(bookmark, &mut self.transaction);
        for ruled in &mut rulings {
            ruled.members.clone_from(&ruling.members);
            ruled.edition = match (ruled.edition.take(), &ruling.edition) {
                // What was edited before is edited again.
                (Some(again), Some(before)) => Some(Arc::new(Edition {
                    header: again.header.clone(),
                    replaces: before.replaces,
                })),
                (again, before) => again.or_else(|| before.clone()),
            };
        }
        rulings
    }
}

impl Copy {
    fn event(&self, step: &'static str, id: &str, to: &Recipient) -> Event {
        Event::Queue {
            step,
            id: id.to_owned(),
            from: self.reverse_path.to_string(),
            to: to.address.to_string(),
            quarantine: to.quarantine.clone(),
            octets: self.message.size(),
        }
    }

    /// The message with that header section.
    fn edited(&self, edition: &Edition) -> Message {
        let mut arrived = Vec::new();
        // In memory: nothing can go wrong.
        let _ = self.message.octets().read_to_end(&mut arrived);
        let replaced = usize::try_from(edition.replaces).unwrap_or(arrived.len());
        let body = arrived.get(replaced..).unwrap_or_default();
        Message::new(Arc::new([edition.header.as_slice(), body].concat()))
    }
}

/// One copy for each header section that rules made.
fn by_edition(whole: &Copy, recipients: Vec<Recipient>) -> Vec<Copy> {
    let mut copies: Vec<(Option<Arc<Edition>>, Copy)> = Vec::new();
    for mut recipient in recipients {
        let edition = recipient.edition.take();
        match copies.iter_mut().find(|(known, _)| *known == edition) {
            Some((_, copy)) => copy.recipients.push(recipient),
            None => {
                let message = edition.as_ref().map(|edition| whole.edited(edition));
                let copy = Copy {
                    message: message.unwrap_or_else(|| whole.message.clone()),
                    reverse_path: whole.reverse_path.clone(),
                    recipients: vec![recipient],
                };
                copies.push((edition, copy));
            }
        }
    }
    copies.into_iter().map(|(_, copy)| copy).collect()
}
