//! What rules can call: one file for each namespace. The doc comment above each function is its entry in the manual.

#[cfg(not(all(feature = "mysql", feature = "postgresql", feature = "redis")))]
mod absent;
mod auth;
mod cmd;
mod code;
mod csv;
mod ctx;
mod database;
mod dns;
#[cfg(any(feature = "mysql", feature = "postgresql", feature = "redis"))]
mod endpoint;
mod envelop;
mod fs;
mod log;
mod msg;
#[cfg(feature = "mysql")]
mod mysql;
mod net;
mod objects;
mod options;
#[cfg(feature = "postgresql")]
mod postgresql;
#[cfg(feature = "redis")]
mod redis;
mod smtp;
mod sqlite;
mod state;
mod time;
pub(super) mod transport;
mod unix;
mod utils;

use crate::authentication::BackEnd;
use crate::script::Diagnostic;
use crate::services::Outcome;
use rhai::{Engine, FuncRegistration, Module, Shared, exported_module};
use std::path::Path;

use super::directive::SharedFilter;
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
    users: BackEnd,
) -> Result<(), Diagnostic> {
    engine.register_type_with_name::<Object>("object");
    engine.register_type_with_name::<State>("state");
    engine.register_type_with_name::<cmd::SharedCommand>("command");
    engine.register_type_with_name::<Outcome>("outcome");
    engine.register_type_with_name::<SharedFilter>("filter");
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
        ("auth", auth::module(users)),
        ("cmd", exported_module!(cmd::functions)),
        ("code", code),
        ("csv", exported_module!(csv::functions)),
        ("ctx", exported_module!(ctx::functions)),
        ("dns", exported_module!(dns::functions)),
        ("envelop", exported_module!(envelop::functions)),
        ("fs", exported_module!(fs::functions)),
        ("msg", exported_module!(msg::functions)),
        ("net", exported_module!(net::functions)),
        ("smtp", exported_module!(smtp::functions)),
        ("sqlite", exported_module!(sqlite::functions)),
        ("state", exported_module!(state::functions)),
        ("time", exported_module!(time::functions)),
        ("transport", exported_module!(transport::functions)),
        ("unix", exported_module!(unix::functions)),
        ("utils", exported_module!(utils::functions)),
    ] {
        register_namespace(engine, name, module);
    }
    register_servers(engine);
    Ok(())
}

/// The databases behind a server, as far as this build has them.
fn register_servers(engine: &mut Engine) {
    #[cfg(feature = "mysql")]
    let mysql = exported_module!(mysql::functions);
    #[cfg(not(feature = "mysql"))]
    let mysql = absent::module("mysql");
    #[cfg(feature = "postgresql")]
    let postgresql = exported_module!(postgresql::functions);
    #[cfg(not(feature = "postgresql"))]
    let postgresql = absent::module("postgresql");
    #[cfg(feature = "redis")]
    let redis = exported_module!(redis::functions);
    #[cfg(not(feature = "redis"))]
    let redis = absent::module("redis");
    #[cfg(feature = "redis")]
    engine.register_type_with_name::<self::redis::SharedRedis>("redis");
    register_namespace(engine, "mysql", mysql);
    register_namespace(engine, "postgresql", postgresql);
    register_namespace(engine, "redis", redis);
}

fn register_namespace(engine: &mut Engine, name: &str, mut module: Module) {
    // Native functions know themselves by this in what they report.
    module.set_id(name);
    engine.register_static_module(name, Shared::new(module));
}

/// A function that carries something with it and so cannot be exported: of these `parameters`, each as in `"level: &str"`,
/// and with the type of its result behind them. `comment` is its page of the manual.
fn documented(name: &str, parameters: &[&str], comment: &str) -> FuncRegistration {
    FuncRegistration::new(name)
        .with_params_info(parameters)
        .with_comments([comment])
}

/// The constants of `code`, and the replies that they stand for.
pub(super) fn codes() -> impl Iterator<Item = (&'static str, String)> {
    code::CODES
        .iter()
        .map(|(name, code, status, text)| (*name, format!("{code} {status} {text}")))
}

/// What a namespace is about, in the words of its file.
pub(super) fn summary(namespace: &str) -> &'static str {
    let file = match namespace {
        "auth" => include_str!("auth.rs"),
        "cmd" => include_str!("cmd.rs"),
        "code" => include_str!("code.rs"),
        "csv" => include_str!("csv.rs"),
        "ctx" => include_str!("ctx.rs"),
        "dns" => include_str!("dns.rs"),
        "envelop" => include_str!("envelop.rs"),
        "fs" => include_str!("fs.rs"),
        "global" => include_str!("objects.rs"),
        "msg" => include_str!("msg.rs"),
        "mysql" => include_str!("mysql.rs"),
        "net" => include_str!("net.rs"),
        "postgresql" => include_str!("postgresql.rs"),
        "redis" => include_str!("redis.rs"),
        "smtp" => include_str!("smtp.rs"),
        "sqlite" => include_str!("sqlite.rs"),
        "state" => include_str!("state.rs"),
        "time" => include_str!("time.rs"),
        "transport" => include_str!("transport.rs"),
        "unix" => include_str!("unix.rs"),
        "utils" => include_str!("utils.rs"),
        _ => "",
    };
    let line = file.lines().next().unwrap_or_default();
    let line = line.trim_start_matches("//! ");
    let named = line.starts_with('`');
    let summary = line
        .split_once(": ")
        .filter(|_| named)
        .map_or(line, |(_, summary)| summary);
    summary
        .split(". ")
        .next()
        .unwrap_or(summary)
        .trim_end_matches('.')
}
