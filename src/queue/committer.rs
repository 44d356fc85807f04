//! Group commit: one thread makes everything that waits durable with one sync, so that the cost of a sync is shared by
//! all who wait meanwhile.

use super::Error;
use super::draft::BodyPath;
use super::store::{Change, Store};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// How many changes may wait; whoever comes then waits to wait.
const WAITING_MAX: usize = 1024;
/// What one sync covers at most: enough to make its cost small, little enough that the first is not kept waiting.
const BATCH_CHANGES: usize = 1024;
const BATCH_OCTETS: usize = 8 * 1024 * 1024;

/// Changes that wait to be durable, all of them or none.
pub(super) struct Request {
    pub changes: Vec<Change>,
    /// The large bodies that they bring: kept once they are durable.
    pub bodies: Vec<BodyPath>,
    pub reply: oneshot::Sender<Result<(), Error>>,
}

/// Commits what is sent until nobody can send any more.
pub(super) fn start(
    store: Arc<dyn Store>,
) -> std::io::Result<(mpsc::Sender<Request>, std::thread::JoinHandle<()>)> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let thread = std::thread::Builder::new()
        .name("queue".into())
        .spawn(move || run(&*store, receiver))?;
    Ok((sender, thread))
}

fn run(store: &dyn Store, mut receiver: mpsc::Receiver<Request>) {
    while let Some(first) = receiver.blocking_recv() {
        let mut octets = size(&first.changes);
        let mut changes = first.changes;
        let mut waiting = vec![(first.bodies, first.reply)];
        while changes.len() < BATCH_CHANGES && octets < BATCH_OCTETS {
            let Ok(request) = receiver.try_recv() else {
                break;
            };
            octets += size(&request.changes);
            changes.extend(request.changes);
            waiting.push((request.bodies, request.reply));
        }
        let result = store.apply(&changes);
        if let Err(error) = &result {
            let count = changes.len();
            tracing::error!(%error, count, "the queue could not be written: refused for now");
        }
        for (bodies, reply) in waiting {
            if result.is_ok() {
                bodies.into_iter().for_each(BodyPath::keep);
            }
            // A session that went away meanwhile cannot be told; its message is as durable as any.
            let _ = reply.send(result.clone());
        }
    }
}

fn size(changes: &[Change]) -> usize {
    let size = |change: &Change| match change {
        Change::Put {
            content: Some(content),
            ..
        } => content.len(),
        _ => 0,
    };
    changes.iter().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::{BATCH_CHANGES, Request, run};
    use crate::mail::{Envelope, MessageId};
    use crate::queue::draft::Draft;
    use crate::queue::store::Change;
    use crate::queue::store::fake::Fake;
    use crate::queue::{Entry, Error, Front, Screening, Version};
    use jiff::Timestamp;
    use tokio::sync::{mpsc, oneshot};

    type Reply = oneshot::Receiver<Result<(), Error>>;

    fn version(id: u64) -> Version {
        Version {
            id: MessageId(id),
            front: Front::default(),
            envelope: Envelope::default(),
            origin: None,
            screening: Screening::Ahead,
        }
    }

    fn request(id: u64) -> (Request, Reply) {
        let entry = Entry::new(version(id), Timestamp::UNIX_EPOCH, false);
        let (reply, answer) = oneshot::channel();
        let change = Change::Put {
            entry,
            content: Some(Vec::new()),
            filed: None,
        };
        let request = Request {
            changes: vec![change],
            bodies: Vec::new(),
            reply,
        };
        (request, answer)
    }

    /// Commits what waits together.
    fn commit(store: &Fake, requests: Vec<Request>) {
        let (sender, receiver) = mpsc::channel(requests.len());
        for request in requests {
            sender.try_send(request).ok().unwrap();
        }
        drop(sender);
        run(store, receiver);
    }

    #[test]
    fn everything_that_waits_shares_a_sync() {
        let store = Fake::default();
        let count = BATCH_CHANGES + 500;
        let (requests, answers): (Vec<_>, Vec<_>) = (0..count as u64).map(request).unzip();
        commit(&store, requests);
        assert_eq!(*store.batches.lock().unwrap(), [BATCH_CHANGES, 500]);
        for answer in answers {
            answer.blocking_recv().unwrap().unwrap();
        }
    }

    #[test]
    fn a_failed_write_fails_all_who_waited_and_none_after() {
        let store = Fake::default();
        *store.failure.lock().unwrap() = Some(Error::Full);
        let (requests, answers): (Vec<_>, Vec<_>) = (0..3).map(request).unzip();
        commit(&store, requests);
        for answer in answers {
            assert!(matches!(answer.blocking_recv(), Ok(Err(Error::Full))));
        }
        *store.failure.lock().unwrap() = None;
        let (next, answer) = request(4);
        commit(&store, vec![next]);
        answer.blocking_recv().unwrap().unwrap();
        let messages = store.messages.lock().unwrap();
        assert_eq!(messages.keys().collect::<Vec<_>>(), [&MessageId(4)]);
    }

    #[tokio::test]
    async fn the_body_of_a_refused_message_goes() {
        let folder = tempfile::tempdir().unwrap();
        for failure in [Some(Error::Full), None] {
            let mut draft = Draft::new(MessageId(1), folder.path().into());
            draft.append(&[b'x'; 100_000]).await.unwrap();
            let (mut request, _answer) = request(1);
            for (finished, _) in draft.finish(vec![version(1)]).await.unwrap() {
                request.bodies.extend(finished.body);
            }
            let kept = failure.is_none();
            let store = Fake::default();
            *store.failure.lock().unwrap() = failure;
            commit_elsewhere(store, request).await;
            assert_eq!(folder.path().join(MessageId(1).to_string()).exists(), kept);
        }
    }

    async fn commit_elsewhere(store: Fake, request: Request) {
        let committed = tokio::task::spawn_blocking(move || commit(&store, vec![request]));
        committed.await.unwrap();
    }
}
