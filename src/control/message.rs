//! A message as tools show it.

use crate::delivery::quarantine::Kept;
use crate::mail::MessageId;
use crate::queue::{Entry, LastError, Pending, Reader, Whereabouts};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One message of the queue or of a quarantine; its JSON is what `--json` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its name: 16 hexadecimal digits.
    pub id: String,
    /// The quarantine that it is in, by the name of its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<String>,
    /// What is stored of it cannot be understood; then the rest is unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
    /// The reverse-path; empty: the null path of notifications.
    pub sender: String,
    /// When it came.
    pub arrived: Timestamp,
    /// When it will be given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Octets as they are sent, where somebody asked for them; of a message in quarantine with LF as line ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Who still waits for it.
    pub recipients: Vec<Waiting>,
}

/// A recipient that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Who.
    pub address: String,
    /// What for.
    pub state: State,
    /// How often delivery was tried.
    #[serde(default)]
    pub attempts: u32,
    /// The earliest next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// The quarantine that a rule has put the copy in, where it is yet to get there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<String>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<LastError>,
}

/// What a recipient waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is being delivered.
    Active,
    /// Its turn.
    Due,
    /// The time of its next attempt.
    Deferred,
    /// An operator.
    Held,
    /// A way to get there.
    Stranded,
    /// A content filter, which gives it back.
    Delegated,
    /// An operator; a rule has put it in quarantine.
    Quarantined,
}

impl State {
    /// As it stands in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Due => "due",
            Self::Deferred => "deferred",
            Self::Held => "held",
            Self::Stranded => "stranded",
            Self::Delegated => "delegated",
            Self::Quarantined => "quarantined",
        }
    }
}

impl Message {
    /// Its whole name: `QUARANTINE/ID` or `ID`.
    pub fn name(&self) -> String {
        match &self.quarantine {
            Some(quarantine) => format!("{quarantine}/{}", self.id),
            None => self.id.clone(),
        }
    }

    /// As it stands in the queue; `None`: its entry cannot be understood.
    pub(super) fn queued(reader: &Reader, id: MessageId, entry: Option<&Entry>) -> Self {
        let Some(entry) = entry else {
            return Self {
                id: id.to_string(),
                damaged: true,
                arrived: born(id),
                ..Self::default()
            };
        };
        let (active, now) = (reader.is_taken(id), Timestamp::now());
        let waiting = entry.pending.iter().map(|pending| Waiting {
            address: pending.recipient.address.as_str().to_owned(),
            state: state(entry, pending, active, now),
            attempts: pending.attempts,
            next: pending.due,
            quarantine: pending.recipient.quarantine.clone(),
            error: pending.last_error.clone(),
        });
        Self {
            id: id.to_string(),
            sender: entry.reverse_path.to_string(),
            arrived: entry.arrived,
            expires: Some(reader.expires(entry)),
            recipients: waiting.collect(),
            ..Self::default()
        }
    }

    /// As it lies in a quarantine; `None`: it cannot be understood.
    pub(super) fn kept(quarantine: &str, id: MessageId, kept: Option<&Kept>) -> Self {
        let envelope = kept.map(|kept| kept.envelope.clone()).unwrap_or_default();
        let waiting = envelope.recipients.iter().map(|recipient| Waiting {
            address: recipient.address.as_str().to_owned(),
            state: State::Quarantined,
            attempts: 0,
            next: None,
            quarantine: None,
            error: None,
        });
        Self {
            id: id.to_string(),
            quarantine: Some(quarantine.to_owned()),
            damaged: kept.is_none(),
            sender: envelope.reverse_path.to_string(),
            arrived: born(id),
            size: kept.map(|kept| kept.size),
            recipients: waiting.collect(),
            ..Self::default()
        }
    }
}

fn state(entry: &Entry, pending: &Pending, active: bool, now: Timestamp) -> State {
    let delegation = entry.delegation.as_deref();
    let is_away = delegation.is_some_and(|delegation| match delegation.whereabouts {
        Whereabouts::Here => pending.due.is_none(),
        Whereabouts::Away => true,
        Whereabouts::Back => false,
    });
    match pending.due {
        _ if pending.held => State::Held,
        _ if is_away => State::Delegated,
        None => State::Stranded,
        Some(due) if due > now => State::Deferred,
        Some(_) if active => State::Active,
        Some(_) => State::Due,
    }
}

/// When an id was given: see `Queue::next_id`.
fn born(id: MessageId) -> Timestamp {
    let microseconds = i64::try_from(id.0 >> 12).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::MAX)
}
