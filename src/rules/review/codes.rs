//! Codes that are written out and contradict their state, or are none.

use super::root;
use crate::rules::state::{self, State};
use crate::script::Fault;
use crate::smtp::Reply;
use rhai::{Expr, FnCallExpr};

/// What is wrong with a code that is written out.
pub(super) fn contradiction(call: &FnCallExpr) -> Option<Fault> {
    match (
        root(&call.namespace),
        call.name.as_str(),
        call.args.as_slice(),
    ) {
        ("", "code", arguments) => literal_code(arguments)?.err(),
        // A code() that is wrong in itself is met by itself.
        ("state", "accept", [code]) => misfit(code, State::accept),
        ("state", "deny", [code]) => misfit(code, State::deny),
        ("state", "faccept", [code]) => misfit(code, State::faccept),
        _ => None,
    }
}

fn misfit(argument: &Expr, state: fn(Reply) -> Result<State, Fault>) -> Option<Fault> {
    match literal_reply(argument)? {
        Ok(reply) => state(reply).err(),
        Err(fault) => matches!(argument, Expr::StringConstant(..)).then_some(fault),
    }
}

/// The reply that an argument of a state stands for; `None` where that is not written out.
fn literal_reply(argument: &Expr) -> Option<Result<Reply, Fault>> {
    match argument {
        Expr::StringConstant(text, _) => Some(state::parse_reply(text)),
        Expr::FnCall(call, _) if call.namespace.is_empty() && call.name == "code" => {
            literal_code(&call.args)
        }
        _ => None,
    }
}

fn literal_code(arguments: &[Expr]) -> Option<Result<Reply, Fault>> {
    match arguments {
        [Expr::StringConstant(text, _)] => Some(state::parse_reply(text)),
        [
            Expr::IntegerConstant(number, _),
            Expr::StringConstant(text, _),
        ] => Some(state::reply(*number, None, text)),
        [
            Expr::IntegerConstant(number, _),
            Expr::StringConstant(status, _),
            Expr::StringConstant(text, _),
        ] => Some(state::reply(*number, Some(status), text)),
        _ => None,
    }
}
