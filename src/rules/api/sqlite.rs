//! `sqlite`: a database in a file, without a server.

use super::database::{self, SharedDatabase};
use super::options::Options;
use crate::rules::setting::Setting;
use crate::script::Fault;
use crate::services::Sqlite;
use rhai::plugin::*;
use rhai::{EvalAltResult, Map};
use std::sync::Arc;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// How long a statement may take when nothing is said.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Connections when nothing is said. Writers wait for each other whatever their number.
const CONNECTIONS: usize = 4;

#[export_module]
pub(super) mod functions {
    /// A database in a file. Make it once, in a file of `services`, and ask it with `query`:
    ///
    /// ```vsl services/greylist.vsl
    /// export const db = sqlite::connect(#{
    ///     path: "greylist.db",
    ///     schema: `CREATE TABLE IF NOT EXISTS seen (
    ///         client TEXT, sender TEXT, recipient TEXT, at INTEGER NOT NULL DEFAULT (unixepoch()),
    ///         PRIMARY KEY (client, sender, recipient))`,
    ///     timeout: "5s",      // the default
    ///     connections: 4,     // the default: so many statements at once
    /// });
    /// ```
    ///
    /// A relative `path` begins at `app.dirpath`, where the server may write. The file is made by the first question that a
    /// rule asks, not when the rules are loaded, and each connection to it begins with the statements of `schema`. So a file
    /// that cannot be opened stops no start: the rule that asks fails (451).
    ///
    /// Many sessions may ask at once: the file is in WAL mode, those who read wait for nobody, and writers for each other at
    /// most as long as `timeout` says. A power failure may cost the last writes, never the file.
    #[rhai_fn(return_raw)]
    pub fn connect(call: NativeCallContext<'_>, options: Map) -> Result<SharedDatabase> {
        open(&call, options).map_err(|fault| fault.at(call.call_position()))
    }
}

fn open(call: &NativeCallContext<'_>, options: Map) -> std::result::Result<SharedDatabase, Fault> {
    let setting = Setting::of(call)?;
    let known = ["path", "schema", "timeout", "connections"];
    let options = Options::new("sqlite::connect", options, &known)?;
    let path = options.required_text("path", "\"greylist.db\"")?;
    let schema = options.text("schema", "\"CREATE TABLE IF NOT EXISTS …\"")?;
    if let Some(schema) = &schema {
        database::written_out(call, schema, "`schema` of sqlite::connect()")?;
    }
    Ok(Arc::new(Sqlite::new(
        setting.app.join(path),
        schema,
        options.timeout(TIMEOUT)?,
        options.connections(CONNECTIONS)?,
    )))
}
