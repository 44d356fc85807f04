//! What a report says to people: what happened, in whose words, and what they can do.

use super::fields::pieces;
use super::{Action, RecipientReport};
use crate::mail::Status;
use std::fmt::Write;

/// The length of a line of prose.
const LINE_MAX: usize = 72;

/// The subject: the worst that happened.
pub(super) fn subject(recipients: &[RecipientReport]) -> &'static str {
    let any = |action| recipients.iter().any(|r| r.action == action);
    if any(Action::Failed) {
        "Your message could not be delivered"
    } else if any(Action::Delayed) {
        "Your message is delayed"
    } else if any(Action::Delivered) {
        "Your message was delivered"
    } else {
        "Your message was passed on"
    }
}

/// The whole text, in lines that end in CRLF.
pub(super) fn text(mta: &str, recipients: &[RecipientReport], arrival: &str) -> String {
    let mut text = String::new();
    paragraph(&mut text, "", &format!("This is the mail server {mta}."));
    for action in [
        Action::Failed,
        Action::Delayed,
        Action::Delivered,
        Action::Relayed,
        Action::Expanded,
    ] {
        let mut of_action = recipients.iter().filter(|r| r.action == action).peekable();
        if of_action.peek().is_some() {
            paragraph(&mut text, "", &introduction(action, arrival));
        }
        for recipient in of_action {
            told(&mut text, recipient);
        }
    }
    text
}

fn introduction(action: Action, arrival: &str) -> String {
    let message = format!("The message that you sent on {arrival}");
    match action {
        Action::Failed => format!(
            "{message} could not be delivered to the recipients below. It will not be tried again."
        ),
        Action::Delayed => format!(
            "{message} has not reached the recipients below yet. It is still being tried: you need not send it again."
        ),
        Action::Delivered => format!("{message} was delivered to these recipients:"),
        Action::Relayed => format!(
            "{message} was handed to the next mail server for these recipients. That server promises no further notice:"
        ),
        Action::Expanded => format!("{message} was passed on to the addresses behind these:"),
    }
}

fn told(text: &mut String, recipient: &RecipientReport) {
    // Nothing can fail while a String is written to.
    let _ = write!(text, "  {}\r\n", recipient.address);
    if !matches!(recipient.action, Action::Failed | Action::Delayed) {
        text.push_str("\r\n");
        return;
    }
    let reason = recipient.reason.replace(char::is_control, " ");
    match &recipient.remote {
        Some(remote) => {
            let remote = remote.replace(char::is_control, "?");
            paragraph(text, "    ", &format!("{remote} said: {reason}"));
        }
        None => paragraph(text, "    ", &format!("{reason} ({})", recipient.status)),
    }
    if recipient.action == Action::Failed {
        paragraph(text, "    ", advice(recipient.status));
    }
}

/// What the sender can do about a failure.
const fn advice(status: Status) -> &'static str {
    match (status.subject, status.detail) {
        (1, 1 | 3 | 6) => {
            "There is no such address. Look for a mistake in it, or ask the recipient for the right one by other means."
        }
        (1, 2) => "There is no such domain. Look for a mistake in what stands after the @.",
        (1, 10) => "This domain takes no mail at all. Ask the recipient for another address.",
        (1, 7 | 8) => "Your own address was not accepted. Check how your mail program is set up.",
        (2, 2) => "The mailbox is full. Try again later, or tell the recipient by other means.",
        (2, _) => "The mailbox takes no mail now. Tell the recipient by other means.",
        (3, 4) => {
            "The message is too large. Send less at once, or share large files by other means."
        }
        (4, 7) => {
            "It was tried again and again, for as long as messages are kept here. Look for a mistake in the address, or try again later."
        }
        (4, 6) => "The message went round in a circle. Tell the recipient's postmaster.",
        (4, _) => {
            "The recipient's mail server could not be reached. Look for a mistake in the address, or try again later."
        }
        (6, 7) => {
            "The recipient's mail server takes no letters outside ASCII in addresses or header fields. Use a plain address and plain header fields."
        }
        (6, _) => {
            "The recipient's mail server cannot take content of this form. Send it in another form, such as plain text."
        }
        (7, _) => {
            "The recipient's mail server refuses the message by its policy. Its words above say why; ask its postmaster if they do not."
        }
        _ => {
            "If the words above do not help, try again later, or tell the recipient by other means."
        }
    }
}

/// `words` filled into lines, and an empty line.
fn paragraph(text: &mut String, indent: &str, words: &str) {
    let mut column = 0;
    for word in words.split_ascii_whitespace().flat_map(pieces) {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > LINE_MAX {
            text.push_str("\r\n");
            column = 0;
        }
        let gap = if column == 0 { indent } else { " " };
        text.push_str(gap);
        text.push_str(word);
        column += gap.len() + width;
    }
    text.push_str("\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::{advice, paragraph};
    use crate::mail::Status;

    #[test]
    fn prose_is_filled() {
        let mut text = String::new();
        paragraph(&mut text, "    ", &"word ".repeat(40));
        assert!(text.lines().all(|line| line.len() <= 72));
        assert!(text.starts_with("    word word") && text.ends_with("word\r\n\r\n"));
        assert_eq!(text.matches("word").count(), 40);
        // No line may have more than 998 octets (RFC 5322 §2.1.1), whatever a server says.
        text.clear();
        paragraph(
            &mut text,
            "    ",
            &format!("mx said: {}", "\u{e9}".repeat(2000)),
        );
        assert!(text.lines().all(|line| line.len() <= 998));
        assert_eq!(text.matches('\u{e9}').count(), 2000);
    }

    #[test]
    fn advice_fits_the_status() {
        for (status, word) in [
            ("5.1.1", "no such address"),
            ("5.1.2", "no such domain"),
            ("5.1.10", "no mail at all"),
            ("5.2.2", "full"),
            ("5.3.4", "too large"),
            ("4.4.7", "again and again"),
            ("5.6.7", "ASCII"),
            ("5.7.1", "policy"),
            ("5.0.0", "do not help"),
        ] {
            let advice = advice(Status::parse(status).unwrap());
            assert!(advice.contains(word), "{status}: {advice}");
        }
    }
}
