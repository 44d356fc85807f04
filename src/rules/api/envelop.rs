//! `envelop`: edits of the envelope. The content, and what its header section says, stays as it is.

use crate::mail::{Address, Recipient, ReversePath};
use crate::rules::Stage;
use crate::rules::object::{self, Object};
use crate::rules::scene::{Scene, with};
use crate::script::Fault;
use rhai::plugin::*;
use rhai::{Dynamic, EvalAltResult};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// The address that an argument, string or object, stands for.
pub(super) fn address(argument: &Dynamic) -> std::result::Result<Address, Fault> {
    match argument.read_lock::<Object>().as_deref() {
        Some(Object::Path(ReversePath(Some(address)))) => Ok(address.clone()),
        _ => object::address(&object::text(argument)?),
    }
}

fn remove(scene: &mut Scene, address: &Address) {
    let (envelope, current) = scene.edit();
    current.take_if(|recipient| recipient.address == *address);
    envelope
        .recipients
        .retain(|recipient| recipient.address != *address);
}

fn add(scene: &mut Scene, address: Address) {
    let (envelope, current) = scene.edit();
    let known = |recipient: &Recipient| recipient.address == address;
    if !envelope.recipients.iter().chain(&*current).any(known) {
        envelope.recipients.push(Recipient::from(address));
    }
}

fn rewrite(scene: &mut Scene, old: &Address, new: &Address) {
    let (envelope, current) = scene.edit();
    let recipients = envelope.recipients.iter_mut().chain(current);
    for recipient in recipients.filter(|recipient| recipient.address == *old) {
        recipient.readdress(new.clone());
    }
}

#[export_module]
pub(super) mod functions {
    /// Puts another address in place of the reverse-path; `""` or `"<>"` makes it the null path. From `mail` on.
    #[rhai_fn(return_raw)]
    pub fn rw_mail_from(call: NativeCallContext<'_>, new: Dynamic) -> Result<()> {
        with(&call, Stage::Mail, |scene| {
            let null = matches!(object::text(&new)?.as_str(), "" | "<>");
            let path = if null { None } else { Some(address(&new)?) };
            scene.edit().0.reverse_path = ReversePath(path);
            Ok(())
        })
    }

    /// Puts the address `new` in place of the recipient `old`; nothing happens when there is no `old`. From `rcpt` on.
    #[rhai_fn(return_raw)]
    pub fn rw_rcpt(call: NativeCallContext<'_>, old: Dynamic, new: Dynamic) -> Result<()> {
        with(&call, Stage::Rcpt, |scene| {
            rewrite(scene, &address(&old)?, &address(&new)?);
            Ok(())
        })
    }

    /// Adds a recipient; nothing happens when it is one already. From `rcpt` on.
    #[rhai_fn(return_raw)]
    pub fn add_rcpt(call: NativeCallContext<'_>, new: Dynamic) -> Result<()> {
        with(&call, Stage::Rcpt, |scene| {
            add(scene, address(&new)?);
            Ok(())
        })
    }

    /// Adds a recipient that the header section does not name, which is what `add_rcpt` does too. From `rcpt` on.
    #[rhai_fn(return_raw)]
    pub fn bcc(call: NativeCallContext<'_>, new: Dynamic) -> Result<()> {
        with(&call, Stage::Rcpt, |scene| {
            add(scene, address(&new)?);
            Ok(())
        })
    }

    /// Removes a recipient; nothing happens when it is none. From `rcpt` on.
    #[rhai_fn(return_raw)]
    pub fn rm_rcpt(call: NativeCallContext<'_>, old: Dynamic) -> Result<()> {
        with(&call, Stage::Rcpt, |scene| {
            remove(scene, &address(&old)?);
            Ok(())
        })
    }
}
