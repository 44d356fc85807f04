//! Client and [`Session`] back to back: what one says the other understands, without a socket.

use super::*;
use crate::mail::{Address, Connection, Helo, ReversePath, Service, TlsSession};
use crate::smtp::{Answer, Ask, Authentication, Limits, Session, Step as Answered};
use proptest::prelude::*;
use std::sync::Arc;

/// A session with what it took in, whose policy refuses recipients named `no`.
struct Server {
    session: Session,
    wire: Vec<u8>,
    content: Vec<u8>,
    /// Reverse-path, recipients and content of each message.
    messages: Vec<(String, Vec<String>, Vec<u8>)>,
    handshake: bool,
}

impl Server {
    fn new(starttls: bool) -> Self {
        let limits = Limits {
            message_size: 1_000_000,
            recipients: 1000,
            soft_errors: None,
            hard_errors: None,
            authentication: Authentication {
                mechanisms: Vec::new(),
                in_clear: false,
                attempts_max: 3,
            },
        };
        let connection = Connection {
            client: "192.0.2.1:1234".parse().unwrap(),
            server: "192.0.2.2:25".parse().unwrap(),
            service: Service::Relay,
            opened: jiff::Timestamp::UNIX_EPOCH,
            server_name: "mx.example".into(),
            tls: None,
            helo: None,
            authenticated: None,
        };
        let (session, step) = Session::new(Arc::new(limits), connection, starttls);
        let mut server = Self {
            session,
            wire: Vec::new(),
            content: Vec::new(),
            messages: Vec::new(),
            handshake: false,
        };
        server.obey(step);
        server
    }

    fn obey(&mut self, step: Answered) {
        match step {
            Answered::Send(reply) | Answered::Receive(reply) | Answered::Close(reply) => {
                reply.write_to(&mut self.wire);
            }
            Answered::Secure(reply) => {
                reply.write_to(&mut self.wire);
                self.handshake = true;
            }
            Answered::Ask(ask) => {
                let envelope = self.session.transaction().envelope.clone();
                let mut answer = Answer::Proceed;
                match &ask {
                    Ask::Recipient(_) => {
                        let last = envelope.unwrap().recipients.pop().unwrap();
                        if last.address.local_part() == "no" {
                            answer = Answer::Refuse("550 5.1.1 No such user".parse().unwrap());
                        }
                    }
                    Ask::Message(_) => {
                        let envelope = envelope.unwrap();
                        let recipients = envelope.recipients.iter();
                        self.messages.push((
                            envelope.reverse_path.to_string(),
                            recipients.map(|r| r.address.to_string()).collect(),
                            std::mem::take(&mut self.content),
                        ));
                    }
                    _ => {}
                }
                let step = self.session.answer(ask, answer);
                self.obey(step);
            }
        }
    }

    fn receive(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let step = self.session.receive(&mut octets, &mut self.content);
            if let Some(step) = step {
                self.obey(step);
            }
        }
    }

    fn helo(&mut self) -> Option<Helo> {
        self.session.transaction().connection.helo.clone()
    }
}

/// Sends `messages` to `server`, which reads and writes in pieces of `piece` octets.
fn send(server: &mut Server, messages: Vec<(Message, Vec<u8>)>, piece: usize) -> Vec<Vec<Outcome>> {
    let mut client = Client::new(Options {
        protocol: Protocol::Smtp,
        name: "client.example".to_owned(),
        starttls: StartTls::Offered,
        login: None,
        confidential: false,
    });
    let mut outcomes = Vec::new();
    let mut messages = messages.into_iter();
    let mut content = Vec::new();
    loop {
        let wire = std::mem::take(&mut server.wire);
        assert!(!wire.is_empty(), "neither side has anything to say");
        for mut input in wire.chunks(piece) {
            let mut step = client.receive(&mut input);
            while let Some(now) = step.take() {
                let (decided, ready) = match now {
                    Step::Send(octets) => {
                        octets.chunks(piece).for_each(|piece| server.receive(piece));
                        step = client.receive(&mut input);
                        continue;
                    }
                    Step::Transmit(token) => {
                        let mut encoder = Encoder::default();
                        let mut encoded = Vec::new();
                        encoder.encode(&content, &mut encoded);
                        encoder.finish(&mut encoded);
                        encoded
                            .chunks(piece)
                            .for_each(|piece| server.receive(piece));
                        client.transmitted(token);
                        continue;
                    }
                    Step::Secure(handshake) => {
                        assert!(std::mem::take(&mut server.handshake));
                        server.session.secured(TlsSession {
                            version: "TLSv1.3".into(),
                            cipher: "TLS_AES_128_GCM_SHA256".into(),
                            sni: None,
                        });
                        step = Some(client.secured(handshake));
                        continue;
                    }
                    Step::Close => return outcomes,
                    Step::Unusable(outcome) => panic!("{outcome:?}"),
                    Step::Ready(ready) => (None, ready),
                    Step::Done(decided, ready) => (Some(decided), ready.unwrap()),
                };
                outcomes.extend(decided);
                step = Some(match messages.next() {
                    Some((message, octets)) => {
                        content = octets;
                        client.transmit(ready, message)
                    }
                    None => client.quit(ready),
                });
            }
        }
    }
}

fn message(sender: &str, recipients: &[&str], content: &[u8]) -> (Message, Vec<u8>) {
    let address = |text: &&str| Address::parse(text).unwrap();
    let message = Message {
        reverse_path: ReversePath(Some(sender).filter(|s| !s.is_empty()).as_ref().map(address)),
        recipients: recipients.iter().map(|r| address(r).into()).collect(),
        survey: Survey::of(content),
        smtputf8: true,
        wanted: None,
        envelope_id: None,
    };
    (message, content.to_vec())
}

#[test]
fn several_messages_arrive_whole_over_one_session() {
    for starttls in [false, true] {
        for piece in [1, 7, 100_000] {
            let mut server = Server::new(starttls);
            let mail = vec![
                message(
                    "a@example.com",
                    &["b@example.org", "no@example.org"],
                    b"a: b\r\n\r\n.\r\n..x\r\n",
                ),
                message("", &["no@example.org"], b"x\r\n"),
                message(
                    "\u{fc}@example.com",
                    &["\"b c\"@example.org"],
                    "a: \u{e9}\r\n\r\n\u{e9}\r\n".as_bytes(),
                ),
            ];
            let outcomes = send(&mut server, mail, piece);
            let kinds: Vec<Vec<bool>> = outcomes
                .iter()
                .map(|of| {
                    of.iter()
                        .map(|o| matches!(o, Outcome::Delivered(_)))
                        .collect()
                })
                .collect();
            assert_eq!(kinds, [vec![true, false], vec![false], vec![true]]);
            let first = (
                "a@example.com".to_owned(),
                vec!["b@example.org".to_owned()],
                b"a: b\r\n\r\n.\r\n..x\r\n".to_vec(),
            );
            let last = (
                "\u{fc}@example.com".to_owned(),
                vec!["\"b c\"@example.org".to_owned()],
                "a: \u{e9}\r\n\r\n\u{e9}\r\n".as_bytes().to_vec(),
            );
            assert_eq!(server.messages, [first, last]);
            assert_eq!(server.helo().unwrap().name, "client.example");
        }
    }
}

proptest! {
    /// Whatever the content is, the server takes it for one message and finds no command in it.
    #[test]
    fn no_content_is_smuggled(
        words in prop::collection::vec(
            prop::sample::select(vec!["\r\n", "\r", "\n", ".", "a", "\0", "MAIL FROM:<x@example.com>", "\r\n.\r\n", "\n.\n", "\u{e9}"]), 0..20),
        piece in 1_usize..40,
    ) {
        let content = words.concat();
        let mut server = Server::new(false);
        let outcomes = send(&mut server, vec![message("a@example.com", &["b@example.org"], content.as_bytes())], piece);
        prop_assert!(matches!(&outcomes.concat()[..], [Outcome::Delivered(_)]));
        prop_assert_eq!(server.messages.len(), 1);
        prop_assert_eq!(server.session.errors(), 0);
    }
}
