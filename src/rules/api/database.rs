//! What every database that speaks SQL has in common: `query`.
//!
//! A statement is one string constant of the rules. Before a statement is run it is looked up among all the strings that are
//! written out in them, so that no text which was put together while mail arrived can be one, by whatever way: values
//! that clients sent reach a database as parameters, or not at all. What is visibly put together is told at load.

use crate::rules::object;
use crate::rules::setting::Setting;
use crate::rules::waiting;
use crate::script::Fault;
use crate::services::{Bounds, Database, Table, Value};
use rhai::plugin::*;
use rhai::{Array, Blob, Dynamic, Engine, EvalAltResult, ImmutableString, Map};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// A database as a value of the language.
pub(super) type SharedDatabase = Arc<dyn Database>;

#[export_module]
#[allow(
    clippy::unwrap_used,
    reason = "of the macro, on arguments whose type the engine has checked"
)]
pub(super) mod functions {
    /// Asks a database without parameters. See `query(database, statement, parameters)`.
    #[rhai_fn(name = "query", pure, return_raw)]
    pub fn query(
        call: NativeCallContext<'_>,
        database: &mut SharedDatabase,
        statement: ImmutableString,
    ) -> Result<Array> {
        run(&call, database, &statement, &Array::new())
    }

    /// Runs one SQL statement in a database (see `sqlite::connect`, `postgresql::connect` and `mysql::connect`) and returns the
    /// rows that it answers with, as an array of maps from column to value; an empty one when there are none.
    ///
    /// ```vsl
    /// import "services/database" as services;
    /// #{
    ///     rcpt: [
    ///         rule "blocked senders" || {
    ///             let found = services::db.query(
    ///                 "SELECT reason FROM blocked WHERE sender = ?",
    ///                 [ctx::mail_from()],
    ///             );
    ///             if found.is_empty() { state::next() }
    ///             else { state::deny(code(550, "5.7.1", found[0].reason)) }
    ///         }
    ///     ]
    /// }
    /// ```
    ///
    /// Values go into the places that the statement has for them: `?`, with PostgreSQL `$1`, `$2` and so on. The statement
    /// itself is one string constant, here or in a `const`: one that is put together with `+` or `${…}` is not run, whatever
    /// is in it, so that nothing a client sends can ever become SQL.
    ///
    /// A parameter is a string, an object (as a string), an integer, a float, a boolean, a blob or `()` for NULL; values
    /// come back likewise. The answer is bounded by what a script may hold: see the limits of scripts. A rule may wait as
    /// long as the `timeout` of the database says; when there is no answer it fails (451). A statement that ran out of time
    /// may have had its effect.
    #[rhai_fn(name = "query", pure, return_raw)]
    pub fn query_with_parameters(
        call: NativeCallContext<'_>,
        database: &mut SharedDatabase,
        statement: ImmutableString,
        parameters: Array,
    ) -> Result<Array> {
        run(&call, database, &statement, &parameters)
    }
}

fn run(
    call: &NativeCallContext<'_>,
    database: &SharedDatabase,
    statement: &str,
    parameters: &Array,
) -> Result<Array> {
    let at = |fault: Fault| fault.at(call.call_position());
    written_out(call, statement, "the statement").map_err(at)?;
    let parameters = values(parameters).map_err(at)?;
    let bounds = bounds(call.engine());
    let table = waiting::ask(call, database.name(), || {
        database.query(statement, parameters, bounds)
    })?;
    Ok(rows(table))
}

/// Refuses a text that no string of the rules is.
pub(super) fn written_out(
    call: &NativeCallContext<'_>,
    text: &str,
    what: &str,
) -> std::result::Result<(), Fault> {
    if Setting::of(call)?.literals.contains(text) {
        return Ok(());
    }
    Err(Fault::new(
        format!("{what} is put together, not written out: {text:?}"),
        "write it as one string, and give values as parameters: query(\"… WHERE name = ?\", [name])",
    ))
}

/// What the engine's limits leave room for. No limit is 0 there.
pub(super) fn bounds(engine: &Engine) -> Bounds {
    let bound = |max: usize| if max == 0 { usize::MAX } else { max };
    Bounds {
        rows: bound(engine.max_array_size()),
        values: bound(engine.max_map_size()),
        octets: bound(engine.max_string_size()),
    }
}

/// What the arguments are for a database.
pub(super) fn values(arguments: &Array) -> std::result::Result<Vec<Value>, Fault> {
    let value = |(index, argument): (usize, &Dynamic)| {
        value(argument).ok_or_else(|| {
            let kind = argument.type_name();
            Fault::new(
                format!("parameter {} is of type {kind}", index + 1),
                "give a string, an object, a number, a boolean, a blob or ()",
            )
        })
    };
    arguments.iter().enumerate().map(value).collect()
}

fn value(argument: &Dynamic) -> Option<Value> {
    if argument.is_unit() {
        return Some(Value::Null);
    }
    if let Ok(number) = argument.as_int() {
        return Some(Value::Integer(number));
    }
    if let Ok(number) = argument.as_float() {
        return Some(Value::Real(number));
    }
    if let Ok(flag) = argument.as_bool() {
        return Some(Value::Flag(flag));
    }
    if let Ok(character) = argument.as_char() {
        return Some(Value::Text(character.to_string()));
    }
    if let Some(octets) = argument.read_lock::<Blob>() {
        return Some(Value::Octets(octets.clone()));
    }
    object::text(argument).ok().map(Value::Text)
}

fn rows(table: Table) -> Array {
    let Table { columns, rows } = table;
    let columns: Vec<rhai::Identifier> = columns.into_iter().map(Into::into).collect();
    rows.into_iter()
        .map(|row| {
            let row = columns.iter().cloned().zip(row.into_iter().map(dynamic));
            Dynamic::from(row.collect::<Map>())
        })
        .collect()
}

/// What a value of a database is in the language.
pub(super) fn dynamic(value: Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Flag(flag) => Dynamic::from_bool(flag),
        Value::Integer(number) => Dynamic::from_int(number),
        Value::Real(number) => Dynamic::from_float(number),
        Value::Text(text) => text.into(),
        Value::Octets(octets) => Dynamic::from_blob(octets),
    }
}
