//! What rules can call: one file for each namespace. The doc comment above each function is its entry in the manual.

mod auth;
mod cmd;
mod code;
mod csv;
mod ctx;
mod database;
mod dns;
mod envelop;
mod fs;
mod log;
mod msg;
mod net;
mod objects;
mod options;
mod sqlite;
mod state;
mod time;
pub(super) mod transport;
mod unix;
mod utils;

use crate::authentication::Saslauthd;
use crate::script::Diagnostic;
use crate::services::Outcome;
use rhai::{Engine, Module, Shared, exported_module};
use std::path::Path;

use super::object::Object;
use super::state::State;

/// Makes all of it known to `engine`.
///
/// # Errors
/// `log_file` cannot be opened.
pub(super) fn register(
    engine: &mut Engine,
    root: &Path,
    log_file: Option<&Path>,
    saslauthd: Saslauthd,
) -> Result<(), Diagnostic> {
    engine.register_type_with_name::<Object>("object");
    engine.register_type_with_name::<State>("state");
    engine.register_type_with_name::<cmd::SharedCommand>("command");
    engine.register_type_with_name::<Outcome>("status");
    engine.register_type_with_name::<csv::SharedRecords>("csv");
    engine.register_type_with_name::<database::SharedDatabase>("database");
    engine.register_global_module(Shared::new(exported_module!(database::functions)));
    engine.register_global_module(Shared::new(exported_module!(objects::functions)));
    objects::register_file(engine, root);
    log::register(engine, log_file).map_err(|error| Diagnostic {
        file: log_file.map(Path::to_owned),
        position: None,
        what: format!("the log of the rules cannot be opened: {error}"),
        remedy: "see app.logs.filename".to_owned(),
    })?;
    let code = code::module().map_err(|fault| Diagnostic {
        file: None,
        position: None,
        what: fault.what,
        remedy: fault.remedy,
    })?;
    for (name, module) in [
        ("auth", auth::module(saslauthd)),
        ("cmd", exported_module!(cmd::functions)),
        ("code", code),
        ("csv", exported_module!(csv::functions)),
        ("ctx", exported_module!(ctx::functions)),
        ("dns", exported_module!(dns::functions)),
        ("envelop", exported_module!(envelop::functions)),
        ("fs", exported_module!(fs::functions)),
        ("msg", exported_module!(msg::functions)),
        ("net", exported_module!(net::functions)),
        ("sqlite", exported_module!(sqlite::functions)),
        ("state", exported_module!(state::functions)),
        ("time", exported_module!(time::functions)),
        ("transport", exported_module!(transport::functions)),
        ("unix", exported_module!(unix::functions)),
        ("utils", exported_module!(utils::functions)),
    ] {
        register_namespace(engine, name, module);
    }
    Ok(())
}

fn register_namespace(engine: &mut Engine, name: &str, mut module: Module) {
    // Native functions know themselves by this in what they report.
    module.set_id(name);
    engine.register_static_module(name, Shared::new(module));
}

/// The names of the constants of `code`.
pub(super) fn codes() -> impl Iterator<Item = &'static str> {
    code::CODES.iter().map(|(name, ..)| *name)
}
