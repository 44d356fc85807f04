//! Objects: `ip4("192.0.2.1")` and the others, and how they compare with each other and with strings.
//!
//! `==` asks whether two values are the same thing, `in` whether the right one holds the left one: a network an address,
//! a domain the addresses in it, a regular expression what it matches, a list any of its elements.

use super::documented;
use crate::mail::ReversePath;
use crate::rules::object::{Kind, Object};
use crate::rules::scene::Stand;
use crate::rules::state;
use crate::script::Fault;
use rhai::plugin::*;
use rhai::{Array, Dynamic, Engine, EvalAltResult, INT, ImmutableString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// The largest file that becomes a list, in octets.
const FILE_SIZE_MAX: u64 = 64 << 20;

#[export_module]
#[allow(
    clippy::unwrap_used,
    reason = "of the macro, on arguments whose type the engine has checked"
)]
pub(super) mod functions {
    /// An IPv4 address: `ip4("192.0.2.1")`.
    #[rhai_fn(return_raw)]
    pub fn ip4(text: &str) -> Result<Object> {
        Ok(Kind::Ip4.parse(text)?)
    }

    /// An IPv6 address: `ip6("2001:db8::1")`.
    #[rhai_fn(return_raw)]
    pub fn ip6(text: &str) -> Result<Object> {
        Ok(Kind::Ip6.parse(text)?)
    }

    /// An IPv4 network: `rg4("192.0.2.0/24")`.
    #[rhai_fn(return_raw)]
    pub fn rg4(text: &str) -> Result<Object> {
        Ok(Kind::Rg4.parse(text)?)
    }

    /// An IPv6 network: `rg6("2001:db8::/32")`.
    #[rhai_fn(return_raw)]
    pub fn rg6(text: &str) -> Result<Object> {
        Ok(Kind::Rg6.parse(text)?)
    }

    /// A mail address: `address("john@example.com")`. Its domain compares without case, its local-part with.
    #[rhai_fn(return_raw)]
    pub fn address(text: &str) -> Result<Object> {
        Ok(Kind::Address.parse(text)?)
    }

    /// A domain name: `fqdn("mail.example.com")`. Addresses of that very domain are `in` it.
    #[rhai_fn(return_raw)]
    pub fn fqdn(text: &str) -> Result<Object> {
        Ok(Kind::Fqdn.parse(text)?)
    }

    /// A name, such as a user's: `identifier("john")`. Addresses with that local-part are `in` it.
    #[rhai_fn(return_raw)]
    pub fn identifier(text: &str) -> Result<Object> {
        Ok(Kind::Identifier.parse(text)?)
    }

    /// A regular expression, which holds, and equals, what it matches: `regex("^no-?reply@")`. Compile it once, at the
    /// top of the file.
    #[rhai_fn(return_raw)]
    pub fn regex(text: &str) -> Result<Object> {
        Ok(Kind::Regex.parse(text)?)
    }

    /// A reply with an enhanced status code: `code(550, "5.7.1", "not you")`. A line break in the text makes a reply of
    /// several lines, one at its end is dropped.
    #[rhai_fn(name = "code", return_raw)]
    pub fn code_with_status(number: INT, status: &str, text: &str) -> Result<Object> {
        Ok(Object::Code(state::reply(number, Some(status), text)?))
    }

    /// A reply: `code(550, "not you")`.
    #[rhai_fn(name = "code", return_raw)]
    pub fn code(number: INT, text: &str) -> Result<Object> {
        Ok(Object::Code(state::reply(number, None, text)?))
    }

    /// A reply: `code("550 5.7.1 not you")`.
    #[rhai_fn(name = "code", return_raw)]
    pub fn code_text(text: &str) -> Result<Object> {
        Ok(Kind::Code.parse(text)?)
    }

    /// The local-part of an address; empty for the null path.
    #[rhai_fn(get = "local_part", pure, return_raw)]
    pub fn local_part(object: &mut Object) -> Result<String> {
        Ok(part(object, "local_part")?)
    }

    /// The domain of an address; empty for the null path.
    #[rhai_fn(get = "domain", pure, return_raw)]
    pub fn domain(object: &mut Object) -> Result<String> {
        Ok(part(object, "domain")?)
    }

    /// The local-part of an address that is given as a string.
    #[rhai_fn(get = "local_part", pure, return_raw)]
    pub fn local_part_of_text(text: &mut ImmutableString) -> Result<String> {
        Ok(part(&Kind::Address.parse(text)?, "local_part")?)
    }

    /// The domain of an address that is given as a string.
    #[rhai_fn(get = "domain", pure, return_raw)]
    pub fn domain_of_text(text: &mut ImmutableString) -> Result<String> {
        Ok(part(&Kind::Address.parse(text)?, "domain")?)
    }

    /// The object as a string.
    #[rhai_fn(name = "to_string", name = "to_debug", pure)]
    pub fn to_string(object: &mut Object) -> String {
        object.to_string()
    }

    /// Whether two objects are the same thing.
    #[rhai_fn(name = "==")]
    pub fn equals(a: Object, b: Object) -> bool {
        a.equals(&b)
    }

    /// Whether the string spells the object.
    #[rhai_fn(name = "==")]
    pub fn equals_text(a: Object, b: &str) -> bool {
        a.is_spelt(b)
    }

    /// Whether the string spells the object.
    #[rhai_fn(name = "==")]
    pub fn text_equals(a: &str, b: Object) -> bool {
        b.is_spelt(a)
    }

    /// Whether two objects are different things.
    #[rhai_fn(name = "!=")]
    pub fn differs(a: Object, b: Object) -> bool {
        !a.equals(&b)
    }

    /// Whether the string spells something else.
    #[rhai_fn(name = "!=")]
    pub fn differs_text(a: Object, b: &str) -> bool {
        !a.is_spelt(b)
    }

    /// Whether the string spells something else.
    #[rhai_fn(name = "!=")]
    pub fn text_differs(a: &str, b: Object) -> bool {
        !b.is_spelt(a)
    }

    /// `object in object`.
    #[rhai_fn(pure)]
    pub fn contains(container: &mut Object, item: Object) -> bool {
        container.contains(&item)
    }

    /// `"text" in object`.
    #[rhai_fn(name = "contains", pure)]
    pub fn contains_text(container: &mut Object, item: &str) -> bool {
        container.contains_text(item)
    }

    /// `object in "text"`: whether the text has the object's spelling somewhere.
    #[rhai_fn(name = "contains")]
    pub fn text_contains(container: &str, item: Object) -> bool {
        container.contains(&item.to_string())
    }

    /// `object in [ … ]`: whether an element is the object, spells it or holds it.
    #[rhai_fn(name = "contains", pure)]
    pub fn array_contains(container: &mut Array, item: Object) -> bool {
        container.iter().any(|element| {
            if let Some(object) = element.read_lock::<Object>() {
                return object.equals(&item) || object.contains(&item);
            }
            let text = element.read_lock::<ImmutableString>();
            text.is_some_and(|text| item.is_spelt(&text))
        })
    }

    /// `"text" in [ … ]`: whether an element is the text, is spelt by it or holds it.
    #[rhai_fn(name = "contains", pure)]
    pub fn array_contains_text(container: &mut Array, item: &str) -> bool {
        container.iter().any(|element| {
            if let Some(object) = element.read_lock::<Object>() {
                return object.contains_text(item);
            }
            let text = element.read_lock::<ImmutableString>();
            text.is_some_and(|text| text.as_str() == item)
        })
    }
}

fn part(object: &Object, name: &str) -> std::result::Result<String, Fault> {
    match object {
        Object::Path(ReversePath(path)) => {
            let address = path.as_ref();
            let text = match name {
                "domain" => address.map(|address| address.domain()),
                _ => address.map(|address| address.local_part()),
            };
            Ok(text.unwrap_or_default().to_owned())
        }
        other => Err(Fault::new(
            format!("a {} has no {name}", other.kind()),
            "ask an address for it",
        )),
    }
}

const FILE: &str = "The lines of a file, each an object of that kind: `file(\"objects/blocked.txt\", \"fqdn\")`. \
    Addresses, names and networks are `in` it when one of its lines holds them. Empty lines and those that begin with `#` \
    are left out. The path is relative to the configuration root, and does not lead out of it. Read once, when the rules \
    are loaded: call it at the top of the file.";

/// Registers `file(path, kind)`, for files below `root`.
pub(super) fn register_file(engine: &mut Engine, root: &Path) {
    let root = root.to_owned();
    let file = move |call: NativeCallContext<'_>, path: &str, kind: &str| -> Result<Object> {
        if call.tag().is_some_and(Dynamic::is::<Stand>) {
            return Err(Fault::new(
                "file() reads the disk inside a rule",
                "call it at the top of the file and use its value in the rule",
            )
            .into());
        }
        Ok(lines(&root, path, kind)?)
    };
    documented("file", &["path: &str", "kind: &str", "Object"], FILE)
        .register_into_engine(engine, file);
}

fn lines(root: &Path, path: &str, kind: &str) -> std::result::Result<Object, Fault> {
    let kind = Kind::from_name(kind).ok_or_else(|| {
        let known: Vec<_> = Kind::ALL.iter().map(|(name, _)| *name).collect();
        Fault::new(
            format!("no object has the type {kind:?}"),
            format!("take one of {}", known.join(", ")),
        )
    })?;
    let unreadable = |error: &dyn std::fmt::Display| {
        Fault::new(
            format!("{path} cannot be read: {error}"),
            "check that it is a file that the server may read",
        )
    };
    let real = |path: PathBuf| path.canonicalize().map_err(|error| unreadable(&error));
    let file = real(root.join(path))?;
    if !file.starts_with(real(root.to_owned())?) {
        return Err(Fault::new(
            format!("{path} lies outside the configuration root"),
            "move it inside",
        ));
    }
    let metadata = fs::metadata(&file).map_err(|error| unreadable(&error))?;
    if !metadata.is_file() || metadata.len() > FILE_SIZE_MAX {
        return Err(unreadable(&"not a regular file of 64 MiB at most"));
    }
    let content = fs::read_to_string(&file).map_err(|error| unreadable(&error))?;
    content
        .lines()
        .enumerate()
        .map(|(index, line)| (index, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            kind.parse(line).map_err(|fault| {
                Fault::new(
                    format!("line {} of {path}: {}", index + 1, fault.what),
                    fault.remedy,
                )
            })
        })
        .collect::<std::result::Result<Arc<[Object]>, _>>()
        .map(Object::List)
}
