//! `transport`: by which way a copy leaves the queue, recorded for each recipient. What is recorded changes nothing about
//! who is accepted.

use super::envelop::address;
use crate::mail::{Transport, without_password};
use crate::rules::Stage;
use crate::rules::object;
use crate::rules::scene::{Scene, with};
use crate::script::Fault;
use rhai::plugin::*;
use rhai::{Dynamic, EvalAltResult};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// What the last argument of a function names.
#[derive(Clone, Copy, Debug)]
enum Target {
    Host,
    Store,
}

const TARGETS: [(&str, Target); 4] = [
    ("forward", Target::Host),
    ("forward_all", Target::Host),
    ("lmtp", Target::Store),
    ("lmtp_all", Target::Store),
];

/// What is wrong with the target that stands in a call of `transport::NAME`.
pub(in crate::rules) fn check(name: &str, target: &str) -> Option<Fault> {
    let (_, kind) = TARGETS.into_iter().find(|(known, _)| *known == name)?;
    kind.parse(target).err()
}

impl Target {
    fn parse(self, text: &str) -> std::result::Result<Transport, Fault> {
        let (read, examples) = match self {
            Self::Host => (
                Transport::forward(text),
                "\"mx.example.com\", \"192.0.2.1\", \"smtp://user:password@host:587\", \"smtps://host\" or \"lmtp:host:port\"",
            ),
            Self::Store => (Transport::lmtp(text), "\"unix:/path\" or \"host:port\""),
        };
        read.map_err(|error| {
            let shown = without_password(text);
            Fault::new(
                format!("{shown:?} is no target: {error}"),
                format!("write it as in {examples}"),
            )
        })
    }

    /// The transport that an argument, string or object, stands for.
    fn of(self, argument: &Dynamic) -> std::result::Result<Transport, Fault> {
        self.parse(&object::text(argument)?)
    }
}

/// Records `transport` for those whose address is `only`, or for all; at `rcpt` for the recipient at hand as well.
fn record(
    scene: &mut Scene,
    only: Option<&Dynamic>,
    transport: Option<Transport>,
) -> std::result::Result<(), Fault> {
    let only = only.map(address).transpose()?;
    let (envelope, current) = scene.edit();
    let recipients = envelope.recipients.iter_mut().chain(current);
    for recipient in recipients {
        if only.as_ref().is_none_or(|only| *only == recipient.address) {
            recipient.transport.clone_from(&transport);
        }
    }
    Ok(())
}

#[export_module]
pub(super) mod functions {
    /// Hands the copy for `rcpt` to the server that `target` names, in place of asking the DNS: a host name, an address,
    /// `"smtp://[user:password@]host[:port][?tls=none|opportunistic|required|tunnel]"`, `"smtps://…"`, which is
    /// `tls=tunnel`, or `"lmtp:…"`. With a password TLS is required unless the target says otherwise. Nothing happens when
    /// `rcpt` is no recipient. From `rcpt` on.
    #[rhai_fn(return_raw)]
    pub fn forward(call: NativeCallContext<'_>, rcpt: Dynamic, target: Dynamic) -> Result<()> {
        with(&call, Stage::Rcpt, |scene| {
            let transport = Target::Host.of(&target)?;
            record(scene, Some(&rcpt), Some(transport))
        })
    }

    /// The same for every recipient so far.
    #[rhai_fn(return_raw)]
    pub fn forward_all(call: NativeCallContext<'_>, target: Dynamic) -> Result<()> {
        with(&call, Stage::Rcpt, |scene| {
            let transport = Target::Host.of(&target)?;
            record(scene, None, Some(transport))
        })
    }

    /// Lets the copy for `rcpt` go the usual way: that of its domain where it is one of ours, otherwise to the mail
    /// exchangers. Takes back what was recorded. From `rcpt` on.
    #[rhai_fn(return_raw)]
    pub fn deliver(call: NativeCallContext<'_>, rcpt: Dynamic) -> Result<()> {
        with(&call, Stage::Rcpt, |scene| record(scene, Some(&rcpt), None))
    }

    /// The same for every recipient so far.
    #[rhai_fn(return_raw)]
    pub fn deliver_all(call: NativeCallContext<'_>) -> Result<()> {
        with(&call, Stage::Rcpt, |scene| record(scene, None, None))
    }

    /// Puts the copy for `rcpt` into a Maildir of this machine, `DOMAIN/USER/` below `app.mail_dirpath`, whatever its
    /// domain says. From `rcpt` on.
    #[rhai_fn(return_raw)]
    pub fn maildir(call: NativeCallContext<'_>, rcpt: Dynamic) -> Result<()> {
        with(&call, Stage::Rcpt, |scene| {
            record(scene, Some(&rcpt), Some(Transport::Maildir))
        })
    }

    /// The same for every recipient so far.
    #[rhai_fn(return_raw)]
    pub fn maildir_all(call: NativeCallContext<'_>) -> Result<()> {
        with(&call, Stage::Rcpt, |scene| {
            record(scene, None, Some(Transport::Maildir))
        })
    }

    /// Appends the copy for `rcpt` to an mbox file of this machine, `DOMAIN/USER/mbox` below `app.mail_dirpath`, whatever
    /// its domain says. From `rcpt` on.
    #[rhai_fn(return_raw)]
    pub fn mbox(call: NativeCallContext<'_>, rcpt: Dynamic) -> Result<()> {
        with(&call, Stage::Rcpt, |scene| {
            record(scene, Some(&rcpt), Some(Transport::Mbox))
        })
    }

    /// The same for every recipient so far.
    #[rhai_fn(return_raw)]
    pub fn mbox_all(call: NativeCallContext<'_>) -> Result<()> {
        with(&call, Stage::Rcpt, |scene| {
            record(scene, None, Some(Transport::Mbox))
        })
    }

    /// Hands the copy for `rcpt` to a mailbox store by LMTP: `"unix:/path"` or `"host:port"`. From `rcpt` on.
    #[rhai_fn(return_raw)]
    pub fn lmtp(call: NativeCallContext<'_>, rcpt: Dynamic, store: Dynamic) -> Result<()> {
        with(&call, Stage::Rcpt, |scene| {
            let transport = Target::Store.of(&store)?;
            record(scene, Some(&rcpt), Some(transport))
        })
    }

    /// The same for every recipient so far.
    #[rhai_fn(return_raw)]
    pub fn lmtp_all(call: NativeCallContext<'_>, store: Dynamic) -> Result<()> {
        with(&call, Stage::Rcpt, |scene| {
            let transport = Target::Store.of(&store)?;
            record(scene, None, Some(transport))
        })
    }
}
