//! A message as a program of this machine writes it, made one as SMTP carries it: lines end in CRLF, and there is a header
//! section, if an empty one.

use std::io::{self, BufRead, Cursor, Read, Seek, Write};
use tempfile::SpooledTempFile;
use vsmtp::mail::Address;
use vsmtp::mail::header::{HeaderSection, SECTION_MAX, mailboxes_of};

/// So many octets of a body are kept in memory.
const IN_MEMORY: usize = 1024 * 1024;
/// Octets of a line that are looked at together.
const LINE_PART: usize = 64 * 1024;
/// The fields that name recipients.
const RECIPIENTS: [&str; 3] = ["To", "Cc", "Bcc"];

/// A whole message.
pub(super) struct Letter {
    header: HeaderSection,
    /// From the empty line behind the header section on.
    body: SpooledTempFile,
    /// Whether every octet of the body is ASCII.
    ascii: bool,
}

impl Letter {
    /// Reads a message to the end: that of `input`, or, unless `ignore_dots`, a line with nothing but a dot.
    pub fn read(input: impl Read, ignore_dots: bool) -> io::Result<Self> {
        let mut lines = Lines {
            input: io::BufReader::new(input),
            ignore_dots,
            first: true,
            ended: false,
            in_line: false,
            follows_return: false,
        };
        let mut header = Vec::new();
        let mut body = SpooledTempFile::new(IN_MEMORY);
        let mut ascii = true;
        let mut line = Vec::new();
        while lines.next(&mut line)? {
            if line == b"\r\n" {
                break;
            }
            let is_begun = !header.is_empty() && !header.ends_with(b"\n");
            if !is_begun && !is_of_header(&header, &line) {
                body.write_all(b"\r\n")?;
                ascii = line.is_ascii();
                body.write_all(&line)?;
                line.clear();
                break;
            }
            if header.len() + line.len() > SECTION_MAX {
                return Err(io::Error::other("the header section is too long"));
            }
            header.append(&mut line);
        }
        if line == b"\r\n" {
            body.write_all(&line)?;
        }
        while lines.next(&mut line)? {
            ascii &= line.is_ascii();
            body.write_all(&line)?;
        }
        Ok(Self {
            header: HeaderSection::parse(&header),
            body,
            ascii,
        })
    }

    /// Who is named in the header section, for blind copies too; they are named there no longer.
    pub fn take_recipients(&mut self) -> Vec<String> {
        let fields = RECIPIENTS.iter().flat_map(|name| self.header.named(name));
        let recipients = fields
            .flat_map(|field| mailboxes_of(&field.value()))
            .collect();
        self.header.remove("Bcc", None);
        recipients
    }

    /// Says who wrote it, where nothing says so.
    pub fn sign(&mut self, name: &str, sender: &Address) {
        if self.header.named("From").next().is_some() {
            return;
        }
        let name: String = name
            .chars()
            .map(|c| match c {
                '"' | '\\' => '\'',
                c if c.is_control() => ' ',
                c => c,
            })
            .collect();
        // A name that makes no field is no loss: the address stands there without it, then.
        let _ = self
            .header
            .append("From", &format!("\"{name}\" <{sender}>"));
    }

    /// Whether every octet is ASCII.
    pub fn is_ascii(&self) -> bool {
        self.ascii && self.header.octets().is_ascii()
    }

    /// All of it, from its first octet.
    pub fn octets(&mut self) -> io::Result<impl BufRead> {
        self.body.rewind()?;
        let header = Cursor::new(self.header.octets());
        Ok(io::BufReader::new(header.chain(&mut self.body)))
    }
}

/// Whether a line belongs to the header section that has begun so.
fn is_of_header(before: &[u8], line: &[u8]) -> bool {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return !before.is_empty();
    }
    let name = line
        .split(|octet| *octet == b':')
        .next()
        .unwrap_or_default();
    let name = name.trim_ascii_end();
    name.len() < line.len() - 2 && !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

/// Lines as SMTP has them.
struct Lines<R> {
    input: R,
    ignore_dots: bool,
    /// No line was read yet.
    first: bool,
    /// The line came that ends it all.
    ended: bool,
    /// The last part ended within a line.
    in_line: bool,
    /// The last line ended in a CR whose LF may follow.
    follows_return: bool,
}

impl<R: BufRead> Lines<R> {
    /// The next line, or a part of one that is very long; `false`: that was all.
    fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            line.clear();
            let continues = self.in_line;
            if self.ended || !self.read(line)? {
                return Ok(false);
            }
            if !continues && !self.ignore_dots && line == b".\r\n" {
                self.ended = true;
                return Ok(false);
            }
            // A mailbox in a file has such a line in front of each message.
            let is_separator = std::mem::take(&mut self.first) && line.starts_with(b"From ");
            if !is_separator {
                return Ok(true);
            }
        }
    }

    /// LF, CRLF and a CR alone, with which programs draw over their own lines, all end one.
    fn read(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let octets = self.input.fill_buf()?;
            let Some(first) = octets.first() else {
                // The end of the last line was left out.
                if std::mem::take(&mut self.in_line) || !line.is_empty() {
                    line.extend_from_slice(b"\r\n");
                }
                return Ok(!line.is_empty());
            };
            if std::mem::take(&mut self.follows_return) && *first == b'\n' {
                self.input.consume(1);
                continue;
            }
            let end = octets
                .iter()
                .position(|octet| matches!(octet, b'\r' | b'\n'));
            line.extend_from_slice(
                octets
                    .get(..end.unwrap_or(octets.len()))
                    .unwrap_or_default(),
            );
            self.follows_return = end.is_some_and(|end| octets.get(end) == Some(&b'\r'));
            let count = end.map_or(octets.len(), |end| end + 1);
            self.input.consume(count);
            self.in_line = end.is_none();
            if !self.in_line {
                line.extend_from_slice(b"\r\n");
            }
            if !self.in_line || line.len() > LINE_PART {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Letter;
    use std::io::Read;

    fn read(input: &str, ignore_dots: bool) -> Letter {
        Letter::read(input.as_bytes(), ignore_dots).unwrap()
    }

    fn octets(mut letter: Letter) -> String {
        let mut text = String::new();
        letter.octets().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn becomes_what_smtp_carries() {
        let long = "x".repeat(200_000);
        for (input, expected) in [
            ("Subject: a\n\nb\n", "Subject: a\r\n\r\nb\r\n"),
            ("Subject: a\r\n\r\nb\r\n", "Subject: a\r\n\r\nb\r\n"),
            ("Subject: a\n b\nX: c", "Subject: a\r\n b\r\nX: c\r\n"),
            ("hello\nyou", "\r\nhello\r\nyou\r\n"),
            ("the time: now\n", "\r\nthe time: now\r\n"),
            ("\nhello\n", "\r\nhello\r\n"),
            (" hello\n", "\r\n hello\r\n"),
            ("", ""),
            ("A: b\nhello\n\nyou\n", "A: b\r\n\r\nhello\r\n\r\nyou\r\n"),
            (
                "From a@b.org Tue\nA: b\n\nFrom c\n",
                "A: b\r\n\r\nFrom c\r\n",
            ),
            (&format!("\n{long}\n.\n"), &format!("\r\n{long}\r\n.\r\n")),
            (&format!("\n{long}"), &format!("\r\n{long}\r\n")),
            (&format!("A: {long}\n b\n"), &format!("A: {long}\r\n b\r\n")),
            ("\n10%\r20%\r\n30%\r\r", "\r\n10%\r\n20%\r\n30%\r\n\r\n"),
        ] {
            assert_eq!(octets(read(input, true)), expected, "{input:?}");
        }
    }

    #[test]
    fn a_dot_ends_it_or_does_not() {
        let input = "A: b\n\n..\n.\nmore\n";
        assert_eq!(octets(read(input, false)), "A: b\r\n\r\n..\r\n");
        assert_eq!(octets(read(input, true)), "A: b\r\n\r\n..\r\n.\r\nmore\r\n");
        assert_eq!(octets(read("A: b\n.\nC: d\n", false)), "A: b\r\n");
    }

    #[test]
    fn blind_copies_are_named_no_longer() {
        let mut letter = read(
            "To: a@b.org, root\nBcc: c@d.org,\n e@f.org\nCc: (x) g\n\n",
            true,
        );
        let recipients = ["a@b.org", "root", "g", "c@d.org", "e@f.org"];
        assert_eq!(letter.take_recipients(), recipients);
        assert_eq!(octets(letter), "To: a@b.org, root\r\nCc: (x) g\r\n\r\n");
    }

    #[test]
    fn is_signed_once() {
        let sender = vsmtp::mail::Address::parse("john@b.org").unwrap();
        let mut letter = read("A: b\n\n", true);
        letter.sign("John \"Q\"\r\nBcc: x", &sender);
        letter.sign("Jane", &sender);
        assert_eq!(
            octets(letter),
            "A: b\r\nFrom: \"John 'Q'  Bcc: x\" <john@b.org>\r\n\r\n"
        );
    }

    #[test]
    fn a_large_body_is_the_same() {
        let body = "0123456789\u{e9}\n".repeat(300_000);
        let letter = read(&format!("A: b\n\n{body}"), true);
        assert!(!letter.is_ascii());
        assert_eq!(
            octets(letter),
            format!("A: b\r\n\r\n{}", body.replace('\n', "\r\n"))
        );
    }
}
