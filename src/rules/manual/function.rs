//! The functions that an engine has, as the manual and the review see them.

use crate::rules::stage::Stage;
use crate::script::cause;
use rhai::{Engine, EvalAltResult, FnNamespace, FuncInfo};
use std::any::TypeId;
use std::collections::BTreeSet;

/// A native function of ours.
#[derive(Debug)]
pub(in crate::rules) struct Function {
    /// Empty for the global one.
    pub(in crate::rules) namespace: String,
    /// As registered: `get$domain` for a property.
    pub(in crate::rules) name: String,
    pub(in crate::rules) parameters: Vec<TypeId>,
    /// Found by the type of its first argument, whatever the namespace.
    is_method: bool,
    /// `ctx::helo() -> string`
    pub(in crate::rules) usage: String,
    /// Its doc comment.
    pub(in crate::rules) comment: String,
}

/// What is registered and has a doc comment, save for the library of the language itself.
pub(in crate::rules) fn functions(engine: &Engine) -> Vec<Function> {
    engine
        .collect_fn_metadata(None, |info| Some(Function::of(&info)), false)
        .into_iter()
        .filter(|function| !function.comment.is_empty())
        .collect()
}

/// How the functions of the name that was not found with such arguments are called; `None` where none has it.
pub(in crate::rules) fn usages(engine: &Engine, error: &EvalAltResult) -> Option<String> {
    let EvalAltResult::ErrorFunctionNotFound(signature, _) = cause(error) else {
        return None;
    };
    let name = signature.split(" (").next().unwrap_or(signature);
    let (namespace, name) = name.rsplit_once("::").unwrap_or(("", name));
    let usages: BTreeSet<String> = functions(engine)
        .into_iter()
        .filter(|function| function.namespace == namespace && function.name == name)
        .map(|function| function.usage)
        .collect();
    let usages: Vec<String> = usages.into_iter().collect();
    (!usages.is_empty()).then(|| format!("it is {}", usages.join(" or ")))
}

impl Function {
    fn of(info: &FuncInfo<'_>) -> Self {
        let metadata = info.metadata;
        let lines = metadata.comments.iter().flat_map(|comment| comment.lines());
        let comment: Vec<&str> = lines
            .map(|line| line.trim_start().trim_start_matches("///"))
            .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
            .collect();
        let mut parameters: Vec<(String, String)> = metadata
            .params_info
            .iter()
            .map(|parameter| {
                let (name, kind) = parameter.split_once(':').unwrap_or((parameter, ""));
                (name.trim().to_owned(), language_type(kind))
            })
            .collect();
        parameters.truncate(metadata.num_params);
        let is_method = !info.namespace.is_empty() && metadata.namespace == FnNamespace::Global;
        Self {
            namespace: info.namespace.to_string(),
            name: metadata.name.to_string(),
            parameters: metadata.param_types.to_vec(),
            usage: usage(
                &info.namespace,
                &metadata.name,
                is_method,
                &parameters,
                &language_type(&metadata.return_type),
            ),
            is_method,
            comment: comment.join("\n"),
        }
    }

    /// The first stage at which the function has something to say, where its page names one.
    pub(in crate::rules) fn since(&self) -> Option<Stage> {
        let text: Vec<&str> = self.comment.split_whitespace().collect();
        let text = text.join(" ");
        let (_, after) = text.rsplit_once("From `")?;
        let (stage, rest) = after.split_once('`')?;
        Stage::from_name(stage).filter(|_| rest.starts_with(" on"))
    }

    pub(super) fn chapter(&self) -> &str {
        match self.namespace.as_str() {
            "" => "global",
            namespace => namespace,
        }
    }

    pub(super) fn page(&self) -> String {
        match (property(&self.name), self.namespace.as_str()) {
            (Some(property), _) => format!(".{property}"),
            (None, _) if self.name == "contains" => "in".to_owned(),
            (None, "") => self.name.clone(),
            (None, _) if !rhai::is_valid_identifier(&self.name) => self.name.clone(),
            (None, _) if self.is_method => format!(".{}", self.name),
            (None, namespace) => format!("{namespace}::{}", self.name),
        }
    }
}

fn property(name: &str) -> Option<&str> {
    name.strip_prefix("get$")
}

/// How a function is called.
fn usage(
    namespace: &str,
    name: &str,
    is_method: bool,
    parameters: &[(String, String)],
    result: &str,
) -> String {
    let result = match result {
        "" => String::new(),
        kind => format!(" -> {kind}"),
    };
    let listed = |parameters: &[(String, String)]| {
        let parameters = parameters.iter().map(|(name, kind)| match kind.as_str() {
            "" => name.clone(),
            kind => format!("{name}: {kind}"),
        });
        parameters.collect::<Vec<String>>().join(", ")
    };
    match (property(name), parameters) {
        (Some(property), [(_, of), ..]) => format!("{of}.{property}{result}"),
        (None, [(_, a), (_, b)]) if name == "contains" => format!("{b} in {a}{result}"),
        (None, [(_, a), (_, b)]) if !rhai::is_valid_identifier(name) => {
            format!("{a} {name} {b}{result}")
        }
        (None, [(_, of), rest @ ..]) if is_method => {
            format!("{of}.{name}({}){result}", listed(rest))
        }
        _ => {
            let separator = if namespace.is_empty() { "" } else { "::" };
            format!(
                "{namespace}{separator}{name}({}){result}",
                listed(parameters)
            )
        }
    }
}

/// What the language calls a type of Rust; nothing where it is any, or none.
fn language_type(rust: &str) -> String {
    let rust = rust
        .trim()
        .trim_start_matches("&mut ")
        .trim_start_matches('&');
    let inner = |rest: &'static str| rust.strip_prefix(rest);
    if let Some(rest) = inner("std::result::Result<").or_else(|| inner("Result<")) {
        let end = rest.rfind(',').or_else(|| rest.rfind('>'));
        return language_type(rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest));
    }
    let last = rust.trim().rsplit("::").next().unwrap_or(rust);
    match last {
        "" | "()" | "Dynamic" => String::new(),
        "str" | "String" | "ImmutableString" => "string".to_owned(),
        "INT" | "i64" => "integer".to_owned(),
        "FLOAT" | "f64" => "float".to_owned(),
        other => other.trim_start_matches("Shared").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Connection, Service, Transaction};
    use crate::rules::file::RuleFile;
    use crate::rules::manual::{nobody, nowhere};
    use crate::rules::object::Object;
    use crate::rules::scene::{Scene, Stand};
    use crate::rules::{Options, engine};
    use crate::script::{self, Limits};
    use rhai::{Dynamic, INT, ImmutableString};
    use std::collections::HashSet;
    use std::path::Path;

    /// Whatever way it was registered; what the language has of its own is documented elsewhere.
    #[test]
    fn every_function_has_a_page() {
        let own = script::engine(Path::new("/"), &Limits::default());
        let known = |engine: &Engine| {
            let all = |info: FuncInfo<'_>| Some((info.metadata.hash, Function::of(&info)));
            engine.collect_fn_metadata(None, all, false)
        };
        let own: HashSet<u64> = known(&own).into_iter().map(|(hash, _)| hash).collect();
        let ours = known(&engine(&nowhere(), &nobody()).unwrap());
        let silent: Vec<String> = ours
            .into_iter()
            .filter(|(hash, function)| !own.contains(hash) && function.comment.is_empty())
            .map(|(_, function)| function.usage)
            .collect();
        assert_eq!(silent, [""; 0]);
    }

    /// The review believes what a page says of the first stage that its function is for.
    #[test]
    fn pages_name_the_true_first_stage() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            root: folder.path().to_owned(),
            app: folder.path().to_owned(),
            ..nowhere()
        };
        let engine = engine(&options, &nobody()).unwrap();
        let functions = functions(&engine);
        for stage in Stage::ALL {
            let calls: Vec<(Stage, String)> = functions
                .iter()
                .filter_map(|function| Some((function.since()?, call(function))))
                .collect();
            // A function of the file may be called at any stage: the review lets these through.
            let bodies = (0..).zip(&calls).map(|(n, (_, call))| {
                format!("fn f{n}() {{ let s = \"x@example.com\"; {call} }}\n")
            });
            let rules = (0..calls.len()).map(|n| format!("rule \"{n}\" || {{ f{n}(); }},\n"));
            let text = format!(
                "{}#{{ {stage}: [\n{}] }}",
                bodies.collect::<String>(),
                rules.collect::<String>()
            );
            let path = folder.path().join(format!("{stage}.vsl"));
            std::fs::write(&path, text).unwrap();
            let file = RuleFile::load(&engine, &path).unwrap();
            for (directive, (since, call)) in file.directives(stage).iter().zip(&calls) {
                let stand = Stand::default();
                let app = options.app.as_path().into();
                stand.put(Scene::set(stage, &app, &mut transaction()));
                let error = directive.run(&engine, &path, &stand).err();
                let early = error.is_some_and(|error| error.what.contains("has nothing to say at"));
                assert_eq!(early, stage < *since, "{call} at {stage}");
            }
        }
    }

    /// A call with arguments that are of the right types, made of a string `s`.
    fn call(function: &Function) -> String {
        let arguments = function.parameters.iter().map(|kind| {
            if *kind == TypeId::of::<INT>() {
                "1"
            } else if *kind == TypeId::of::<Object>() {
                "address(s)"
            } else {
                let strings = [TypeId::of::<ImmutableString>(), TypeId::of::<Dynamic>()];
                assert!(strings.contains(kind), "{}", function.usage);
                "s"
            }
        });
        let arguments: Vec<&str> = arguments.collect();
        format!(
            "{}::{}({})",
            function.namespace,
            function.name,
            arguments.join(", ")
        )
    }

    fn transaction() -> Transaction {
        Transaction::new(Connection {
            client: "192.0.2.1:49152".parse().unwrap(),
            server: "192.0.2.25:25".parse().unwrap(),
            service: Service::Relay,
            opened: "2026-08-01T12:34:56Z".parse().unwrap(),
            server_name: "mx.example.com".into(),
            tls: None,
            authenticated: None,
            helo: None,
        })
    }
}
