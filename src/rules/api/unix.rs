//! `unix`: the machine that the server runs on.

use crate::rules::object::text;
use crate::script::Fault;
use nix::unistd::{User, gethostname};
use rhai::plugin::*;
use rhai::{Dynamic, EvalAltResult};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

#[export_module]
pub(super) mod functions {
    /// Whether the machine has a user of that name.
    #[rhai_fn(volatile, return_raw)]
    pub fn user_exist(call: NativeCallContext<'_>, name: Dynamic) -> Result<bool> {
        let name = text(&name).map_err(|fault| fault.at(call.call_position()))?;
        if name.contains('\0') {
            return Ok(false);
        }
        let user = User::from_name(&name).map_err(|error| {
            Fault::new(
                format!("the users of this machine cannot be looked up: {error}"),
                "check nsswitch.conf",
            )
        })?;
        Ok(user.is_some())
    }

    /// The name of the machine.
    #[rhai_fn(volatile, return_raw)]
    pub fn hostname() -> Result<String> {
        let name = gethostname().map_err(|error| {
            Fault::new(
                format!("the machine has no name: {error}"),
                "set a host name",
            )
        })?;
        Ok(name.to_string_lossy().into_owned())
    }
}
