//! `rule "name" || …`, `action "name" || …` and `delegate FILTER "name" || …`: how they are read, and how their bodies
//! run.

use super::filter::Filter;
use super::manual;
use super::scene::Stand;
use super::state::State;
use crate::script::{Diagnostic, Fault, diagnose, line_and_column, stamp};
use rhai::{
    Dynamic, Engine, EvalAltResult, EvalContext, Expression, FnPtr, GlobalRuntimeState,
    ImmutableString, NativeCallContext, ParseError, Position,
};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// What a directive does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Returns a state.
    Rule,
    /// Returns nothing.
    Action,
    /// Sends the message to a content filter. Returns a state when it has come back.
    Delegate(SharedFilter),
}

/// A content filter as a value of the language.
pub(super) type SharedFilter = Arc<Filter>;

impl Kind {
    /// As it is written.
    pub(super) const fn keyword(&self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Action => "action",
            Self::Delegate(_) => "delegate",
        }
    }
}

/// One directive of a rule file.
pub(super) struct Directive {
    pub(super) kind: Kind,
    pub(super) name: ImmutableString,
    /// Of its name.
    pub(super) position: Position,
    body: FnPtr,
    /// What the body may refer to: the functions, constants and imports of the file that it is written in. A function
    /// pointer does not carry them.
    world: GlobalRuntimeState,
}

/// A directive as a value of the language.
pub(super) type SharedDirective = Arc<Directive>;

impl fmt::Debug for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kind.keyword(), self.name)
    }
}

/// Makes `engine` read directives.
pub(super) fn register(engine: &mut Engine) {
    for kind in [Kind::Rule, Kind::Action] {
        let keyword = kind.keyword();
        engine.register_custom_syntax_with_state_raw(
            keyword,
            move |symbols, next, _| parse(keyword, symbols, next),
            false,
            move |context, inputs, _| directive(kind.clone(), context, inputs),
        );
    }
    engine.register_custom_syntax_with_state_raw(
        "delegate",
        |symbols, next, _| match symbols.len() {
            1 => Ok(Some("$expr$".into())),
            // What the filter is stands between the keyword and the name.
            _ => parse("delegate", symbols.get(1..).unwrap_or_default(), next),
        },
        false,
        |context, inputs, _| delegate(context, inputs),
    );
    engine.register_type_with_name::<SharedDirective>("directive");
}

/// What comes after `symbols`: a name, then a closure without parameters.
fn parse(
    keyword: &str,
    symbols: &[ImmutableString],
    next: &str,
) -> Result<Option<ImmutableString>, ParseError> {
    match symbols.len() {
        1 if next.starts_with('"') => Ok(Some("$string$".into())),
        1 => Err(Fault::new(
            format!("the name of a {keyword} is a string, not {next}"),
            "write it in double quotes",
        )
        .in_syntax()),
        2 if next == "||" => Ok(Some("$func$".into())),
        2 if next == "|" => Err(Fault::new(
            format!("the body of this {keyword} takes no parameters"),
            "begin it with ||",
        )
        .in_syntax()),
        2 => Err(Fault::new(
            format!("the name of this {keyword} is followed by {next:?}"),
            "write || and then an expression or a block",
        )
        .in_syntax()),
        _ => Ok(None),
    }
}

fn delegate(
    context: &mut EvalContext<'_, '_, '_, '_, '_, '_>,
    inputs: &[Expression<'_>],
) -> Result<Dynamic, Box<EvalAltResult>> {
    let Some((filter, rest)) = inputs.split_first() else {
        return Err(Fault::new("a directive is not whole", "correct the syntax").into());
    };
    let position = filter.start_position();
    let filter = filter.eval_with_context(context)?;
    let filter = filter.try_cast_result::<SharedFilter>().map_err(|other| {
        let kind = context.engine().map_type_name(other.type_name());
        Fault::new(
            format!("a message cannot be delegated to a value of type {kind}"),
            "make the filter with smtp::connect(#{ … })",
        )
        .at(position)
    })?;
    directive(Kind::Delegate(filter), context, rest)
}

fn directive(
    kind: Kind,
    context: &mut EvalContext<'_, '_, '_, '_, '_, '_>,
    inputs: &[Expression<'_>],
) -> Result<Dynamic, Box<EvalAltResult>> {
    let [name, body] = inputs else {
        return Err(Fault::new("a directive is not whole", "correct the syntax").into());
    };
    let position = name.position();
    let name = name
        .get_literal_value::<ImmutableString>()
        .unwrap_or_default();
    let mut body: FnPtr = body
        .eval_with_context(context)?
        .try_cast_result()
        .map_err(|other| {
            Fault::new(
                format!("the body of {name:?} is of type {}", other.type_name()),
                "write || and then an expression or a block",
            )
            .at(position)
        })?;
    // What a body captures is shared with the file, and so between all sessions: each run gets its own copy.
    for captured in body.iter_curry_mut() {
        *captured = captured.flatten_clone();
    }
    let mut world = context.global_runtime_state().clone();
    world.level = 0;
    Ok(Dynamic::from(Arc::new(Directive {
        kind,
        name,
        position,
        body,
        world,
    })))
}

impl Directive {
    /// Whom the message goes to before the body runs.
    pub(super) fn filter(&self) -> Option<&SharedFilter> {
        match &self.kind {
            Kind::Delegate(filter) => Some(filter),
            Kind::Rule | Kind::Action => None,
        }
    }

    /// Runs the body on the scene that is on `stand`.
    ///
    /// # Errors
    /// Whatever went wrong in it, told for the log.
    pub(super) fn run(
        &self,
        engine: &Engine,
        file: &Path,
        stand: &Stand,
    ) -> Result<State, Diagnostic> {
        let mut world = self.world.clone();
        world.tag = stand.tag();
        world.num_operations = stamp();
        let source = world.source.clone();
        let call = NativeCallContext::new_with_all_fields(
            engine,
            self.body.fn_name(),
            source.as_deref(),
            &world,
            self.position,
        );
        // Our functions cannot panic. Should Rhai, a session must not end with a rule.
        let result = catch_unwind(AssertUnwindSafe(|| self.body.call_raw(&call, None, [])))
            .unwrap_or_else(|_| {
                Err(Fault::new("the script engine panicked", "report this as a fault").into())
            });
        let value = result.map_err(|error| {
            let mut diagnostic = diagnose(file, &error);
            diagnostic.position = diagnostic.position.or(line_and_column(self.position));
            if let Some(usages) = manual::usages(engine, &error) {
                diagnostic.remedy = usages;
            }
            diagnostic
        })?;
        self.state(engine, value).map_err(|fault| Diagnostic {
            file: Some(file.to_owned()),
            position: line_and_column(self.position),
            what: fault.what,
            remedy: fault.remedy,
        })
    }

    /// The state that the body's value stands for. A body that says nothing, such as an `if` without `else`, decides nothing.
    fn state(&self, engine: &Engine, value: Dynamic) -> Result<State, Fault> {
        let kind = engine.map_type_name(value.type_name());
        match (&self.kind, value.try_cast_result::<State>()) {
            (Kind::Rule | Kind::Delegate(_), Ok(state)) => Ok(state),
            (Kind::Rule | Kind::Delegate(_), Err(value)) if value.is_unit() => Ok(State::Next),
            (Kind::Rule | Kind::Delegate(_), Err(_)) => Err(Fault::new(
                format!("the rule returned a value of type {kind}"),
                "let it return a state such as state::next()",
            )),
            (Kind::Action, Ok(state)) if state != State::Next => Err(Fault::new(
                format!("the action returned the state {}", state.name()),
                "make it a rule, or let it return nothing",
            )),
            (Kind::Action, _) => Ok(State::Next),
        }
    }
}
