//! From the files below a configuration root to a [`Loaded`].

use super::origin::Origins;
use super::read::{Misfit, Reader, unknown};
use super::show::{Entry, map, root_entries};
use super::{Backend, Config, Environment, Loaded, domain, keys};
use crate::mail::Domains;
use crate::script::{self, Diagnostic, Limits};
use crate::smtp::Mechanism;
use crate::tls;
use rhai::{AST, Dynamic, Engine, Map, Scope};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What the scripts of a configuration may use up: there can be many aliases, and no client waits.
const LIMITS: Limits = Limits {
    operations: 1_000_000,
    deadline: Duration::from_secs(1),
    call_levels: 32,
    string_size: 1 << 20,
    array_size: 10_000,
    map_size: 10_000,
};

/// Reads the configuration under `root` (a folder, or its `vsmtp.vsl`) with the defaults of this host.
pub fn load(root: &Path) -> Loaded {
    load_in(root, &Environment::read())
}

/// As [`load`], with the defaults of another host.
pub fn load_in(root: &Path, environment: &Environment) -> Loaded {
    let place = Place::find(root);
    let mut loaded = Loaded {
        config: Config::defaults(environment, &place.absolute),
        errors: Vec::new(),
        warnings: Vec::new(),
        hints: Vec::new(),
        environment: environment.clone(),
        root: place.absolute.clone(),
        given: place.root.clone(),
        origins: Origins::nowhere(&place.entry),
        domain_origins: Default::default(),
    };
    if let Err(error) = place.check(root) {
        loaded.errors.push(error);
        return loaded;
    }
    let mut engine = script::engine(&place.root, &LIMITS);
    let mut script = Script {
        engine: &mut engine,
        place: &place,
        file: place.entry.clone(),
        function: "on_config",
    };
    let defaults = root_entries(&loaded.config);
    loaded.origins = script.origins();
    let read = script.run(&defaults, &loaded.origins, |reader| {
        keys::root(reader, &mut loaded.config);
    });
    if let Err(errors) = read {
        loaded.errors.extend(errors);
    }
    advise(&mut loaded);
    domain::load_all(&mut loaded, &mut engine, &place);
    distribute(&mut loaded.config);
    for found in [&mut loaded.errors, &mut loaded.warnings, &mut loaded.hints] {
        found.sort_by(|a, b| (&a.file, a.position).cmp(&(&b.file, b.position)));
    }
    loaded
}

/// What fits, and is probably not meant.
fn advise(loaded: &mut Loaded) {
    let mechanisms = &loaded.config.server.limits.authentication.mechanisms;
    if mechanisms.contains(&Mechanism::CramMd5) {
        let path = "server.smtp.auth.mechanisms";
        let (file, position) = loaded.origin(None, path);
        loaded.warnings.push(Diagnostic {
            file: Some(file),
            position,
            what: format!(
                "{path}: CRAM-MD5 is not offered, it needs passwords that are kept in clear"
            ),
            remedy: "remove it".into(),
        });
    }
    loaded.warnings.extend(recipients_beyond_arrays(loaded));
    let logs = &loaded.config.logs;
    if logs.filename.is_some() && logs.backend != Backend::File {
        let (file, position) = loaded.origin(None, "server.logs.filename");
        loaded.warnings.push(Diagnostic {
            file: Some(file),
            position,
            what: "server.logs.filename: nothing is written there".into(),
            remedy: "set server.logs.system.backend to \"file\", or remove it".into(),
        });
    }
}

/// A rule that asks for all recipients gets them as one array.
fn recipients_beyond_arrays(loaded: &Loaded) -> Option<Diagnostic> {
    let recipients = loaded.config.server.limits.recipients;
    let array = loaded.config.rules.limits.array_size;
    if recipients <= array {
        return None;
    }
    let path = "server.smtp.rcpt_count_max";
    let (file, position) = loaded.origin(None, path);
    Some(Diagnostic {
        file: Some(file),
        position,
        what: format!(
            "{path}: ctx::rcpt_list() fails beyond the {array} recipients of app.vsl.limits.array_size"
        ),
        remedy: match recipients.min(Limits::MAX.array_size) {
            most if most == recipients => format!("raise that to {most}, or lower this"),
            most => format!("lower this to {most}, and raise that"),
        },
    })
}

/// Gives each module its share of what is said elsewhere.
fn distribute(config: &mut Config) {
    let hosted = config.hosted.values();
    let domains = Domains::new(hosted.clone().map(domain::Domain::mail));
    config.domains = Arc::new(domains.of_server(&config.server.name));
    config.rules.domains = hosted
        .clone()
        .map(|domain| (domain.name.clone(), domain.folder.clone()))
        .collect();
    config.rules.app.clone_from(&config.delivery.dirpath);
    config.rules.dns = config.dns.clone();
    config.rules.identity = (config.system.user.clone(), config.system.group.clone());
    config.tls.domains = hosted
        .filter_map(|domain| {
            Some(tls::DomainOptions {
                domain: domain.name.clone(),
                key_pair: domain.key_pair.clone()?,
                versions: domain.versions.clone(),
            })
        })
        .collect();
}

/// Where the configuration is.
pub(super) struct Place {
    /// The root as the operator gave it, for errors.
    pub(super) root: PathBuf,
    /// The same wherever the process goes, for values.
    pub(super) absolute: PathBuf,
    entry: PathBuf,
}

impl Place {
    fn find(given: &Path) -> Self {
        let root = match given.parent() {
            Some(folder) if given.is_file() && folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) if given.is_file() => folder,
            _ => given,
        };
        let entry = match root.join("vsmtp.vsl") {
            entry if entry.is_file() => entry,
            _ => root.join("conf.d").join("config.vsl"),
        };
        Self {
            root: root.to_owned(),
            absolute: std::path::absolute(root).unwrap_or_else(|_| root.to_owned()),
            entry,
        }
    }

    /// `path` as the operator would write it.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.absolute) {
            Ok(below) => self.root.join(below),
            Err(_) => path.to_owned(),
        }
    }

    fn check(&self, given: &Path) -> Result<(), Diagnostic> {
        let error = |file: &Path, what: &str, remedy: &str| {
            Err(Diagnostic {
                file: Some(file.to_owned()),
                position: None,
                what: what.into(),
                remedy: remedy.into(),
            })
        };
        if given.is_file() && !given.ends_with("vsmtp.vsl") {
            return error(
                given,
                "is no configuration root",
                "give a folder, or the vsmtp.vsl in it",
            );
        }
        if !given.exists() {
            return error(
                given,
                "there is no such configuration root",
                "name an existing folder with --config",
            );
        }
        if !self.entry.exists() {
            return error(
                &self.entry,
                "there is no such file",
                "create it with: fn on_config(config) { config }",
            );
        }
        Ok(())
    }
}

/// A file whose function takes a map of defaults and returns a configuration.
pub(super) struct Script<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) place: &'a Place,
    pub(super) file: PathBuf,
    pub(super) function: &'static str,
}

impl Script<'_> {
    /// Where this script assigns what.
    pub(super) fn origins(&mut self) -> Origins {
        Origins::survey(self.engine, &self.place.root, &self.file, self.function)
    }

    /// Hands the function these defaults, then `read`s what it returns.
    pub(super) fn run(
        &self,
        defaults: &[Entry],
        origins: &Origins,
        read: impl FnOnce(&mut Reader<'_>),
    ) -> Result<(), Vec<Diagnostic>> {
        let known: Vec<String> = defaults.iter().map(|entry| entry.path.clone()).collect();
        let handed = map(defaults);
        let returned = self
            .call(handed.clone())
            .map_err(|error| vec![self.teach(error, origins, &known)])?;
        let mut reader = Reader::new(&self.place.absolute, &known, handed, returned);
        read(&mut reader);
        let misfits = reader.finish();
        match misfits.is_empty() {
            true => Ok(()),
            false => Err(misfits
                .into_iter()
                .map(|misfit| diagnostic(misfit, origins))
                .collect()),
        }
    }

    fn call(&self, defaults: Map) -> Result<Map, Diagnostic> {
        let ast = script::compile(self.engine, &self.file)?;
        self.check_function(&ast)?;
        let returned: Dynamic = self
            .engine
            .call_fn(&mut Scope::new(), &ast, self.function, (defaults,))
            .map_err(|error| script::diagnose(&self.file, &error))?;
        let found = super::kind::describe(&returned);
        returned.flatten().try_cast().ok_or_else(|| {
            self.error(
                format!("{} returned {found} instead of a map", self.function),
                "end it with the line: config",
            )
        })
    }

    fn check_function(&self, ast: &AST) -> Result<(), Diagnostic> {
        let parameters: Vec<usize> = ast
            .iter_functions()
            .filter(|function| function.name == self.function)
            .map(|function| function.params.len())
            .collect();
        let remedy = format!("write: fn {}(config) {{ config }}", self.function);
        match parameters.first() {
            None => Err(self.error(format!("there is no fn {}", self.function), remedy)),
            Some(_) if parameters.contains(&1) => Ok(()),
            Some(count) => Err(self.error(
                format!("fn {} takes {count} parameters", self.function),
                remedy,
            )),
        }
    }

    fn error(&self, what: String, remedy: impl Into<String>) -> Diagnostic {
        Diagnostic {
            file: Some(self.file.clone()),
            position: None,
            what,
            remedy: remedy.into(),
        }
    }

    /// An assignment below a key that there is not fails before anything can be read; what Rhai says of it does not
    /// name the key.
    fn teach(&self, error: Diagnostic, origins: &Origins, known: &[String]) -> Diagnostic {
        let path = error
            .file
            .as_deref()
            .zip(error.position)
            .and_then(|(file, (line, _))| origins.assigned_at(file, line));
        match path.and_then(|path| first_unknown(path, known)) {
            Some(path) => diagnostic_at(unknown(path, known), error.file, error.position),
            None => error,
        }
    }
}

/// The shortest part of `path` that no known key starts with.
fn first_unknown(path: &str, known: &[String]) -> Option<String> {
    let ends = path.match_indices('.').map(|(at, _)| at);
    ends.chain([path.len()])
        .filter_map(|end| path.get(..end))
        .find(|part| {
            !known.iter().any(|known| {
                known
                    .strip_prefix(part)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        })
        .map(str::to_owned)
}

fn diagnostic(misfit: Misfit, origins: &Origins) -> Diagnostic {
    let (file, position) = origins.of(&misfit.path);
    diagnostic_at(misfit, Some(file), position)
}

fn diagnostic_at(
    misfit: Misfit,
    file: Option<PathBuf>,
    position: Option<(usize, usize)>,
) -> Diagnostic {
    Diagnostic {
        file,
        position,
        what: format!("{}: {}", misfit.path, misfit.what),
        remedy: misfit.remedy,
    }
}
