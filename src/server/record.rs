//! What the log says of sessions and messages: one line each, the same fields everywhere.
//!
//! What a client chose is escaped here, so that it can neither break a line nor play with a terminal.

use crate::mail::{Credentials, MessageId, ReversePath, Transaction};
use crate::rules::Stage;
use crate::smtp::{Answer, Reply, Step};

/// One message, accepted or refused at its end.
pub(super) fn message(transaction: &Transaction, size: u64, answer: &Answer) {
    let envelope = transaction.envelope.as_ref();
    let recipients = envelope.map_or(&[][..], |envelope| &envelope.recipients);
    let connection = &transaction.connection;
    tracing::info!(
        id = transaction.id.map(tracing::field::display),
        from = envelope.map(|envelope| path(&envelope.reverse_path)),
        to = recipients.first().map(|first| printable(first.address.as_str())),
        recipients = recipients.len(),
        size,
        client = %connection.client.ip(),
        helo = connection.helo.as_ref().map(|helo| printable(&helo.name)),
        tls = connection.tls.as_ref().map(|tls| &*tls.version),
        user = connection.authenticated.as_ref().map(|user| printable(user.as_str())),
        result = match answer {
            Answer::Proceed => "250 2.0.0".to_owned(),
            Answer::ProceedWith(reply) | Answer::Refuse(reply) => summary(reply),
        },
        "message {}",
        match answer {
            Answer::Refuse(_) => "refused",
            _ => "accepted",
        },
    );
}

/// A message whose content is not acceptable, whatever policy says.
pub(super) fn unfit(id: MessageId, size: u64, reply: &Reply) {
    tracing::info!(%id, size, result = summary(reply), "message refused");
}

/// A message of which the end never came.
pub(super) fn incomplete(id: MessageId, size: u64) {
    tracing::info!(%id, size, "message dropped: its end did not arrive");
}

/// A command that policy refused.
pub(super) fn refusal(transaction: &Transaction, stage: Stage, reply: &Reply) {
    let envelope = transaction.envelope.as_ref();
    let last = envelope.and_then(|envelope| envelope.recipients.last());
    let connection = &transaction.connection;
    tracing::info!(
        ?stage,
        from = envelope.map(|envelope| path(&envelope.reverse_path)),
        to = last.map(|last| printable(last.address.as_str())),
        client = %connection.client.ip(),
        helo = connection.helo.as_ref().map(|helo| printable(&helo.name)),
        tls = connection.tls.as_ref().map(|tls| &*tls.version),
        result = summary(reply),
        "refused",
    );
}

/// An attempt to authenticate; its client's address is what a guesser is known by.
pub(super) fn authentication(transaction: &Transaction, credentials: &Credentials, step: &Step) {
    let connection = &transaction.connection;
    let result = match step {
        Step::Send(reply) | Step::Close(reply) => Some(summary(reply)),
        _ => None,
    };
    tracing::info!(
        user = printable(credentials.user()),
        mechanism = credentials.mechanism(),
        client = %connection.client.ip(),
        helo = connection.helo.as_ref().map(|helo| printable(&helo.name)),
        tls = connection.tls.as_ref().map(|tls| &*tls.version),
        result,
        "{}",
        match connection.authenticated {
            Some(_) => "authenticated",
            None => "authentication failed",
        },
    );
}

/// A session that we end, other than by 221.
pub(super) fn close(reply: &Reply) {
    if !reply.is_positive() {
        tracing::info!(result = summary(reply), "closing");
    }
}

/// A reply on one line: `250 2.0.0 Ok`.
fn summary(reply: &Reply) -> String {
    let text = printable(reply.lines().next().unwrap_or_default());
    match reply.status() {
        Some(status) => format!("{} {status} {text}", reply.code()),
        None => format!("{} {text}", reply.code()),
    }
}

fn path(path: &ReversePath) -> String {
    format!("<{}>", printable(&path.to_string()))
}

/// `text` without control characters and without those that turn the direction of what follows.
fn printable(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn hides_what_could_forge_a_line() {
        for (text, expected) in [
            ("élan@example.com", "élan@example.com"),
            ("a\r\nb\u{1b}[2J", "a\\u{d}\\u{a}b\\u{1b}[2J"),
            ("\u{202e}moc", "\\u{202e}moc"),
            ("\u{85}", "\\u{85}"),
        ] {
            assert_eq!(printable(text), expected);
        }
    }
}
