//! `time`: the clock on the wall, in the time zone of the server.

use rhai::plugin::*;

#[export_module]
pub(super) mod functions {
    /// The time of day, as in `12:34:56`.
    #[rhai_fn(volatile)]
    pub fn now() -> String {
        jiff::Zoned::now().strftime("%H:%M:%S").to_string()
    }

    /// The date, as in `2026-08-01`.
    #[rhai_fn(volatile)]
    pub fn date() -> String {
        jiff::Zoned::now().strftime("%Y-%m-%d").to_string()
    }
}
