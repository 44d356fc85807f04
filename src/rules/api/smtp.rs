//! `smtp`: content filters that are spoken to by SMTP, for the directive `delegate`.

use super::options::Options;
use crate::rules::directive::SharedFilter;
use crate::rules::filter::Filter;
use crate::rules::scene::Stand;
use crate::script::Fault;
use rhai::plugin::*;
use rhai::{Dynamic, EvalAltResult, Map};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// How long a filter has for one message when nothing is said.
const TIMEOUT: Duration = Duration::from_secs(5 * 60);

#[export_module]
pub(super) mod functions {
    /// A content filter. Make it once, in a file of `services`, and name it in `delegate`:
    ///
    /// ```vsl services/antivirus.vsl
    /// export const scanner = smtp::connect(#{
    ///     delegator: #{
    ///         address: "127.0.0.1:10026",     // where the filter listens
    ///         timeout: "5m",                  // the default: so long for one message
    ///     },
    ///     receiver: "127.0.0.1:10025",        // where it gives messages back, and the server listens for them
    /// });
    /// ```
    ///
    /// What `delegate` sends there carries a header field with a secret, by which it is known when it comes back; nothing
    /// else is taken at `receiver`, so that nobody can relay by it. A filter that cannot be reached, or answers 4xx, is asked
    /// again later; one that answers 5xx refuses the recipients, and the sender is told. A message that was taken and never
    /// comes back waits, and is reported to its sender at the end of its lifetime.
    #[rhai_fn(return_raw)]
    pub fn connect(call: NativeCallContext<'_>, options: Map) -> Result<SharedFilter> {
        let filter = match call.tag().is_some_and(Dynamic::is::<Stand>) {
            true => Err(Fault::new(
                "smtp::connect() is called inside a rule",
                "call it at the top of the file and give its value to delegate",
            )),
            false => filter(options),
        };
        filter
            .map(Arc::new)
            .map_err(|fault| fault.at(call.call_position()))
    }
}

fn filter(mut options: Map) -> std::result::Result<Filter, Fault> {
    let delegator = options.remove("delegator");
    let options = Options::new("smtp::connect", options, &["delegator", "receiver"])?;
    let delegator = delegator
        .and_then(Dynamic::try_cast::<Map>)
        .ok_or_else(|| {
            let example = "#{ address: \"127.0.0.1:10026\" }";
            options.fault("delegator", "is no map", example)
        })?;
    let delegator = Options::new("smtp::connect", delegator, &["address", "timeout"])?;
    let address = delegator.required_text("address", "\"127.0.0.1:10026\"")?;
    let (host, port) = host_and_port(&address).ok_or_else(|| {
        let what = format!("is {address:?}, which is no host and port");
        delegator.fault("address", what, "\"127.0.0.1:10026\"")
    })?;
    let receiver = options.required_text("receiver", "\"127.0.0.1:10025\"")?;
    Ok(Filter {
        host,
        port,
        timeout: delegator.timeout(TIMEOUT)?,
        receiver: receiver.parse().map_err(|_| {
            let what = format!("is {receiver:?}, which is no address and port of this machine");
            options.fault("receiver", what, "\"127.0.0.1:10025\"")
        })?,
    })
}

/// `host:port`, where an IPv6 address stands in brackets.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match literal {
        Some(literal) => literal.parse().ok().filter(IpAddr::is_ipv6)?.to_string(),
        None => host.to_ascii_lowercase(),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_host = literal.is_some() || (!host.is_empty() && host.chars().all(is_name));
    is_host.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<Filter, String> {
        let map = rhai::Engine::new().eval::<Map>(text).unwrap();
        filter(map).map_err(|fault| fault.to_string())
    }

    #[test]
    fn reads_what_operators_write() {
        let text = r#"#{ delegator: #{ address: "127.0.0.1:10026", timeout: "2s" }, receiver: "127.0.0.1:10025" }"#;
        let expected = Filter {
            host: "127.0.0.1".to_owned(),
            port: 10026,
            timeout: Duration::from_secs(2),
            receiver: "127.0.0.1:10025".parse().unwrap(),
        };
        assert_eq!(read(text), Ok(expected));
        let text = r#"#{ delegator: #{ address: "[::1]:10026" }, receiver: "[::1]:10025" }"#;
        let found = read(text).unwrap();
        assert_eq!((found.host.as_str(), found.timeout), ("::1", TIMEOUT));
    }

    #[test]
    fn says_what_is_wrong() {
        let receiver = r#"receiver: "127.0.0.1:1""#;
        for (delegator, receiver, expected) in [
            ("#{}", receiver, "`address` of smtp::connect() is missing"),
            ("1", receiver, "`delegator` of smtp::connect() is no map"),
            (r#"#{ adress: "a:1" }"#, receiver, "did you mean `address`?"),
            (
                r#"#{ address: "127.0.0.1" }"#,
                receiver,
                "which is no host and port",
            ),
            (
                r#"#{ address: "a b:25" }"#,
                receiver,
                "which is no host and port",
            ),
            (
                r#"#{ address: "a:0" }"#,
                receiver,
                "which is no host and port",
            ),
            (
                r#"#{ address: "a:1", timeout: "soon" }"#,
                receiver,
                "`timeout` of smtp::connect()",
            ),
            (
                r#"#{ address: "a:1" }"#,
                "r: 1",
                "smtp::connect() has no option `r`",
            ),
            (
                r#"#{ address: "a:1" }"#,
                r#"receiver: "a:1""#,
                "which is no address and port",
            ),
        ] {
            let text = format!("#{{ delegator: {delegator}, {receiver} }}");
            let fault = read(&text).unwrap_err();
            assert!(fault.contains(expected), "{fault}");
        }
    }
}
