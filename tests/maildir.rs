//! Local delivery: from the queue into Maildirs and quarantines.

use crate::support::{no_rules, wait_for};
use arc_swap::ArcSwap;
use libtest_mimic::Trial;
use rustls::RootCertStore;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vsmtp::delivery;
use vsmtp::delivery::next_hops::Ourselves;
use vsmtp::delivery::relay::{self, Relay, Timeouts, Trust};
use vsmtp::dns::Zone;
use vsmtp::mail::{
    Address, Domain, Domains, Envelope, Mailboxes, MessageId, Recipient, ReversePath, Transport,
};
use vsmtp::queue::{self, Queue, Schedule};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_message_lands_with_its_envelope", lands),
        trial("names_are_literal_text", literal_names),
        trial("a_large_message_lands_whole", large),
        trial("only_mailboxes_of_ours_are_delivered", only_mailboxes),
        trial("quarantines_are_folders_of_their_own", quarantines),
        trial("a_disk_that_refuses_is_tried_again", refused),
        trial("what_was_delivered_before_a_crash_is_not_again", again),
        trial("many_messages_land_once", many),
        trial("a_damaged_message_is_set_aside", damaged),
    ]
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(format!("maildir::{name}"), || {
        test();
        Ok(())
    })
}

/// A queue, and somebody who delivers from it.
struct Office {
    queue: Option<Queue>,
    delivering: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    runtime: Runtime,
    folder: TempDir,
}

impl Office {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let mut office = Self {
            folder: folder.unwrap(),
            runtime: runtime.unwrap(),
            queue: None,
            delivering: None,
        };
        office.open();
        office
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn queue(&self) -> &Queue {
        self.queue.as_ref().unwrap()
    }

    fn open(&mut self) {
        let options = queue::Options {
            dirpath: self.path("spool"),
            schedule: Schedule {
                retry_min: Duration::from_millis(100),
                retry_max: Duration::from_millis(200),
                lifetime: Duration::from_secs(60),
                warn_after: Duration::from_secs(60),
                attempts_max: None,
            },
        };
        self.queue = Some(Queue::open(&options).unwrap());
    }

    fn start(&mut self) {
        let options = delivery::Options {
            mail_dirpath: self.path("mail"),
            dirpath: self.path("app"),
            reports: delivery::ReportLimits {
                total: None,
                per_domain: None,
            },
        };
        let (stop, stopped) = oneshot::channel();
        let domains = Arc::new(ArcSwap::new(domains()));
        let queue = self.queue().clone();
        let relay = Arc::new(ArcSwap::from_pointee(relay()));
        let run = delivery::run(queue, domains, no_rules(), relay, options, async {
            let _ = stopped.await;
        });
        self.delivering = Some((stop, self.runtime.spawn(run)));
    }

    fn stop(&mut self) {
        let (stop, delivering) = self.delivering.take().unwrap();
        stop.send(()).unwrap();
        self.runtime.block_on(delivering).unwrap();
    }

    fn commit(&self, content: &[u8], recipients: Vec<Recipient>) -> MessageId {
        self.runtime.block_on(async {
            let mut draft = self.queue().draft(self.queue().next_id());
            let id = draft.id();
            draft.append(content).await.unwrap();
            let envelope = Envelope {
                reverse_path: ReversePath(Some(address("jane@example.net"))),
                recipients,
                ..Envelope::default()
            };
            let trace = "Received: from there\r\n\tby here\r\n".to_owned();
            self.queue().commit(draft, trace, envelope).await.unwrap();
            id
        })
    }

    /// Delivers what is due, until nothing is left that will ever be.
    fn deliver(&mut self, done: impl Fn(&Self) -> bool) {
        self.start();
        wait_for("the deliveries", || done(self).then_some(()));
        self.stop();
    }

    fn messages(&self, mailbox: &str) -> Vec<String> {
        messages(&self.path("mail").join(mailbox).join("new"))
    }
}

/// Whoever asks the DNS hears that it is broken.
fn relay() -> Relay {
    let zone = Zone::default().broken("elsewhere.net");
    let options = relay::Options {
        name: "mx.example.org".to_owned(),
        ourselves: Ourselves::default(),
        timeouts: Timeouts::default(),
        port: 1,
        policy_port: 1,
    };
    let trust = Trust::new(RootCertStore::empty()).unwrap();
    Relay::new(options, Arc::new(zone), trust)
}

fn messages(folder: &Path) -> Vec<String> {
    let Ok(files) = fs::read_dir(folder) else {
        return Vec::new();
    };
    files
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn to(recipients: &[&str]) -> Vec<Recipient> {
    recipients
        .iter()
        .map(|text| Recipient::from(address(text)))
        .collect()
}

fn domains() -> Arc<Domains> {
    let domain = |name: &str, mailboxes, transport| Domain {
        name: name.into(),
        mailboxes,
        aliases: [("info".to_owned(), vec![address("info@example.com")])].into(),
        transport,
    };
    let named = Mailboxes::Named(["john".to_owned()].into());
    let lmtp = Transport::LmtpUnix("/run/lmtp".into());
    Arc::new(Domains::new([
        domain("example.com", Mailboxes::All, Transport::Maildir),
        domain("example.org", named, Transport::Maildir),
        domain("example.edu", Mailboxes::All, lmtp),
    ]))
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

fn lands() {
    let mut office = Office::new();
    let id = office.commit(
        b"Subject: hi\r\n\r\n.\r\nbye\r\n",
        to(&["John@EXAMPLE.com", "info@example.com"]),
    );
    office.deliver(|office| !office.messages("example.com/info").is_empty());
    let expected = |to: &str| {
        format!(
            "Return-Path: <jane@example.net>\nDelivered-To: {to}\n\
             Received: from there\n\tby here\nSubject: hi\n\n.\nbye\n"
        )
    };
    assert_eq!(
        office.messages("example.com/john"),
        [expected("John@EXAMPLE.com")]
    );
    assert_eq!(
        office.messages("example.com/info"),
        [expected("info@example.com")]
    );
    let mailbox = office.path("mail/example.com/john");
    for folder in ["../..", "..", ".", "tmp", "new", "cur"] {
        assert_eq!(mode(&mailbox.join(folder)), 0o700, "{folder}");
    }
    let file = fs::read_dir(mailbox.join("new"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(mode(&file.path()), 0o600);
    assert!(file.file_name().to_str().unwrap().contains(&id.to_string()));
    assert_eq!(fs::read_dir(mailbox.join("tmp")).unwrap().count(), 0);
    assert!(office.queue().content(id).is_err(), "it left the queue");
}

fn literal_names() {
    let names = [
        ("\"../../x\"", "%22..%2F..%2Fx%22"),
        ("a/b", "a%2Fb"),
        ("\".forward\"", "%22.forward%22"),
        ("-rf", "%2Drf"),
        ("~root", "%7Eroot"),
        ("|id", "%7Cid"),
        ("$(id)", ""),
        ("ÜBER", "über"),
        ("a%2", "a%252"),
    ];
    let mut office = Office::new();
    let mut expected = Vec::new();
    for (local_part, name) in names {
        // Some are no local-parts at all without quotes.
        let Ok(address) = Address::parse(&format!("{local_part}@example.com")) else {
            continue;
        };
        office.commit(b"x\r\n", vec![address.into()]);
        expected.push(name);
    }
    assert!(expected.len() >= 6);
    expected.sort_unstable();
    let found = |office: &Office| {
        let mut names: Vec<_> = fs::read_dir(office.path("mail/example.com"))
            .map(|files| {
                files
                    .map(|f| f.unwrap().file_name().into_string().unwrap())
                    .collect()
            })
            .unwrap_or_default();
        names.sort_unstable();
        names
    };
    office.deliver(|office| found(office).len() == names.len() - 1);
    assert_eq!(found(&office), expected);
    let outside: Vec<_> = fs::read_dir(office.folder.path()).unwrap().collect();
    assert_eq!(outside.len(), 2, "only the spool and the mail: {outside:?}");
}

fn large() {
    let mut office = Office::new();
    let content = "0123456789\r\n".repeat(100_000);
    office.commit(
        content.as_bytes(),
        to(&["john@example.com", "jane@example.com"]),
    );
    office.deliver(|office| !office.messages("example.com/jane").is_empty());
    for mailbox in ["example.com/john", "example.com/jane"] {
        let messages = office.messages(mailbox);
        assert_eq!(messages.len(), 1);
        assert!(messages[0].ends_with(&content.replace("\r\n", "\n")));
    }
    wait_for("the body to go", || {
        fs::read_dir(office.path("spool/bodies"))
            .unwrap()
            .next()
            .is_none()
            .then_some(())
    });
}

fn only_mailboxes() {
    let mut office = Office::new();
    let recipients = to(&[
        "a@elsewhere.net",
        "b@example.edu",
        "nobody@example.org",
        "john@example.org",
    ]);
    office.commit(b"x\r\n", recipients);
    office.deliver(|office| !office.messages("example.org/john").is_empty());
    let mail: Vec<_> = fs::read_dir(office.path("mail")).unwrap().collect();
    assert_eq!(mail.len(), 1, "{mail:?}");
    let entry = office.runtime.block_on(office.queue().next_due());
    let pending: Vec<_> = entry
        .pending
        .iter()
        .map(|p| (p.recipient.address.as_str(), p.due.is_some()))
        .collect();
    let expected = [
        ("a@elsewhere.net", true),
        ("b@example.edu", true),
        ("nobody@example.org", true),
    ];
    assert_eq!(pending, expected);
    for pending in &entry.pending {
        assert!((1..=3).contains(&pending.attempts));
    }
}

fn quarantines() {
    let mut office = Office::new();
    let into = |text, quarantine: &str| Recipient {
        quarantine: Some(quarantine.to_owned()),
        ..Recipient::from(address(text))
    };
    let id = office.commit(
        b"x\r\n",
        vec![
            into("john@example.com", "spam"),
            into("jane@elsewhere.net", "spam"),
            into("john@example.com", "../Spam"),
        ],
    );
    let quarantine =
        |office: &Office, name: &str| messages(&office.path("app/quarantine").join(name));
    office.deliver(|office| !quarantine(office, "spam").is_empty());
    let content = "Received: from there\n\tby here\nx\n";
    let spam = office.path("app/quarantine/spam").join(id.to_string());
    assert_eq!(
        fs::read_to_string(spam).unwrap(),
        format!(
            "Return-Path: <jane@example.net>\nDelivered-To: john@example.com\n\
             Delivered-To: jane@elsewhere.net\n{content}"
        )
    );
    let other = quarantine(&office, "%2E.%2FSpam");
    assert_eq!(
        other,
        [format!(
            "Return-Path: <jane@example.net>\nDelivered-To: john@example.com\n{content}"
        )]
    );
    assert!(!office.path("mail").exists());
}

fn refused() {
    let mut office = Office::new();
    // Not a folder: nothing can be made below it, by root neither.
    fs::write(office.path("mail"), "").unwrap();
    office.commit(b"x\r\n", to(&["john@example.com"]));
    office.start();
    std::thread::sleep(Duration::from_millis(300));
    fs::remove_file(office.path("mail")).unwrap();
    wait_for("the next attempt", || {
        (!office.messages("example.com/john").is_empty()).then_some(())
    });
    office.stop();
    assert_eq!(office.messages("example.com/john").len(), 1);
}

fn again() {
    for seen in [false, true] {
        let mut office = Office::new();
        office.commit(b"x\r\n", to(&["john@example.com"]));
        office.queue = None;
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([office.path("spool"), office.path("before")])
            .status();
        assert!(copied.unwrap().success());
        office.open();
        office.deliver(|office| !office.messages("example.com/john").is_empty());
        // The crash: the queue knows nothing of the delivery.
        office.queue = None;
        fs::remove_dir_all(office.path("spool")).unwrap();
        fs::rename(office.path("before"), office.path("spool")).unwrap();
        let mailbox = office.path("mail/example.com/john");
        if seen {
            let file = fs::read_dir(mailbox.join("new"))
                .unwrap()
                .next()
                .unwrap()
                .unwrap();
            let name = format!("{}:2,S", file.file_name().to_str().unwrap());
            fs::rename(file.path(), mailbox.join("cur").join(name)).unwrap();
        }
        office.open();
        // A message that comes later is delivered later.
        office.commit(b"y\r\n", to(&["jane@example.com"]));
        office.deliver(|office| !office.messages("example.com/jane").is_empty());
        let count = |folder: &str| fs::read_dir(mailbox.join(folder)).unwrap().count();
        let expected = if seen { (0, 1) } else { (1, 0) };
        assert_eq!((count("new"), count("cur")), expected);
    }
}

fn many() {
    const COUNT: usize = 300;
    let mut office = Office::new();
    for number in 0..COUNT {
        office.commit(
            format!("{number}\r\n").as_bytes(),
            to(&["john@example.com"]),
        );
    }
    office.deliver(|office| office.messages("example.com/john").len() >= COUNT);
    let mut messages = office.messages("example.com/john");
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), COUNT);
    assert_eq!(office.messages("example.com/john").len(), COUNT);
}

fn damaged() {
    let mut office = Office::new();
    let id = office.commit(&[b'x'; 100_000], to(&["john@example.com"]));
    office.commit(b"x\r\n", to(&["jane@example.com"]));
    let body = office.path("spool/bodies").join(id.to_string());
    fs::set_permissions(&body, Permissions::from_mode(0o600)).unwrap();
    fs::write(&body, [b'y'; 100_000]).unwrap();
    office.deliver(|office| !office.messages("example.com/jane").is_empty());
    assert_eq!(office.messages("example.com/john").len(), 0);
    let tmp = office.path("mail/example.com/john/tmp");
    assert_eq!(fs::read_dir(tmp).unwrap().count(), 0);
    assert!(body.exists());
}
