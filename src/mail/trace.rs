//! The trace header field `Received` (RFC 5321 §4.4).
//!
//! Nothing that a client said reaches the field unchecked: its own name is reduced to the characters of names and
//! literals, and an [`Address`](super::Address) holds no control character.

use super::{MessageId, Submitter, Transaction};
use jiff::Zoned;
use jiff::fmt::rfc2822;
use std::net::IpAddr;

/// The length that a line should not reach (RFC 5322 §2.1.1).
const LINE_MAX: usize = 78;

/// The `Received` field for a message that `transaction` brought in, folded, with its CRLF.
///
/// Gives the client's own name and its address, our name, the protocol (RFC 3848, RFC 6531 §4.3), TLS version and
/// cipher, the queue id, the recipient when there is just one (naming more would disclose blind copies, RFC 5321
/// §7.2), and the date.
pub fn received(transaction: &Transaction, id: MessageId, date: &Zoned) -> String {
    let connection = &transaction.connection;
    let helo = connection.helo.as_ref().map_or("", |helo| &helo.name);
    let mut clauses = vec![
        format!("from {}", printable_name(helo)),
        format!("({})", address_literal(connection.client.ip())),
        format!("by {}", printable_name(&connection.server_name)),
        format!("with {}", protocol(transaction)),
    ];
    if let Some(tls) = &connection.tls {
        clauses.push(format!("({} {})", tls.version, tls.cipher));
    }
    clauses.push(format!("id {id}"));
    let recipients = transaction
        .envelope
        .as_ref()
        .map(|e| e.recipients.as_slice());
    if let Some([only]) = recipients {
        clauses.push(format!("for <{}>", only.address));
    }
    if let Some(last) = clauses.last_mut() {
        last.push(';');
    }
    // Fails for years before 0 only.
    clauses.push(rfc2822::to_string(date).unwrap_or_default());
    folded("Received:", &clauses)
}

/// The `Received` field for a message that `submitter` handed in on this machine: the user stands in a comment, since the
/// clauses of RFC 5321 §4.4 are about hosts.
pub fn submitted(
    submitter: &Submitter,
    transaction: &Transaction,
    id: MessageId,
    date: &Zoned,
) -> String {
    let name = printable_name(&transaction.connection.server_name);
    let clauses = [
        format!("by {name}"),
        format!("(from {submitter})"),
        format!("id {id};"),
        // Fails for years before 0 only.
        rfc2822::to_string(date).unwrap_or_default(),
    ];
    folded("Received:", &clauses)
}

/// The `with` clause: RFC 3848, and RFC 6531 §4.3 for a transaction with SMTPUTF8.
fn protocol(transaction: &Transaction) -> &'static str {
    let connection = &transaction.connection;
    let utf8 = transaction.envelope.as_ref().is_some_and(|e| e.smtputf8);
    let extended = connection.helo.as_ref().is_some_and(|helo| helo.extended);
    let tls = connection.tls.is_some();
    match (utf8, extended, tls, connection.authenticated.is_some()) {
        (true, _, false, false) => "UTF8SMTP",
        (true, _, true, false) => "UTF8SMTPS",
        (true, _, false, true) => "UTF8SMTPA",
        (true, _, true, true) => "UTF8SMTPSA",
        (false, true, false, false) => "ESMTP",
        (false, true, true, false) => "ESMTPS",
        (false, true, false, true) => "ESMTPA",
        (false, true, true, true) => "ESMTPSA",
        // No keyword was registered for HELO under TLS; the comment with version and cipher tells it.
        (false, false, ..) => "SMTP",
    }
}

/// `address-literal` of RFC 5321 §4.1.3; an IPv4 client of an IPv6 socket is an IPv4 client.
fn address_literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// `name` with a question mark for each character that is not one of a domain or an address literal.
fn printable_name(name: &str) -> String {
    if name.is_empty() {
        return "unknown".to_owned();
    }
    name.chars()
        .map(|c| match c {
            '.' | '-' | '_' | ':' | '[' | ']' => c,
            _ if c.is_ascii_alphanumeric() => c,
            _ => '?',
        })
        .collect()
}

/// `name` and `clauses`, with a fold wherever the next clause would make the line too long.
fn folded(name: &str, clauses: &[String]) -> String {
    let mut field = name.to_owned();
    let mut line_length = field.len();
    for clause in clauses {
        if line_length + 1 + clause.len() < LINE_MAX {
            field.push(' ');
        } else {
            field.push_str("\r\n\t");
            line_length = 0;
        }
        field.push_str(clause);
        line_length += 1 + clause.len();
    }
    field.push_str("\r\n");
    field
}

#[cfg(test)]
mod tests {
    use super::{LINE_MAX, received, submitted};
    use crate::mail::{
        Address, Connection, Credentials, Envelope, Helo, MessageId, Service, Submitter,
        TlsSession, Transaction,
    };
    use jiff::{Timestamp, tz::TimeZone};

    fn transaction(client: &str, helo: &str, extended: bool) -> Transaction {
        let connection = Connection {
            client: client.parse().unwrap(),
            server: "192.0.2.25:25".parse().unwrap(),
            service: Service::Relay,
            opened: Timestamp::UNIX_EPOCH,
            server_name: "mx.example.com".into(),
            tls: None,
            helo: Some(Helo {
                name: helo.to_owned(),
                extended,
            }),
            authenticated: None,
        };
        let mut transaction = Transaction::new(connection);
        transaction.envelope = Some(Envelope {
            recipients: vec![Address::parse("jones@example.com").unwrap().into()],
            ..Envelope::default()
        });
        transaction
    }

    fn field(transaction: &Transaction) -> String {
        let date = Timestamp::from_second(1_700_000_000).unwrap();
        received(transaction, MessageId(255), &date.to_zoned(TimeZone::UTC))
    }

    #[test]
    fn tells_who_where_how_and_when() {
        let mut transaction = transaction("198.51.100.7:4000", "client.example.org", true);
        transaction.connection.tls = Some(TlsSession {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            sni: None,
        });
        assert_eq!(
            field(&transaction),
            "Received: from client.example.org ([198.51.100.7]) by mx.example.com\r\n\
             \twith ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384) id 00000000000000ff\r\n\
             \tfor <jones@example.com>; Tue, 14 Nov 2023 22:13:20 +0000\r\n"
        );
    }

    #[test]
    fn tells_which_user_of_this_machine() {
        let transaction = transaction("127.0.0.1:0", "localhost", true);
        let submitter = Submitter {
            uid: 1000,
            user: Some("john".to_owned()),
        };
        let date = Timestamp::from_second(1_700_000_000).unwrap();
        let date = date.to_zoned(TimeZone::UTC);
        assert_eq!(
            submitted(&submitter, &transaction, MessageId(255), &date),
            "Received: by mx.example.com (from user john, uid 1000) id 00000000000000ff;\r\n\
             \tTue, 14 Nov 2023 22:13:20 +0000\r\n"
        );
    }

    #[test]
    fn names_protocol_and_address_as_registered() {
        for (client, extended, utf8, expected) in [
            (
                "198.51.100.7:1",
                false,
                false,
                "([198.51.100.7]) by mx.example.com with SMTP id",
            ),
            (
                "[2001:db8::1]:1",
                true,
                false,
                "([IPv6:2001:db8::1]) by mx.example.com with ESMTP id",
            ),
            (
                "[::ffff:192.0.2.9]:1",
                true,
                true,
                "([192.0.2.9]) by mx.example.com with UTF8SMTP id",
            ),
        ] {
            let mut transaction = transaction(client, "x", extended);
            transaction.envelope.as_mut().unwrap().smtputf8 = utf8;
            let unfolded = field(&transaction).replace("\r\n\t", " ");
            assert!(unfolded.contains(expected), "{unfolded}");
        }
    }

    #[test]
    fn tells_that_the_client_is_authenticated_and_not_as_whom() {
        let mut credentials = Credentials::new("PLAIN", "john", "secret");
        credentials.confirm();
        let mut transaction = transaction("198.51.100.7:1", "x", true);
        transaction.connection.authenticated = credentials.into_user();
        let secured = TlsSession {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            sni: None,
        };
        for (tls, utf8, expected) in [
            (None, false, " with ESMTPA id"),
            (None, true, " with UTF8SMTPA id"),
            (Some(secured.clone()), false, " with ESMTPSA (TLSv1.3 "),
            (Some(secured), true, " with UTF8SMTPSA (TLSv1.3 "),
        ] {
            transaction.connection.tls = tls;
            transaction.envelope.as_mut().unwrap().smtputf8 = utf8;
            let unfolded = field(&transaction).replace("\r\n\t", " ");
            assert!(unfolded.contains(expected), "{unfolded}");
            assert!(!unfolded.contains("john"), "{unfolded}");
        }
    }

    #[test]
    fn discloses_no_list_of_recipients() {
        let mut transaction = transaction("198.51.100.7:1", "x", true);
        let recipients = &mut transaction.envelope.as_mut().unwrap().recipients;
        recipients.push(Address::parse("green@example.com").unwrap().into());
        assert!(!field(&transaction).contains("example.com>"));
    }

    #[test]
    fn no_name_of_a_client_breaks_out_of_its_place() {
        let hostile = "a)\r\nX-Evil: yes\r\n\r\n(\u{e9}\0;";
        let field = field(&transaction("198.51.100.7:1", hostile, true));
        assert!(
            field.starts_with("Received: from a???X-Evil:?yes???????? ("),
            "{field}"
        );
        assert!(
            field
                .trim_end()
                .split("\r\n")
                .skip(1)
                .all(|line| line.starts_with('\t'))
        );
    }

    #[test]
    fn folds_before_the_line_is_too_long() {
        let field = field(&transaction(
            "[2001:db8::1:2:3:4]:1",
            &"long.".repeat(8),
            true,
        ));
        assert!(field.lines().all(|line| line.len() < LINE_MAX), "{field}");
    }
}
