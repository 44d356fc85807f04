//! `postgresql`: databases of a PostgreSQL server.

use super::database::SharedDatabase;
use super::endpoint;
use crate::services::Postgresql;
use rhai::plugin::*;
use rhai::{EvalAltResult, Map};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

#[export_module]
pub(super) mod functions {
    /// A database of a PostgreSQL server. Make it once, in a file of `services`, and ask it with `query`:
    ///
    /// ```vsl services/database.vsl
    /// export const db = postgresql::connect(#{
    ///     url: "postgresql://db.example.com:5432/mail",   // or "postgresql:///mail?host=/run/postgresql", a socket
    ///     user: "vsmtp",
    ///     password: utils::env("DATABASE_PASSWORD"),
    ///     timeout: "5s",                    // the default: for one question, the connection that it needs included
    ///     connections: 4,                   // the default: so many questions at once
    ///     tls: true,                        // the default, unless the server is on this machine
    ///     authority: "certs/database.pem",  // who signs its certificate; default: the authorities of the machine
    /// });
    /// ```
    ///
    /// ```vsl
    /// services::db.query("SELECT quota FROM users WHERE address = $1", [ctx::rcpt()])
    /// ```
    ///
    /// Nothing is connected when the rules are loaded: a database that is down stops no start, and the rule that asks it fails
    /// (451) until it is back. Parameters stand at `$1`, `$2` and so on, and are read as the type of their place, so that a
    /// string can be an `inet` or a `date`. Columns of booleans, numbers, texts, `bytea`, `json` and enumerations come back as
    /// what they are; for others write `column::text`.
    #[rhai_fn(return_raw)]
    pub fn connect(call: NativeCallContext<'_>, options: Map) -> Result<SharedDatabase> {
        let schemes = &Postgresql::SCHEMES;
        let endpoint = endpoint::read(&call, "postgresql::connect", options, schemes);
        let endpoint = endpoint.map_err(|fault| fault.at(call.call_position()))?;
        Ok(Arc::new(Postgresql::new(endpoint)))
    }
}
