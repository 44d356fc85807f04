//! What the functions of one loaded configuration have in common, whichever session calls them.

use crate::dns::Resolver;
use crate::script::{Fault, Literals};
use rhai::{Dynamic, Engine, NativeCallContext};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where paths begin, and whom to ask.
pub(super) struct Setting {
    /// The configuration root.
    pub(super) root: PathBuf,
    /// `app.dirpath`
    pub(super) app: PathBuf,
    /// `server.system.user`
    pub(super) user: String,
    /// `server.system.group`
    pub(super) group: String,
    /// `server.dns`
    pub(super) resolver: Arc<dyn Resolver>,
    /// What is written out in the rules.
    pub(super) literals: Literals,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting")
            .field("root", &self.root)
            .field("app", &self.app)
            .finish_non_exhaustive()
    }
}

impl Setting {
    /// Lets every function that `engine` calls find it.
    pub(super) fn install(self, engine: &mut Engine) {
        engine.set_default_tag(Dynamic::from(Arc::new(self)));
    }

    /// That of the engine that makes the call.
    pub(super) fn of(call: &NativeCallContext<'_>) -> Result<Arc<Self>, Fault> {
        let tag = call.engine().default_tag();
        tag.read_lock::<Arc<Self>>()
            .map(|setting| Arc::clone(&setting))
            .ok_or_else(|| {
                Fault::new(
                    "the function knows no configuration",
                    "report this as a fault of the server",
                )
            })
    }
}
