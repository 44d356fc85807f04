//! What a server offers: its reply to EHLO (RFC 5321 §4.1.1.1).

use super::super::Reply;

/// The extensions that we can use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// RFC 2920
    pub(super) pipelining: bool,
    /// RFC 1870: the extension, and the largest message where one is told.
    pub(super) size: Option<Option<u64>>,
    /// RFC 6152
    pub(super) eight_bit_mime: bool,
    /// RFC 6531
    pub(super) smtp_utf8: bool,
    /// RFC 3461
    pub(super) dsn: bool,
    /// RFC 3207
    pub(super) starttls: bool,
    /// RFC 4954: AUTH PLAIN.
    pub(super) auth_plain: bool,
    /// AUTH LOGIN, which no RFC has and everybody speaks.
    pub(super) auth_login: bool,
}

impl Offer {
    /// The first line names the server; each of the others is a keyword with parameters. What we do not know, and
    /// what is malformed, is not offered.
    pub(super) fn read(reply: &Reply) -> Self {
        let mut offer = Self::default();
        for line in reply.lines().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => offer.pipelining = true,
                // Zero: no fixed maximum.
                "SIZE" => {
                    let octets = words.next().and_then(|word| word.parse().ok());
                    offer.size = Some(octets.filter(|&octets| octets > 0));
                }
                "8BITMIME" => offer.eight_bit_mime = true,
                "SMTPUTF8" => offer.smtp_utf8 = true,
                "DSN" => offer.dsn = true,
                "STARTTLS" => offer.starttls = true,
                "AUTH" => offer.mechanisms(words),
                _ => {}
            }
            // As servers wrote it before RFC 2554, and some still do.
            if let Some(first) = keyword.strip_prefix("AUTH=") {
                offer.mechanisms(std::iter::once(first));
                offer.mechanisms(line.split_ascii_whitespace().skip(1));
            }
        }
        offer
    }

    fn mechanisms<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        for word in words {
            self.auth_plain |= word.eq_ignore_ascii_case("PLAIN");
            self.auth_login |= word.eq_ignore_ascii_case("LOGIN");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Offer, Reply};

    fn offer(lines: &[&str]) -> Offer {
        Offer::read(&Reply::composed(
            250,
            None,
            &format!("PIPELINING\n{}", lines.join("\n")),
        ))
    }

    #[test]
    fn reads_keywords_in_any_case() {
        let all = offer(&[
            "pipelining",
            "SIZE 1000",
            "8BitMIME",
            "SMTPUTF8",
            "DSN",
            "STARTTLS",
            "AUTH LOGIN PLAIN",
            "X-ODD a b",
        ]);
        let expected = Offer {
            pipelining: true,
            size: Some(Some(1000)),
            eight_bit_mime: true,
            smtp_utf8: true,
            dsn: true,
            starttls: true,
            auth_plain: true,
            auth_login: true,
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn the_first_line_offers_nothing() {
        assert_eq!(offer(&[]), Offer::default());
    }

    #[test]
    fn odd_parameters_are_survived() {
        for (line, size) in [
            ("SIZE", Some(None)),
            ("SIZE 0", Some(None)),
            ("SIZE 99999999999999999999999", Some(None)),
            ("SIZE -1", Some(None)),
            ("SIZES 5", None),
            ("", None),
        ] {
            assert_eq!(offer(&[line]).size, size, "{line:?}");
        }
        let old = offer(&["AUTH=LOGIN PLAIN"]);
        assert!(old.auth_login && old.auth_plain);
    }
}
