//! `msg`: the message, from the final dot on. Edits change the message that is sent, and leave the octets of everything
//! else as they are.
//!
//! The recipients of a message may belong to different rule files. What the rules of one file edit is for the recipients
//! of that file; the others get the message as it arrived, or as their rules edit it.

use super::envelop::address;
use crate::mail::header::Field;
use crate::mail::{FieldError, HeaderSection, MessageError};
use crate::rules::Stage;
use crate::rules::object::text;
use crate::rules::scene::{Scene, with};
use crate::script::Fault;
use rhai::plugin::*;
use rhai::{Array, Dynamic, EvalAltResult, INT};
use std::io::Read;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

impl From<MessageError> for Fault {
    fn from(error: MessageError) -> Self {
        Self::new(
            error.to_string(),
            "see the log for what is wrong with the queue's disk",
        )
    }
}

impl From<FieldError> for Fault {
    fn from(error: FieldError) -> Self {
        let remedy = match error {
            FieldError::Name => "use letters, digits and `-`, as in \"X-My-Header\"",
            FieldError::Line => {
                "take line ends and NUL out of the value; long values are folded by the server"
            }
            FieldError::LineTooLong => "shorten the value, or put spaces into it",
            FieldError::SectionTooLong => "add less to the message",
        };
        Self::new(error.to_string(), remedy)
    }
}

/// Lets `f` see the header section.
fn header<T>(
    call: &NativeCallContext<'_>,
    f: impl FnOnce(&mut HeaderSection) -> std::result::Result<T, Fault>,
) -> Result<T> {
    with(call, Stage::Preq, |scene: &mut Scene| {
        f(scene.message()?.header()?)
    })
}

fn value(field: &Field) -> String {
    String::from_utf8_lossy(&field.value()).into_owned()
}

/// Name and value, unfolded.
fn line(field: &Field) -> String {
    let name = String::from_utf8_lossy(field.name());
    format!("{name}: {}", value(field))
}

fn strings(fields: impl Iterator<Item = String>) -> Array {
    fields.map(Dynamic::from).collect()
}

/// The place of a field among those of its name.
fn place(index: INT) -> std::result::Result<usize, Fault> {
    usize::try_from(index).map_err(|_| Fault::new(format!("{index} is no index"), "count from 0"))
}

#[export_module]
pub(super) mod functions {
    /// Whether the message has a header field of that name: `msg::has_header("List-Id")`. Names compare without case, in
    /// this and in every other function. From `preq` on.
    #[rhai_fn(return_raw)]
    pub fn has_header(call: NativeCallContext<'_>, name: Dynamic) -> Result<bool> {
        header(&call, |header| {
            Ok(header.named(&text(&name)?).next().is_some())
        })
    }

    /// How many header fields of that name the message has: `msg::count_header("Received") > 30`. From `preq` on.
    #[rhai_fn(return_raw)]
    pub fn count_header(call: NativeCallContext<'_>, name: Dynamic) -> Result<INT> {
        header(&call, |header| {
            let count = header.named(&text(&name)?).count();
            Ok(INT::try_from(count).unwrap_or(INT::MAX))
        })
    }

    /// The value of the first header field of that name, in one line, without the white space around it; empty when there
    /// is none: `msg::get_header("Subject").contains("invoice")`. Encoded words such as `=?utf-8?q?=C3=A9?=` stay as they
    /// are; octets that are no UTF-8 become `�`. From `preq` on.
    #[rhai_fn(return_raw)]
    pub fn get_header(call: NativeCallContext<'_>, name: Dynamic) -> Result<String> {
        header(&call, |header| {
            let first = header.named(&text(&name)?).next().map(value);
            Ok(first.unwrap_or_default())
        })
    }

    /// Every header field as `Name: value`, in order, each in one line: `for field in msg::get_all_headers() { … }`. From
    /// `preq` on.
    #[rhai_fn(name = "get_all_headers", return_raw)]
    pub fn get_all_headers(call: NativeCallContext<'_>) -> Result<Array> {
        header(&call, |header| Ok(strings(header.fields().map(line))))
    }

    /// The values of all header fields of that name, in order, as `get_header` gives the first:
    /// `msg::get_all_headers("Received")[0]`. From `preq` on.
    #[rhai_fn(name = "get_all_headers", return_raw)]
    pub fn get_all_headers_named(call: NativeCallContext<'_>, name: Dynamic) -> Result<Array> {
        header(&call, |header| {
            Ok(strings(header.named(&text(&name)?).map(value)))
        })
    }

    /// The header fields of that name as they stand in the message, with their names, folds and line ends:
    /// `msg::get_header_untouched("Subject") == ["Subject: a\r\n b\r\n"]`. From `preq` on.
    #[rhai_fn(return_raw)]
    pub fn get_header_untouched(call: NativeCallContext<'_>, name: Dynamic) -> Result<Array> {
        header(&call, |header| {
            let untouched = |field: &Field| String::from_utf8_lossy(field.octets()).into_owned();
            Ok(strings(header.named(&text(&name)?).map(untouched)))
        })
    }

    /// Adds a header field behind all others: `msg::append_header("X-Checked", "yes")`. A long value is folded. Characters
    /// outside ASCII are sent as UTF-8. From `preq` on.
    #[rhai_fn(return_raw)]
    pub fn append_header(call: NativeCallContext<'_>, name: Dynamic, value: Dynamic) -> Result<()> {
        header(&call, |header| {
            Ok(header.append(&text(&name)?, &text(&value)?)?)
        })
    }

    /// Adds a header field in front of all others: `msg::prepend_header("X-Client", ctx::client_ip())`. From `preq` on.
    #[rhai_fn(return_raw)]
    pub fn prepend_header(
        call: NativeCallContext<'_>,
        name: Dynamic,
        value: Dynamic,
    ) -> Result<()> {
        header(&call, |header| {
            Ok(header.prepend(&text(&name)?, &text(&value)?)?)
        })
    }

    /// Gives the header field of that name another value, and adds the field where there is none. Of several the first gets
    /// it, and the others are removed: `msg::set_header("Subject", "[list] " + msg::get_header("Subject"))`. From `preq`
    /// on.
    #[rhai_fn(return_raw)]
    pub fn set_header(call: NativeCallContext<'_>, name: Dynamic, value: Dynamic) -> Result<()> {
        header(&call, |header| {
            Ok(header.set(&text(&name)?, &text(&value)?)?)
        })
    }

    /// Gives all header fields of that name another name; values stay as they are:
    /// `msg::rename_header("X-Spam", "X-Foreign-Spam")`. From `preq` on.
    #[rhai_fn(name = "rename_header", return_raw)]
    pub fn rename_header(call: NativeCallContext<'_>, old: Dynamic, new: Dynamic) -> Result<()> {
        header(&call, |header| {
            header.rename(&text(&old)?, &text(&new)?, None)?;
            Ok(())
        })
    }

    /// The same for one of them, counted from 0: `msg::rename_header("Received", "X-Received", 2)`. From `preq` on.
    #[rhai_fn(name = "rename_header", return_raw)]
    pub fn rename_header_at(
        call: NativeCallContext<'_>,
        old: Dynamic,
        new: Dynamic,
        index: INT,
    ) -> Result<()> {
        header(&call, |header| {
            header.rename(&text(&old)?, &text(&new)?, Some(place(index)?))?;
            Ok(())
        })
    }

    /// Removes all header fields of that name, and says whether there were any: `msg::rm_header("Bcc")`. From `preq` on.
    #[rhai_fn(name = "rm_header", return_raw)]
    pub fn rm_header(call: NativeCallContext<'_>, name: Dynamic) -> Result<bool> {
        header(&call, |header| Ok(header.remove(&text(&name)?, None) > 0))
    }

    /// Removes one of them, counted from 0: `msg::rm_header("DKIM-Signature", 0)`. From `preq` on.
    #[rhai_fn(name = "rm_header", return_raw)]
    pub fn rm_header_at(call: NativeCallContext<'_>, name: Dynamic, index: INT) -> Result<bool> {
        header(&call, |header| {
            Ok(header.remove(&text(&name)?, Some(place(index)?)) > 0)
        })
    }

    /// The whole message as it stands now, header section and body: `"EICAR" in msg::mail()`. Octets that are no UTF-8
    /// become `�`. A message that is longer than a string may be is an error of the rule; `fs::write` takes any. From
    /// `preq` on.
    #[rhai_fn(return_raw)]
    pub fn mail(call: NativeCallContext<'_>) -> Result<String> {
        let most = call.engine().max_string_size();
        with(&call, Stage::Preq, |scene| {
            let message = scene.message()?;
            let size = message.size();
            if most > 0 && size > most as u64 {
                return Err(Fault::new(
                    format!("the message has {size} octets, and a string at most {most}"),
                    "ask for header fields, or write it to a file with fs::write()",
                ));
            }
            let mut octets = Vec::new();
            let read = message.octets().read_to_end(&mut octets);
            read.map_err(MessageError::from)?;
            Ok(String::from_utf8_lossy(&octets).into_owned())
        })
    }

    /// Puts another address in place of that in the field From, and keeps the display name; of several authors the first
    /// stays: `msg::rw_mail_from("list@example.com")`. The envelope stays as it is: see `envelop::rw_mail_from`. From
    /// `preq` on.
    #[rhai_fn(return_raw)]
    pub fn rw_mail_from(call: NativeCallContext<'_>, new: Dynamic) -> Result<()> {
        header(&call, |header| Ok(header.rewrite_author(&address(&new)?)?))
    }

    /// Puts the address `new` in place of `old` in the fields To and Cc, and keeps the display name:
    /// `msg::rw_rcpt("old@example.com", "new@example.com")`. The envelope stays as it is. From `preq` on.
    #[rhai_fn(return_raw)]
    pub fn rw_rcpt(call: NativeCallContext<'_>, old: Dynamic, new: Dynamic) -> Result<()> {
        header(&call, |header| {
            header.rewrite_recipient(&address(&old)?, &address(&new)?)?;
            Ok(())
        })
    }

    /// Adds an address to the field To, unless To or Cc names it already: `msg::add_rcpt("jane@example.com")`. The envelope
    /// stays as it is: nobody gets a copy by this. From `preq` on.
    #[rhai_fn(return_raw)]
    pub fn add_rcpt(call: NativeCallContext<'_>, new: Dynamic) -> Result<()> {
        header(&call, |header| Ok(header.add_recipient(&address(&new)?)?))
    }

    /// Removes an address from the fields To and Cc, and a field that is empty then: `msg::rm_rcpt("jane@example.com")`. The
    /// envelope stays as it is. From `preq` on.
    #[rhai_fn(return_raw)]
    pub fn rm_rcpt(call: NativeCallContext<'_>, old: Dynamic) -> Result<()> {
        header(&call, |header| {
            header.remove_recipient(&address(&old)?)?;
            Ok(())
        })
    }
}
