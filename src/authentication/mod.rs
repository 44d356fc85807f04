//! Who sent it: back ends that verify what a client presented with AUTH (RFC 4954).
//!
//! Which back end is asked, and whether its yes is enough, is for rules to say. A back end confirms [`Credentials`] when
//! and only when the password was found right in this very exchange; nothing is cached, and nothing is compared here.
//!
//! [`Credentials`]: crate::mail::Credentials

mod saslauthd;

pub use saslauthd::{Error, Saslauthd};
