//! The manual of the language: a page for each directive, stage, function, object and code.
//!
//! Made from what the engine has registered, in whatever way it was; the doc comment above each function is its page. So
//! the manual cannot say less, or other, than what rules can call. It is also where the review knows from which types a
//! function takes and from which stage on it has something to say.

use super::file::suggestion;
use super::stage::Stage;
use super::{Options, api, engine};
use crate::dns;
use crate::script::{Diagnostic, Limits, cause};
use rhai::{Engine, EvalAltResult, FuncInfo};
use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::path::PathBuf;

/// How wide the text of a page is.
const WIDTH: usize = 78;

/// The whole manual. Its `Display` is a list of all pages by chapter.
#[derive(Debug)]
pub struct Manual {
    chapters: Vec<Chapter>,
}

/// Pages that belong together: those of a namespace.
#[derive(Debug)]
struct Chapter {
    /// `directives`, `stages`, `global`, or the namespace.
    name: String,
    summary: String,
    pages: Vec<Page>,
}

/// All that goes by one name.
#[derive(Debug)]
struct Page {
    /// `ctx::helo`
    name: String,
    entries: Vec<Entry>,
}

/// One way to use it.
#[derive(Debug)]
struct Entry {
    /// `ctx::helo() -> string`
    usage: String,
    /// Paragraphs, with an empty line between them.
    text: String,
}

/// There is no page of that name.
#[derive(Debug, thiserror::Error)]
#[error("no page `{name}`: {remedy}")]
pub struct UnknownPage {
    name: String,
    remedy: String,
}

impl Manual {
    /// The manual of what rules can call.
    ///
    /// # Errors
    /// The functions cannot be registered, which is a fault of the program.
    pub fn new() -> Result<Self, Diagnostic> {
        let (engine, _) = engine(&nowhere())?;
        let mut chapters = vec![directives(), stages()];
        let mut namespaces: BTreeMap<String, BTreeMap<String, Vec<Entry>>> = BTreeMap::new();
        let mut functions = functions(&engine);
        functions
            .sort_by(|a, b| (a.parameters.len(), &a.usage).cmp(&(b.parameters.len(), &b.usage)));
        for function in functions
            .iter()
            .filter(|function| function.name != "to_debug")
        {
            let pages = namespaces.entry(function.chapter().to_owned()).or_default();
            pages.entry(function.page()).or_default().push(Entry {
                usage: function.usage.clone(),
                text: function.comment.clone(),
            });
        }
        let codes = namespaces.entry("code".to_owned()).or_default();
        for (name, reply) in api::codes() {
            let entry = Entry {
                usage: format!("code::{name}"),
                text: reply,
            };
            codes.entry(entry.usage.clone()).or_default().push(entry);
        }
        chapters.extend(namespaces.into_iter().map(|(name, pages)| {
            Chapter {
                summary: api::summary(&name).to_owned(),
                name,
                pages: pages
                    .into_iter()
                    .map(|(name, entries)| Page { name, entries })
                    .collect(),
            }
        }));
        Ok(Self { chapters })
    }

    /// The page or pages that go by `name`: a chapter (`ctx`), a page (`ctx::helo`), or the last part of the name of one
    /// (`helo`).
    ///
    /// # Errors
    /// There is none; says which is the nearest.
    pub fn find(&self, name: &str) -> Result<String, UnknownPage> {
        let asked = name.trim_end_matches("()").trim_end_matches("::");
        let mut text = String::new();
        if let Some(chapter) = self.chapters.iter().find(|chapter| chapter.name == asked) {
            let _ = writeln!(text, "{}\n", chapter.title());
            chapter.pages.iter().for_each(|page| page.render(&mut text));
        }
        for page in self.chapters.iter().flat_map(|chapter| &chapter.pages) {
            if page.name == asked || page.short() == asked {
                page.render(&mut text);
            }
        }
        if text.is_empty() {
            return Err(UnknownPage {
                name: asked.to_owned(),
                remedy: self.nearest(asked),
            });
        }
        Ok(text.trim_end().to_owned())
    }

    fn nearest(&self, asked: &str) -> String {
        let pages = self.chapters.iter().flat_map(|chapter| &chapter.pages);
        let names = pages.flat_map(|page| [page.name.as_str(), page.short()]);
        let chapters = self.chapters.iter().map(|chapter| chapter.name.as_str());
        let remedy = suggestion(asked, names.chain(chapters));
        match remedy.starts_with("did") {
            true => remedy,
            false => "the list without a name has all of them".to_owned(),
        }
    }
}

impl fmt::Display for Manual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, chapter) in self.chapters.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            writeln!(f, "{}", chapter.title())?;
            for page in &chapter.pages {
                let text = page.entries.first().map_or("", |entry| &entry.text);
                writeln!(f, "  {:<29} {}", page.name, first_sentence(text))?;
            }
        }
        Ok(())
    }
}

impl Chapter {
    fn title(&self) -> String {
        match self.summary.is_empty() {
            true => self.name.clone(),
            false => format!("{}: {}", self.name, self.summary),
        }
    }
}

impl Page {
    fn short(&self) -> &str {
        let last = self.name.rsplit("::").next().unwrap_or(&self.name);
        last.trim_start_matches('.')
    }

    fn render(&self, text: &mut String) {
        for Entry { usage, text: body } in &self.entries {
            let _ = writeln!(text, "{usage}\n");
            for paragraph in body.split("\n\n") {
                let _ = writeln!(text, "{}\n", wrapped(paragraph));
            }
        }
    }
}

/// Rules that nobody will run.
fn nowhere() -> Options {
    Options {
        root: PathBuf::new(),
        filter: PathBuf::new(),
        domains: Vec::new(),
        app: PathBuf::new(),
        log: None,
        saslauthd: PathBuf::new(),
        dns: dns::Options::default(),
        identity: Default::default(),
        listed: None,
        limits: Limits::default(),
    }
}

/// The first sentence of a page, on one line; as much of it as fits.
fn first_sentence(text: &str) -> String {
    let text: Vec<&str> = text.split_whitespace().collect();
    let text = text.join(" ");
    let end = text.find(". ").map_or(text.len(), |end| end + 1);
    let sentence = text.get(..end).unwrap_or(&text);
    if sentence.chars().count() <= WIDTH {
        return sentence.to_owned();
    }
    let short: String = sentence.chars().take(WIDTH - 1).collect();
    let words = short
        .rsplit_once(' ')
        .map_or(short.as_str(), |(words, _)| words);
    format!("{words} …")
}

/// A paragraph in lines of [`WIDTH`], indented.
fn wrapped(paragraph: &str) -> String {
    let mut lines = vec![String::from("   ")];
    for word in paragraph.split_whitespace() {
        if let Some(line) = lines.last_mut() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                lines.push(format!("    {word}"));
            } else {
                let _ = write!(line, " {word}");
            }
        }
    }
    lines.join("\n")
}

/// A native function of ours.
#[derive(Debug)]
pub(super) struct Function {
    /// Empty for the global one.
    pub(super) namespace: String,
    /// As registered: `get$domain` for a property.
    pub(super) name: String,
    pub(super) parameters: Vec<TypeId>,
    /// `ctx::helo() -> string`
    pub(super) usage: String,
    /// Its doc comment.
    pub(super) comment: String,
}

/// What is registered and has a doc comment, save for the library of the language itself.
pub(super) fn functions(engine: &Engine) -> Vec<Function> {
    engine
        .collect_fn_metadata(None, |info| Some(Function::of(&info)), false)
        .into_iter()
        .filter(|function| !function.comment.is_empty())
        .collect()
}

/// How the functions of the name that was not found with such arguments are called; `None` where none has it.
pub(super) fn usages(engine: &Engine, error: &EvalAltResult) -> Option<String> {
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
            .map(|line| line.trim_start().trim_start_matches("///").trim())
            .collect();
        let mut parameters: Vec<(String, String)> = metadata
            .params_info
            .iter()
            .map(|parameter| {
                let (name, kind) = parameter.split_once(':').unwrap_or((parameter, ""));
                (name.trim().to_owned(), language_type(kind).to_owned())
            })
            .collect();
        parameters.truncate(metadata.num_params);
        Self {
            namespace: info.namespace.to_string(),
            name: metadata.name.to_string(),
            parameters: metadata.param_types.to_vec(),
            usage: usage(
                &info.namespace,
                &metadata.name,
                &parameters,
                language_type(&metadata.return_type),
            ),
            comment: comment.join("\n"),
        }
    }

    /// The first stage at which the function has something to say, where its page names one.
    pub(super) fn since(&self) -> Option<Stage> {
        let text: Vec<&str> = self.comment.split_whitespace().collect();
        let text = text.join(" ");
        let (_, after) = text.rsplit_once("From `")?;
        let (stage, rest) = after.split_once('`')?;
        Stage::from_name(stage).filter(|_| rest.starts_with(" on"))
    }

    fn chapter(&self) -> &str {
        match self.namespace.as_str() {
            "" => "global",
            namespace => namespace,
        }
    }

    fn page(&self) -> String {
        match (property(&self.name), self.namespace.as_str()) {
            (Some(property), _) => format!(".{property}"),
            (None, _) if self.name == "contains" => "in".to_owned(),
            (None, "") => self.name.clone(),
            (None, namespace) => format!("{namespace}::{}", self.name),
        }
    }
}

fn property(name: &str) -> Option<&str> {
    name.strip_prefix("get$")
}

/// How a function is called.
fn usage(namespace: &str, name: &str, parameters: &[(String, String)], result: &str) -> String {
    let result = match result {
        "" => String::new(),
        kind => format!(" -> {kind}"),
    };
    match (property(name), parameters) {
        (Some(property), [(_, of), ..]) => format!("{of}.{property}{result}"),
        (None, [(_, a), (_, b)]) if name == "contains" => format!("{b} in {a}{result}"),
        (None, [(_, a), (_, b)]) if !rhai::is_valid_identifier(name) => {
            format!("{a} {name} {b}{result}")
        }
        _ => {
            let parameters: Vec<String> = parameters
                .iter()
                .map(|(name, kind)| match kind.as_str() {
                    "" => name.clone(),
                    kind => format!("{name}: {kind}"),
                })
                .collect();
            let separator = if namespace.is_empty() { "" } else { "::" };
            let parameters = parameters.join(", ");
            format!("{namespace}{separator}{name}({parameters}){result}")
        }
    }
}

/// What the language calls a type of Rust; nothing where it is any, or none.
fn language_type(rust: &str) -> &str {
    let rust = rust
        .trim()
        .trim_start_matches("&mut ")
        .trim_start_matches('&');
    let inner = |rest: &'static str| rust.strip_prefix(rest);
    if let Some(rest) = inner("std::result::Result<").or_else(|| inner("Result<")) {
        let end = rest.rfind(',').or_else(|| rest.rfind('>'));
        return language_type(rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest));
    }
    match rust.trim() {
        "" | "()" | "Dynamic" => "",
        "str" | "String" | "ImmutableString" => "string",
        "INT" | "i64" => "integer",
        "FLOAT" | "f64" => "float",
        "Object" => "object",
        "State" => "state",
        "Array" | "rhai::Array" => "array",
        "Map" | "rhai::Map" => "map",
        other => other,
    }
}

fn directives() -> Chapter {
    let entry = |usage: &str, text: &str| Page {
        name: usage.split(' ').next().unwrap_or_default().to_owned(),
        entries: vec![Entry {
            usage: usage.to_owned(),
            text: text.to_owned(),
        }],
    };
    Chapter {
        name: "directives".to_owned(),
        summary: "what stands in the list of a stage".to_owned(),
        pages: DIRECTIVES
            .iter()
            .map(|(usage, text)| entry(usage, text))
            .collect(),
    }
}

const DIRECTIVES: [(&str, &str); 2] = [
    (
        "rule \"NAME\" || BODY",
        "Decides. BODY, an expression or a block, returns a state, such as state::next(); one that returns nothing goes on \
         with the next rule. NAME is unique within the file. A rule that fails answers 451 4.3.0.",
    ),
    (
        "action \"NAME\" || BODY",
        "Does something and decides nothing: BODY returns nothing. NAME is unique within the file.",
    ),
];

fn stages() -> Chapter {
    Chapter {
        name: "stages".to_owned(),
        summary: "when rules run".to_owned(),
        pages: Stage::ALL
            .into_iter()
            .map(|stage| Page {
                name: stage.name().to_owned(),
                entries: vec![Entry {
                    usage: format!("#{{ {stage}: [ … ] }}"),
                    text: about(stage).to_owned(),
                }],
            })
            .collect(),
    }
}

const fn about(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => {
            "On accept, with implicit TLS after the handshake. Knows the addresses of client and server."
        }
        Stage::Helo => "EHLO or HELO. Knows the name that the client gave, and what TLS settled.",
        Stage::Authenticate => {
            "AUTH presented credentials. Knows these. Without a rule here AUTH is not offered."
        }
        Stage::Mail => "MAIL FROM. Knows the reverse-path.",
        Stage::Rcpt => "Each RCPT TO. Knows the recipients so far.",
        Stage::Preq => "After the final dot, before its reply. Knows the message.",
        Stage::Postq => "From the queue; the client is gone. Knows the message.",
        Stage::Delivery => {
            "Before each delivery attempt. Knows the message and how it is to be sent."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Connection, Service, Transaction};
    use crate::rules::file::RuleFile;
    use crate::rules::object::Object;
    use crate::rules::scene::{Scene, Stand};
    use crate::script;
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
        let ours = known(&engine(&nowhere()).unwrap().0);
        let silent: Vec<String> = ours
            .into_iter()
            .filter(|(hash, function)| !own.contains(hash) && function.comment.is_empty())
            .map(|(_, function)| function.usage)
            .collect();
        assert_eq!(silent, [""; 0]);
    }

    #[test]
    fn every_namespace_says_what_it_is_about() {
        for chapter in Manual::new().unwrap().chapters {
            assert!(!chapter.summary.is_empty(), "{}", chapter.name);
        }
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
        let (engine, _) = engine(&options).unwrap();
        let functions = functions(&engine);
        for stage in Stage::ALL {
            let calls: Vec<(Stage, String)> = functions
                .iter()
                .filter_map(|function| Some((function.since()?, call(function))))
                .collect();
            // A function of the file may be called at any stage: the review lets these through.
            let bodies = (0..)
                .zip(&calls)
                .map(|(n, (_, call))| format!("fn f{n}() {{ {call} }}\n"));
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

    /// A call with arguments that are of the right types.
    fn call(function: &Function) -> String {
        let arguments = function.parameters.iter().map(|kind| {
            if *kind == TypeId::of::<INT>() {
                "1"
            } else if *kind == TypeId::of::<Object>() {
                "address(\"x@example.com\")"
            } else {
                let strings = [TypeId::of::<ImmutableString>(), TypeId::of::<Dynamic>()];
                assert!(strings.contains(kind), "{}", function.usage);
                "\"x@example.com\""
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
