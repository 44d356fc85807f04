//! What is wrong in a rule file although it compiles: calls of what does not exist, with the wrong arguments or too early,
//! and codes that contradict their state. Rhai finds these when it comes to them, which for a rule is when mail arrives.

mod calls;
mod codes;

use super::api;
use super::file::Shape;
use crate::script::{Diagnostic, Fault, line_and_column};
use calls::Vocabulary;
use codes::contradiction;
use rhai::{AST, ASTNode, Engine, Expr, FnCallExpr, Namespace, OP_CONTAINS, Position, Stmt};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// How Rhai names the function that it makes of a body.
const ANONYMOUS: &str = "anon$";

/// Reviews the file at `path`, function bodies and the modules that it imports included. Gives what is wrong, and every
/// file that was looked at.
pub(super) fn review(
    engine: &Engine,
    path: &Path,
    ast: &AST,
) -> (Vec<Diagnostic>, BTreeSet<PathBuf>) {
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
    (diagnostics, seen)
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
    let vocabulary = Vocabulary::of(engine, ast, imports(ast));
    let mut faults: Vec<(Position, Fault)> = Vec::new();
    ast.walk(&mut |nodes: &[ASTNode<'_>]| {
        if let Some((call, position)) = called(nodes) {
            let found = vocabulary
                .fault_of_call(call)
                .or_else(|| contradiction(call))
                .or_else(|| negated_item(call))
                .or_else(|| bad_target(call));
            faults.extend(found.map(|fault| (position, fault)));
        }
        if let [.., ASTNode::Expr(Expr::MethodCall(call, position))] = nodes {
            faults.extend(pasted(call).map(|fault| (*position, fault)));
        }
        if let [.., ASTNode::Expr(Expr::Variable(variable, _, position))] = nodes {
            let (_, name, namespace, _) = &**variable;
            let position = namespace.path.first().map_or(*position, |root| root.pos);
            let found = vocabulary.fault_of_constant(namespace, name);
            faults.extend(found.map(|fault| (position, fault)));
        }
        true
    });
    faults.extend(too_early(ast, &vocabulary));
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

/// The call that a node is, and where it begins.
fn called<'a>(nodes: &[ASTNode<'a>]) -> Option<(&'a FnCallExpr, Position)> {
    match nodes {
        [.., ASTNode::Expr(Expr::FnCall(call, position))]
        | [.., ASTNode::Stmt(Stmt::FnCall(call, position))] => {
            let root = call.namespace.path.first();
            Some((call, root.map_or(*position, |root| root.pos)))
        }
        _ => None,
    }
}

/// Calls in the bodies of directives of what their stage does not have yet. A function of the file may be called at any
/// stage; a body stands where its stage is written out.
fn too_early(ast: &AST, vocabulary: &Vocabulary) -> Vec<(Position, Fault)> {
    let shape = Shape::of(ast);
    let bodies = ast.clone_functions_only_filtered(|_, _, _, name, _| name.starts_with(ANONYMOUS));
    let mut faults = Vec::new();
    bodies.walk(&mut |nodes: &[ASTNode<'_>]| {
        if let Some((call, position)) = called(nodes)
            && let Some(stage) = shape.stage_at(position)
        {
            let found = vocabulary.too_early(call, stage);
            faults.extend(found.map(|fault| (position, fault)));
        }
        true
    });
    faults
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
