//! A content filter, as `smtp::connect` makes it and `delegate` names it.

use std::net::SocketAddr;
use std::time::Duration;

/// A content filter that is spoken to by SMTP, and gives messages back by SMTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Name or address of the filter.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// How long it has for one message.
    pub timeout: Duration,
    /// Where it gives messages back: an address of ours.
    pub receiver: SocketAddr,
}
