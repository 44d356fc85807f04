//! The manual of the language: a page for each directive, stage, function, object and code.
//!
//! Made from what the engine has registered, in whatever way it was; the doc comment above each function is its page. So
//! the manual cannot say less, or other, than what rules can call. It is also where the review knows from which types a
//! function takes and from which stage on it has something to say.

mod function;

pub(super) use function::{Function, functions, usages};

use super::file::suggestion;
use super::stage::Stage;
use super::{Options, api, engine};
use crate::dns::{self, Resolver, Zone};
use crate::script::{Diagnostic, Limits};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

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
        let engine = engine(&nowhere(), &nobody())?;
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
            for block in blocks(body) {
                let _ = writeln!(text, "{block}\n");
            }
        }
    }
}

/// The paragraphs of a page as they are shown: wrapped, save for what stands between fences.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 0 {
            let paragraphs = part.split("\n\n").filter(|p| !p.trim().is_empty());
            blocks.extend(paragraphs.map(wrapped));
        } else {
            // Behind the fence stands what it is.
            let lines = part.trim_end().lines().skip(1);
            let lines: Vec<String> = lines.map(|line| format!("        {line}")).collect();
            blocks.push(lines.join("\n"));
        }
    }
    blocks
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
        listed: None,
        limits: Limits::default(),
        dns: dns::Options::default(),
        identity: Default::default(),
    }
}

/// Whom nobody will ask.
fn nobody() -> Arc<dyn Resolver> {
    Arc::new(Zone::default())
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

    #[test]
    fn every_namespace_says_what_it_is_about() {
        for chapter in Manual::new().unwrap().chapters {
            assert!(!chapter.summary.is_empty(), "{}", chapter.name);
        }
    }
}
