//! 250 after the final dot means that the message survives whatever happens next: here, SIGKILL.

use crate::support::{Certificate, Client, Configuration, Daemon, Maildir, wait_for};
use libtest_mimic::Trial;
use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use vsmtp::mail::MessageId;
use vsmtp::queue::{self, Queue, Schedule};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("kill_after_the_250", || {
            kill_after_the_250(b"hello\r\n".to_vec())
        }),
        trial("kill_after_the_250_of_a_large_message", || {
            kill_after_the_250(b"a line of a large message\r\n".repeat(200_000));
        }),
        trial("kill_under_load", kill_under_load),
        trial("mail_for_elsewhere_waits", mail_for_elsewhere),
        trial("a_cut_off_message_is_none", cut_off),
    ]
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(format!("durability::{name}"), || {
        test();
        Ok(())
    })
}

fn configuration() -> Configuration {
    Configuration::new().domain_with("example.com", &Certificate::new(&["example.com"]))
}

fn kill_after_the_250(body: Vec<u8>) {
    let content = [b"Subject: hi\r\n\r\n".as_slice(), &body].concat();
    let mut daemon = Daemon::start(configuration());
    let mut client = Client::hello(daemon.smtp());
    let reply = client.deliver("jane@example.net", "john@example.com", &content);
    reply.expect("250");
    let daemon = Daemon::start(daemon.kill());
    let maildir = daemon.maildir("example.com", "john");
    // It may have been delivered just before, and once more when that was not written down yet.
    let messages = wait_for("the message", || {
        let messages = maildir.messages();
        (!messages.is_empty()).then_some(messages)
    });
    // The folder is there for as long as what came of it.
    let _exit = daemon.stop();
    for message in messages {
        assert!(message.ends_with(&content), "{} octets", message.len());
    }
    assert!((1..=2).contains(&maildir.messages().len()));
}

/// Rounds of load that end with SIGKILL at a moment nobody chose.
const ROUNDS: usize = 20;
const CLIENTS: usize = 4;

/// What the clients of one round do and have seen.
struct Load {
    address: SocketAddr,
    stop: AtomicBool,
    next: AtomicUsize,
}

fn kill_under_load() {
    let mut configuration = configuration();
    let mut acknowledged = Vec::new();
    let mut begun = 0;
    for round in 0..ROUNDS {
        let mut daemon = Daemon::start(configuration);
        let load = Load {
            address: daemon.smtp(),
            stop: AtomicBool::new(false),
            next: AtomicUsize::new(begun),
        };
        configuration = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| load.send())).collect();
            // Any moment will do; these differ from round to round and from machine to machine.
            thread::sleep(Duration::from_millis(20 + 37 * (round as u64 * 7 % 11)));
            let configuration = daemon.kill();
            load.stop.store(true, Ordering::Relaxed);
            for client in clients {
                acknowledged.extend(client.join().unwrap());
            }
            configuration
        });
        begun = load.next.into_inner();
    }
    assert!(
        acknowledged.len() > ROUNDS,
        "{} were sent",
        acknowledged.len()
    );

    let daemon = Daemon::start(configuration);
    let maildir = daemon.maildir("example.com", "john");
    let missing = |found: &HashMap<usize, usize>| {
        let missing = acknowledged.iter().filter(|n| !found.contains_key(n));
        missing.copied().collect::<Vec<_>>()
    };
    wait_for("every acknowledged message", || {
        missing(&count(&maildir)).is_empty().then_some(())
    });
    let _exit = daemon.stop();
    let found = count(&maildir);
    assert_eq!(missing(&found), [0; 0]);
    let often: Vec<_> = found.iter().filter(|(_, times)| **times > 2).collect();
    assert!(often.is_empty(), "number and times: {often:?}");
    let twice = found.values().filter(|times| **times > 1).count();
    eprintln!(
        "{ROUNDS} kills: {} acknowledged, 0 lost, {twice} twice",
        acknowledged.len()
    );
}

impl Load {
    /// Sends one numbered message after another until the server is gone; the numbers that were answered 250.
    fn send(&self) -> Vec<usize> {
        let mut acknowledged = Vec::new();
        let _: io::Result<()> = self.session(&mut acknowledged);
        acknowledged
    }

    fn session(&self, acknowledged: &mut Vec<usize>) -> io::Result<()> {
        let mut client = Client::try_connect(self.address)?;
        client.try_reply()?;
        client.try_command("EHLO client.example.net")?;
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            client.try_command("MAIL FROM:<jane@example.net>")?;
            client.try_command("RCPT TO:<john@example.com>")?;
            let reply = client.try_data(&numbered(number))?;
            assert_eq!(reply.code, 250, "{reply:?}");
            acknowledged.push(number);
        }
        Ok(())
    }
}

/// A message that tells its number, and whether it is whole. Some are too large to be kept in memory.
fn numbered(number: usize) -> Vec<u8> {
    let lines = if number % 16 == 5 {
        30_000
    } else {
        1 + number % 50
    };
    let line = format!("line of message {number} .....................\r\n");
    format!(
        "X-Number: {number}\r\n\r\n{}end of {number}\r\n",
        line.repeat(lines)
    )
    .into_bytes()
}

/// How often each number lies in `maildir`. Fails when a message is not what was sent.
fn count(maildir: &Maildir) -> HashMap<usize, usize> {
    let mut found = HashMap::new();
    for message in maildir.messages() {
        let text = String::from_utf8(message).unwrap();
        let number = text
            .lines()
            .find_map(|line| line.strip_prefix("X-Number: "))
            .unwrap_or_else(|| panic!("no number in {text}"))
            .parse()
            .unwrap();
        let whole = text.as_bytes().ends_with(&numbered(number));
        assert!(whole, "message {number} is not whole:\n{text}");
        *found.entry(number).or_insert(0) += 1;
    }
    found
}

/// What cannot be handed on is kept, start after start: here for a domain whose server does not listen.
fn mail_for_elsewhere() {
    let relay = r#"#{ rcpt: [ rule "relay" || state::accept() ] }"#;
    let content = b"Subject: far away\r\n\r\nhello\r\n";
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let transport = format!("\"smtp://{}\"", nobody.local_addr().unwrap());
    drop(nobody);
    let configuration = configuration().domain("elsewhere.example", |domain| {
        domain.set("transport", &transport)
    });
    let mut daemon = Daemon::start(configuration.filter(relay));
    let mut client = Client::hello(daemon.smtp());
    let reply = client.deliver("jane@example.net", "jim@elsewhere.example", content);
    client.quit();
    reply.expect("250 2.0.0 Ok: queued as ");
    let id = reply.text();
    let id = id.rsplit(' ').next().unwrap();
    daemon.wait_for_log(&[id, "deferred"]);
    let configuration = daemon.stop().configuration;
    let configuration = Daemon::start(configuration).kill();
    let configuration = Daemon::start(configuration).stop().configuration;

    let queue = Queue::open(&queue::Options {
        dirpath: configuration.state(),
        schedule: Schedule {
            retry_min: Duration::from_secs(60),
            retry_max: Duration::from_secs(60),
            lifetime: Duration::from_secs(3600),
            warn_after: Duration::from_secs(3600),
            attempts_max: None,
        },
    })
    .unwrap();
    let id = MessageId(u64::from_str_radix(id, 16).unwrap());
    let mut kept = Vec::new();
    queue.content(id).unwrap().read_to_end(&mut kept).unwrap();
    assert!(
        kept.ends_with(content),
        "{}",
        String::from_utf8_lossy(&kept)
    );
}

/// A client that goes in the middle of DATA has sent no message.
fn cut_off() {
    let mut daemon = Daemon::start(configuration());
    for large in [false, true] {
        let mut client = Client::hello(daemon.smtp());
        client.command("MAIL FROM:<jane@example.net>").expect("250");
        client.command("RCPT TO:<john@example.com>").expect("250");
        client.command("DATA").expect("354");
        client.send(b"Subject: half\r\n\r\n");
        if large {
            client.send(&b"a line of a large message\r\n".repeat(100_000));
        }
    }
    let mut client = Client::hello(daemon.smtp());
    let whole = b"Subject: whole\r\n\r\nhello\r\n";
    let reply = client.deliver("jane@example.net", "john@example.com", whole);
    reply.expect("250");
    client.quit();
    daemon.maildir("example.com", "john").wait(1);
    let configuration = daemon.stop().configuration;
    let daemon = Daemon::start(configuration);
    let messages = daemon.maildir("example.com", "john").wait(1);
    assert!(messages[0].ends_with(whole));
    daemon.stop();
}
