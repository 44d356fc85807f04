//! `redis`: a Redis server, or one that speaks like it.

use super::database::{self, bounds, dynamic, written_out};
use super::endpoint;
use crate::rules::waiting;
use crate::script::Fault;
use crate::services::{Redis, Reply};
use rhai::plugin::*;
use rhai::{Array, Dynamic, EvalAltResult, ImmutableString, Map};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// A server as a value of the language.
pub(super) type SharedRedis = Arc<Redis>;

#[export_module]
#[allow(
    clippy::unwrap_used,
    reason = "of the macro, on arguments whose type the engine has checked"
)]
pub(super) mod functions {
    /// A Redis server. Make it once, in a file of `services`, and ask it with `command`:
    ///
    /// ```vsl services/cache.vsl
    /// export const cache = redis::connect(#{
    ///     url: "redis://localhost:6379/0",  // or "rediss://…" for TLS, "redis:///0?socket=/run/redis/redis.sock"
    ///     user: "vsmtp",
    ///     password: utils::env("REDIS_PASSWORD"),
    ///     timeout: "5s",                    // the default: for one question, the connection that it needs included
    ///     connections: 4,                   // the default: so many questions at once
    ///     tls: true,                        // the default, unless the server is on this machine
    ///     authority: "certs/redis.pem",     // who signs its certificate; default: the authorities of the machine
    /// });
    /// ```
    ///
    /// Nothing is connected when the rules are loaded: a server that is down stops no start, and the rule that asks it fails
    /// (451) until it is back.
    #[rhai_fn(return_raw)]
    pub fn connect(call: NativeCallContext<'_>, options: Map) -> Result<SharedRedis> {
        let schemes = &Redis::SCHEMES;
        let endpoint = endpoint::read(&call, "redis::connect", options, schemes);
        let endpoint = endpoint.map_err(|fault| fault.at(call.call_position()))?;
        Ok(Arc::new(Redis::new(endpoint)))
    }

    /// Runs a command without arguments. See `command(redis, name, arguments)`.
    #[rhai_fn(global, name = "command", pure, return_raw)]
    pub fn command(
        call: NativeCallContext<'_>,
        redis: &mut SharedRedis,
        name: ImmutableString,
    ) -> Result<Dynamic> {
        run(&call, redis, &name, &Array::new())
    }

    /// Runs one Redis command and returns what it answers: a string, an integer, `()` for nothing, a blob for what is no
    /// UTF-8, or an array of these.
    ///
    /// ```vsl
    /// import "services/cache" as services;
    /// #{
    ///     connect: [
    ///         rule "ten connections a minute" || {
    ///             let key = `connections:${ctx::client_ip()}`;
    ///             let count = services::cache.command("INCR", [key]);
    ///             if count == 1 { services::cache.command("EXPIRE", [key, 60]); }
    ///             if count > 10 { state::deny(code(421, "4.7.0", "Slow down")) } else { state::next() }
    ///         }
    ///     ]
    /// }
    /// ```
    ///
    /// The name of the command, and the script of `EVAL`, are string constants; arguments are strings, objects, numbers,
    /// booleans (1 and 0) and blobs, and can be put together from anything: they never become part of the command.
    /// Commands about the connection itself, such as `SELECT`, `MULTI` and `SUBSCRIBE`, are refused, since rules share
    /// connections. A rule may wait as long as `timeout` says; when there is no answer it fails (451). A command that ran
    /// out of time may have had its effect.
    #[rhai_fn(global, name = "command", pure, return_raw)]
    pub fn command_with_arguments(
        call: NativeCallContext<'_>,
        redis: &mut SharedRedis,
        name: ImmutableString,
        arguments: Array,
    ) -> Result<Dynamic> {
        run(&call, redis, &name, &arguments)
    }
}

fn run(
    call: &NativeCallContext<'_>,
    redis: &SharedRedis,
    name: &str,
    arguments: &Array,
) -> Result<Dynamic> {
    let at = |fault: Fault| fault.at(call.call_position());
    written_out(call, name, "the command").map_err(at)?;
    let arguments = database::values(arguments).map_err(at)?;
    if let ("EVAL" | "EVAL_RO", Some(crate::services::Value::Text(script))) =
        (name.to_ascii_uppercase().as_str(), arguments.first())
    {
        written_out(call, script, "the script").map_err(at)?;
    }
    let bounds = bounds(call.engine());
    let answer = waiting::ask(call, redis.name(), || {
        redis.command(name, &arguments, bounds)
    })?;
    Ok(of_reply(answer))
}

fn of_reply(reply: Reply) -> Dynamic {
    match reply {
        Reply::One(value) => dynamic(value),
        Reply::Many(replies) => {
            let values: Array = replies.into_iter().map(of_reply).collect();
            values.into()
        }
    }
}
