//! `csv`: lists in files of comma-separated values (RFC 4180).

use super::options::{self, Options};
use crate::rules::object::text;
use crate::rules::setting::Setting;
use crate::rules::waiting;
use crate::script::Fault;
use crate::services::{Access, Records};
use rhai::plugin::*;
use rhai::{Array, Dynamic, EvalAltResult, Map};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// A file of records as a value of the language.
pub(super) type SharedRecords = Arc<Records>;

#[export_module]
#[allow(
    clippy::unwrap_used,
    reason = "of the macro, on arguments whose type the engine has checked"
)]
pub(super) mod functions {
    /// A list in a file: each line a record, found by its first field. Make it once, in a file of `services`:
    ///
    /// ```vsl services/lists.vsl
    /// export const users = csv::connect(#{
    ///     connector: "lists/users.csv",
    ///     access: "O_RDONLY",   // the default; or "O_RDWR", "O_WRONLY"
    ///     refresh: "no",        // the default; or "always"
    ///     delimiter: ',',       // the default
    /// });
    /// ```
    ///
    /// The file is read when the rules are loaded, and again when they are reloaded; with `refresh: "always"` whenever it has
    /// changed. A file that cannot be read then is an error of the configuration. A relative path begins at the
    /// configuration root; that of a file which rules may write, and which need not exist before, at `app.dirpath`.
    #[rhai_fn(return_raw)]
    pub fn connect(call: NativeCallContext<'_>, options: Map) -> Result<SharedRecords> {
        open(&call, options).map_err(|fault| fault.at(call.call_position()))
    }

    /// The fields of the record whose first field is `key`, which is one of them; an empty array when there is none. Of
    /// several the first counts.
    ///
    /// ```vsl
    /// import "services/lists" as services;
    /// #{
    ///     rcpt: [
    ///         rule "known users" || {
    ///             let user = services::users.get(ctx::rcpt());
    ///             if user.is_empty() { state::deny(code::c550_1_1) } else { state::next() }
    ///         }
    ///     ]
    /// }
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn get(
        call: NativeCallContext<'_>,
        records: &mut SharedRecords,
        key: Dynamic,
    ) -> Result<Array> {
        let key = text(&key).map_err(|fault| fault.at(call.call_position()))?;
        let record = if records.reads_disk() {
            waiting::ask(&call, &name(records), || records.get(&key))?
        } else {
            records.get(&key).map_err(|error| {
                let what = format!("{} {error}", name(records));
                Fault::new(what, error.remedy()).at(call.call_position())
            })?
        };
        let fields = record.unwrap_or_default();
        Ok(fields.into_iter().map(Dynamic::from).collect())
    }

    /// Puts a record into the file, in the place of the one with the same first field or at the end:
    /// `services::seen.set([ctx::client_ip(), time::now()])`. The file is written anew and synced to the disk each time: for
    /// more than a few thousand records take `sqlite`.
    #[rhai_fn(global, pure, return_raw)]
    pub fn set(
        call: NativeCallContext<'_>,
        records: &mut SharedRecords,
        record: Array,
    ) -> Result<()> {
        let record = options::texts(&record).map_err(|fault| fault.at(call.call_position()))?;
        waiting::ask(&call, &name(records), || records.set(record))
    }

    /// Takes every record whose first field is `key` out of the file, and says whether there was one.
    #[rhai_fn(global, name = "rm", pure, return_raw)]
    pub fn remove(
        call: NativeCallContext<'_>,
        records: &mut SharedRecords,
        key: Dynamic,
    ) -> Result<bool> {
        let key = text(&key).map_err(|fault| fault.at(call.call_position()))?;
        waiting::ask(&call, &name(records), || records.remove(&key))
    }
}

fn name(records: &Records) -> String {
    format!("the file {}", records.path().display())
}

fn open(call: &NativeCallContext<'_>, options: Map) -> std::result::Result<SharedRecords, Fault> {
    let setting = Setting::of(call)?;
    let known = ["connector", "access", "refresh", "delimiter"];
    let options = Options::new("csv::connect", options, &known)?;
    let path = options.required_text("connector", "\"lists/users.csv\"")?;
    let access = match options.word("access", &["O_RDONLY", "O_RDWR", "O_WRONLY"])? {
        "O_RDWR" => Access::ReadWrite,
        "O_WRONLY" => Access::Write,
        _ => Access::Read,
    };
    let refresh = options.word("refresh", &["no", "always"])? == "always";
    let delimiter = options.ascii("delimiter", b',', "','")?;
    let folder = match access {
        Access::Read => &setting.root,
        Access::Write | Access::ReadWrite => &setting.app,
    };
    let path = folder.join(path);
    let shown = path.display().to_string();
    let records = Records::open(path, delimiter, access, refresh)
        .map_err(|error| Fault::new(format!("the file {shown} {error}"), error.remedy()))?;
    Ok(Arc::new(records))
}
