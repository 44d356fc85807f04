//! `dns`: what the one resolver (`server.dns`) knows.

use crate::dns::{Answer, Error, Resolver};
use crate::mail::ReversePath;
use crate::rules::object::{self, Object};
use crate::rules::setting::Setting;
use crate::rules::waiting;
use crate::script::Fault;
use crate::services;
use rhai::plugin::*;
use rhai::{Array, Dynamic, EvalAltResult};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// How long all the servers and attempts of one question may take together.
const PATIENCE: Duration = Duration::from_secs(10);

#[export_module]
pub(super) mod functions {
    /// The addresses of a host, IPv4 and IPv6, as an array of strings; empty when it has none or does not exist. Takes a
    /// name as a string, an `fqdn`, or an `address`, whose domain is asked about; an IP address is no name.
    ///
    /// ```vsl
    /// rule "the client is who it says" || {
    ///     if ctx::client_ip() in dns::lookup(ctx::helo()) { state::next() }
    ///     else { state::deny(code::c451_7_1) }
    /// }
    /// ```
    ///
    /// Waits for the name servers as long as `server.dns.options` says, ten seconds at most. When they do not answer the
    /// rule fails, and the client is told to come back (451). Aliases are followed; no search list is applied.
    #[rhai_fn(volatile, return_raw)]
    pub fn lookup(call: NativeCallContext<'_>, name: Dynamic) -> Result<Array> {
        let name = host(&name).map_err(|fault| fault.at(call.call_position()))?;
        let about = name.clone();
        let found = ask(&call, &about, move |resolver| async move {
            resolver.addresses(&name).await
        })?;
        Ok(found
            .into_iter()
            .map(|address: IpAddr| address.to_string().into())
            .collect())
    }

    /// The names of an IP address (PTR), as an array of strings in lower case without a dot at their end; empty when it has
    /// none.
    ///
    /// ```vsl
    /// rule "the client has a name" || {
    ///     if dns::rlookup(ctx::client_ip()).is_empty() { state::deny(code::c550_7_25) }
    ///     else { state::next() }
    /// }
    /// ```
    ///
    /// Whoever owns the address can let it have any name: only `dns::lookup` of that name tells whether it is true. Waits
    /// and fails as `dns::lookup` does.
    #[rhai_fn(volatile, return_raw)]
    pub fn rlookup(call: NativeCallContext<'_>, address: Dynamic) -> Result<Array> {
        let at = |fault: Fault| fault.at(call.call_position());
        let text = object::text(&address).map_err(at)?;
        let address: IpAddr = text.parse().map_err(|_| {
            at(Fault::new(
                format!("{text:?} is no IP address"),
                "give one, as in dns::rlookup(ctx::client_ip())",
            ))
        })?;
        let address = address.to_canonical();
        let found = ask(&call, &text, move |resolver| async move {
            resolver.ptr(address).await
        })?;
        Ok(found.into_iter().map(|name: String| name.into()).collect())
    }
}

/// The name that an argument is about.
fn host(argument: &Dynamic) -> std::result::Result<String, Fault> {
    match argument.read_lock::<Object>().as_deref() {
        Some(Object::Path(ReversePath(Some(address)))) => Ok(address.domain().to_owned()),
        _ => object::text(argument),
    }
}

/// The records that answer `question`; none where the DNS knows that there are none.
fn ask<T, F>(
    call: &NativeCallContext<'_>,
    about: &str,
    question: impl FnOnce(Arc<dyn Resolver>) -> F,
) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = std::result::Result<Answer<T>, Error>> + Send + 'static,
{
    let setting = Setting::of(call)?;
    let question = question(Arc::clone(&setting.resolver));
    let answer = waiting::ask(call, "the DNS", || services::within(PATIENCE, question))?;
    match answer {
        Ok(answer) => Ok(answer.records),
        Err(Error::NoSuchName | Error::NoRecords) => Ok(Vec::new()),
        Err(error @ Error::Temporary(_)) => Err(Fault::new(
            format!("{about:?}: {error}"),
            "see whether the servers of server.dns can be reached",
        )
        .at(call.call_position())),
    }
}
