//! Has rules decide about a message before it goes out, and makes durable what they decided before anybody acts on it.

use super::Worker;
use super::delegate::secret;
use crate::delivery::screening::{Cleared, Screened, is_asked};
use crate::mail::{Bookmark, Envelope, Message, Origin, Recipient, Status, Transaction};
use crate::queue::{Entry, Error, Queue, Revision, Whereabouts};
use crate::rules::{Fate, Policy, Rules, Ruling, Stage};
use crate::smtp::Reply;
use jiff::Timestamp;
use std::sync::Arc;

/// Why nothing of a message goes out.
#[derive(Debug)]
pub(super) enum Halt {
    /// It is not what was committed.
    Damaged,
    /// The daemon stops: the message is due again after the restart.
    Stopping,
    /// Rules left no recipient.
    NobodyLeft,
    /// A content filter is to see it first.
    Delegated(Box<Entry>),
}

/// What rules said at one stage.
struct Said {
    rulings: Vec<Ruling>,
    /// They are the last to speak.
    over: bool,
}

const NOT_READ: Reply = Reply::fixed(451, Some(Status::new(4, 3, 0)), "message cannot be read");

impl Worker {
    /// Runs the rules that have a say about what is due of `entry`. Without one nothing is read, written or waited for.
    pub(super) async fn screen(&self, entry: Entry) -> Result<Cleared, Halt> {
        let (rules, now) = (self.rules.load_full(), Timestamp::now());
        let is_concerned = |stage| {
            let asked = |at| entry.pending.iter().filter(move |p| is_asked(p, at, now));
            // Who passes `postq` comes to `delivery` at once.
            let asked = asked(Stage::Postq).chain(asked(stage));
            rules.concern(stage, &entry.reverse_path, asked.map(|p| &p.recipient))
        };
        let is_ruled = is_concerned(Stage::Postq) || is_concerned(Stage::Delivery);
        if !is_ruled && entry.delegation.is_none() {
            return Ok(Cleared::unruled(entry, now));
        }
        let mut screened = Screened::new(entry, now);
        for stage in [Stage::Postq, Stage::Delivery] {
            self.decide(&rules, stage, &mut screened).await?;
            self.settle_stage(stage, &mut screened).await?;
        }
        Ok(screened.clear())
    }

    /// Makes the queue hold what rules decided at `stage`.
    async fn settle_stage(&self, stage: Stage, screened: &mut Screened) -> Result<(), Halt> {
        let Some(revisions) = screened.divided(stage, || self.queue.next_id(), secret) else {
            return Ok(());
        };
        let of = screened.entry().id;
        for Revision { entry, .. } in revisions.iter().filter(|r| r.entry.id != of) {
            let (id, recipients) = (entry.id, entry.pending.len());
            tracing::info!(%id, %of, recipients, "rules made another version of a message");
        }
        let entry = self.revise(screened, revisions).await?;
        let delegation = entry.delegation.as_deref();
        if delegation.is_some_and(|d| d.whereabouts == Whereabouts::Here) {
            return Err(Halt::Delegated(Box::new(entry)));
        }
        screened.continue_with(stage, entry);
        Ok(())
    }

    /// Makes durable what was decided, however long that takes.
    async fn revise(&self, screened: &Screened, revisions: Vec<Revision>) -> Result<Entry, Halt> {
        let before = screened.entry();
        let revise = || async {
            match self.queue.revise(before, revisions.clone()).await {
                Err(Error::Damaged(_)) => Ok(Err(Halt::Damaged)),
                revised => revised.map(Ok),
            }
        };
        let revised = self.insist(before, revise).await.ok_or(Halt::Stopping)?;
        let id = before.id;
        revised?.ok_or_else(|| {
            tracing::warn!(%id, "rules removed every recipient: the message is gone");
            Halt::NobodyLeft
        })
    }

    /// Runs the rules of `stage` where there are any for those whom it is about.
    async fn decide(
        &self,
        rules: &Arc<Rules>,
        stage: Stage,
        screened: &mut Screened,
    ) -> Result<(), Halt> {
        let asked = screened.asked(stage);
        let recipients = screened.recipients(&asked);
        let entry = screened.entry();
        let delegation = entry.delegation.as_deref();
        let bookmark = delegation
            .map(|d| &d.bookmark)
            .filter(|b| b.stage == stage.name());
        let is_ruled = rules.concern(stage, &entry.reverse_path, &recipients);
        let said = match !recipients.is_empty() && (is_ruled || bookmark.is_some()) {
            true => {
                let bookmark = bookmark.cloned();
                self.run_rules(rules, stage, entry, recipients, bookmark)
                    .await?
            }
            false => Said {
                rulings: Vec::new(),
                over: false,
            },
        };
        let domains = self.domains.load_full();
        screened.apply(stage, &asked, said.rulings, said.over, &domains);
        Ok(())
    }

    /// Rules may wait, and the message is read from the disk: both are done where nobody waits along.
    async fn run_rules(
        &self,
        rules: &Arc<Rules>,
        stage: Stage,
        entry: &Entry,
        recipients: Vec<Recipient>,
        bookmark: Option<Bookmark>,
    ) -> Result<Said, Halt> {
        let members = (0..recipients.len()).collect();
        let refused = |reply| Said {
            rulings: vec![Ruling {
                members,
                fate: Fate::Refuse(reply),
                reverse_path: entry.reverse_path.clone(),
                recipients: Vec::new(),
                edition: None,
            }],
            over: false,
        };
        let turn = self.ruling.acquire().await;
        if turn.is_err() || self.is_stopping() {
            return Err(Halt::Stopping);
        }
        let (rules, queue, entry) = (Arc::clone(rules), self.queue.clone(), entry.clone());
        let (id, name) = (entry.id, self.outbound.name().to_owned());
        let said = tokio::task::spawn_blocking(move || {
            let mut transaction = transaction(&queue, &entry, recipients, &name)?;
            let mut policy = Policy::new(rules);
            let rulings = match &bookmark {
                Some(bookmark) => policy.resume(bookmark, &mut transaction),
                None => policy.rule(stage, &mut transaction),
            };
            let over = policy.is_over();
            Ok(Said { rulings, over })
        });
        match said.await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(Error::Damaged(_))) => Err(Halt::Damaged),
            Ok(Err(error)) => {
                tracing::error!(%id, %stage, %error, "rules cannot be run");
                Ok(refused(NOT_READ))
            }
            Err(error) => {
                tracing::error!(%id, %stage, %error, "rules ended before their time");
                Ok(refused(NOT_READ))
            }
        }
    }
}

/// The transaction that brought a message, with `recipients` only.
fn transaction(
    queue: &Queue,
    entry: &Entry,
    recipients: Vec<Recipient>,
    name: &str,
) -> Result<Transaction, Error> {
    let origin = entry.origin.as_deref().cloned();
    let origin = origin.unwrap_or_else(|| Origin::ourselves(name, entry.arrived));
    Ok(Transaction {
        envelope: Some(Envelope {
            reverse_path: entry.reverse_path.clone(),
            recipients,
            body: entry.body,
            smtputf8: entry.smtputf8,
            ..Envelope::default()
        }),
        message: Some(Message::new(Arc::new(queue.content_of(entry)?))),
        ..origin.transaction(entry.id)
    })
}
