//! Where a queued message came from: what rules may still ask when its client is long gone.

use super::{Connection, Helo, MessageId, Service, Transaction};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};

/// What was known of a message when it was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The connection that it came by.
    pub connection: Connection,
    /// When MAIL was given.
    pub started: Timestamp,
}

impl Origin {
    /// Of a message that `transaction` brings in; `None` before MAIL.
    pub fn of(transaction: &Transaction) -> Option<Self> {
        Some(Self {
            connection: transaction.connection.clone(),
            started: transaction.started?,
        })
    }

    /// Of a message that came by no connection: the server `name` made it itself, `at` that time. It stands for its own
    /// client, so that nothing is missing for a rule that asks who brought the message.
    pub fn ourselves(name: &str, at: Timestamp) -> Self {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            connection: Connection {
                client: here,
                server: here,
                service: Service::Relay,
                opened: at,
                server_name: name.into(),
                tls: None,
                helo: Some(Helo {
                    name: name.to_owned(),
                    extended: true,
                }),
                authenticated: None,
            },
            started: at,
        }
    }

    /// The transaction as it was, under the name that the message has now. Envelope and content are for whoever has them.
    pub fn transaction(self, id: MessageId) -> Transaction {
        Transaction {
            id: Some(id),
            started: Some(self.started),
            ..Transaction::new(self.connection)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;
    use crate::mail::{Credentials, MessageId, TlsSession};
    use jiff::Timestamp;

    #[test]
    fn everything_survives_a_record() {
        let mut origin = Origin::ourselves("mx.example.com", Timestamp::UNIX_EPOCH);
        let mut credentials = Credentials::new("PLAIN", "john", "secret");
        credentials.confirm();
        origin.connection.authenticated = credentials.into_user();
        origin.connection.tls = Some(TlsSession {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            sni: Some("mail.example.com".to_owned()),
        });
        let record = serde_json::to_string(&origin).unwrap();
        assert!(!record.contains("secret"), "{record}");
        assert_eq!(serde_json::from_str::<Origin>(&record).unwrap(), origin);
        let transaction = origin.clone().transaction(MessageId(7));
        assert_eq!(Origin::of(&transaction), Some(origin));
    }
}
