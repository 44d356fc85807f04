//! `mysql`: databases of a MySQL or MariaDB server.

use super::database::SharedDatabase;
use super::endpoint;
use crate::services::Mysql;
use rhai::plugin::*;
use rhai::{EvalAltResult, Map};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

#[export_module]
pub(super) mod functions {
    /// A database of a MySQL or MariaDB server. Make it once, in a file of `services`, and ask it with `query`:
    ///
    /// ```vsl services/database.vsl
    /// export const db = mysql::connect(#{
    ///     url: "mysql://db.example.com:3306/mail",   // or "mysql://localhost/mail?socket=/run/mysqld/mysqld.sock"
    ///     user: "vsmtp",
    ///     password: utils::env("DATABASE_PASSWORD"),
    ///     timeout: "5s",                    // the default: for one question, the connection that it needs included
    ///     connections: 4,                   // the default: so many questions at once
    ///     tls: true,                        // the default, unless the server is on this machine
    ///     authority: "certs/database.pem",  // who signs its certificate; default: the authorities that Mozilla trusts
    /// });
    /// ```
    ///
    /// Nothing is connected when the rules are loaded: a database that is down stops no start, and the rule that asks it fails
    /// (451) until it is back. Dates, times and decimal numbers come back as strings, `BINARY`, `BLOB` and `BIT` as blobs,
    /// truth values as 0 and 1.
    #[rhai_fn(return_raw)]
    pub fn connect(call: NativeCallContext<'_>, options: Map) -> Result<SharedDatabase> {
        let schemes = &Mysql::SCHEMES;
        let endpoint = endpoint::read(&call, "mysql::connect", options, schemes);
        let endpoint = endpoint.map_err(|fault| fault.at(call.call_position()))?;
        Ok(Arc::new(Mysql::new(endpoint)))
    }
}
