//! What content filters give back, on listeners of its own: a message takes the place of the one that waits for it, which
//! it names by a token. Nothing else is taken there, so that nobody can relay by them; and no rule runs, since those of
//! the message run from the queue.

use super::connection::Connection;
use super::reception::refusal;
use crate::mail::{Address, Message, NoToken, Status, TOKEN_FIELD, Token, Transaction, trace};
use crate::queue::{Draft, Front, GivenBack};
use crate::smtp::{Answer, Reply};
use jiff::Zoned;

const UNEXPECTED: Reply = Reply::fixed(
    550,
    Some(Status::new(5, 7, 1)),
    "Only messages that were sent from here are taken here",
);

impl<S> Connection<S> {
    /// Makes what a filter gave back durable, in the place of what it was given.
    pub(super) async fn take_back(&mut self, draft: Draft, mut message: Message) -> Answer {
        let Ok(token) = token(&mut message) else {
            tracing::warn!("refused: no message of ours waits for this one");
            return Answer::Refuse(UNEXPECTED);
        };
        let id = draft.id();
        let transaction = self.session.transaction();
        let received = trace::received(transaction, id, &Zoned::now());
        let front = Front::new(received, message.edition().as_ref());
        let recipients = recipients(transaction);
        let queue = &self.shared.queue;
        match queue.give_back(&token, draft, front, &recipients).await {
            Ok(GivenBack::InPlaceOf(of)) => {
                tracing::info!(%id, %of, "a content filter gave a message back");
                Answer::Proceed
            }
            Ok(GivenBack::Again(of)) => {
                tracing::warn!(%of, "a content filter gave a message back again: not kept");
                Answer::Proceed
            }
            Ok(GivenBack::Unexpected) => {
                let id = token.id;
                tracing::warn!(%id, "refused: no message of ours waits for this one");
                Answer::Refuse(UNEXPECTED)
            }
            Err(error) => Answer::Refuse(refusal(&error)),
        }
    }
}

/// Takes the token out of the header section, which has exactly one.
fn token(message: &mut Message) -> Result<Token, NoToken> {
    let header = message.header().map_err(|_| NoToken)?;
    let values = header.named(TOKEN_FIELD).map(|field| field.value());
    let values: Vec<String> = values
        .map(|v| String::from_utf8_lossy(&v).into_owned())
        .collect();
    let [value] = values.as_slice() else {
        return Err(NoToken);
    };
    let token = value.trim().parse()?;
    header.remove(TOKEN_FIELD, None);
    Ok(token)
}

fn recipients(transaction: &Transaction) -> Vec<Address> {
    let envelope = transaction.envelope.as_ref();
    let recipients = envelope
        .into_iter()
        .flat_map(|envelope| &envelope.recipients);
    recipients
        .map(|recipient| recipient.address.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Message, NoToken, token};
    use std::io::Read;
    use std::sync::Arc;

    #[test]
    fn one_token_is_taken_out_of_the_header_section() {
        let good = "00000000000000ab-000102030405060708090a0b0c0d0eff";
        for (header, expected) in [
            (
                format!("A: 1\r\nX-VSMTP-DELEGATION: {good}\r\nB: 2\r\n"),
                true,
            ),
            (
                format!("x-vsmtp-delegation:\r\n {good} \r\nA: 1\r\nB: 2\r\n"),
                true,
            ),
            (
                format!("X-VSMTP-DELEGATION: {good}\r\nX-Vsmtp-Delegation: {good}\r\n"),
                false,
            ),
            ("X-VSMTP-DELEGATION: 1\r\n".to_owned(), false),
            ("A: 1\r\nB: 2\r\n".to_owned(), false),
        ] {
            let content = format!("{header}\r\nX-VSMTP-DELEGATION: {good}\r\n");
            let mut message = Message::new(Arc::new(content.clone().into_bytes()));
            let found = token(&mut message);
            let mut octets = String::new();
            message.octets().read_to_string(&mut octets).unwrap();
            if expected {
                assert_eq!(found.unwrap().to_string(), good);
                let rest = format!("A: 1\r\nB: 2\r\n\r\nX-VSMTP-DELEGATION: {good}\r\n");
                assert_eq!(octets, rest);
            } else {
                assert_eq!(found, Err(NoToken), "{header}");
                assert_eq!(octets, content);
            }
        }
    }
}
