//! The report: a `multipart/report` (RFC 6522) of a text for people, fields for programs (RFC 3464), and the message or
//! its header section.
//!
//! A report goes out with the null reverse-path, and is never made for a message that came with it (RFC 5321 §6.1): the
//! caller sees to both. Every value that a stranger chose passes [`fields`], which lets no line break through.

mod fields;
mod quoted_printable;
mod text;

use self::fields::Fields;
use super::{EnvelopeId, OriginalRecipient, Return};
use crate::mail::{Address, Body, Status};
use jiff::Zoned;
use jiff::fmt::rfc2822;
use memchr::memmem;
use std::borrow::Cow;

/// What was done about a recipient (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Given up.
    Failed,
    /// Not yet delivered; still tried.
    Delayed,
    /// In the mailbox.
    Delivered,
    /// Handed to a server that promises no notification.
    Relayed,
    /// Handed to several addresses that stand for it.
    Expanded,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        }
    }
}

/// What a report says of one recipient (RFC 3464 §2.3).
#[derive(Clone, Debug)]
pub struct RecipientReport {
    /// Where the message was to go.
    pub address: Address,
    /// The ORCPT parameter.
    pub original: Option<OriginalRecipient>,
    /// What was done.
    pub action: Action,
    /// Why, as a code.
    pub status: Status,
    /// Why, in the words of the server or of ourselves.
    pub reason: String,
    /// The server whose words they are; `None`: ours.
    pub remote: Option<String>,
    /// When it was last tried.
    pub last_attempt: Option<Zoned>,
    /// Until when it is tried again, of what is [`Action::Delayed`].
    pub retry_until: Option<Zoned>,
}

/// The message that a report is about.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    /// Header section and body, or as much as is at hand; at least the header section.
    pub content: &'a [u8],
    /// Whether `content` is the whole message, fit to be returned.
    pub whole: bool,
}

/// Everything that a report is made of.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// Our name.
    pub reporting_mta: &'a str,
    /// A name for the report that no other has, of letters and digits: the queue id.
    pub id: &'a str,
    /// When the report is made.
    pub date: &'a Zoned,
    /// When the message arrived.
    pub arrival: &'a Zoned,
    /// The reverse-path of the message.
    pub to: &'a Address,
    /// The ENVID parameter.
    pub envelope_id: Option<&'a EnvelopeId>,
    /// The RET parameter. Nothing said: the header section.
    pub wanted: Option<Return>,
    /// Those whom the report is about; at least one.
    pub recipients: &'a [RecipientReport],
    /// What the sender sent.
    pub original: Original<'a>,
}

/// A composed report, ready for the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// Header section and body.
    pub content: Vec<u8>,
    /// Whether the content has 8-bit octets.
    pub body: Body,
    /// Whether the header section, or that of a part, has UTF-8 (RFC 6533).
    pub smtputf8: bool,
}

impl Report<'_> {
    /// Writes the report.
    pub fn compose(&self) -> Composed {
        let types = self.content_types();
        let (human, machine, returned) = (self.human(), self.machine(), self.returned());
        let [human_type, machine_type, returned_type] = types;
        let parts = [
            Part::new(human_type, &human),
            Part::new(machine_type, &machine),
            Part::new(returned_type, returned),
        ];
        let eight_bit = parts.iter().any(|part| part.encoding == Some("8bit"));
        let boundary = self.boundary(&parts);
        let mut content = self.header_section(&boundary, eight_bit);
        for part in &parts {
            content.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
            part.write(&mut content);
        }
        content.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        Composed {
            content,
            body: match eight_bit {
                true => Body::EightBitMime,
                false => Body::SevenBit,
            },
            smtputf8: self.is_international() || !self.to.is_ascii(),
        }
    }

    /// Whether a recipient needs the media types of RFC 6533.
    fn is_international(&self) -> bool {
        !self.recipients.iter().all(|r| r.address.is_ascii())
    }

    fn returns_whole(&self) -> bool {
        let failed = self.recipients.iter().any(|r| r.action == Action::Failed);
        failed && self.wanted == Some(Return::Full) && self.original.whole
    }

    /// Whether what is returned needs them: its header section holds UTF-8.
    fn returns_utf8(&self) -> bool {
        let header = self.header_section_of_original();
        !header.is_ascii() && str::from_utf8(header).is_ok()
    }

    fn content_types(&self) -> [&'static str; 3] {
        let international = self.is_international();
        [
            "text/plain; charset=utf-8",
            match international {
                true => "message/global-delivery-status",
                false => "message/delivery-status",
            },
            match (self.returns_whole(), international || self.returns_utf8()) {
                (true, false) => "message/rfc822",
                (true, true) => "message/global",
                (false, false) => "text/rfc822-headers",
                (false, true) => "message/global-headers",
            },
        ]
    }

    /// A boundary that stands in none of the parts, whatever somebody has put there.
    fn boundary(&self, parts: &[Part<'_>]) -> String {
        let base: String = self
            .id
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let taken = |boundary: &String| {
            let needle = memmem::Finder::new(boundary.as_bytes());
            parts.iter().any(|part| needle.find(&part.octets).is_some())
        };
        // Each candidate of a finite text can be in it at most once, so that one is free.
        let mut number = 0_u64;
        let mut boundary = format!("=_{base}_{number}_=");
        while taken(&boundary) {
            number += 1;
            boundary = format!("=_{base}_{number}_=");
        }
        boundary
    }

    fn header_section(&self, boundary: &str, eight_bit: bool) -> Vec<u8> {
        let mta = self.reporting_mta;
        let mut fields = Fields::default();
        fields.add("Date", &date(self.date));
        fields.add("From", &format!("Mail Delivery System <postmaster@{mta}>"));
        fields.add("To", &format!("<{}>", self.to));
        fields.add("Subject", text::subject(self.recipients));
        fields.add("Message-ID", &format!("<{}.report@{mta}>", self.id));
        fields.add("Auto-Submitted", "auto-replied");
        fields.add("MIME-Version", "1.0");
        let content_type =
            format!("multipart/report; report-type=delivery-status; boundary=\"{boundary}\"");
        fields.add("Content-Type", &content_type);
        if eight_bit {
            fields.add("Content-Transfer-Encoding", "8bit");
        }
        fields.end()
    }

    fn human(&self) -> Vec<u8> {
        text::text(self.reporting_mta, self.recipients, &date(self.arrival)).into_bytes()
    }

    /// `per-message-fields` and one group of `per-recipient-fields` each (RFC 3464 §2.1).
    fn machine(&self) -> Vec<u8> {
        let mut fields = Fields::default();
        if let Some(id) = self.envelope_id {
            fields.add("Original-Envelope-Id", id.as_str());
        }
        fields.add("Reporting-MTA", &format!("dns; {}", self.reporting_mta));
        fields.add("Arrival-Date", &date(self.arrival));
        let mut octets = fields.end();
        for recipient in self.recipients {
            octets.extend(recipient.fields());
        }
        // Only the media type of RFC 6533 has room for more than ASCII; a server's words may hold it all the same.
        if !self.is_international() {
            for octet in octets.iter_mut().filter(|octet| !octet.is_ascii()) {
                *octet = b'?';
            }
        }
        octets
    }

    fn returned(&self) -> &[u8] {
        match self.returns_whole() {
            true => self.original.content,
            false => self.header_section_of_original(),
        }
    }

    fn header_section_of_original(&self) -> &[u8] {
        let content = self.original.content;
        if content.starts_with(b"\r\n") {
            return &[];
        }
        let end = memmem::find(content, b"\r\n\r\n").map_or(content.len(), |at| at + 2);
        content.get(..end).unwrap_or_default()
    }
}

/// A part of the report, as it is sent.
struct Part<'a> {
    content_type: &'static str,
    /// `None`: ASCII as it is.
    encoding: Option<&'static str>,
    octets: Cow<'a, [u8]>,
}

impl<'a> Part<'a> {
    /// Text becomes ASCII: a report goes to the server of the sender, which may take nothing else, and nobody hears of a
    /// report that fails. A message must not be encoded again (RFC 2046 §5.2.1).
    fn new(content_type: &'static str, octets: &'a [u8]) -> Self {
        let (encoding, octets) = if octets.is_ascii() {
            (None, octets.into())
        } else if content_type.starts_with("text/") {
            (
                Some("quoted-printable"),
                quoted_printable::encode(octets).into(),
            )
        } else {
            (Some("8bit"), octets.into())
        };
        Self {
            content_type,
            encoding,
            octets,
        }
    }

    fn write(&self, content: &mut Vec<u8>) {
        content.extend_from_slice(format!("Content-Type: {}\r\n", self.content_type).as_bytes());
        if let Some(encoding) = self.encoding {
            let field = format!("Content-Transfer-Encoding: {encoding}\r\n");
            content.extend_from_slice(field.as_bytes());
        }
        content.extend_from_slice(b"\r\n");
        content.extend_from_slice(&self.octets);
        content.extend_from_slice(b"\r\n");
    }
}

impl RecipientReport {
    fn fields(&self) -> Vec<u8> {
        let mut fields = Fields::default();
        if let Some(original) = &self.original {
            let value = format!("{}; {}", original.address_type(), original.address());
            fields.add("Original-Recipient", &value);
        }
        let address_type = match self.address.is_ascii() {
            true => "rfc822",
            false => "utf-8",
        };
        fields.add(
            "Final-Recipient",
            &format!("{address_type}; {}", self.address),
        );
        fields.add("Action", self.action.as_str());
        fields.add("Status", &self.status.to_string());
        if let Some(remote) = &self.remote {
            fields.add("Remote-MTA", &format!("dns; {remote}"));
            fields.add("Diagnostic-Code", &format!("smtp; {}", self.reason));
        } else if !self.reason.is_empty() {
            fields.add("Diagnostic-Code", &format!("X-vsmtp; {}", self.reason));
        }
        if let Some(last) = &self.last_attempt {
            fields.add("Last-Attempt-Date", &date(last));
        }
        if let (Action::Delayed, Some(until)) = (self.action, &self.retry_until) {
            fields.add("Will-Retry-Until", &date(until));
        }
        fields.end()
    }
}

/// Fails for years before 0 only.
fn date(date: &Zoned) -> String {
    rfc2822::to_string(date).unwrap_or_default()
}

#[cfg(test)]
mod tests;
