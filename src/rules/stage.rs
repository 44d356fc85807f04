//! The stages of a session and of a message at which rules run.

use std::fmt;

/// When rules run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// On accept; with implicit TLS, after the handshake.
    Connect,
    /// EHLO or HELO.
    Helo,
    /// AUTH credentials were presented.
    Authenticate,
    /// MAIL FROM.
    Mail,
    /// Each RCPT TO.
    Rcpt,
    /// After the final dot, before its reply.
    Preq,
    /// From the queue; the client is gone.
    Postq,
    /// Before each delivery attempt.
    Delivery,
}

impl Stage {
    /// Every stage, in the order in which a message meets them.
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Helo,
        Self::Authenticate,
        Self::Mail,
        Self::Rcpt,
        Self::Preq,
        Self::Postq,
        Self::Delivery,
    ];

    /// The name that rule files call it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Helo => "helo",
            Self::Authenticate => "authenticate",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Preq => "preq",
            Self::Postq => "postq",
            Self::Delivery => "delivery",
        }
    }

    /// The stage of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
