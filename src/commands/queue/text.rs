//! Messages as a person reads them.

use jiff::Timestamp;
use std::fmt::Write;
use vsmtp::control::{Message, State, Waiting};

/// Recipients of one message that a list names.
const LISTED: usize = 10;

/// A message of a list: a line for the message, a line for each recipient.
pub(super) fn listed(message: &Message, now: Timestamp) -> String {
    let mut text = format!(
        "{}  {:>4}  <{}>",
        message.name(),
        span(message.arrived, now),
        printable(&message.sender)
    );
    if message.damaged {
        text.push_str("  damaged");
    }
    for waiting in message.recipients.iter().take(LISTED) {
        let _ = write!(
            text,
            "\n    {}  {}",
            printable(&waiting.address),
            fate(waiting, now)
        );
    }
    let more = message.recipients.len().saturating_sub(LISTED);
    if more > 0 {
        let _ = write!(text, "\n    and {more} more");
    }
    text
}

/// All that is known of a message.
pub(super) fn shown(message: &Message, now: Timestamp) -> String {
    let mut lines = vec![("Message", message.name())];
    if message.damaged {
        lines.push((
            "Damaged",
            "what is stored of it cannot be understood".to_owned(),
        ));
    }
    lines.push(("Sender", format!("<{}>", printable(&message.sender))));
    lines.push(("Arrived", moment(message.arrived, now)));
    lines.extend(message.expires.map(|at| ("Expires", moment(at, now))));
    lines.extend(message.size.map(|size| ("Size", count(size, "octet"))));
    for waiting in &message.recipients {
        lines.push(("Recipient", printable(&waiting.address)));
        lines.push(("  State", waiting.state.as_str().to_owned()));
        if let Some(name) = &waiting.quarantine {
            lines.push(("  Quarantine", printable(name)));
        }
        if waiting.state != State::Quarantined {
            lines.push(("  Attempts", waiting.attempts.to_string()));
        }
        lines.extend(waiting.next.map(|at| ("  Next", moment(at, now))));
        if let Some(error) = &waiting.error {
            lines.push(("  Failed", moment(error.at, now)));
            lines.push((
                "  Because",
                format!("{} {}", error.status, printable(&error.text)),
            ));
            lines.extend(error.host.iter().map(|host| ("  Server", printable(host))));
        }
    }
    let lines = lines
        .into_iter()
        .map(|(key, value)| format!("{key:<14}{value}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a recipient waits for, on one line.
fn fate(waiting: &Waiting, now: Timestamp) -> String {
    let mut text = match (waiting.state, waiting.next) {
        (State::Active, _) => "is being delivered".to_owned(),
        (State::Due, _) => "due".to_owned(),
        (State::Held, _) => "held".to_owned(),
        (State::Stranded, _) => "waits for a way".to_owned(),
        (State::Delegated, _) => "is with a content filter".to_owned(),
        (State::Quarantined, _) => "in quarantine".to_owned(),
        (State::Deferred, next) => {
            let next =
                next.map_or_else(String::new, |next| format!(", next in {}", span(now, next)));
            format!(
                "deferred, {}{next}",
                count(waiting.attempts.into(), "attempt")
            )
        }
    };
    if let Some(error) = &waiting.error {
        let _ = write!(text, ": {} {}", error.status, printable(&error.text));
    }
    text
}

/// `1 message`, `2 messages`.
pub(super) fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// A time, and how far away it is.
fn moment(at: Timestamp, now: Timestamp) -> String {
    let stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ");
    match at > now {
        true => format!("{stamp} (in {})", span(now, at)),
        false => format!("{stamp} ({} ago)", span(at, now)),
    }
}

/// From one time to the other in the largest unit that says enough: `50s`, `12m`, `30h`, `5d`.
fn span(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `text` without what could play with a terminal or break a line.
pub(super) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            true => safe.extend(c.escape_unicode()),
            false => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::{count, listed, shown, span};
    use jiff::Timestamp;
    use vsmtp::control::{Message, State, Waiting};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn spans_are_short() {
        for (seconds, expected) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7199, "119m"),
            (7200, "2h"),
            (172_800, "2d"),
        ] {
            assert_eq!(span(at(0), at(seconds)), expected, "{seconds}");
        }
        assert_eq!(
            [count(1, "octet"), count(0, "octet")],
            ["1 octet", "0 octets"]
        );
    }

    #[test]
    fn what_others_chose_cannot_play_with_the_terminal() {
        let waiting = Waiting {
            address: "j\u{1b}[2J@b.org".into(),
            state: State::Deferred,
            attempts: 2,
            next: Some(at(300)),
            quarantine: Some("q\r\n".into()),
            error: Some(vsmtp::queue::LastError::new(
                at(0),
                "4.7.1".into(),
                "grey\u{202e}\nlisted".into(),
                Some("mx\n".into()),
            )),
        };
        let message = Message {
            id: "0006".into(),
            sender: "a\n@b.org".into(),
            recipients: vec![waiting; 12],
            ..Message::default()
        };
        let listed = listed(&message, at(0));
        assert_eq!(listed.lines().count(), 12, "{listed}");
        assert!(listed.ends_with("and 2 more"), "{listed}");
        assert!(
            listed.contains("deferred, 2 attempts, next in 5m: 4.7.1 grey"),
            "{listed}"
        );
        for text in [listed, shown(&message, at(0))] {
            assert!(!text.contains(['\u{1b}', '\u{202e}', '\r']), "{text}");
        }
    }
}
