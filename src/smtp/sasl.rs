//! SASL (RFC 4422) as AUTH carries it (RFC 4954): the mechanisms, and one exchange from AUTH to credentials.
//!
//! Only the form of what the client says is judged here; whether it is true is for policy and its back ends.

use crate::mail::Credentials;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt;

/// `server.smtp.auth`: who may try to authenticate, how, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// `mechanisms`, in the order that EHLO lists them.
    pub mechanisms: Vec<Mechanism>,
    /// `enable_dangerous_mechanism_in_clair`: passwords may cross the network in clear.
    pub in_clear: bool,
    /// `attempt_count_max`: so many may fail, the next ends the session.
    pub attempts_max: u32,
}

impl Authentication {
    /// The mechanisms that clients can use, in the order that EHLO lists them.
    pub(super) fn offered(&self) -> impl Iterator<Item = Mechanism> {
        let works = |mechanism: &Mechanism| mechanism.exchange().is_some();
        self.mechanisms.iter().copied().filter(works)
    }

    /// An exchange by the mechanism of that name, in any case, if it is offered.
    pub(super) fn exchange(&self, name: &str) -> Option<Exchange> {
        self.mechanisms
            .iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))?
            .exchange()
    }
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// draft-murchison-sasl-login: obsolete, and all that some clients know.
    Login,
    /// RFC 2195. Known and never offered: it would need passwords that are kept in clear, and no back end keeps such.
    CramMd5,
}

impl Mechanism {
    /// The name that AUTH knows it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::CramMd5 => "CRAM-MD5",
        }
    }

    /// An exchange by this mechanism, if it works here.
    const fn exchange(self) -> Option<Exchange> {
        match self {
            Self::Plain => Some(Exchange::Plain),
            Self::Login => Some(Exchange::LoginUser),
            Self::CramMd5 => None,
        }
    }
}

/// What the client said, in base64. It may hold a password, so nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Response(String);

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Response")
    }
}

/// Why an exchange ends without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SaslError {
    /// The client sent `*`.
    #[error("cancelled")]
    Cancelled,
    #[error("not base64")]
    Base64,
    /// Base64 of what the mechanism does not say.
    #[error("malformed message")]
    Malformed,
    /// The client wants to act for another user than the one whose password it gives.
    #[error("authorization identity is another's")]
    OtherIdentity,
}

/// What comes of a response.
#[derive(Debug)]
pub(super) enum Progress {
    /// Send the challenge, in base64, and hand the next response to the exchange.
    Challenge(&'static str, Exchange),
    /// The client has said all.
    Complete(Credentials),
}

/// What the client is to say next.
#[derive(Debug)]
pub(super) enum Exchange {
    /// The message of PLAIN.
    Plain,
    /// The user name of LOGIN.
    LoginUser,
    /// The password of LOGIN, for this user.
    LoginPassword(String),
}

type Step = Result<Progress, SaslError>;

impl Response {
    /// `text` as it came.
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The message of an initial response, where `=` stands for the empty one (RFC 4954 §4).
    fn initial(&self) -> Result<Vec<u8>, SaslError> {
        match self.0.as_str() {
            "=" => Ok(Vec::new()),
            _ => self.message(),
        }
    }

    fn message(&self) -> Result<Vec<u8>, SaslError> {
        BASE64.decode(&self.0).map_err(|_| SaslError::Base64)
    }
}

impl Exchange {
    /// Begins with what came behind the mechanism's name in AUTH.
    pub(super) fn begin(self, initial: Option<&Response>) -> Step {
        match initial {
            Some(response) => self.take(&response.initial()?),
            None => Ok(self.challenge()),
        }
    }

    /// Goes on with the line that answered the challenge.
    pub(super) fn respond(self, response: &Response) -> Step {
        if response.0 == "*" {
            return Err(SaslError::Cancelled);
        }
        let message = response.message()?;
        self.take(&message)
    }

    fn challenge(self) -> Progress {
        let challenge = match self {
            Self::Plain => "",
            // "Username:" and "Password:", which clients compare to the letter.
            Self::LoginUser => "VXNlcm5hbWU6",
            Self::LoginPassword(_) => "UGFzc3dvcmQ6",
        };
        Progress::Challenge(challenge, self)
    }

    fn take(self, message: &[u8]) -> Step {
        match self {
            Self::Plain => plain(message).map(Progress::Complete),
            Self::LoginUser => Ok(Self::LoginPassword(user(message)?.to_owned()).challenge()),
            Self::LoginPassword(user) => {
                let password = password(message)?;
                let mechanism = Mechanism::Login.name();
                Ok(Progress::Complete(Credentials::new(
                    mechanism, &user, password,
                )))
            }
        }
    }
}

/// `message = [authzid] UTF8NUL authcid UTF8NUL passwd` (RFC 4616 §2).
fn plain(message: &[u8]) -> Result<Credentials, SaslError> {
    let mut parts = message.split(|octet| *octet == 0);
    let (Some(authorization), Some(authentication), Some(secret), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::Malformed);
    };
    if !authorization.is_empty() && authorization != authentication {
        return Err(SaslError::OtherIdentity);
    }
    let mechanism = Mechanism::Plain.name();
    Ok(Credentials::new(
        mechanism,
        user(authentication)?,
        password(secret)?,
    ))
}

/// A user name. No control character stands in one (RFC 4013 §2.3), and none may cut it short on its way to a back end.
fn user(message: &[u8]) -> Result<&str, SaslError> {
    let name = std::str::from_utf8(message).map_err(|_| SaslError::Malformed)?;
    match name.contains(char::is_control) {
        true => Err(SaslError::Malformed),
        false => Ok(name),
    }
}

/// A password, which an NUL would cut short.
fn password(message: &[u8]) -> Result<&str, SaslError> {
    let password = std::str::from_utf8(message).map_err(|_| SaslError::Malformed)?;
    match password.contains('\0') {
        true => Err(SaslError::Malformed),
        false => Ok(password),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// User and password after `responses`, of which the first stands in AUTH itself unless it is `None`.
    fn run(
        mechanism: Mechanism,
        initial: Option<&str>,
        responses: &[&str],
    ) -> Result<(String, String), SaslError> {
        let initial = initial.map(Response::new);
        let mut progress = mechanism.exchange().unwrap().begin(initial.as_ref())?;
        for response in responses {
            let Progress::Challenge(_, exchange) = progress else {
                panic!("nobody waits for {response}");
            };
            progress = exchange.respond(&Response::new(response))?;
        }
        match progress {
            Progress::Complete(credentials) => Ok((
                credentials.user().to_owned(),
                credentials.password().to_owned(),
            )),
            Progress::Challenge(challenge, _) => panic!("and {challenge}?"),
        }
    }

    fn encoded(text: &str) -> String {
        BASE64.encode(text)
    }

    #[test]
    fn plain_has_one_message() {
        let malformed = Err(SaslError::Malformed);
        let john = Ok(("john".to_owned(), "secret".to_owned()));
        for (message, expected) in [
            ("\0john\0secret", john.clone()),
            ("john\0john\0secret", john),
            ("\0john\0", Ok(("john".to_owned(), String::new()))),
            (
                "\0j\u{fc}rgen\0p\u{e4}ss w",
                Ok(("j\u{fc}rgen".to_owned(), "p\u{e4}ss w".to_owned())),
            ),
            ("root\0john\0secret", Err(SaslError::OtherIdentity)),
            ("", malformed.clone()),
            ("john\0secret", malformed.clone()),
            ("\0john\0secret\0", malformed.clone()),
            ("\0jo\nhn\0secret", malformed),
        ] {
            let message = encoded(message);
            let initial = match message.as_str() {
                "" => "=",
                message => message,
            };
            assert_eq!(
                run(Mechanism::Plain, Some(initial), &[]),
                expected,
                "{message}"
            );
            assert_eq!(
                run(Mechanism::Plain, None, &[&message]),
                expected,
                "{message}"
            );
        }
    }

    #[test]
    fn login_asks_twice() {
        let (user, password) = (encoded("john"), encoded("secret"));
        let john = Ok(("john".to_owned(), "secret".to_owned()));
        let login = |initial, responses: &[&str]| run(Mechanism::Login, initial, responses);
        assert_eq!(login(None, &[&user, &password]), john);
        assert_eq!(login(Some(&user), &[&password]), john);
        let nul = encoded("se\0cret");
        assert_eq!(login(Some(&user), &[&nul]), Err(SaslError::Malformed));
        assert_eq!(login(Some(&user), &["*"]), Err(SaslError::Cancelled));
        assert_eq!(login(None, &["*"]), Err(SaslError::Cancelled));
    }

    #[test]
    fn refuses_what_is_not_base64() {
        for text in ["*", "AGpvaG4Ac2VjcmV", "AGpv aG4=", "a", "====", "\u{e9}"] {
            let outcome = run(Mechanism::Plain, Some(text), &[]);
            assert_eq!(outcome, Err(SaslError::Base64), "{text}");
        }
        // Only in AUTH itself does it stand for the empty response.
        assert_eq!(run(Mechanism::Plain, None, &["="]), Err(SaslError::Base64));
        let not_text = BASE64.encode(b"\0john\0\xff");
        let outcome = run(Mechanism::Plain, Some(&not_text), &[]);
        assert_eq!(outcome, Err(SaslError::Malformed));
    }

    #[test]
    fn nothing_prints_a_response() {
        assert_eq!(format!("{:?}", Response::new("secret")), "Response");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn takes_whatever_comes(message in proptest::collection::vec(any::<u8>(), 0..40)) {
            for text in [BASE64.encode(&message), String::from_utf8_lossy(&message).into_owned()] {
                for mechanism in [Mechanism::Plain, Mechanism::Login] {
                    let exchange = mechanism.exchange().unwrap();
                    let _ = exchange.begin(Some(&Response::new(&text)));
                }
            }
        }
    }
}
