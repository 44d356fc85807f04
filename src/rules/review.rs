//! What is wrong in a rule file although it compiles: calls of functions and namespaces that do not exist, and codes that
//! contradict their state. Rhai finds these when it comes to them, which for a rule is when mail arrives.

use super::api;
use super::file::suggestion;
use super::state::{self, State};
use crate::script::{Diagnostic, Fault, line_and_column};
use crate::smtp::Reply;
use rhai::{AST, ASTNode, Engine, Expr, FnCallExpr, Namespace, OP_CONTAINS, Position, Stmt};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

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

/// Functions by namespace (the global one has no name) and name, with the numbers of their parameters.
type Known = BTreeMap<String, BTreeMap<String, BTreeSet<usize>>>;

/// Reviews the file at `path`, function bodies and the modules that it imports included.
pub(super) fn review(engine: &Engine, path: &Path, ast: &AST) -> Vec<Diagnostic> {
    let mut diagnostics = review_one(engine, path, ast);
    let mut seen = BTreeSet::from([path.to_owned()]);
    let mut open = modules(engine, ast);
    while let Some(module) = open.pop() {
        let path = PathBuf::from(module.source().unwrap_or_default());
        if seen.insert(path.clone()) {
            diagnostics.extend(review_one(engine, &path, &module));
            open.extend(modules(engine, &module));
        }
    }
    diagnostics
}

/// The modules that a file imports by a path that is written out. Those that cannot be read are told of when the file
/// is evaluated.
fn modules(engine: &Engine, ast: &AST) -> Vec<AST> {
    let mut modules = Vec::new();
    ast.walk(&mut |nodes: &[ASTNode<'_>]| {
        if let [.., ASTNode::Stmt(Stmt::Import(import, _))] = nodes
            && let Expr::StringConstant(path, position) = &import.0
        {
            let resolver = engine.module_resolver();
            let module = resolver.resolve_ast(engine, ast.source(), path, *position);
            modules.extend(module.and_then(Result::ok));
        }
        true
    });
    modules
}

fn review_one(engine: &Engine, path: &Path, ast: &AST) -> Vec<Diagnostic> {
    let known = known(engine, ast);
    let imports = imports(ast);
    let mut faults: Vec<(Position, Fault)> = Vec::new();
    ast.walk(&mut |nodes: &[ASTNode<'_>]| {
        let found = match nodes {
            [.., ASTNode::Expr(Expr::FnCall(call, position))]
            | [.., ASTNode::Stmt(Stmt::FnCall(call, position))] => {
                let position = call
                    .namespace
                    .path
                    .first()
                    .map_or(*position, |root| root.pos);
                unknown_function(call, &known, &imports)
                    .or_else(|| contradiction(call))
                    .or_else(|| negated_item(call))
                    .or_else(|| bad_target(call))
                    .map(|fault| (position, fault))
            }
            [.., ASTNode::Expr(Expr::MethodCall(call, position))] => {
                pasted(call).map(|fault| (*position, fault))
            }
            [.., ASTNode::Expr(Expr::Variable(variable, _, position))] => {
                let (_, name, namespace, _) = &**variable;
                let position = namespace.path.first().map_or(*position, |root| root.pos);
                unknown_constant(
                    root(namespace),
                    name,
                    namespace.path.len(),
                    &imports,
                    &known,
                )
                .map(|fault| (position, fault))
            }
            _ => None,
        };
        faults.extend(found);
        true
    });
    // A node can be met twice, as a statement and as its expression.
    let mut seen = BTreeSet::new();
    faults.retain(|(position, fault)| seen.insert((*position, fault.what.clone())));
    faults
        .into_iter()
        .map(|(position, fault)| Diagnostic {
            file: Some(path.to_owned()),
            position: line_and_column(position),
            what: fault.what,
            remedy: fault.remedy,
        })
        .collect()
}

fn known(engine: &Engine, ast: &AST) -> Known {
    let mut known = Known::new();
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
    for (namespace, name, parameters) in registered.into_iter().chain(scripted) {
        let functions = known.entry(namespace).or_default();
        functions.entry(name).or_default().insert(parameters);
    }
    known.entry("code".to_owned()).or_default();
    known
}

/// The names under which the file imports modules, wherever it does.
fn imports(ast: &AST) -> BTreeSet<String> {
    let mut names = BTreeSet::from(["global".to_owned()]);
    ast.walk(&mut |nodes: &[ASTNode<'_>]| {
        if let [.., ASTNode::Stmt(Stmt::Import(import, _))] = nodes {
            names.insert(import.1.name.to_string());
        }
        true
    });
    names
}

/// The first name of a path; empty for the global namespace.
fn root(namespace: &Namespace) -> &str {
    namespace.path.first().map_or("", |root| root.name.as_str())
}

fn unknown_function(call: &FnCallExpr, known: &Known, imports: &BTreeSet<String>) -> Option<Fault> {
    let name = call.name.as_str();
    let namespace = root(&call.namespace);
    if call.namespace.path.len() > 1 || call.op_token.is_some() || imports.contains(namespace) {
        return None;
    }
    if namespace.is_empty() && (BUILT_IN.contains(&name) || !rhai::is_valid_identifier(name)) {
        return None;
    }
    let Some(functions) = known.get(namespace) else {
        return Some(unknown_namespace(namespace, imports, known));
    };
    let shown = |name: &str| match namespace {
        "" => name.to_owned(),
        _ => format!("{namespace}::{name}"),
    };
    match functions.get(name) {
        None => {
            let callable = functions
                .keys()
                .filter(|name| rhai::is_valid_identifier(name));
            let candidates: Vec<_> = callable.map(|name| shown(name)).collect();
            let remedy = match namespace {
                "" => nearest_only(name, &candidates),
                _ => suggestion(&shown(name), candidates.iter().map(String::as_str)),
            };
            Some(Fault::new(format!("no function `{}`", shown(name)), remedy))
        }
        Some(numbers) if !numbers.contains(&call.args.len()) => {
            let numbers: Vec<_> = numbers.iter().map(|number| counted(*number)).collect();
            let given = counted(call.args.len());
            Some(Fault::new(
                format!("`{}` is called with {given}", shown(name)),
                format!("it takes {}", numbers.join(" or ")),
            ))
        }
        Some(_) => None,
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

fn unknown_namespace(name: &str, imports: &BTreeSet<String>, known: &Known) -> Fault {
    let names = known.keys().chain(imports).map(String::as_str);
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

fn unknown_constant(
    namespace: &str,
    name: &str,
    depth: usize,
    imports: &BTreeSet<String>,
    known: &Known,
) -> Option<Fault> {
    if depth != 1 || imports.contains(namespace) {
        return None;
    }
    if !known.contains_key(namespace) {
        return Some(unknown_namespace(namespace, imports, known));
    }
    let constants: Vec<_> = match namespace {
        "code" => api::codes().map(|name| format!("code::{name}")).collect(),
        _ => Vec::new(),
    };
    let shown = format!("{namespace}::{name}");
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

/// What is wrong with a code that is written out.
fn contradiction(call: &FnCallExpr) -> Option<Fault> {
    match (
        root(&call.namespace),
        call.name.as_str(),
        call.args.as_slice(),
    ) {
        ("", "code", arguments) => literal_code(arguments)?.err(),
        // A code() that is wrong in itself is met by itself.
        ("state", "accept", [code]) => misfit(code, State::accept),
        ("state", "deny", [code]) => misfit(code, State::deny),
        ("state", "faccept", [code]) => misfit(code, State::faccept),
        _ => None,
    }
}

/// `not a in b`, which is `(not a) in b`.
fn negated_item(call: &FnCallExpr) -> Option<Fault> {
    match (call.name.as_str(), call.args.as_slice()) {
        (OP_CONTAINS, [_, Expr::FnCall(item, _)]) if item.name == "!" => Some(Fault::new(
            "`not` binds tighter than `in`",
            "write a not in b, or not (a in b)",
        )),
        _ => None,
    }
}

/// A transport that is written out and leads nowhere.
fn bad_target(call: &FnCallExpr) -> Option<Fault> {
    match (root(&call.namespace), call.args.as_slice()) {
        ("transport", [.., Expr::StringConstant(target, _)]) => {
            api::transport::check(&call.name, target)
        }
        _ => None,
    }
}

/// A statement for a database that is put together where it is used. It would be refused when mail arrives.
fn pasted(call: &FnCallExpr) -> Option<Fault> {
    let first = call.args.first()?;
    let put_together = match first {
        Expr::InterpolatedString(..) => true,
        Expr::FnCall(sum, _) => sum.name == "+",
        _ => false,
    };
    (matches!(call.name.as_str(), "query" | "command") && put_together).then(|| {
        Fault::new(
            format!("what {}() runs is put together from pieces", call.name),
            "write it as one string, and give values as parameters: query(\"… WHERE name = ?\", [name])",
        )
    })
}

fn misfit(argument: &Expr, state: fn(Reply) -> Result<State, Fault>) -> Option<Fault> {
    match literal_reply(argument)? {
        Ok(reply) => state(reply).err(),
        Err(fault) => matches!(argument, Expr::StringConstant(..)).then_some(fault),
    }
}

/// The reply that an argument of a state stands for; `None` where that is not written out.
fn literal_reply(argument: &Expr) -> Option<Result<Reply, Fault>> {
    match argument {
        Expr::StringConstant(text, _) => Some(state::parse_reply(text)),
        Expr::FnCall(call, _) if call.namespace.is_empty() && call.name == "code" => {
            literal_code(&call.args)
        }
        _ => None,
    }
}

fn literal_code(arguments: &[Expr]) -> Option<Result<Reply, Fault>> {
    match arguments {
        [Expr::StringConstant(text, _)] => Some(state::parse_reply(text)),
        [
            Expr::IntegerConstant(number, _),
            Expr::StringConstant(text, _),
        ] => Some(state::reply(*number, None, text)),
        [
            Expr::IntegerConstant(number, _),
            Expr::StringConstant(status, _),
            Expr::StringConstant(text, _),
        ] => Some(state::reply(*number, Some(status), text)),
        _ => None,
    }
}
