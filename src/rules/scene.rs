//! What a running rule sees: the stage, and the transaction that it may read and edit.

use super::Stage;
use crate::mail::{Address, Envelope, Message, Recipient, Transaction};
use crate::script::Fault;
use rhai::{Dynamic, EvalAltResult, NativeCallContext};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A stage and what it runs on.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) stage: Stage,
    /// `app.dirpath`
    pub(super) app: Arc<Path>,
    pub(super) transaction: Transaction,
    /// The forward-path of this RCPT; not yet among the transaction's recipients.
    pub(super) recipient: Option<Recipient>,
    /// The envelope as the first edit met it.
    before: Option<Envelope>,
}

/// What rules did to an envelope.
#[derive(Debug)]
pub(super) struct Edits {
    /// The envelope as the first edit met it; `None` where there was none.
    pub(super) before: Option<Envelope>,
    /// The forward-path of this RCPT as rules left it; `None` where they removed it.
    pub(super) recipient: Option<Address>,
}

/// Where the native functions of a session find its scene. Empty while none of its rules runs.
///
/// Rhai hands each native function the tag of the run that called it, and this is that tag. So a scene needs no global
/// variable, and a rule cannot reach another session's.
#[derive(Clone, Debug, Default)]
pub(super) struct Stand(Arc<Mutex<Option<Scene>>>);

impl Stand {
    fn lock(&self) -> MutexGuard<'_, Option<Scene>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, scene: Scene) {
        *self.lock() = Some(scene);
    }

    pub(super) fn take(&self) -> Option<Scene> {
        self.lock().take()
    }

    /// As the tag of a run.
    pub(super) fn tag(&self) -> Dynamic {
        Dynamic::from(self.clone())
    }
}

/// Lets a native function see the scene of the rule that called it.
///
/// # Errors
/// No rule runs, or it runs before `since`, which is the first stage that has what the function `name` is about.
pub(super) fn with<T>(
    call: &NativeCallContext<'_>,
    since: Stage,
    f: impl FnOnce(&mut Scene) -> Result<T, Fault>,
) -> Result<T, Box<EvalAltResult>> {
    let namespace = call.fn_source().unwrap_or("ctx");
    let name = format_args!("{namespace}::{}()", call.fn_name()).to_string();
    let outside = || {
        Fault::new(
            format!("{name} is called while the file is read"),
            "call it inside a rule",
        )
        .at(call.call_position())
    };
    let stand = call
        .tag()
        .and_then(|tag| tag.read_lock::<Stand>())
        .ok_or_else(outside)?;
    let mut guard = stand.lock();
    let scene = guard.as_mut().ok_or_else(outside)?;
    if scene.stage < since {
        return Err(Fault::new(
            format!("{name} has nothing to say at {}", scene.stage),
            format!("call it from {since} on"),
        )
        .at(call.call_position()));
    }
    f(scene).map_err(|fault| fault.at(call.call_position()))
}

impl Scene {
    /// Moves the transaction to the stage; [`Scene::strike`] moves it back.
    pub(super) fn set(stage: Stage, app: &Arc<Path>, transaction: &mut Transaction) -> Self {
        let mut envelope = transaction.envelope.take();
        let recipient = match (stage, &mut envelope) {
            (Stage::Rcpt, Some(envelope)) => envelope.recipients.pop(),
            _ => None,
        };
        Self {
            stage,
            app: Arc::clone(app),
            transaction: Transaction {
                connection: transaction.connection.clone(),
                envelope,
                credentials: transaction.credentials.take(),
                id: transaction.id,
                started: transaction.started,
                message: transaction.message.take(),
            },
            recipient,
            before: None,
        }
    }

    /// Moves envelope, credentials and message back to where they came from, and tells what rules did to the envelope.
    pub(super) fn strike(self, transaction: &mut Transaction) -> Edits {
        transaction.envelope = self.transaction.envelope;
        transaction.credentials = self.transaction.credentials;
        transaction.message = self.transaction.message;
        let edits = Edits {
            before: self.before,
            recipient: self
                .recipient
                .as_ref()
                .map(|recipient| recipient.address.clone()),
        };
        if let Some(envelope) = &mut transaction.envelope {
            envelope.recipients.extend(self.recipient);
        }
        edits
    }

    /// The envelope, which exists from MAIL on, for reading.
    pub(super) fn envelope(&mut self) -> &Envelope {
        self.transaction.envelope.get_or_insert_default()
    }

    /// The message, which exists from the final dot on.
    pub(super) fn message(&mut self) -> Result<&mut Message, Fault> {
        let message = self.transaction.message.as_mut();
        message.ok_or_else(|| {
            Fault::new(
                "the message has not arrived",
                "report this as a fault of the server",
            )
        })
    }

    /// The envelope and the forward-path at hand, for editing.
    pub(super) fn edit(&mut self) -> (&mut Envelope, &mut Option<Recipient>) {
        let envelope = self.transaction.envelope.get_or_insert_default();
        self.before.get_or_insert_with(|| {
            let mut before = envelope.clone();
            before.recipients.extend(self.recipient.clone());
            before
        });
        (envelope, &mut self.recipient)
    }
}
