//! Follows the text of a function, and of those that it calls.

use super::{Keys, Location, assign, below};
use crate::script;
use rhai::{AST, ASTFlags, ASTNode, Engine, Expr, FnCallExpr, Position, Stmt};
use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Functions that call functions: deeper than any configuration, and an end for those that call themselves.
const DEPTH_MAX: usize = 16;

/// Calls that are followed in one configuration.
const CALLS_MAX: usize = 1000;

/// One file and what it imports, by the name that it has there.
struct Source {
    ast: AST,
    imports: HashMap<String, PathBuf>,
}

/// Every file that one configuration is made of.
pub(super) struct Survey<'a> {
    engine: &'a Engine,
    root: &'a Path,
    files: HashMap<PathBuf, Source>,
    calls: Cell<usize>,
}

/// One call of a function: what its variables hold.
struct Frame<'a> {
    file: &'a Path,
    variables: HashMap<String, Keys>,
    returned: Keys,
    last: Keys,
    depth: usize,
}

impl<'a> Survey<'a> {
    /// Of `file` and what it imports.
    pub(super) fn new(engine: &'a Engine, root: &'a Path, file: &Path) -> Self {
        let mut survey = Survey {
            engine,
            root,
            files: HashMap::new(),
            calls: Cell::new(0),
        };
        survey.read(file);
        survey
    }

    /// The keys that `function` of `file` sets in the map that it takes and returns.
    pub(super) fn returned_by(&self, file: &Path, function: &str) -> Keys {
        self.call(file, function, vec![Keys::new()], 0)
            .unwrap_or_default()
    }

    /// Reads `file` and everything that it imports. What cannot be read is reported when it is run.
    fn read(&mut self, file: &Path) {
        if self.files.contains_key(file) {
            return;
        }
        let Ok(ast) = script::compile(self.engine, file) else {
            return;
        };
        let mut imports = HashMap::new();
        ast.walk(&mut |nodes| {
            if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = nodes.last()
                && let (Expr::StringConstant(path, _), alias) = &**import
                && let Some(found) = self.resolve(file, path)
            {
                imports.insert(alias.name.to_string(), found);
            }
            true
        });
        let modules: Vec<PathBuf> = imports.values().cloned().collect();
        self.files.insert(file.to_owned(), Source { ast, imports });
        for module in modules {
            self.read(&module);
        }
    }

    /// As the engine resolves: against the root, then against the importing file's folder.
    fn resolve(&self, file: &Path, path: &str) -> Option<PathBuf> {
        let name = format!("{}.vsl", path.strip_suffix(".vsl").unwrap_or(path));
        [Some(self.root), file.parent()]
            .into_iter()
            .flatten()
            .map(|folder| folder.join(&name))
            .find(|candidate| candidate.is_file())
    }

    /// The keys of what a function returns. `None`: there is no such function, or it is too deep.
    fn call(&self, file: &Path, name: &str, arguments: Vec<Keys>, depth: usize) -> Option<Keys> {
        let source = self.files.get(file)?;
        let function = source
            .ast
            .iter_functions()
            .find(|function| function.name == name && function.params.len() == arguments.len())?;
        if depth > DEPTH_MAX || self.calls.get() == CALLS_MAX {
            return None;
        }
        self.calls.set(self.calls.get() + 1);
        let parameters = function.params.iter().map(ToString::to_string);
        let mut frame = Frame {
            file,
            variables: parameters.zip(arguments).collect(),
            returned: Keys::new(),
            last: Keys::new(),
            depth,
        };
        let count = function.params.len();
        let mut body = source.ast.clone_functions_only();
        body.retain_functions(|_, _, other, parameters| other == name && parameters == count);
        body.walk(&mut |nodes| self.node(nodes, &mut frame));
        let mut keys = frame.returned;
        keys.extend(frame.last);
        Some(keys)
    }

    /// Follows one statement on the way through a body; the value of the last at its top is that of the body.
    fn node(&self, nodes: &[ASTNode<'_>], frame: &mut Frame<'_>) -> bool {
        if let Some(ASTNode::Stmt(statement)) = nodes.last() {
            self.statement(statement, frame);
            if nodes.len() == 1 {
                frame.last = match statement {
                    Stmt::Expr(value) => self.value(value, frame),
                    Stmt::FnCall(call, _) => self.called(call, frame),
                    _ => Keys::new(),
                };
            }
        }
        true
    }

    fn statement(&self, statement: &Stmt, frame: &mut Frame<'_>) {
        match statement {
            Stmt::Var(variable, ..) => {
                let keys = self.value(&variable.1, frame);
                frame.variables.insert(variable.0.name.to_string(), keys);
            }
            Stmt::Assignment(assignment) => {
                let (_, sides) = &**assignment;
                let keys = self.value(&sides.rhs, frame);
                let here = location(frame.file, sides.lhs.start_position());
                let mut chain = Vec::new();
                if let Some(variable) = chain_of(&sides.lhs, &mut chain)
                    && let Some(held) = frame.variables.get_mut(variable)
                {
                    assign(held, &chain.join("."), here, keys);
                }
            }
            Stmt::Return(Some(value), flags, _) if !flags.contains(ASTFlags::BREAK) => {
                let keys = self.value(value, frame);
                frame.returned.extend(keys);
            }
            _ => {}
        }
    }

    /// The keys of what `expression` means.
    fn value(&self, expression: &Expr, frame: &Frame<'_>) -> Keys {
        match expression {
            Expr::Map(map, _) => {
                let mut keys = Keys::new();
                for (name, value) in &map.0 {
                    let below = self.value(value, frame);
                    assign(&mut keys, &name.name, location(frame.file, name.pos), below);
                }
                keys
            }
            Expr::Variable(variable, ..) if !variable.2.is_empty() => {
                let module = variable.2.path.first().map(|alias| alias.name.as_str());
                self.exported(frame, module.unwrap_or_default(), &variable.1)
            }
            Expr::Variable(..) | Expr::Dot(..) | Expr::Index(..) => {
                let mut chain = Vec::new();
                chain_of(expression, &mut chain)
                    .and_then(|variable| frame.variables.get(variable))
                    .map(|held| below(held, &chain.join(".")))
                    .unwrap_or_default()
            }
            Expr::FnCall(call, _) => self.called(call, frame),
            _ => Keys::new(),
        }
    }

    fn called(&self, call: &FnCallExpr, frame: &Frame<'_>) -> Keys {
        let file = match call.namespace.path.first() {
            None => Some(frame.file),
            Some(alias) => self.imported(frame.file, &alias.name),
        };
        let arguments = call
            .args
            .iter()
            .map(|argument| self.value(argument, frame))
            .collect();
        file.and_then(|file| self.call(file, &call.name, arguments, frame.depth + 1))
            .unwrap_or_default()
    }

    /// The keys of a variable that a module exports.
    fn exported(&self, frame: &Frame<'_>, module: &str, name: &str) -> Keys {
        let Some((file, source)) = self
            .imported(frame.file, module)
            .and_then(|file| Some((file, self.files.get(file)?)))
        else {
            return Keys::new();
        };
        if frame.depth > DEPTH_MAX {
            return Keys::new();
        }
        let mut top = Frame {
            file,
            variables: HashMap::new(),
            returned: Keys::new(),
            last: Keys::new(),
            depth: frame.depth + 1,
        };
        for statement in source.ast.statements() {
            statement.walk(&mut Vec::new(), &mut |nodes| self.node(nodes, &mut top));
        }
        top.variables.remove(name).unwrap_or_default()
    }

    fn imported(&self, file: &Path, alias: &str) -> Option<&Path> {
        let source = self.files.get(file)?;
        source.imports.get(alias).map(PathBuf::as_path)
    }
}

/// The variable that a chain such as `config.server["tls"]` starts with; the keys after it go to `chain`.
fn chain_of<'a>(expression: &'a Expr, chain: &mut Vec<&'a str>) -> Option<&'a str> {
    match expression {
        Expr::Variable(variable, ..) => Some(&variable.1),
        Expr::Property(property, _) => {
            chain.push(&property.2);
            Some("")
        }
        Expr::StringConstant(key, _) => {
            chain.push(key);
            Some("")
        }
        Expr::Dot(pair, ..) | Expr::Index(pair, ..) => {
            let first = chain_of(&pair.lhs, chain)?;
            chain_of(&pair.rhs, chain)?;
            Some(first)
        }
        _ => None,
    }
}

fn location(file: &Path, position: Position) -> Option<Location> {
    Some(Location {
        file: file.to_owned(),
        position: (position.line()?, position.position().unwrap_or(1)),
    })
}
