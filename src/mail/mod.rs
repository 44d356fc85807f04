//! What a mail is: values that every other layer speaks of. No I/O, no clock, no protocol.

mod address;
mod credentials;
mod domains;
pub mod dsn;
mod envelope;
pub mod header;
mod login;
mod message;
mod origin;
mod status;
mod submitter;
pub mod trace;
mod transaction;
mod transport;

pub use address::{Address, AddressError, is_domain};
pub use credentials::{Credentials, User};
pub use domains::{Domain, Domains, Mailboxes, Resolution};
pub use envelope::{Body, Envelope, Recipient, ReversePath};
pub use header::{FieldError, HeaderSection};
pub use login::{Login, LoginError};
pub use message::{Edition, Message, MessageError, Octets, Source};
pub use origin::Origin;
pub use status::Status;
pub use submitter::Submitter;
pub use transaction::{
    Connection, Helo, MessageId, Service, TlsSession, Transaction, UnknownService,
};
pub use transport::{SmartHost, TlsMode, Transport, TransportError, without_password};
