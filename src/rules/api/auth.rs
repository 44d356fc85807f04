//! `auth`: who the client is, and whether that is true.

use super::documented;
use crate::authentication::BackEnd;
use crate::rules::Stage;
use crate::rules::scene::{Scene, with};
use crate::rules::state::State;
use crate::script::{Fault, wait};
use rhai::plugin::*;
use rhai::{EvalAltResult, Map, Module, exported_module};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// The namespace, whose `unix_users()` asks about `users`.
pub(super) fn module(users: BackEnd) -> Module {
    let mut module = exported_module!(functions);
    let users = rhai::Shared::new(users);
    for name in ["unix_users", "unix_user"] {
        let users = rhai::Shared::clone(&users);
        let verify = move |call: NativeCallContext<'_>| {
            with(&call, Stage::Authenticate, |scene| {
                unix_users(&call, &users, scene)
            })
        };
        documented(name, &["State"], UNIX_USERS)
            .with_volatility(true)
            .set_into_module(&mut module, verify);
    }
    module
}

const UNIX_USERS: &str = "Verifies the credentials as those of a user of this machine, and returns `accept` where the \
    password is right, otherwise `deny`. So a rule of `authenticate` can be as short as \
    `rule \"sasl\" || auth::unix_users()`, also spelled `auth::unix_user()`. It asks saslauthd, which may take ten seconds; \
    where that does not answer the client is told to come back (451). The user is asked about as the client gave it, with a \
    domain when there was one. At `authenticate`.";

fn unix_users(
    call: &NativeCallContext<'_>,
    users: &BackEnd,
    scene: &mut Scene,
) -> std::result::Result<State, Fault> {
    let credentials = scene.transaction.credentials.as_mut().ok_or_else(|| {
        Fault::new(
            format!("there are no credentials to verify at {}", scene.stage),
            "call it at authenticate, and later ask auth::is_authenticated()",
        )
    })?;
    match wait(call, || users.verify(credentials)) {
        Ok(true) => Ok(State::Accept(None)),
        Ok(false) => Ok(State::refusal()),
        Err(error) => Err(Fault::new(
            error.to_string(),
            "see that saslauthd runs and that server.smtp.auth.saslauthd is its socket",
        )),
    }
}

#[export_module]
mod functions {
    /// Whether the client has proved who it is, by a password that was verified. From `connect` on.
    #[rhai_fn(return_raw)]
    pub fn is_authenticated(call: NativeCallContext<'_>) -> Result<bool> {
        with(&call, Stage::Connect, |scene| {
            Ok(scene.transaction.connection.authenticated.is_some())
        })
    }

    /// Who the client says that it is, and at later stages who it has proved to be: a map of `user` and `mechanism`, as in
    /// `#{ user: "john", mechanism: "PLAIN" }`. No rule gets to see the password. An error at later stages when the client
    /// is not authenticated. From `authenticate` on.
    #[rhai_fn(return_raw)]
    pub fn credentials(call: NativeCallContext<'_>) -> Result<Map> {
        with(&call, Stage::Authenticate, |scene| {
            let presented = scene.transaction.credentials.as_ref();
            let proved = scene.transaction.connection.authenticated.as_ref();
            let (user, mechanism) = presented
                .map(|credentials| (credentials.user(), credentials.mechanism()))
                .or_else(|| proved.map(|user| (user.as_str(), user.mechanism())))
                .ok_or_else(|| {
                    Fault::new(
                        "the client is not authenticated",
                        "ask auth::is_authenticated() first",
                    )
                })?;
            Ok([("user", user), ("mechanism", mechanism)]
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect())
        })
    }
}
