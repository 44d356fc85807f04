//! One rule file: `#{ stage: [ directive, … ], … }`, checked and ready to run.

use super::directive::SharedDirective;
use super::review;
use super::stage::Stage;
use crate::script::{Diagnostic, Sources, compile, diagnose, line_and_column};
use rhai::{AST, Array, Dynamic, Engine, Expr, Map, Position, Scope, Stmt};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The directives of one file, by stage.
#[derive(Debug)]
pub(super) struct RuleFile {
    pub(super) path: PathBuf,
    stages: [Vec<SharedDirective>; Stage::ALL.len()],
    /// The file and the modules that it imports, as they were read.
    pub(super) sources: Sources,
}

impl RuleFile {
    /// What the file runs at `stage`, in order.
    pub(super) fn directives(&self, stage: Stage) -> &[SharedDirective] {
        self.stages.get(stage as usize).map_or(&[], Vec::as_slice)
    }

    /// Every directive, stage by stage.
    pub(super) fn all(&self) -> impl Iterator<Item = &SharedDirective> {
        self.stages.iter().flatten()
    }

    /// Reads `path`; all errors at once. An empty file has no rules.
    pub(super) fn load(engine: &Engine, path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let ast = compile(engine, path).map_err(|error| vec![error])?;
        let (mut errors, files) = review::review(engine, path, &ast);
        let value = engine
            .eval_ast_with_scope::<Dynamic>(&mut Scope::new(), &ast)
            .map_err(|error| diagnose(path, &error));
        let mut file = Self {
            path: path.to_owned(),
            stages: Default::default(),
            sources: Sources::read(files),
        };
        match value {
            Ok(_) if ast.statements().is_empty() => {}
            Ok(value) => errors.extend(file.fill(engine, value, &Shape::of(&ast))),
            // What the review has found is why the file cannot be evaluated.
            Err(_) if !errors.is_empty() => {}
            Err(error) => errors.push(error),
        }
        if errors.is_empty() {
            Ok(file)
        } else {
            errors.sort_by(|a, b| (&a.file, a.position).cmp(&(&b.file, b.position)));
            Err(errors)
        }
    }

    /// Takes the stages from the value of the file.
    fn fill(&mut self, engine: &Engine, value: Dynamic, shape: &Shape<'_>) -> Vec<Diagnostic> {
        let kind = engine.map_type_name(value.type_name()).to_owned();
        let Some(stages) = value.try_cast::<Map>() else {
            return vec![self.error(
                shape.end,
                format!("the file evaluates to a value of type {kind}"),
                "end it with a map from stages to lists: #{ mail: [ … ] }",
            )];
        };
        let mut errors = Vec::new();
        for (name, list) in stages {
            let position = shape.stage(&name);
            let kind = engine.map_type_name(list.type_name()).to_owned();
            match (Stage::from_name(&name), list.try_cast::<Array>()) {
                (None, _) => errors.push(self.error(
                    position,
                    format!("unknown stage `{name}`"),
                    &suggestion(&name, Stage::ALL.iter().map(|stage| stage.name())),
                )),
                (Some(_), None) => errors.push(self.error(
                    position,
                    format!("stage `{name}` is of type {kind}"),
                    "give it a list of directives: [ rule \"name\" || …, … ]",
                )),
                (Some(stage), Some(list)) => {
                    errors.extend(self.fill_stage(engine, stage, list, shape));
                }
            }
        }
        errors.extend(self.duplicates());
        errors
    }

    fn fill_stage(
        &mut self,
        engine: &Engine,
        stage: Stage,
        list: Array,
        shape: &Shape<'_>,
    ) -> Vec<Diagnostic> {
        let mut errors = Vec::new();
        let mut directives = Vec::with_capacity(list.len());
        for (index, element) in list.into_iter().enumerate() {
            let kind = engine.map_type_name(element.type_name()).to_owned();
            match element.try_cast::<SharedDirective>() {
                Some(directive)
                    if directive.filter().is_some()
                        && !matches!(stage, Stage::Postq | Stage::Delivery) =>
                {
                    errors.push(self.error(
                        Some(directive.position),
                        format!("`delegate` stands at stage `{stage}`"),
                        "move it to postq or delivery: a client would have to wait for the filter",
                    ));
                }
                Some(directive) => directives.push(directive),
                None => errors.push(self.error(
                    shape.element(stage.name(), index),
                    format!(
                        "element {} of stage `{stage}` is no directive but of type {kind}",
                        index + 1
                    ),
                    "write rule \"name\" || … or action \"name\" || …",
                )),
            }
        }
        if let Some(empty) = self.stages.get_mut(stage as usize) {
            *empty = directives;
        }
        errors
    }

    /// The directives that have the name of one above them.
    fn duplicates(&self) -> Vec<Diagnostic> {
        let mut directives: Vec<_> = self.stages.iter().flatten().collect();
        directives.sort_by_key(|directive| directive.position);
        let mut first: HashMap<&str, Position> = HashMap::new();
        let mut errors = Vec::new();
        for directive in directives {
            if let Some(first) = first.get(directive.name.as_str()) {
                let line = first.line().unwrap_or(1);
                errors.push(self.error(
                    Some(directive.position),
                    format!(
                        "a directive named {:?} stands in line {line} already",
                        directive.name
                    ),
                    "give each directive of a file a name of its own",
                ));
            } else {
                first.insert(&directive.name, directive.position);
            }
        }
        errors
    }

    fn error(&self, position: Option<Position>, what: String, remedy: &str) -> Diagnostic {
        Diagnostic {
            file: Some(self.path.clone()),
            position: position.and_then(line_and_column),
            what,
            remedy: remedy.to_owned(),
        }
    }
}

/// `did you mean …?` with the nearest of `known`, or all of them where none is near.
pub(super) fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<_> = known.collect();
    known.sort_unstable();
    known.dedup();
    let near = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), *known))
        .min()
        .filter(|(distance, near)| *distance <= near.len().max(name.len()) / 3);
    match near {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None => format!("take one of {}", known.join(", ")),
    }
}

/// Where the parts of the map at the end of a file stand in it, as far as they are written out.
pub(super) struct Shape<'a> {
    /// Where the last statement begins.
    end: Option<Position>,
    stages: Vec<(&'a str, Position, &'a Expr)>,
}

impl<'a> Shape<'a> {
    pub(super) fn of(ast: &'a AST) -> Self {
        let last = ast.statements().last();
        let stages = match last {
            Some(Stmt::Expr(expression)) => match &**expression {
                Expr::Map(entries, _) => entries
                    .0
                    .iter()
                    .map(|(name, list)| (name.name.as_str(), name.pos, list))
                    .collect(),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        Self {
            end: last.map(Stmt::position),
            stages,
        }
    }

    /// The stage whose list has `position` in it.
    pub(super) fn stage_at(&self, position: Position) -> Option<Stage> {
        let before = self.stages.iter().filter(|(_, from, _)| *from <= position);
        let (name, _, _) = before.max_by_key(|(_, from, _)| *from)?;
        Stage::from_name(name)
    }

    fn stage(&self, name: &str) -> Option<Position> {
        let found = self.stages.iter().find(|(known, _, _)| *known == name);
        found.map(|(_, position, _)| *position).or(self.end)
    }

    fn element(&self, stage: &str, index: usize) -> Option<Position> {
        match self.stages.iter().find(|(known, _, _)| *known == stage)? {
            (_, _, Expr::Array(elements, _)) => elements.get(index).map(Expr::start_position),
            _ => None,
        }
    }
}
