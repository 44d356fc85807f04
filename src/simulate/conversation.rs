//! A session without a socket: the real state machine and the real rules, told line by line.

use super::dialogue::Wire;
use super::event::{Event, Listener};
use super::queued::Queued;
use super::recorder::Recorder;
use super::world::World;
use crate::mail::{Connection, Message, MessageId, TlsSession};
use crate::rules::{Policy, Stage, Verdict};
use crate::smtp::{Answer, Ask, Reply, Session, Step, replies};
use jiff::Timestamp;
use std::mem;
use std::sync::Arc;

/// One connection after the other to one server.
pub(super) struct Conversation<'a> {
    world: &'a World,
    listener: Listener<'a>,
    recorder: Arc<Recorder>,
    policy: Policy,
    session: Session,
    /// The transaction that policy remembers.
    transaction: Option<MessageId>,
    messages: u64,
    content: Vec<u8>,
    queued: Option<Queued>,
    /// Said, and not yet read.
    output: Vec<u8>,
    closed: bool,
}

impl<'a> Conversation<'a> {
    /// Connects; with TLS from the first octet where the world is so.
    pub(super) fn new(world: &'a World, listener: Listener<'a>) -> Self {
        let recorder = Arc::new(Recorder::default());
        let (policy, session, step) = begin(world, &recorder);
        let mut conversation = Self {
            world,
            listener,
            recorder,
            policy,
            session,
            transaction: None,
            messages: 0,
            content: Vec::new(),
            queued: None,
            output: Vec::new(),
            closed: false,
        };
        conversation.perform(step);
        conversation
    }

    /// Whether the server has closed the connection.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn tell(&mut self, event: Event) {
        (self.listener)(&event);
    }

    fn perform(&mut self, mut step: Step) {
        loop {
            self.follow_transaction();
            match step {
                Step::Ask(ask) => {
                    let answer = self.decide(&ask);
                    step = self.session.answer(ask, answer);
                }
                Step::Receive(reply) => {
                    self.content.clear();
                    return self.say(&reply);
                }
                Step::Send(reply) | Step::Secure(reply) => {
                    self.say(&reply);
                    return self.go_on();
                }
                Step::Close(reply) => {
                    self.say(&reply);
                    self.closed = true;
                    return;
                }
            }
        }
    }

    fn say(&mut self, reply: &Reply) {
        let from = self.output.len();
        reply.write_to(&mut self.output);
        let said = self.output.get(from..).unwrap_or_default();
        let said = String::from_utf8_lossy(said).into_owned();
        for line in said.lines() {
            self.tell(Event::Server {
                line: line.to_owned(),
            });
        }
    }

    /// What belonged to a transaction goes with it.
    fn follow_transaction(&mut self) {
        let current = self.session.transaction().id;
        if self.transaction != current {
            self.transaction = current;
            self.policy.reset();
        }
    }

    fn decide(&mut self, ask: &Ask) -> Answer {
        let transaction = self.session.transaction();
        let stage = match ask {
            Ask::Connect(_) => Stage::Connect,
            Ask::Helo(_) => Stage::Helo,
            Ask::Authenticate(_) => Stage::Authenticate,
            Ask::Mail(_) => {
                self.messages += 1;
                transaction.id = Some(MessageId(self.messages));
                transaction.started = Some(Timestamp::now());
                self.transaction = transaction.id;
                Stage::Mail
            }
            Ask::Recipient(_) => Stage::Rcpt,
            Ask::Message(_) => {
                let content = mem::take(&mut self.content);
                transaction.message = Some(Message::new(Arc::new(content)));
                Stage::Preq
            }
        };
        let answer = self.run(stage);
        match stage {
            Stage::Helo => {
                let takes_credentials = self.policy.takes_credentials();
                self.session.offer_authentication(takes_credentials);
                answer
            }
            Stage::Preq => self.accept(answer),
            _ => answer,
        }
    }

    fn run(&mut self, stage: Stage) -> Answer {
        let about = about(stage, self.session.transaction());
        self.tell(Event::Stage {
            stage: stage.name(),
            about,
        });
        let verdict = self.policy.run(stage, self.session.transaction());
        let (runs, decided) = self.recorder.take(self.world);
        for run in runs {
            self.tell(run);
        }
        for event in self.world.news() {
            self.tell(event);
        }
        match verdict {
            Verdict::Proceed(None) => Answer::Proceed,
            Verdict::Proceed(Some(reply)) => Answer::ProceedWith(reply),
            Verdict::Refuse(reply) => {
                if !decided {
                    let reply = reply.to_string();
                    self.tell(Event::Guard { reply });
                }
                Answer::Refuse(reply)
            }
        }
    }

    /// A queue would hold the message now.
    fn accept(&mut self, answer: Answer) -> Answer {
        let transaction = self.session.transaction();
        let Some(envelope) = &transaction.envelope else {
            return answer;
        };
        if matches!(answer, Answer::Refuse(_)) {
            return answer;
        }
        // Rules took them all away.
        if envelope.recipients.is_empty() {
            return Answer::Refuse(replies::REFUSED);
        }
        self.queued = Some(Queued::new(transaction, self.policy.is_over()));
        answer
    }

    /// After its reply, what was accepted goes on in the queue.
    fn go_on(&mut self) {
        if let Some(queued) = self.queued.take() {
            let listener = &mut self.listener;
            queued.go_on(self.world, &self.recorder, &mut |event| listener(&event));
        }
    }
}

impl Wire for Conversation<'_> {
    fn send(&mut self, octets: &[u8]) {
        // What nobody will read is not worth telling.
        if self.closed {
            return;
        }
        for line in octets.split_inclusive(|octet| *octet == b'\n') {
            self.tell(Event::Client {
                octets: line.to_vec(),
            });
        }
        let mut input = octets;
        while let Some(step) = self.session.receive(&mut input, &mut self.content) {
            self.perform(step);
        }
    }

    fn line(&mut self) -> Result<Option<String>, String> {
        let Some(end) = self.output.windows(2).position(|pair| pair == b"\r\n") else {
            return match self.closed {
                true => Ok(None),
                false => Err("the server says nothing".to_owned()),
            };
        };
        let line: Vec<u8> = self.output.drain(..end + 2).collect();
        let line = String::from_utf8_lossy(&line);
        Ok(Some(line.trim_end_matches("\r\n").to_owned()))
    }

    fn is_silent(&mut self) -> bool {
        self.output.is_empty()
    }

    fn start_tls(&mut self, name: Option<&str>) {
        self.tell(Event::Handshake {
            name: name.map(str::to_owned),
        });
        self.session.secured(tls(name));
        self.follow_transaction();
    }

    fn reconnect(&mut self) {
        self.tell(Event::Connect);
        let (policy, session, step) = begin(self.world, &self.recorder);
        (self.policy, self.session) = (policy, session);
        self.transaction = None;
        self.closed = false;
        self.output.clear();
        self.perform(step);
    }
}

fn begin(world: &World, recorder: &Arc<Recorder>) -> (Policy, Session, Step) {
    let facts = Connection {
        client: world.client,
        server: world.server,
        service: world.service,
        opened: Timestamp::now(),
        server_name: Arc::clone(&world.name),
        tls: world.implicit_tls.as_ref().map(|name| tls(name.as_deref())),
        helo: None,
        authenticated: None,
    };
    let recorder = Arc::clone(recorder);
    let policy = Policy::observed(Arc::clone(&world.rules), recorder);
    let (session, step) = Session::new(Arc::clone(&world.limits), facts, world.offers_tls);
    (policy, session, step)
}

fn tls(name: Option<&str>) -> TlsSession {
    TlsSession {
        version: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        sni: name.map(str::to_lowercase),
    }
}

/// What a stage is about, for the trace.
fn about(stage: Stage, transaction: &crate::mail::Transaction) -> String {
    let connection = &transaction.connection;
    let envelope = transaction.envelope.as_ref();
    match stage {
        Stage::Connect => connection.client.to_string(),
        Stage::Helo => connection
            .helo
            .as_ref()
            .map(|helo| helo.name.clone())
            .unwrap_or_default(),
        Stage::Authenticate => {
            let credentials = transaction.credentials.as_ref();
            credentials
                .map(|credentials| credentials.user().to_owned())
                .unwrap_or_default()
        }
        Stage::Mail => envelope
            .map(|e| e.reverse_path.to_string())
            .unwrap_or_default(),
        Stage::Rcpt => {
            let last = envelope.and_then(|e| e.recipients.last());
            last.map(|recipient| recipient.address.to_string())
                .unwrap_or_default()
        }
        Stage::Preq | Stage::Postq | Stage::Delivery => {
            let octets = transaction.message.as_ref().map_or(0, Message::size);
            format!("{octets} octets")
        }
    }
}
