//! `state`: what a rule returns.

use crate::rules::Stage;
use crate::rules::object::Object;
use crate::rules::scene::with;
use crate::rules::state::{self, State};
use crate::script::Fault;
use crate::smtp::Reply;
use rhai::EvalAltResult;
use rhai::plugin::*;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

fn reply(code: &Object) -> std::result::Result<Reply, Fault> {
    match code {
        Object::Code(reply) => Ok(reply.clone()),
        other => Err(Fault::new(
            format!("a {} is no code", other.kind()),
            "give code(550, \"5.7.1\", \"text\") or \"550 5.7.1 text\"",
        )),
    }
}

/// Functions of a namespace say themselves where they were called.
fn raise<T>(call: &NativeCallContext<'_>, result: std::result::Result<T, Fault>) -> Result<T> {
    result.map_err(|fault| fault.at(call.call_position()))
}

#[export_module]
#[allow(
    clippy::unwrap_used,
    reason = "of the macro, on arguments whose type the engine has checked"
)]
pub(super) mod functions {
    /// Go on with the next rule.
    pub fn next() -> State {
        State::Next
    }

    /// End this stage, well. At `mail` the sender, at `rcpt` the recipient is then accepted as it stands: a sender of
    /// ours without authentication, a recipient that is not ours.
    #[rhai_fn(name = "accept")]
    pub fn accept() -> State {
        State::Accept(None)
    }

    /// The same, with a reply of your own (2xx).
    #[rhai_fn(name = "accept", return_raw)]
    pub fn accept_code(call: NativeCallContext<'_>, code: Object) -> Result<State> {
        raise(&call, reply(&code).and_then(State::accept))
    }

    /// The same, with a reply such as `"250 2.0.0 welcome"`.
    #[rhai_fn(name = "accept", return_raw)]
    pub fn accept_text(call: NativeCallContext<'_>, code: &str) -> Result<State> {
        raise(&call, state::parse_reply(code).and_then(State::accept))
    }

    /// End this stage, well, and skip every later rule: of the connection when given at `connect`, `helo` or
    /// `authenticate`, otherwise of this transaction. Accepts what `accept()` does; at `connect` it trusts the client with
    /// any sender and recipient.
    #[rhai_fn(name = "faccept")]
    pub fn faccept() -> State {
        State::Faccept(None)
    }

    /// The same, with a reply of your own (2xx).
    #[rhai_fn(name = "faccept", return_raw)]
    pub fn faccept_code(call: NativeCallContext<'_>, code: Object) -> Result<State> {
        raise(&call, reply(&code).and_then(State::faccept))
    }

    /// The same, with a reply such as `"250 2.0.0 welcome"`.
    #[rhai_fn(name = "faccept", return_raw)]
    pub fn faccept_text(call: NativeCallContext<'_>, code: &str) -> Result<State> {
        raise(&call, state::parse_reply(code).and_then(State::faccept))
    }

    /// Refuse with `554 5.7.1`, at `authenticate` with `535 5.7.8`: at `connect` in place of the greeting, later as the
    /// answer to the command, after which the session goes on. At `postq` and `delivery` the recipients do not get the
    /// message, and its sender is told.
    #[rhai_fn(name = "deny")]
    pub fn deny() -> State {
        State::refusal()
    }

    /// Refuse with a reply of your own (4xx or 5xx); 421 closes the connection. At `postq` and `delivery` 4xx makes the
    /// message wait for the next attempt.
    #[rhai_fn(name = "deny", return_raw)]
    pub fn deny_code(call: NativeCallContext<'_>, code: Object) -> Result<State> {
        raise(&call, reply(&code).and_then(State::deny))
    }

    /// The same, with a reply such as `"550 5.7.1 not you"`.
    #[rhai_fn(name = "deny", return_raw)]
    pub fn deny_text(call: NativeCallContext<'_>, code: &str) -> Result<State> {
        raise(&call, state::parse_reply(code).and_then(State::deny))
    }

    /// Take the message, and keep it in the quarantine `name` in place of delivering it. Skips every later rule of this
    /// transaction. From `mail` on.
    #[rhai_fn(return_raw)]
    pub fn quarantine(call: NativeCallContext<'_>, name: &str) -> Result<State> {
        with(&call, Stage::Mail, |_| State::quarantine(name))
    }

    /// Whether two states are the same.
    #[rhai_fn(global, name = "==")]
    pub fn equals(a: State, b: State) -> bool {
        a == b
    }

    /// Whether two states differ.
    #[rhai_fn(global, name = "!=")]
    pub fn differs(a: State, b: State) -> bool {
        a != b
    }

    /// The name of the state.
    #[rhai_fn(global, name = "to_string", name = "to_debug", pure)]
    pub fn to_string(state: &mut State) -> String {
        state.name().to_owned()
    }
}
