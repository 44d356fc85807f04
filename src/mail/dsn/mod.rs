//! Delivery status notifications: what a sender wishes to hear (RFC 3461), and the report that says it (RFC 3464).
//!
//! Wishes are kept decoded and hold only printable characters, so that no `xtext` of a stranger ever puts a line break
//! into a command or a header field. Reports are composed from values alone: nothing here knows a queue or a clock.

mod original;
mod report;
mod wishes;
mod xtext;

pub use original::OriginalRecipient;
pub use report::{Action, Composed, Original, RecipientReport, Report};
pub use wishes::{EnvelopeId, Notify, Return, WishError, Wishes};
