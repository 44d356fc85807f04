//! The queue on a real disk: what it promises about crashes, damage and a full disk.

use crate::support::{is_root, wait_for};
use libtest_mimic::Trial;
use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vsmtp::mail::{Address, Edition, Envelope, Message, MessageId, Recipient, ReversePath};
use vsmtp::queue::{Entry, Error, Options, Outcome, Queue, Revision, Schedule, State};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_message_comes_back_as_it_went_in", round_trip),
        trial("ten_thousand_commits_from_many_tasks", many_commits),
        trial("a_crash_loses_nothing_acknowledged", crash),
        trial("large_bodies_lie_in_files_of_their_own", large_bodies),
        trial("a_message_is_revised_as_a_whole", revised),
        trial("of_two_contents_the_later_is_rescued", revised_and_rescued),
        trial("ids_only_grow", ids),
        trial("the_longest_due_first_and_each_to_one_taker", due_order),
        trial("held_recipients_wake_nobody", held),
        trial("who_is_postponed_was_not_tried", postponed),
        trial("one_process_at_a_time", lock),
        trial("no_recipient_no_message", no_recipient),
        trial("any_octet_of_a_journal_may_be_damaged", damaged_journal),
        trial("a_journal_may_be_cut_anywhere", cut_journal),
        trial("any_file_of_the_store_may_be_emptied", || {
            destroyed_files(|file| fs::write(file, ""))
        }),
        trial("any_file_of_the_store_may_be_overwritten", || {
            destroyed_files(|file| fs::write(file, [0xA5; 300]))
        }),
        trial("any_file_of_the_store_may_be_removed", || {
            destroyed_files(|file| fs::remove_file(file))
        }),
        trial("any_table_of_the_store_may_be_damaged", damaged_tables),
        trial("a_foreign_file_is_left_alone", foreign_files),
        trial("a_damaged_body_is_set_aside", damaged_body),
        trial("a_full_disk_refuses_and_recovers", full_disk),
    ]
}

fn trial<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial {
    Trial::test(format!("queue::{name}"), || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test());
        Ok(())
    })
}

/// Memory where there is some: no test cuts the power, and syncs cost most of the time.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn options(folder: &Path) -> Options {
    Options {
        dirpath: folder.to_owned(),
        schedule: Schedule {
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_millis(400),
            lifetime: Duration::from_secs(60),
            warn_after: Duration::from_secs(60),
            attempts_max: None,
        },
    }
}

fn open(folder: &Path) -> Queue {
    Queue::open(&options(folder)).unwrap()
}

fn envelope(to: &[&str]) -> Envelope {
    let address = |text| Address::parse(text).unwrap();
    Envelope {
        reverse_path: ReversePath(Some(address("jane@example.net"))),
        recipients: to.iter().map(|to| Recipient::from(address(to))).collect(),
        ..Envelope::default()
    }
}

async fn commit_to(queue: &Queue, content: &[u8], to: &[&str]) -> Result<MessageId, Error> {
    let mut draft = queue.draft(queue.next_id());
    let id = draft.id();
    for piece in content.chunks(10_000) {
        draft.append(piece).await?;
    }
    queue
        .commit(draft, "Received: here\r\n".to_owned(), envelope(to))
        .await?;
    Ok(id)
}

async fn commit(queue: &Queue, content: &[u8]) -> Result<MessageId, Error> {
    commit_to(queue, content, &["john@example.com"]).await
}

fn content(queue: &Queue, id: MessageId) -> Result<Vec<u8>, Error> {
    let mut octets = Vec::new();
    let mut content = queue.content(id)?;
    content
        .read_to_end(&mut octets)
        .map(|_| octets)
        .map_err(|_| Error::Damaged(id))
}

/// Takes everything that is due. A message that comes now is due after all of it, and marks the end.
async fn ids_of(queue: &Queue) -> BTreeSet<MessageId> {
    let end = commit(queue, b"the end").await.unwrap();
    let mut ids = BTreeSet::new();
    loop {
        let entry = queue.next_due().await;
        if entry.id == end {
            queue
                .settle(&entry, &all(State::Delivered, 1))
                .await
                .unwrap();
            return ids;
        }
        assert!(ids.insert(entry.id), "{} was taken twice", entry.id);
    }
}

fn all(state: State, recipients: usize) -> Vec<Outcome> {
    (0..recipients)
        .map(|index| Outcome { index, state })
        .collect()
}

/// What kill -9 would leave behind: the files as they are while the queue is open.
fn snapshot(folder: &Path) -> TempDir {
    let copy = scratch();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(folder.join("."))
        .arg(copy.path())
        .status();
    assert!(copied.unwrap().success());
    copy
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

async fn round_trip() {
    let folder = scratch();
    let queue = open(folder.path());
    let id = commit_to(&queue, b"Subject: a\r\n\r\nb\r\n", &["a@x.org", "b@x.org"])
        .await
        .unwrap();
    drop(queue);
    let queue = open(folder.path());
    let entry = queue.next_due().await;
    assert_eq!(entry.id, id);
    assert_eq!(entry.reverse_path.to_string(), "jane@example.net");
    let to: Vec<_> = entry
        .pending
        .iter()
        .map(|p| p.recipient.address.as_str())
        .collect();
    assert_eq!(to, ["a@x.org", "b@x.org"]);
    assert_eq!(
        content(&queue, id).unwrap(),
        b"Received: here\r\nSubject: a\r\n\r\nb\r\n"
    );
    queue
        .settle(&entry, &all(State::Delivered, 1))
        .await
        .unwrap();
    drop(queue);
    let queue = open(folder.path());
    let entry = queue.next_due().await;
    assert_eq!(entry.pending.len(), 1);
    assert_eq!(entry.pending[0].recipient.address.as_str(), "b@x.org");
    queue
        .settle(&entry, &all(State::Delivered, 1))
        .await
        .unwrap();
    assert!(matches!(content(&queue, id), Err(Error::Damaged(_))));
    drop(queue);
    assert_eq!(ids_of(&open(folder.path())).await, BTreeSet::new());
}

async fn many_commits() {
    const TASKS: usize = 100;
    const EACH: usize = 100;
    let folder = scratch();
    let queue = open(folder.path());
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for _ in 0..EACH {
                    ids.push(commit(&queue, &[b'x'; 1000]).await.unwrap());
                }
                ids
            })
        })
        .collect();
    let mut committed = BTreeSet::new();
    for task in tasks {
        committed.extend(task.await.unwrap());
    }
    assert_eq!(committed.len(), TASKS * EACH);
    assert_eq!(ids_of(&queue).await, committed);
    drop(queue);
    assert_eq!(ids_of(&open(folder.path())).await, committed);
}

async fn crash() {
    let folder = scratch();
    let queue = open(folder.path());
    let mut committed = BTreeSet::new();
    for number in 0..50 {
        let size = if number % 10 == 0 { 100_000 } else { 100 };
        committed.insert(commit(&queue, &vec![b'x'; size]).await.unwrap());
    }
    let gone = queue.next_due().await;
    queue
        .settle(&gone, &all(State::Delivered, 1))
        .await
        .unwrap();
    committed.remove(&gone.id);
    let taken = queue.next_due().await;
    assert!(committed.contains(&taken.id));
    let mut unfinished = queue.draft(queue.next_id());
    unfinished.append(&[b'x'; 200_000]).await.unwrap();

    let copy = snapshot(folder.path());
    let name = unfinished.id().to_string();
    assert!(copy.path().join("bodies").join(&name).exists());
    let queue = open(copy.path());
    assert_eq!(ids_of(&queue).await, committed);
    assert!(!copy.path().join("bodies").join(&name).exists());
    for id in committed {
        assert!(content(&queue, id).unwrap().len() > 100);
    }
}

async fn large_bodies() {
    let folder = scratch();
    let bodies = || fs::read_dir(folder.path().join("bodies")).unwrap().count();
    let queue = open(folder.path());
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();

    let mut draft = queue.draft(queue.next_id());
    draft.append(&body).await.unwrap();
    assert_eq!(bodies(), 1);
    drop(draft);
    assert_eq!(bodies(), 0);

    let id = commit(&queue, &body).await.unwrap();
    assert_eq!(bodies(), 1);
    let expected = [b"Received: here\r\n", body.as_slice()].concat();
    assert_eq!(content(&queue, id).unwrap(), expected);
    let mut again = queue.content(id).unwrap();
    for _ in 0..2 {
        let mut octets = Vec::new();
        again.read_to_end(&mut octets).unwrap();
        assert_eq!(octets, expected);
        again.rewind().unwrap();
    }
    drop(queue);
    let queue = open(folder.path());
    assert_eq!(content(&queue, id).unwrap(), expected);
    let entry = queue.next_due().await;
    queue
        .settle(&entry, &all(State::Delivered, 1))
        .await
        .unwrap();
    assert_eq!(bodies(), 0);
}

/// The header section in the place of the one that [`commit`] makes.
fn edition(header: &str) -> Option<Arc<Edition>> {
    Some(Arc::new(Edition {
        header: header.as_bytes().to_vec(),
        replaces: "Received: here\r\nSubject: a\r\n".len() as u64,
    }))
}

fn only(entry: &Entry, id: MessageId, index: usize) -> Entry {
    let mut part = entry.named(id);
    part.pending = vec![entry.pending[index].clone()];
    part
}

async fn revised() {
    for size in [10, 300_000] {
        let folder = scratch();
        let bodies = || fs::read_dir(folder.path().join("bodies")).unwrap().count();
        let queue = open(folder.path());
        let body = "x".repeat(size);
        let sent = format!("Subject: a\r\n\r\n{body}");
        let id = commit_to(&queue, sent.as_bytes(), &["a@x.org", "b@x.org", "c@x.org"]);
        let id = id.await.unwrap();
        let entry = queue.next_due().await;
        let others = [queue.next_id(), queue.next_id()];
        let parts = [
            (id, Some("Subject: first\r\n")),
            (others[0], None),
            (others[1], Some("Subject: third\r\n")),
        ];
        let revisions = parts
            .iter()
            .enumerate()
            .map(|(index, (id, header))| Revision {
                entry: only(&entry, *id, index),
                edition: header.and_then(edition),
            });
        let own = queue.revise(&entry, revisions.collect()).await.unwrap();
        let own = own.unwrap();
        assert_eq!(own.pending.len(), 1);
        let expected = [
            format!("Subject: first\r\n\r\n{body}"),
            format!("Received: here\r\n{sent}"),
            format!("Subject: third\r\n\r\n{body}"),
        ];
        let check = |queue: &Queue| {
            for ((id, _), expected) in parts.iter().zip(&expected) {
                let found = content(queue, *id).unwrap();
                assert!(found == expected.as_bytes(), "{id} of {size}");
                let message = Message::new(Arc::new(queue.content(*id).unwrap()));
                assert_eq!(message.size(), expected.len() as u64);
                let mut octets = Vec::new();
                message.octets().read_to_end(&mut octets).unwrap();
                assert!(octets == expected.as_bytes(), "{id} of {size} by place");
            }
        };
        check(&queue);
        // What is taken stays so, what is new is there to be taken.
        let mut taken = [queue.next_due().await, queue.next_due().await];
        taken.sort_by_key(|entry| entry.id);
        assert_eq!([taken[0].id, taken[1].id], others);
        // An edition of the moment is nobody else's.
        let mut edited = own.clone();
        edited.edition = edition("Subject: now\r\n");
        edited.edition.as_mut().map(Arc::make_mut).unwrap().replaces = 16;
        let mut octets = Vec::new();
        let mut momentary = queue.content_of(&edited).unwrap();
        momentary.read_to_end(&mut octets).unwrap();
        assert!(octets == format!("Subject: now\r\n\r\n{body}").as_bytes());
        check(&queue);
        let crashed = snapshot(folder.path());
        let queue_after = open(crashed.path());
        check(&queue_after);
        let ids = BTreeSet::from([id, others[0], others[1]]);
        assert_eq!(ids_of(&queue_after).await, ids);
        for entry in taken.iter().chain([&own]) {
            let done = all(State::Delivered, 1);
            queue.settle(entry, &done).await.unwrap();
        }
        assert_eq!(bodies(), 0);
        assert_eq!(ids_of(&queue).await, BTreeSet::new());
    }
}

async fn revised_and_rescued() {
    let folder = scratch();
    let queue = open(folder.path());
    let id = commit(&queue, b"Subject: a\r\n\r\nb\r\n").await.unwrap();
    let entry = queue.next_due().await;
    let revision = Revision {
        entry: only(&entry, id, 0),
        edition: edition("Subject: later\r\n"),
    };
    queue.revise(&entry, vec![revision]).await.unwrap().unwrap();
    let mut found = 0;
    for file in files_below(&folder.path().join("store")) {
        let copy = snapshot(folder.path());
        let file = file.strip_prefix(folder.path()).unwrap();
        fs::remove_file(copy.path().join(file)).unwrap();
        let queue = open(copy.path());
        if ids_of(&queue).await.contains(&id) {
            found += 1;
            let content = content(&queue, id).unwrap();
            assert_eq!(content, b"Subject: later\r\n\r\nb\r\n", "{file:?}");
        }
    }
    assert!(found > 0);
}

async fn ids() {
    let folder = scratch();
    let queue = open(folder.path());
    let ids: Vec<_> = (0..10_000).map(|_| queue.next_id()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    // As if the clock had been a year ahead when this was committed, and went back.
    let ahead = MessageId(ids[0].0 + ((365 * 86_400 * 1_000_000) << 12));
    let draft = queue.draft(ahead);
    queue
        .commit(draft, String::new(), envelope(&["a@x.org"]))
        .await
        .unwrap();
    let entry = queue.next_due().await;
    queue
        .settle(&entry, &all(State::Delivered, 1))
        .await
        .unwrap();
    drop(queue);
    assert!(open(folder.path()).next_id() > ahead);
}

async fn due_order() {
    let folder = scratch();
    let queue = open(folder.path());
    let mut committed = Vec::new();
    for _ in 0..200 {
        committed.push(commit(&queue, b"x").await.unwrap());
    }
    let first = queue.next_due().await;
    assert_eq!(first.id, committed[0]);
    queue
        .settle(&first, &all(State::Deferred, 1))
        .await
        .unwrap();

    let takers: Vec<_> = (0..4)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { ids_in_order(&queue).await })
        })
        .collect();
    let mut taken = Vec::new();
    for taker in takers {
        let ids = taker.await.unwrap();
        let fresh: Vec<_> = ids.iter().filter(|id| **id != committed[0]).collect();
        assert!(fresh.is_sorted());
        taken.extend(ids);
    }
    taken.sort();
    assert_eq!(taken, committed);
}

async fn ids_in_order(queue: &Queue) -> Vec<MessageId> {
    let mut ids = Vec::new();
    while let Ok(entry) = tokio::time::timeout(Duration::from_millis(800), queue.next_due()).await {
        ids.push(entry.id);
    }
    ids
}

async fn held() {
    let folder = scratch();
    let queue = open(folder.path());
    let id = commit_to(&queue, b"x", &["a@x.org", "b@x.org"])
        .await
        .unwrap();
    let entry = queue.next_due().await;
    let outcomes = [
        Outcome {
            index: 0,
            state: State::Held,
        },
        Outcome {
            index: 1,
            state: State::Deferred,
        },
    ];
    queue.settle(&entry, &outcomes).await.unwrap();
    let before = Instant::now();
    let entry = queue.next_due().await;
    assert!(before.elapsed() >= Duration::from_millis(150));
    assert_eq!(entry.pending[0].due, None);
    let due: Vec<_> = entry
        .due(jiff::Timestamp::now())
        .map(|(index, pending)| (index, pending.attempts))
        .collect();
    assert_eq!(due, [(1, 1)]);
    let delivered = Outcome {
        index: 1,
        state: State::Delivered,
    };
    queue.settle(&entry, &[delivered]).await.unwrap();
    assert_eq!(ids_of(&queue).await, BTreeSet::new());
    drop(queue);
    let queue = open(folder.path());
    assert_eq!(ids_of(&queue).await, BTreeSet::new());
    content(&queue, id).unwrap();

    let is = |text| move |recipient: &Recipient| recipient.address.as_str() == text;
    assert_eq!(queue.wake(is("b@x.org")).await.unwrap(), 0);
    assert_eq!(ids_of(&queue).await, BTreeSet::new());
    assert_eq!(queue.wake(is("a@x.org")).await.unwrap(), 1);
    assert_eq!(queue.next_due().await.id, id);
}

async fn postponed() {
    let folder = scratch();
    let queue = open(folder.path());
    commit_to(&queue, b"x", &["a@x.org", "b@x.org", "c@x.org"])
        .await
        .unwrap();
    let entry = queue.next_due().await;
    let states = [State::Postponed, State::Delayed, State::Failed];
    let outcomes = states.iter().enumerate();
    let outcomes: Vec<_> = outcomes
        .map(|(index, &state)| Outcome { index, state })
        .collect();
    let before = Instant::now();
    queue.settle(&entry, &outcomes).await.unwrap();
    let entry = queue.next_due().await;
    assert!(before.elapsed() >= Duration::from_millis(150));
    let pending: Vec<_> = entry
        .pending
        .iter()
        .map(|p| (p.recipient.address.as_str(), p.attempts, p.warned))
        .collect();
    assert_eq!(pending, [("a@x.org", 0, false), ("b@x.org", 1, true)]);
}

async fn lock() {
    let folder = scratch();
    let queue = open(folder.path());
    let second = Queue::open(&options(folder.path())).err().unwrap();
    let expected = format!(
        "{}: the spool is in use by another process",
        folder.path().display()
    );
    assert_eq!(second.to_string(), expected);
    drop(queue);
    open(folder.path());
}

async fn no_recipient() {
    let folder = scratch();
    let refused = commit_to(&open(folder.path()), b"x", &[]).await;
    assert!(matches!(refused, Err(Error::NoRecipient(_))));
}

/// A spool with `count` messages, closed, and the journal that they are in.
async fn filled(count: usize) -> (TempDir, Vec<MessageId>, PathBuf) {
    let folder = scratch();
    let queue = open(folder.path());
    let mut committed = Vec::new();
    for _ in 0..count {
        committed.push(commit(&queue, &[b'x'; 500]).await.unwrap());
    }
    drop(queue);
    let journal = folder.path().join("store/0.jnl");
    assert!(journal.exists());
    (folder, committed, journal)
}

/// Where the octets of a journal end that were written.
fn written(octets: &[u8]) -> usize {
    octets.iter().rposition(|octet| *octet != 0).unwrap() + 1
}

async fn damaged_journal() {
    const COUNT: usize = 20;
    let (folder, committed, journal) = filled(COUNT).await;
    let good = fs::read(&journal).unwrap();
    let end = written(&good);
    for part in 0..12 {
        let copy = snapshot(folder.path());
        let mut octets = good.clone();
        let at = end * part / 12;
        octets[at..at + 3]
            .iter_mut()
            .for_each(|octet| *octet ^= 0x55);
        fs::write(copy.path().join("store/0.jnl"), octets).unwrap();
        let queue = open(copy.path());
        let found = ids_of(&queue).await;
        let lost: Vec<_> = committed.iter().filter(|id| !found.contains(id)).collect();
        assert!(lost.len() <= 1, "octet {at} of {end} cost {lost:?}");
        for id in found {
            content(&queue, id).unwrap();
        }
        // And it goes on.
        commit(&queue, b"more").await.unwrap();
        drop(queue);
        let kept = ids_of(&open(copy.path())).await.len();
        assert_eq!(kept, COUNT - lost.len() + 1, "octet {at}");
    }
}

async fn cut_journal() {
    let (folder, committed, journal) = filled(10).await;
    let good = fs::read(&journal).unwrap();
    let end = written(&good);
    for part in 0..10 {
        let copy = snapshot(folder.path());
        let at = end * part / 10 + 7;
        fs::write(copy.path().join("store/0.jnl"), &good[..at]).unwrap();
        let queue = open(copy.path());
        let found = ids_of(&queue).await;
        let expected: BTreeSet<_> = committed[..found.len()].iter().copied().collect();
        assert_eq!(found, expected, "cut at {at} of {end}");
        assert!(
            found.len() + 1 >= part,
            "cut at {at} of {end} left {found:?}"
        );
        for id in found {
            content(&queue, id).unwrap();
        }
    }
}

async fn destroyed_files(damage: impl Fn(&Path) -> io::Result<()>) {
    let (folder, committed, _) = filled(10).await;
    let files = files_below(&folder.path().join("store"));
    assert!(files.len() > 5);
    for file in &files {
        let name = file.strip_prefix(folder.path()).unwrap();
        let copy = snapshot(folder.path());
        damage(&copy.path().join(name)).unwrap();
        let queue = open(copy.path());
        let found = ids_of(&queue).await;
        if file.extension().is_none_or(|e| e != "jnl") {
            let expected: BTreeSet<_> = committed.iter().copied().collect();
            assert_eq!(found, expected, "{}", name.display());
        }
        let id = commit(&queue, b"more").await.unwrap();
        content(&queue, id).unwrap();
    }
}

/// Enough that most of it lies in tables and not in journals any more.
async fn damaged_tables() {
    const COUNT: usize = 1200;
    let folder = scratch();
    let queue = open(folder.path());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..COUNT {
        let queue = queue.clone();
        tasks.spawn(async move { commit(&queue, &[b'x'; 60_000]).await.unwrap() });
    }
    let committed: BTreeSet<_> = tasks.join_all().await.into_iter().collect();
    let done = queue.next_due().await;
    queue
        .settle(&done, &all(State::Delivered, 1))
        .await
        .unwrap();
    drop(queue);
    // Of each kind the largest: what holds bodies, and what says where they are.
    let store = folder.path().join("store/keyspaces");
    let mut tables = files_below(&store);
    tables.retain(|file| file.parent().unwrap().file_name() != Some("0".as_ref()));
    tables.sort_by_key(|file| file.metadata().unwrap().len());
    for kind in ["blobs", "tables"] {
        let of_kind = |file: &&PathBuf| file.parent().unwrap().ends_with(kind);
        let file = tables.iter().rfind(of_kind).unwrap();
        let copy = snapshot(folder.path());
        let damaged = copy.path().join(file.strip_prefix(folder.path()).unwrap());
        let mut octets = fs::read(&damaged).unwrap();
        let middle = octets.len() / 2;
        octets[middle] ^= 0x55;
        fs::write(&damaged, octets).unwrap();
        let queue = open(copy.path());
        let found = ids_of(&queue).await;
        let readable = found.iter().filter(|id| content(&queue, **id).is_ok());
        let lost = COUNT - 1 - readable.count();
        assert!(lost <= 1, "{} cost {lost}", damaged.display());
        assert!(found.is_subset(&committed) && !found.contains(&done.id));
        let set_aside = fs::read_dir(copy.path().join("corrupt")).is_ok();
        assert!(set_aside || lost == 1, "no damage was noticed");
    }
}

async fn foreign_files() {
    let (folder, committed, _) = filled(3).await;
    let files = ["notes", "bodies/notes", "bodies/0123", "store/notes"];
    for file in files {
        fs::write(folder.path().join(file), "mine").unwrap();
    }
    assert_eq!(ids_of(&open(folder.path())).await.len(), committed.len());
    for file in files {
        assert_eq!(fs::read(folder.path().join(file)).unwrap(), b"mine");
    }
    // These the storage engine cannot bear.
    fs::create_dir(folder.path().join("store/7.jnl")).unwrap();
    fs::create_dir(folder.path().join("store/keyspaces/notes")).unwrap();
    fs::write(folder.path().join("store/notes.jnl"), "mine").unwrap();
    assert_eq!(ids_of(&open(folder.path())).await.len(), committed.len());
}

async fn damaged_body() {
    let folder = scratch();
    let queue = open(folder.path());
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(commit(&queue, &[b'x'; 100_000]).await.unwrap());
    }
    let body = |id: MessageId| folder.path().join("bodies").join(id.to_string());
    fs::write(body(ids[0]), [b'x'; 99_999]).unwrap();
    let mut octets = vec![b'x'; 100_000];
    octets[50_000] = b'y';
    fs::write(body(ids[1]), octets).unwrap();
    fs::remove_file(body(ids[2])).unwrap();
    for id in &ids[..3] {
        assert!(matches!(content(&queue, *id), Err(Error::Damaged(damaged)) if damaged == *id));
    }
    content(&queue, ids[3]).unwrap();
    let damaged = queue.next_due().await;
    assert_eq!(damaged.id, ids[0]);
    queue.set_aside(&damaged).await;
    drop(queue);
    let rest: BTreeSet<_> = ids[1..].iter().copied().collect();
    assert_eq!(ids_of(&open(folder.path())).await, rest);
    assert!(body(ids[0]).exists());
}

/// A disk of a few MiB, for as long as this lives.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new() -> Self {
        let folder = scratch();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "none"])
            .arg(folder.path())
            .status();
        assert!(mounted.unwrap().success());
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.unwrap().success());
    }
}

async fn full_disk() {
    if !is_root() {
        eprintln!("queue: no disk of our own to fill without root");
        return;
    }
    let disk = SmallDisk::new();
    let spool = disk.0.path().join("spool");
    let queue = open(&spool);
    let mut good = BTreeSet::from([commit(&queue, &[b'x'; 40_000]).await.unwrap()]);
    let ballast = disk.0.path().join("ballast");
    // As much as there is: the write itself says when it is enough.
    let _ = fs::write(&ballast, vec![0; 8 << 20]);
    let mut refused = 0;
    while refused < 3 {
        match commit(&queue, &[b'x'; 40_000]).await {
            Ok(id) => assert!(good.insert(id) && good.len() < 300),
            Err(error) => {
                assert!(matches!(error, Error::Full), "{error}");
                refused += 1;
            }
        }
    }
    let large = commit(&queue, &[b'x'; 1_000_000]).await;
    assert!(matches!(large, Err(Error::Full)), "{large:?}");
    assert_eq!(fs::read_dir(spool.join("bodies")).unwrap().count(), 0);
    for id in &good {
        assert_eq!(content(&queue, *id).unwrap().len(), 40_016);
    }
    fs::remove_file(&ballast).unwrap();
    let start = Instant::now();
    let again = loop {
        match commit(&queue, &[b'x'; 40_000]).await {
            Ok(id) => break id,
            Err(_) if start.elapsed() < Duration::from_secs(5) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("still refused with space: {error}"),
        }
    };
    good.insert(again);
    assert_eq!(ids_of(&queue).await, good, "what was refused is not queued");
    drop(queue);
    let queue = open(&spool);
    assert_eq!(ids_of(&queue).await, good);
    drop(queue);
    wait_for("the spool to be closed", || {
        Queue::open(&options(&spool)).ok()
    });
}
