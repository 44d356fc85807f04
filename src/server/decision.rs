//! What a session asks, answered: by policy, and at the end of a message by the queue.

use super::connection::Connection;
use super::reception::{Reception, refusal};
use super::{Shared, record};
use crate::mail::{Edition, Envelope, MessageId, Origin, trace};
use crate::queue::{Front, Screening, Version};
use crate::rules::{Stage, Verdict};
use crate::smtp::{Answer, Ask, Step, replies};
use jiff::{Timestamp, Zoned};
use std::sync::Arc;
use tokio::time::Instant;

impl<S> Connection<S> {
    /// Answers `ask`, and says what the session makes of it.
    pub async fn decide(&mut self, ask: Ask) -> Step {
        let presented = self.session.transaction().credentials.clone();
        let answer = match &ask {
            Ask::Connect(_) => self.run_rules(Stage::Connect),
            Ask::Helo(_) => {
                let answer = self.run_rules(Stage::Helo);
                let takes_credentials = self.policy.takes_credentials();
                self.session.offer_authentication(takes_credentials);
                answer
            }
            Ask::Authenticate(_) => self.run_rules(Stage::Authenticate),
            Ask::Mail(_) => {
                let transaction = self.session.transaction();
                transaction.id = Some(self.shared.queue.next_id());
                transaction.started = Some(Timestamp::now());
                self.transaction = transaction.id;
                self.run_rules(Stage::Mail)
            }
            Ask::Recipient(_) => self.run_rules(Stage::Rcpt),
            Ask::Message(_) => self.finish_reception().await,
        };
        let step = self.session.answer(ask, answer);
        if let Some(credentials) = presented {
            record::authentication(self.session.transaction(), &credentials, &step);
        }
        self.follow_transaction();
        step
    }

    fn run_rules(&mut self, stage: Stage) -> Answer {
        if self.submitter.is_some() {
            return self.decide_for_local(stage);
        }
        let transaction = self.session.transaction();
        match self.policy.run(stage, transaction) {
            Verdict::Proceed(None) => Answer::Proceed,
            Verdict::Proceed(Some(reply)) => Answer::ProceedWith(reply),
            Verdict::Refuse(reply) => {
                // These two have a line of their own.
                if !matches!(stage, Stage::Preq | Stage::Authenticate) {
                    record::refusal(transaction, stage, &reply);
                }
                Answer::Refuse(reply)
            }
        }
    }

    /// Records a message that the session refuses by itself: too large, or with a bare line end.
    pub fn notice_refusal(&self, step: &Step) {
        if let (Some(id), Some(reception)) = (self.transaction, &self.reception)
            && let Step::Send(reply) | Step::Close(reply) = step
        {
            record::unfit(id, reception.size(), reply);
        }
    }

    /// What belonged to a transaction goes with it.
    pub fn follow_transaction(&mut self) {
        let current = self.session.transaction().id;
        if self.transaction != current {
            self.transaction = current;
            self.reception = None;
            self.policy.reset();
        }
    }

    /// The client was told to send the content.
    pub fn begin_reception(&mut self) {
        let id = self.session.transaction().id;
        self.reception = id.map(|id| Reception::new(&self.shared.queue, id));
    }

    async fn finish_reception(&mut self) -> Answer {
        let Some(reception) = self.reception.take() else {
            return Answer::Refuse(replies::LOCAL_ERROR);
        };
        let size = reception.size();
        let answer = self.accept(reception).await;
        if !matches!(answer, Answer::Refuse(_)) {
            self.patience.accepted(Instant::now());
        }
        record::message(self.session.transaction(), size, &answer);
        answer
    }

    /// The message is whole: may it stay, and is it durable?
    async fn accept(&mut self, reception: Reception) -> Answer {
        let (draft, message) = match reception.finish() {
            Ok(finished) => finished,
            Err(reply) => return Answer::Refuse(reply),
        };
        self.session.transaction().message = Some(message);
        let answer = self.run_rules(Stage::Preq);
        if matches!(answer, Answer::Refuse(_)) {
            return answer;
        }
        let transaction = self.session.transaction();
        let Some(envelope) = &transaction.envelope else {
            return Answer::Refuse(replies::LOCAL_ERROR);
        };
        // Rules took them all away: to say yes would be to lose a message.
        if envelope.recipients.is_empty() {
            return Answer::Refuse(replies::REFUSED);
        }
        let envelopes = by_edition(envelope);
        let screening = match self.policy.is_over() {
            true => Screening::Over,
            false => Screening::Ahead,
        };
        let now = Zoned::now();
        let trace = |id| match &self.submitter {
            Some(submitter) => trace::submitted(submitter, transaction, id, &now),
            None => trace::received(transaction, id, &now),
        };
        let origin = Origin::of(transaction);
        let id = draft.id();
        let versions = versions(&self.shared, id, envelopes, trace, origin, screening);
        match self.shared.queue.commit_versions(draft, versions).await {
            Ok(()) => answer,
            Err(error) => Answer::Refuse(refusal(&error)),
        }
    }
}

/// The envelope of each header section that rules made, and of the one that arrived; usually there is one.
fn by_edition(envelope: &Envelope) -> Vec<(Option<Arc<Edition>>, Envelope)> {
    let mut envelopes: Vec<(Option<Arc<Edition>>, Envelope)> = Vec::new();
    for recipient in &envelope.recipients {
        let edition = &recipient.edition;
        match envelopes.iter_mut().find(|(known, _)| known == edition) {
            Some((_, envelope)) => envelope.recipients.push(recipient.clone()),
            None => {
                let recipients = vec![recipient.clone()];
                let envelope = Envelope {
                    recipients,
                    reverse_path: envelope.reverse_path.clone(),
                    envelope_id: envelope.envelope_id.clone(),
                    ..*envelope
                };
                envelopes.push((edition.clone(), envelope));
            }
        }
    }
    envelopes
}

/// What the queue is to hold: the first has the name of the draft.
fn versions(
    shared: &Shared,
    id: MessageId,
    envelopes: Vec<(Option<Arc<Edition>>, Envelope)>,
    trace: impl Fn(MessageId) -> String,
    origin: Option<Origin>,
    screening: Screening,
) -> Vec<Version> {
    let mut versions = Vec::with_capacity(envelopes.len());
    for (edition, mut envelope) in envelopes {
        envelope.recipients = shared.domains.expand(envelope.recipients);
        let of = id;
        let id = if versions.is_empty() {
            of
        } else {
            shared.queue.next_id()
        };
        if id != of {
            let recipients = envelope.recipients.len();
            tracing::info!(%id, %of, recipients, "rules made another version of a message");
        }
        versions.push(Version {
            id,
            front: Front::new(trace(id), edition.as_deref()),
            envelope,
            origin: origin.clone(),
            screening,
        });
    }
    versions
}
