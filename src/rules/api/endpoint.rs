//! What the databases behind a server are connected with.

use super::options::Options;
use crate::rules::setting::Setting;
use crate::script::Fault;
use crate::services::Endpoint;
use rhai::{Map, NativeCallContext};
use std::time::Duration;

/// How long a question may take when nothing is said.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Connections when nothing is said.
const CONNECTIONS: usize = 4;

/// What `function` was called with. `schemes`: what its URLs begin with, the usual one first.
pub(super) fn read(
    call: &NativeCallContext<'_>,
    function: &'static str,
    options: Map,
    schemes: &[&str],
) -> Result<Endpoint, Fault> {
    let setting = Setting::of(call)?;
    let known = [
        "url",
        "user",
        "password",
        "tls",
        "authority",
        "timeout",
        "connections",
    ];
    let options = Options::new(function, options, &known)?;
    let scheme = schemes.first().copied().unwrap_or_default();
    let example = format!("\"{scheme}://localhost/…\"");
    let url = options.required_text("url", &example)?;
    let timeout = options.timeout(TIMEOUT)?;
    let connections = options.connections(CONNECTIONS)?;
    let mut endpoint = Endpoint::parse(&url, schemes, timeout, connections)
        .map_err(|error| options.fault("url", error, &example))?;
    endpoint.user = options.text("user", "\"vsmtp\"")?.or(endpoint.user);
    endpoint.password = options.text("password", "\"…\"")?.or(endpoint.password);
    endpoint.tls = options.flag("tls")?.unwrap_or(endpoint.tls);
    endpoint.authority = options
        .text("authority", "\"certs/authority.pem\"")?
        .map(|path| setting.root.join(path));
    Ok(endpoint)
}
