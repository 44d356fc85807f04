//! Calls of functions: whether there is such a function, takes such arguments, and has something to say at the stage.

use super::root;
use crate::rules::api;
use crate::rules::file::suggestion;
use crate::rules::manual::{self, Function};
use crate::rules::object::Object;
use crate::rules::stage::Stage;
use crate::script::Fault;
use rhai::{AST, Array, Dynamic, Engine, Expr, FnCallExpr, INT, ImmutableString, Map, Namespace};
use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};

/// What the engine itself answers to, although no function of that name is registered.
const BUILT_IN: [&str; 9] = [
    "Fn",
    "call",
    "curry",
    "debug",
    "is_def_fn",
    "is_def_var",
    "is_shared",
    "print",
    "type_of",
];

/// What a file can call.
pub(super) struct Vocabulary {
    /// By namespace (the global one has no name) and name: how many functions there are for each number of parameters.
    known: BTreeMap<String, BTreeMap<String, BTreeMap<usize, usize>>>,
    /// Those of the manual.
    documented: Vec<Function>,
    /// The names under which the file imports modules.
    imports: BTreeSet<String>,
}

impl Vocabulary {
    /// That of a file with these `imports`.
    pub(super) fn of(engine: &Engine, ast: &AST, imports: BTreeSet<String>) -> Self {
        let registered = engine.collect_fn_metadata(
            None,
            |function| {
                let metadata = function.metadata;
                Some((
                    function.namespace.to_string(),
                    metadata.name.to_string(),
                    metadata.num_params,
                ))
            },
            true,
        );
        let scripted = ast.iter_functions().map(|function| {
            (
                String::new(),
                function.name.to_owned(),
                function.params.len(),
            )
        });
        let mut vocabulary = Self {
            known: BTreeMap::new(),
            documented: manual::functions(engine),
            imports,
        };
        for (namespace, name, parameters) in registered.into_iter().chain(scripted) {
            let functions = vocabulary.known.entry(namespace).or_default();
            let numbers = functions.entry(name).or_default();
            *numbers.entry(parameters).or_default() += 1;
        }
        vocabulary.known.entry("code".to_owned()).or_default();
        vocabulary
    }

    /// What is wrong with a call, wherever it stands.
    pub(super) fn fault_of_call(&self, call: &FnCallExpr) -> Option<Fault> {
        let name = call.name.as_str();
        let namespace = root(&call.namespace);
        if call.namespace.path.len() > 1
            || call.op_token.is_some()
            || self.imports.contains(namespace)
        {
            return None;
        }
        if namespace.is_empty() && (BUILT_IN.contains(&name) || !rhai::is_valid_identifier(name)) {
            return None;
        }
        let Some(functions) = self.known.get(namespace) else {
            return Some(self.unknown_namespace(namespace));
        };
        match functions.get(name) {
            None => {
                let callable = functions
                    .keys()
                    .filter(|name| rhai::is_valid_identifier(name));
                let candidates: Vec<_> = callable.map(|name| shown(namespace, name)).collect();
                let shown = shown(namespace, name);
                let remedy = match namespace {
                    "" => nearest_only(name, &candidates),
                    _ => suggestion(&shown, candidates.iter().map(String::as_str)),
                };
                Some(Fault::new(format!("no function `{shown}`"), remedy))
            }
            Some(numbers) if !numbers.contains_key(&call.args.len()) => {
                let numbers: Vec<_> = numbers.keys().map(|number| counted(*number)).collect();
                let given = counted(call.args.len());
                Some(Fault::new(
                    format!("`{}` is called with {given}", shown(namespace, name)),
                    format!("it takes {}", numbers.join(" or ")),
                ))
            }
            Some(numbers) => {
                let number = numbers.get(&call.args.len()).copied().unwrap_or_default();
                self.wrong_types(call, number)
            }
        }
    }

    /// The functions of the manual that a call may be of.
    fn candidates(&self, call: &FnCallExpr) -> Vec<&Function> {
        let namespace = root(&call.namespace);
        let functions = self.documented.iter();
        functions
            .filter(|function| {
                function.namespace == namespace
                    && function.name == call.name.as_str()
                    && function.parameters.len() == call.args.len()
            })
            .collect()
    }

    /// Whether an argument that is written out is of a type that none of the `number` functions takes. Where one of them
    /// is not of the manual, nothing is known of its types.
    fn wrong_types(&self, call: &FnCallExpr, number: usize) -> Option<Fault> {
        let candidates = self.candidates(call);
        let types: Vec<_> = call.args.iter().map(type_of).collect();
        let fits = |function: &&Function| {
            let mut pairs = function.parameters.iter().zip(&types);
            pairs.all(|(parameter, argument)| {
                let any = TypeId::of::<Dynamic>();
                argument.is_none_or(|(given, _)| *parameter == given || *parameter == any)
            })
        };
        if candidates.len() < number || candidates.iter().any(|function| fits(function)) {
            return None;
        }
        let given: Vec<&str> = types
            .iter()
            .map(|argument| argument.map_or("…", |(_, name)| name))
            .collect();
        let usages: BTreeSet<&str> = candidates.iter().map(|f| f.usage.as_str()).collect();
        let usages: Vec<&str> = usages.into_iter().collect();
        Some(Fault::new(
            format!(
                "`{}` is called with ({})",
                shown(root(&call.namespace), &call.name),
                given.join(", ")
            ),
            format!("it is {}", usages.join(" or ")),
        ))
    }

    /// What is wrong with a call at `stage`.
    pub(super) fn too_early(&self, call: &FnCallExpr, stage: Stage) -> Option<Fault> {
        let candidates = self.candidates(call);
        let since: Option<Vec<Stage>> = candidates.iter().map(|f| f.since()).collect();
        let since = since?.into_iter().min().filter(|since| stage < *since)?;
        let name = shown(root(&call.namespace), &call.name);
        Some(Fault::new(
            format!("{name}() has nothing to say at {stage}"),
            format!("call it from {since} on"),
        ))
    }

    /// What is wrong with a name that is used as a constant.
    pub(super) fn fault_of_constant(&self, namespace: &Namespace, name: &str) -> Option<Fault> {
        let depth = namespace.path.len();
        let namespace = root(namespace);
        if depth != 1 || self.imports.contains(namespace) {
            return None;
        }
        if !self.known.contains_key(namespace) {
            return Some(self.unknown_namespace(namespace));
        }
        let constants: Vec<_> = match namespace {
            "code" => api::codes()
                .map(|(name, _)| format!("code::{name}"))
                .collect(),
            _ => Vec::new(),
        };
        let shown = shown(namespace, name);
        if constants.contains(&shown) {
            return None;
        }
        let remedy = if constants.is_empty() {
            "if it is a function, call it with ()".to_owned()
        } else {
            suggestion(&shown, constants.iter().map(String::as_str))
        };
        Some(Fault::new(format!("no constant `{shown}`"), remedy))
    }

    fn unknown_namespace(&self, name: &str) -> Fault {
        let names = self.known.keys().chain(&self.imports).map(String::as_str);
        let remedy = suggestion(name, names.filter(|name| !name.is_empty()));
        Fault::new(
            format!("no namespace `{name}`"),
            if remedy.starts_with("did") {
                remedy
            } else {
                format!("import it at the top of the file: import \"…\" as {name};")
            },
        )
    }
}

fn shown(namespace: &str, name: &str) -> String {
    match namespace {
        "" => name.to_owned(),
        _ => format!("{namespace}::{name}"),
    }
}

/// The type of a value that is written out, and what the language calls it.
fn type_of(argument: &Expr) -> Option<(TypeId, &'static str)> {
    match argument {
        Expr::StringConstant(..) | Expr::InterpolatedString(..) => {
            Some((TypeId::of::<ImmutableString>(), "string"))
        }
        Expr::IntegerConstant(..) => Some((TypeId::of::<INT>(), "integer")),
        Expr::FloatConstant(..) => Some((TypeId::of::<rhai::FLOAT>(), "float")),
        Expr::BoolConstant(..) => Some((TypeId::of::<bool>(), "bool")),
        Expr::CharConstant(..) => Some((TypeId::of::<char>(), "char")),
        Expr::Unit(..) => Some((TypeId::of::<()>(), "()")),
        Expr::Array(..) => Some((TypeId::of::<Array>(), "array")),
        Expr::Map(..) => Some((TypeId::of::<Map>(), "map")),
        Expr::Variable(variable, ..) if root(&variable.2) == "code" => {
            Some((TypeId::of::<Object>(), "object"))
        }
        _ => None,
    }
}

fn counted(arguments: usize) -> String {
    match arguments {
        0 => "no argument".to_owned(),
        1 => "1 argument".to_owned(),
        _ => format!("{arguments} arguments"),
    }
}

/// The global namespace is too large to be listed.
fn nearest_only(name: &str, candidates: &[String]) -> String {
    let remedy = suggestion(name, candidates.iter().map(String::as_str));
    if remedy.starts_with("did") {
        remedy
    } else {
        "define it, or check its name".to_owned()
    }
}
