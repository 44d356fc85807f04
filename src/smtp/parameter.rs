//! Parameters of MAIL and RCPT (RFC 5321 §4.1.2), each by the RFC of its extension.

use super::command::CommandError;
use crate::mail::dsn::{EnvelopeId, Notify, OriginalRecipient, Return, WishError, Wishes};
use crate::mail::{Body, Envelope};

/// ```text
/// esmtp-param   = esmtp-keyword ["=" esmtp-value]
/// esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
/// esmtp-value   = 1*(%d33-60 / %d62-126 / UTF8-non-ascii)
/// ```
///
/// UTF-8 is of RFC 6531 §3.3: of the values that are taken, only that of ORCPT may hold it.
pub(super) fn esmtp_param(parameter: &str) -> Option<(&str, Option<&str>)> {
    let (keyword, value) = match parameter.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (parameter, None),
    };
    let is_keyword = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
    let is_value = |octet: u8| matches!(octet, b'!'..=b'<' | b'>'..=b'~' | 0x80..);
    let well_formed = !keyword.is_empty()
        && !keyword.starts_with('-')
        && keyword.bytes().all(is_keyword)
        && value.is_none_or(|value| !value.is_empty() && value.bytes().all(is_value));
    well_formed.then_some((keyword, value))
}

/// Takes a parameter of MAIL: `SIZE=` (RFC 1870 §3), `BODY=` (RFC 6152 §2), `SMTPUTF8` (RFC 6531 §3.4), `RET=` and
/// `ENVID=` (RFC 3461 §4.3, §4.4) or `AUTH=` (RFC 4954 §5).
///
/// Who is said to have submitted the message is taken from everybody and believed of nobody, as if it were `AUTH=<>`.
pub(super) fn mail(
    envelope: &mut Envelope,
    keyword: &str,
    value: Option<&str>,
) -> Result<(), CommandError> {
    let invalid = CommandError::InvalidParameter;
    match (keyword.to_ascii_uppercase().as_str(), value) {
        ("SIZE", Some(size)) => envelope.declared_size = Some(size_value(size).ok_or(invalid)?),
        ("BODY", Some(body)) if body.eq_ignore_ascii_case("7BIT") => envelope.body = Body::SevenBit,
        ("BODY", Some(body)) if body.eq_ignore_ascii_case("8BITMIME") => {
            envelope.body = Body::EightBitMime;
        }
        ("SMTPUTF8", None) => envelope.smtputf8 = true,
        ("RET", Some(value)) => envelope.wanted = Some(Return::parse(value)?),
        ("ENVID", Some(value)) => envelope.envelope_id = Some(EnvelopeId::parse(value)?),
        ("AUTH", Some(submitter)) if submitter == "<>" || is_xtext(submitter) => {}
        ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID" | "AUTH", _) => return Err(invalid),
        _ => return Err(CommandError::UnknownParameter),
    }
    Ok(())
}

/// Takes a parameter of RCPT: `NOTIFY=` or `ORCPT=` (RFC 3461 §4.1, §4.2).
pub(super) fn rcpt(
    wishes: &mut Wishes,
    keyword: &str,
    value: Option<&str>,
) -> Result<(), CommandError> {
    match (keyword.to_ascii_uppercase().as_str(), value) {
        ("NOTIFY", Some(value)) => wishes.notify = Some(Notify::parse(value)?),
        ("ORCPT", Some(value)) => wishes.original = Some(OriginalRecipient::parse(value)?),
        ("NOTIFY" | "ORCPT", None) => return Err(CommandError::InvalidParameter),
        _ => return Err(CommandError::UnknownParameter),
    }
    Ok(())
}

/// `size-value = 1*20DIGIT`
fn size_value(value: &str) -> Option<u64> {
    let digits = (1..=20).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten()
}

/// ```text
/// xtext   = *( xchar / hexchar )
/// xchar   = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "="
/// hexchar = "+" two upper-case hexadecimal digits
/// ```
fn is_xtext(text: &str) -> bool {
    let is_digit = |octet: &u8| matches!(octet, b'0'..=b'9' | b'A'..=b'F');
    let mut pieces = text.split('+');
    let is_xchar = |octet: &u8| octet.is_ascii_graphic() && *octet != b'=';
    pieces
        .next()
        .is_some_and(|piece| piece.as_bytes().iter().all(is_xchar))
        && pieces.all(|piece| match piece.as_bytes() {
            [high, low, rest @ ..] => is_digit(high) && is_digit(low) && rest.iter().all(is_xchar),
            _ => false,
        })
}

impl From<WishError> for CommandError {
    fn from(_: WishError) -> Self {
        Self::InvalidParameter
    }
}
