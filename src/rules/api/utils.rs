//! `utils`: small things.

use crate::rules::object::text;
use rhai::plugin::*;
use rhai::{Dynamic, EvalAltResult};

#[export_module]
pub(super) mod functions {
    /// The part of a domain that somebody registered, by the Public Suffix List: `example.co.uk` for
    /// `mail.example.co.uk`. A name that has no such part comes back as it is, in lower case.
    #[rhai_fn(return_raw)]
    pub fn get_root_domain(
        call: NativeCallContext<'_>,
        domain: Dynamic,
    ) -> Result<String, Box<EvalAltResult>> {
        let domain = text(&domain).map_err(|fault| fault.at(call.call_position()))?;
        let domain = domain.to_lowercase();
        Ok(psl::domain_str(&domain).unwrap_or(&domain).to_owned())
    }

    /// The value of an environment variable of the server, or `()` when it has none of that name.
    #[rhai_fn(volatile)]
    pub fn env(name: &str) -> Dynamic {
        // A name with `=` or NUL in it exists nowhere.
        std::env::var(name).map_or(Dynamic::UNIT, Dynamic::from)
    }
}
