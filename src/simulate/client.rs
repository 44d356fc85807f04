//! A client that sends one message as the flags say, and takes no for an answer.

use super::conversation::Conversation;
use super::dialogue::Wire;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// What the client says.
#[derive(Clone, Debug)]
pub(super) struct Intent {
    pub(super) helo: String,
    /// STARTTLS, asking for this server name.
    pub(super) starttls: Option<Option<String>>,
    /// User and password.
    pub(super) auth: Option<(String, String)>,
    /// Without it the client leaves after EHLO; the null reverse-path is empty.
    pub(super) from: Option<String>,
    pub(super) to: Vec<String>,
    pub(super) content: Vec<u8>,
}

/// Says it all, as far as the server goes along.
pub(super) fn converse(intent: &Intent, wire: &mut Conversation<'_>) {
    if reply(wire) == 220 {
        // Whatever was refused was told.
        let _ = transact(intent, wire);
    }
    if !wire.is_closed() {
        say(wire, "QUIT");
    }
}

/// `None`: the server refused to go on.
fn transact(intent: &Intent, wire: &mut Conversation<'_>) -> Option<()> {
    let hello = format!("EHLO {}", intent.helo);
    accepted(say(wire, &hello))?;
    if let Some(name) = &intent.starttls {
        accepted(say(wire, "STARTTLS"))?;
        wire.start_tls(name.as_deref());
        accepted(say(wire, &hello))?;
    }
    if let Some((user, password)) = &intent.auth {
        let response = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
        accepted(say(wire, &format!("AUTH PLAIN {response}")))?;
    }
    let from = intent.from.as_ref()?;
    accepted(say(wire, &format!("MAIL FROM:<{from}>")))?;
    let recipients = intent.to.iter();
    let taken = recipients.filter(|to| accepted(say(wire, &format!("RCPT TO:<{to}>"))).is_some());
    if taken.count() > 0 && say(wire, "DATA") == 354 {
        wire.send(&stuffed(&intent.content));
        wire.send(b".\r\n");
        reply(wire);
    }
    Some(())
}

fn accepted(code: u16) -> Option<()> {
    (200..300).contains(&code).then_some(())
}

/// Sends a command; the code of its reply.
fn say(wire: &mut Conversation<'_>, command: &str) -> u16 {
    wire.send(format!("{command}\r\n").as_bytes());
    reply(wire)
}

/// The code of the reply; 0 where there is none.
fn reply(wire: &mut Conversation<'_>) -> u16 {
    let mut code = 0;
    while let Ok(Some(line)) = wire.line() {
        code = line
            .get(..3)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        if line.get(3..4) != Some("-") {
            break;
        }
    }
    code
}

/// A message in a file as it goes over the wire: lines end with CRLF, and those that begin with a dot get another.
fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(content.len());
    for line in content.split_inclusive(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.first() == Some(&b'.') {
            octets.push(b'.');
        }
        octets.extend_from_slice(line);
        octets.extend_from_slice(b"\r\n");
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::stuffed;

    #[test]
    fn a_file_becomes_content() {
        assert_eq!(
            stuffed(b"a\n.b\r\n\n..\nc"),
            b"a\r\n..b\r\n\r\n...\r\nc\r\n"
        );
        assert_eq!(stuffed(b""), b"");
    }
}
