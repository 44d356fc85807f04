//! SMTP (RFC 5321), sans-IO: octets and answers in, replies and questions out. No socket, no clock, no file, no log,
//! no policy: `server::connection` has the first four, `rules` the last.

pub mod client;
mod command;
mod content;
mod extension;
mod line;
mod parameter;
mod path;
pub mod replies;
mod reply;
mod sasl;
mod session;
mod step;

pub use reply::{Reply, ReplyError};
pub use sasl::{Authentication, Mechanism};
pub use session::Session;
pub use step::{Answer, Ask, Awaiting, Limits, Step, Token};
