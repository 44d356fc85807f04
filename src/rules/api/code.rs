//! `code`: replies that many policies need. The numbers are those of RFC 3463, RFC 7372 and RFC 7505.

use crate::rules::object::Object;
use crate::rules::state;
use crate::script::Fault;
use rhai::Module;

/// Name, reply code, enhanced status code, text.
pub(super) const CODES: [(&str, i64, &str, &str); 13] = [
    (
        "c451_3_0",
        451,
        "4.3.0",
        "Local error in processing, try again later",
    ),
    (
        "c451_7_1",
        451,
        "4.7.1",
        "Service not available now by policy, try again later",
    ),
    ("c550_1_1", 550, "5.1.1", "No such mailbox"),
    (
        "c550_7_20",
        550,
        "5.7.20",
        "No passing DKIM signature found",
    ),
    (
        "c550_7_21",
        550,
        "5.7.21",
        "No acceptable DKIM signature found",
    ),
    (
        "c550_7_22",
        550,
        "5.7.22",
        "No valid author-matched DKIM signature found",
    ),
    ("c550_7_23", 550, "5.7.23", "SPF validation failed"),
    ("c550_7_24", 550, "5.7.24", "SPF validation error"),
    ("c550_7_25", 550, "5.7.25", "Reverse DNS validation failed"),
    (
        "c550_7_26",
        550,
        "5.7.26",
        "Multiple authentication checks failed",
    ),
    (
        "c550_7_27",
        550,
        "5.7.27",
        "The domain of the sender accepts no mail",
    ),
    ("c554_7_1", 554, "5.7.1", "Relay access denied"),
    (
        "c556_1_10",
        556,
        "5.1.10",
        "The domain of the recipient accepts no mail",
    ),
];

/// The namespace: `code::c554_7_1` and the others.
pub(super) fn module() -> Result<Module, Fault> {
    let mut module = Module::new();
    for (name, code, status, text) in CODES {
        let reply = state::reply(code, Some(status), text)?;
        module.set_var(name, Object::Code(reply));
    }
    Ok(module)
}
