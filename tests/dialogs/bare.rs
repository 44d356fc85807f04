//! A session without a socket, and a policy that stands for the built-in guard.

use super::dialogue::{DOMAIN, MAILBOXES, Rule, SERVER_NAME, Setup, Transport, Wire};
use jiff::Timestamp;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use vsmtp::mail::{
    Connection, Domain, Domains, Envelope, Mailboxes, MessageId, Resolution, Service, TlsSession,
    Transaction, Transport as DomainTransport,
};
use vsmtp::smtp::{Answer, Ask, Authentication, Limits, Mechanism, Reply, Session, Step};

/// A session, fed in pieces, and what came of it.
pub struct Bare {
    /// The messages that were answered with 250.
    pub accepted: Vec<(Envelope, Vec<u8>)>,
    /// Whether the server has closed.
    pub closed: bool,
    session: Session,
    setup: Setup,
    domains: Domains,
    piece: usize,
    content: Vec<u8>,
    output: Vec<u8>,
}

impl Bare {
    /// A server to `setup`, which has answered the connection. It is given at most `piece` octets at once.
    pub fn new(setup: Setup, transport: Transport, piece: usize) -> Self {
        let limits = Limits {
            message_size: setup.size.unwrap_or(26_214_400),
            recipients: setup.recipients.unwrap_or(1000),
            soft_errors: None,
            hard_errors: setup.hard_errors,
            authentication: Authentication {
                mechanisms: vec![Mechanism::Plain, Mechanism::CramMd5, Mechanism::Login],
                in_clear: setup.auth_in_clear,
                attempts_max: setup.attempts.unwrap_or(3),
            },
        };
        let connection = Connection {
            client: "192.0.2.1:4000".parse().unwrap(),
            server: "192.0.2.25:25".parse().unwrap(),
            service: Service::Relay,
            opened: Timestamp::UNIX_EPOCH,
            server_name: SERVER_NAME.into(),
            tls: (transport == Transport::Implicit).then_some(TLS),
            helo: None,
            authenticated: None,
        };
        let (session, step) = Session::new(Arc::new(limits), connection, !setup.no_starttls);
        let mut bare = Self {
            accepted: Vec::new(),
            closed: false,
            session,
            setup,
            domains: domains(),
            piece,
            content: Vec::new(),
            output: Vec::new(),
        };
        bare.perform(step);
        bare
    }

    /// All that the server has said and nobody has read.
    pub fn unread(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.output)).expect("replies are ASCII")
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Send(reply) | Step::Receive(reply) | Step::Secure(reply) => {
                reply.write_to(&mut self.output);
            }
            Step::Close(reply) => {
                reply.write_to(&mut self.output);
                self.closed = true;
            }
            Step::Ask(ask) => {
                let answer = self.decide(&ask);
                let step = self.session.answer(ask, answer);
                self.perform(step);
            }
        }
    }

    fn decide(&mut self, ask: &Ask) -> Answer {
        let stage = match ask {
            Ask::Connect(_) => "connect",
            Ask::Helo(_) => {
                let takes_credentials = self.setup.takes_credentials();
                self.session.offer_authentication(takes_credentials);
                "helo"
            }
            Ask::Authenticate(_) => "authenticate",
            Ask::Mail(_) => "mail",
            Ask::Recipient(_) => "rcpt",
            Ask::Message(_) => "message",
        };
        if stage == "mail" {
            self.session.transaction().id = Some(MessageId(self.accepted.len() as u64 + 1));
        }
        let content = match stage {
            "message" => std::mem::take(&mut self.content),
            _ => Vec::new(),
        };
        if let Some(answer) = self.rule(stage) {
            return answer;
        }
        let transaction = self.session.transaction();
        if stage == "authenticate" {
            return verify(self.setup.user.as_ref(), transaction);
        }
        let envelope = transaction.envelope.clone();
        let authenticated = transaction.connection.authenticated.is_some();
        match (stage, envelope) {
            ("mail" | "rcpt", _) if authenticated => Answer::Proceed,
            ("mail", Some(envelope)) => guard_sender(&self.domains, &envelope),
            ("rcpt", Some(envelope)) => guard_recipient(&self.domains, &envelope),
            ("message", Some(envelope)) => {
                self.accepted.push((envelope, content));
                Answer::Proceed
            }
            _ => Answer::Proceed,
        }
    }

    fn rule(&mut self, stage: &str) -> Option<Answer> {
        let transaction = self.session.transaction();
        let secured = transaction.connection.tls.is_some();
        let recipients = transaction.envelope.iter().flat_map(|e| &e.recipients);
        let recipient = recipients.last().map(|r| r.address.as_str());
        let applies = |rule: &&Rule| {
            rule.stage == stage
                && !(rule.clear && secured)
                && (rule.address.is_none() || rule.address.as_deref() == recipient)
        };
        let rule = self.setup.rules.iter().find(applies)?;
        Some(match rule.accept {
            true => Answer::ProceedWith(rule.reply.clone()),
            false => Answer::Refuse(rule.reply.clone()),
        })
    }
}

impl Wire for Bare {
    fn send(&mut self, octets: &[u8]) {
        for piece in octets.chunks(self.piece.min(octets.len().max(1))) {
            let mut input = piece;
            while let Some(step) = self.session.receive(&mut input, &mut self.content) {
                let receive = matches!(step, Step::Receive(_));
                self.perform(step);
                if receive {
                    self.content.clear();
                }
            }
            assert!(input.is_empty(), "the session takes all that it is given");
        }
    }

    fn line(&mut self) -> Result<Option<String>, String> {
        if self.output.is_empty() {
            return if self.closed {
                Ok(None)
            } else {
                Err("the server says nothing".into())
            };
        }
        let end = self.output.windows(2).position(|pair| pair == b"\r\n");
        let line = self.output.drain(..end.expect("a whole line") + 2);
        let line = String::from_utf8(line.collect()).expect("replies are ASCII");
        Ok(line.strip_suffix("\r\n").map(str::to_owned))
    }

    fn is_silent(&mut self) -> bool {
        self.output.is_empty()
    }

    fn start_tls(&mut self, _name: Option<&str>) {
        self.session.secured(TLS);
    }

    fn reconnect(&mut self) {
        *self = Self::new(self.setup.clone(), Transport::Clear, self.piece);
    }
}

const TLS: TlsSession = TlsSession {
    version: Cow::Borrowed("TLSv1.3"),
    cipher: Cow::Borrowed("TLS_AES_256_GCM_SHA384"),
    sni: None,
};

fn domains() -> Domains {
    Domains::new([Domain {
        name: DOMAIN.into(),
        mailboxes: Mailboxes::Named(MAILBOXES.map(str::to_owned).into()),
        aliases: HashMap::new(),
        transport: DomainTransport::Maildir,
    }])
}

/// What a back end does.
fn verify(known: Option<&(String, String)>, transaction: &mut Transaction) -> Answer {
    let credentials = transaction
        .credentials
        .as_mut()
        .expect("they were presented");
    let presented = (
        credentials.user().to_owned(),
        credentials.password().to_owned(),
    );
    if known == Some(&presented) {
        credentials.confirm();
        return Answer::Proceed;
    }
    refuse("554 5.7.1 Refused by policy")
}

fn guard_sender(domains: &Domains, envelope: &Envelope) -> Answer {
    match &envelope.reverse_path.0 {
        Some(sender) if domains.find(sender.domain()).is_some() => {
            refuse("530 5.7.0 Authentication required")
        }
        _ => Answer::Proceed,
    }
}

fn guard_recipient(domains: &Domains, envelope: &Envelope) -> Answer {
    let recipient = envelope.recipients.last().expect("it was just added");
    match domains.resolve(&recipient.address) {
        Resolution::Elsewhere => refuse("554 5.7.1 Relay access denied"),
        Resolution::Unknown(_) => refuse("550 5.1.1 No such mailbox"),
        Resolution::Mailbox(_) | Resolution::Alias(_) => Answer::Proceed,
    }
}

fn refuse(reply: &str) -> Answer {
    Answer::Refuse(reply.parse::<Reply>().unwrap())
}
