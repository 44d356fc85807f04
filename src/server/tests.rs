//! The server over loopback, with real clocks, certificates and queue, and the least of rules.

use super::{Options, Shared, Timeouts};
use crate::mail::{Domain, Domains, Mailboxes, Service, Transport};
use crate::queue::{self, Queue, Schedule};
use crate::rules::{self, Rules};
use crate::smtp::{Authentication, Limits, Mechanism};
use crate::tls::fixture::{Folder, client, options as tls_options};
use crate::tls::{self, Tls};
use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

const MAIL: &str = "MAIL FROM:<a@elsewhere.example>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n";

/// A running server, and its folder.
struct Server {
    smtp: SocketAddr,
    submissions: SocketAddr,
    queue: Queue,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
    _folder: Folder,
}

impl Server {
    async fn start(adjust: impl FnOnce(&mut Options, &mut tls::Options)) -> Self {
        let folder = Folder::new();
        let mut tls = tls_options(Some(folder.pair("root", &["mx.example"])), Vec::new());
        let mut options = options();
        adjust(&mut options, &mut tls);
        let domains = Arc::new(Domains::new([Domain {
            name: "example.com".into(),
            mailboxes: Mailboxes::All,
            aliases: HashMap::new(),
            transport: Transport::Maildir,
        }]));
        let rules = rules::Options {
            root: folder.path().to_owned(),
            filter: folder.write("filter.vsl", "#{}"),
            domains: Vec::new(),
            app: folder.path().join("app"),
            log: None,
            saslauthd: folder.path().join("mux"),
            dns: Default::default(),
            identity: Default::default(),
            listed: None,
            limits: Default::default(),
        };
        let queue = Queue::open(&queue::Options {
            dirpath: folder.path().join("spool"),
            schedule: Schedule {
                retry_min: Duration::from_secs(60),
                retry_max: Duration::from_secs(60),
                lifetime: Duration::from_secs(60),
                warn_after: Duration::from_secs(60),
                attempts_max: None,
            },
        });
        let queue = queue.unwrap();
        let shared = Shared {
            options,
            tls: Tls::load(&tls).unwrap().0,
            rules: Rules::load(&rules, Arc::clone(&domains)).unwrap(),
            domains,
            queue: queue.clone(),
        };
        let smtp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let submissions = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stop, stopped) = oneshot::channel();
        Self {
            smtp: smtp.local_addr().unwrap(),
            submissions: submissions.local_addr().unwrap(),
            queue,
            stop: Some(stop),
            running: tokio::spawn(super::run(
                vec![(Service::Relay, smtp), (Service::Submissions, submissions)],
                mpsc::unbounded_channel().1,
                Arc::new(ArcSwap::from_pointee(shared)),
                async {
                    let _ = stopped.await;
                },
            )),
            _folder: folder,
        }
    }

    async fn client(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.smtp).await.unwrap())
    }

    /// A client that has said EHLO.
    async fn greeted(&self) -> Client<TcpStream> {
        let mut client = self.client().await;
        client.expect("220 mx.example ESMTP").await;
        client.say("EHLO client.example\r\n", "250 SMTPUTF8").await;
        client
    }

    /// The octets of the one message that is queued.
    async fn message(&self) -> String {
        let entry = timeout(Duration::from_secs(5), self.queue.next_due()).await;
        let mut content = self.queue.content(entry.unwrap().id).unwrap();
        let mut octets = Vec::new();
        std::io::Read::read_to_end(&mut content, &mut octets).unwrap();
        String::from_utf8(octets).unwrap()
    }

    async fn is_queue_empty(&self) -> bool {
        let wait = Duration::from_millis(100);
        timeout(wait, self.queue.next_due()).await.is_err()
    }
}

pub(super) fn options() -> Options {
    let long = Duration::from_secs(20);
    Options {
        name: "mx.example".into(),
        client_count_max: None,
        client_count_max_per_address: None,
        limits: Arc::new(Limits {
            message_size: 1_000_000,
            recipients: 10,
            soft_errors: None,
            hard_errors: None,
            authentication: Authentication {
                mechanisms: vec![Mechanism::Plain],
                in_clear: true,
                attempts_max: 3,
            },
        }),
        error_delay: Duration::from_millis(200),
        timeouts: Timeouts {
            connect: long,
            helo: long,
            mail_from: long,
            rcpt_to: long,
            data: long,
        },
    }
}

/// What a client says and hears.
struct Client<S>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// The last line of the next reply; empty at the end of the stream.
    async fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = timeout(Duration::from_secs(10), self.0.read_line(&mut line));
            // A connection that is reset is as good as closed.
            if read.await.unwrap().is_err() || line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    async fn expect(&mut self, reply: &str) {
        let heard = self.hear().await;
        assert!(heard.starts_with(reply), "{heard:?} instead of {reply:?}");
    }

    async fn say(&mut self, text: &str, reply: &str) {
        self.send(text).await;
        self.expect(reply).await;
    }

    async fn expect_end(&mut self) {
        assert_eq!(self.hear().await, "");
    }

    /// Sends one message, its commands in one piece.
    async fn deliver(&mut self, content: &str) -> String {
        self.send(MAIL).await;
        self.expect("250 2.1.0").await;
        self.expect("250 2.1.5").await;
        self.expect("354 ").await;
        self.send(content).await;
        self.hear().await
    }
}

type TlsClient = Client<tokio_rustls::client::TlsStream<TcpStream>>;

async fn secure(stream: TcpStream) -> TlsClient {
    let connector = TlsConnector::from(Arc::new(client(rustls::ALL_VERSIONS)));
    let name = ServerName::try_from("mx.example").unwrap();
    Client::new(connector.connect(name, stream).await.unwrap())
}

#[tokio::test]
async fn takes_messages_in_a_row_and_makes_them_durable() {
    let server = Server::start(|_, _| {}).await;
    let mut client = server.greeted().await;
    for _ in 0..2 {
        let reply = client.deliver("Subject: x\r\n\r\n..dot\r\n.\r\n").await;
        assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");
        let message = server.message().await;
        assert!(
            message.starts_with("Received: from client.example"),
            "{message}"
        );
        assert!(
            message.ends_with("\r\nSubject: x\r\n\r\n.dot\r\n"),
            "{message}"
        );
        assert!(message.contains(&reply[24..]), "{message}");
    }
    client.say("QUIT\r\n", "221 2.0.0").await;
    client.expect_end().await;
}

#[tokio::test]
async fn forgets_at_starttls_what_came_before_and_behind() {
    let server = Server::start(|_, _| {}).await;
    let mut client = server.greeted().await;
    client
        .say(
            "STARTTLS\r\nMAIL FROM:<x@elsewhere.example>\r\n",
            "220 2.0.0",
        )
        .await;
    let mut client = secure(client.0.into_inner()).await;
    client
        .say("MAIL FROM:<a@elsewhere.example>\r\n", "503 ")
        .await;
    client.say("EHLO client.example\r\n", "250 SMTPUTF8").await;
    client.say("STARTTLS\r\n", "503 ").await;
    assert!(client.deliver("\r\nx\r\n.\r\n").await.starts_with("250 "));
    assert!(server.message().await.contains("TLS"));
}

#[tokio::test]
async fn speaks_tls_from_the_first_octet() {
    let server = Server::start(|_, _| {}).await;
    let mut client = secure(TcpStream::connect(server.submissions).await.unwrap()).await;
    client.expect("220 mx.example").await;
    client.say("EHLO client.example\r\n", "250 SMTPUTF8").await;
    for _ in 0..2 {
        assert!(client.deliver("\r\nx\r\n.\r\n").await.starts_with("250 "));
    }
}

#[tokio::test]
async fn drops_what_ends_early_and_gives_the_slot_back() {
    let server = Server::start(|options, _| options.client_count_max = Some(1)).await;
    for cut in ["MAIL FR", MAIL, &format!("{MAIL}Subject: x\r\n\r\nhalf")] {
        let mut client = server.greeted().await;
        let mut second = server.client().await;
        second.expect("421 4.7.0 mx.example").await;
        second.expect_end().await;
        client.send(cut).await;
        drop(client);
        // The server hears of it soon, not at once.
        sleep(Duration::from_millis(50)).await;
    }
    // TLS that breaks off without close_notify.
    let stream = TcpStream::connect(server.submissions).await.unwrap();
    let mut client = secure(stream).await;
    client.expect("220 ").await;
    client.say("EHLO client.example\r\n", "250 SMTPUTF8").await;
    client.send(MAIL).await;
    client.send("Subject: x\r\n\r\nhalf\r\n").await;
    drop(client);
    sleep(Duration::from_millis(50)).await;
    server.greeted().await;
    assert!(server.is_queue_empty().await);
}

#[tokio::test]
async fn ends_a_handshake_in_time_and_gives_the_slot_back() {
    let server = Server::start(|options, tls| {
        options.client_count_max = Some(1);
        tls.handshake_timeout = Duration::from_millis(150);
    })
    .await;
    for garbage in ["", "EHLO client.example\r\n"] {
        let mut client = Client::new(TcpStream::connect(server.submissions).await.unwrap());
        let started = Instant::now();
        client.send(garbage).await;
        let mut end = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut client.0, &mut end).await;
        assert!(started.elapsed() < Duration::from_millis(250));
        sleep(Duration::from_millis(20)).await;
    }
    server.greeted().await;
}

#[tokio::test]
async fn waits_for_each_state_as_long_as_told_and_no_longer() {
    let short = Duration::from_millis(200);
    let server = Server::start(|options, _| {
        options.timeouts.connect = short;
        options.timeouts.rcpt_to = short;
        options.timeouts.data = short;
    })
    .await;
    // (what is said first, what is then sent one octet at a time)
    for (said, dripped) in [
        ("", ""),
        ("", "NOOP NOOP NOOP"),
        ("MAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\n", ""),
        (MAIL, ""),
        (MAIL, "one octet after the other"),
    ] {
        let mut client = match said {
            "" => {
                let mut client = server.client().await;
                client.expect("220 ").await;
                client
            }
            _ => server.greeted().await,
        };
        let started = Instant::now();
        client.send(said).await;
        for _ in said.lines() {
            client.hear().await;
        }
        let drip = async {
            for octet in dripped.bytes() {
                let _ = client.0.get_mut().write_all(&[octet]).await;
                sleep(Duration::from_millis(20)).await;
            }
        };
        drip.await;
        client.expect("421 4.4.2 mx.example").await;
        let took = started.elapsed();
        assert!(took >= short - Duration::from_millis(50), "{took:?}");
        // Dripping goes on for a while after the end.
        assert!(took < short + Duration::from_millis(500), "{took:?}");
    }
}

#[tokio::test]
async fn finishes_what_is_in_flight_when_it_stops() {
    let mut server = Server::start(|_, _| {}).await;
    let mut idle = server.greeted().await;
    let mut busy = server.greeted().await;
    busy.send(MAIL).await;
    for reply in ["250 ", "250 ", "354 "] {
        busy.expect(reply).await;
    }
    server.stop.take().unwrap().send(()).unwrap();
    idle.expect("421 4.3.2 mx.example").await;
    idle.expect_end().await;
    busy.say("\r\nx\r\n.\r\n", "250 2.0.0").await;
    busy.expect("421 4.3.2 mx.example").await;
    let stopped = timeout(Duration::from_secs(5), &mut server.running).await;
    stopped.unwrap().unwrap();
    assert!(!server.is_queue_empty().await);
}

#[tokio::test]
async fn turns_an_early_talker_away() {
    let server = Server::start(|_, _| {}).await;
    // A connection that the system has completed and the server not yet accepted cannot be had for certain: try often.
    for _ in 0..200 {
        let mut client = server.client().await;
        client.send("EHLO client.example\r\n").await;
        let reply = client.hear().await;
        if reply.starts_with("554 5.5.0") {
            return client.expect_end().await;
        }
        assert!(reply.starts_with("220 "), "{reply}");
    }
    panic!("no early talker was noticed");
}

#[tokio::test]
async fn delays_replies_to_a_suspect() {
    let server = Server::start(|options, _| {
        let limits = Arc::make_mut(&mut options.limits);
        (limits.soft_errors, limits.hard_errors) = (Some(2), Some(3));
    })
    .await;
    let mut client = server.greeted().await;
    let started = Instant::now();
    client.say("X\r\n", "500 ").await;
    assert!(started.elapsed() < Duration::from_millis(150));
    client.say("X\r\n", "500 ").await;
    assert!(started.elapsed() >= Duration::from_millis(200));
    client.say("X\r\n", "421 4.7.0").await;
    client.expect_end().await;
}

#[tokio::test]
async fn refuses_a_message_that_goes_round() {
    let server = Server::start(|_, _| {}).await;
    let mut client = server.greeted().await;
    for (hops, reply) in [(100, "250 "), (101, "554 5.4.6")] {
        let content = "Received: from x\r\n".repeat(hops) + "\r\nx\r\n.\r\n";
        let heard = client.deliver(&content).await;
        assert!(heard.starts_with(reply), "{heard}");
        // The transaction has ended either way.
        client.say("DATA\r\n", "503 ").await;
    }
}
