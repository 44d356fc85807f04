//! The fields that a message must have (RFC 5322 §3.6), added where its author left them out (RFC 6409 §8).

use super::{FieldError, HeaderSection};
use crate::mail::{Address, MessageId};
use jiff::Zoned;
use jiff::fmt::rfc2822;

impl HeaderSection {
    /// Adds From, Date and Message-ID where they are missing. `name`: the server that gives the message its id.
    ///
    /// # Errors
    /// Nothing is changed.
    pub fn complete(
        &mut self,
        author: &Address,
        date: &Zoned,
        id: MessageId,
        name: &str,
    ) -> Result<(), FieldError> {
        let mut complete = self.clone();
        if complete.named("From").next().is_none() {
            complete.append("From", author.as_str())?;
        }
        if complete.named("Date").next().is_none() {
            // Fails for years before 0 only.
            complete.append("Date", &rfc2822::to_string(date).unwrap_or_default())?;
        }
        if complete.named("Message-ID").next().is_none() {
            complete.append("Message-ID", &format!("<{id}@{name}>"))?;
        }
        *self = complete;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::HeaderSection;
    use crate::mail::{Address, MessageId};
    use jiff::{Timestamp, tz::TimeZone};

    #[test]
    fn only_what_is_missing_is_added() {
        let author = Address::parse("john@example.com").unwrap();
        let date = Timestamp::from_second(1_700_000_000)
            .unwrap()
            .to_zoned(TimeZone::UTC);
        let from = "From: john@example.com\r\n";
        let dated = "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n";
        let named = "Message-ID: <00000000000000ff@mx.example.com>\r\n";
        for (section, expected) in [
            ("", [from, dated, named].concat()),
            (
                "Subject: a\r\n",
                ["Subject: a\r\n", from, dated, named].concat(),
            ),
            (
                "message-id: <a@b>\r\nfrom: x\r\n",
                ["message-id: <a@b>\r\nfrom: x\r\n", dated].concat(),
            ),
        ] {
            let mut header = HeaderSection::parse(section.as_bytes());
            header
                .complete(&author, &date, MessageId(255), "mx.example.com")
                .unwrap();
            assert_eq!(header.octets(), expected.as_bytes(), "{section:?}");
        }
        let whole = [from, dated, named].concat();
        let mut header = HeaderSection::parse(whole.as_bytes());
        header.complete(&author, &date, MessageId(1), "x").unwrap();
        assert!(!header.is_edited());
    }
}
