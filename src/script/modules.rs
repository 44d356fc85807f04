//! `import`: where a module is looked for, and what keeps it below the configuration root.

use super::{Fault, read, words};
use rhai::{
    AST, Engine, EvalAltResult, GlobalRuntimeState, Module, ModuleResolver, Position, Scope, Shared,
};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, ThreadId};

type Error = Box<EvalAltResult>;

/// Resolves against the root, then against the folder of the importing file; `.vsl` is implied. Each module is read
/// once and evaluated in a world of its own, so that it is the same module whoever imports it.
pub(super) struct Modules {
    root: PathBuf,
    /// By real path.
    loaded: RwLock<HashMap<PathBuf, Shared<Module>>>,
    /// Those whose evaluation has not ended; a module that is met again by the same thread imports itself.
    loading: Mutex<Vec<(ThreadId, PathBuf)>>,
}

/// A module's file, under the name that the operator gave it and under its real one.
struct Found {
    shown: PathBuf,
    real: PathBuf,
}

impl Modules {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            loaded: RwLock::default(),
            loading: Mutex::default(),
        }
    }

    fn find(&self, source: Option<&str>, path: &str, position: Position) -> Result<Found, Error> {
        let not_found = || {
            Box::new(EvalAltResult::ErrorModuleNotFound(
                path.to_owned(),
                position,
            ))
        };
        let root = self.root.canonicalize().map_err(|_| not_found())?;
        let near = source.and_then(|source| Path::new(source).parent());
        let file = format!("{}.vsl", path.strip_suffix(".vsl").unwrap_or(path));
        let found = [Some(self.root.as_path()), near]
            .into_iter()
            .flatten()
            .map(|folder| folder.join(&file))
            .find_map(|shown| {
                let real = shown.canonicalize().ok()?;
                Some(Found { shown, real })
            })
            .ok_or_else(not_found)?;
        if found.real.starts_with(&root) {
            Ok(found)
        } else {
            Err(Fault::new(
                format!("module `{path}` lies outside the configuration root"),
                "move it inside",
            )
            .at(position))
        }
    }

    fn load(
        &self,
        engine: &Engine,
        global: &mut GlobalRuntimeState,
        found: &Found,
        position: Position,
    ) -> Result<Shared<Module>, Error> {
        let ast = compile(engine, found, position)?;
        let within = |error| in_module(found, error, position);
        let mut own = engine.new_global_runtime_state();
        own.tag = global.tag.clone();
        own.level = global.level + 1;
        if own.level > engine.max_call_levels() {
            return Err(Box::new(EvalAltResult::ErrorStackOverflow(position)));
        }
        // The importer pays for the work of the module.
        own.num_operations = global.num_operations;
        let module = Module::eval_ast_as_new_raw(engine, &mut Scope::new(), &mut own, &ast);
        global.num_operations = own.num_operations;
        Ok(Shared::new(module.map_err(within)?))
    }

    fn loading(&self) -> MutexGuard<'_, Vec<(ThreadId, PathBuf)>> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn compile(engine: &Engine, found: &Found, position: Position) -> Result<AST, Error> {
    let name = found.shown.to_string_lossy();
    let text = read(&found.real).map_err(|error| {
        Fault::new(
            format!("{name} cannot be read: {error}"),
            "check that it is a file that the server may read",
        )
        .at(position)
    })?;
    let mut ast = engine
        .compile(words::spell(engine, &text))
        .map_err(|error| in_module(found, Box::new(error.into()), position))?;
    ast.set_source(name.as_ref());
    Ok(ast)
}

fn in_module(found: &Found, error: Error, position: Position) -> Error {
    let name = found.shown.to_string_lossy().into_owned();
    Box::new(EvalAltResult::ErrorInModule(name, error, position))
}

impl ModuleResolver for Modules {
    fn resolve_raw(
        &self,
        engine: &Engine,
        global: &mut GlobalRuntimeState,
        _scope: &mut Scope<'_>,
        path: &str,
        position: Position,
    ) -> Result<Shared<Module>, Error> {
        let found = self.find(global.source(), path, position)?;
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded.get(&found.real) {
            return Ok(module.clone());
        }
        drop(loaded);
        let entry = (thread::current().id(), found.real.clone());
        if self.loading().contains(&entry) {
            return Err(Fault::new(
                format!("module `{path}` imports itself"),
                "break the circle",
            )
            .at(position));
        }
        self.loading().push(entry.clone());
        let module = self.load(engine, global, &found, position);
        self.loading().retain(|other| *other != entry);
        let module = module?;
        self.loaded
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(found.real, module.clone());
        Ok(module)
    }

    fn resolve_ast(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Option<Result<AST, Error>> {
        let found = self.find(source, path, position);
        Some(found.and_then(|found| compile(engine, &found, position)))
    }

    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<Shared<Module>, Error> {
        let mut global = engine.new_global_runtime_state();
        global.source = source.map(Into::into);
        self.resolve_raw(engine, &mut global, &mut Scope::new(), path, position)
    }
}
