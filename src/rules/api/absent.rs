//! Databases that this build of the server cannot talk to.

use super::documented;
use crate::script::Fault;
use rhai::{EvalAltResult, Map, Module, NativeCallContext};

/// A namespace whose `connect` says what is missing.
pub(super) fn module(feature: &'static str) -> Module {
    let mut module = Module::new();
    let connect = move |call: NativeCallContext<'_>, _: Map| -> Result<(), Box<EvalAltResult>> {
        Err(Fault::new(
            format!("this vsmtp is built without {feature}"),
            format!("build it with `cargo build --release --features {feature}`, or take sqlite"),
        )
        .at(call.call_position()))
    };
    let comment = format!(
        "/// Not in this build of vsmtp: `cargo build --release --features {feature}` makes one that has it."
    );
    documented("connect", &["options: Map", "()"], &comment)
        .with_volatility(true)
        .set_into_module(&mut module, connect);
    module
}
