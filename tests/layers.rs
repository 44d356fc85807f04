//! Who may import whom: the architecture as data. Every `crate::` path in `src` must be an edge of [`LAYERS`], and the
//! pure modules of [`PURE`] may touch neither the runtime, nor files, nor sockets, nor the clock.

use libtest_mimic::Trial;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module, and what it may import: a module whole, or single items of one.
const LAYERS: [(&str, &[&str]); 20] = [
    ("mail", &[]),
    ("dns", &[]),
    ("script", &[]),
    ("smtp", &["mail"]),
    ("queue", &["mail"]),
    ("tls", &["mail"]),
    ("authentication", &["mail"]),
    ("services", &[]),
    (
        "rules",
        &[
            "mail",
            "script",
            "dns",
            "authentication",
            "services",
            "smtp::Reply",
        ],
    ),
    ("server", &["smtp", "mail", "rules", "queue", "tls"]),
    (
        "delivery",
        &["smtp", "mail", "rules", "queue", "tls", "dns"],
    ),
    (
        "control",
        &[
            "mail",
            "queue",
            "delivery::quarantine",
            "server::Shared",
            "server::submission",
        ],
    ),
    (
        "config",
        &[
            "mail",
            "script",
            "delivery::Options",
            "delivery::ReportLimits",
            "dns::Options",
            "dns::Source",
            "queue::Options",
            "queue::Schedule",
            "rules::Options",
            "server::Options",
            "server::Timeouts",
            "smtp::Authentication",
            "smtp::Limits",
            "smtp::Mechanism",
            "tls::DomainOptions",
            "tls::KeyPair",
            "tls::Options",
            "tls::Version",
        ],
    ),
    (
        "daemon",
        &[
            "config", "control", "delivery", "dns", "mail", "queue", "rules", "script", "server",
            "smtp", "tls",
        ],
    ),
    ("quickstart", &["mail"]),
    (
        "commands",
        &[
            "config",
            "control",
            "daemon",
            "mail",
            "quickstart",
            "rules::Manual",
            "script::Diagnostic",
            "simulate",
            "units",
        ],
    ),
    ("manual", &[]),
    ("units", &[]),
    (
        "simulate",
        &[
            "authentication::Listed",
            "config",
            "mail",
            "rules",
            "script",
            "smtp",
        ],
    ),
    ("main", &["commands", "manual", "simulate"]),
];

/// Sans-IO: these can be read, tested and fuzzed without a world around them.
const PURE: [&str; 3] = ["smtp/", "mail/", "queue/schedule.rs"];

/// What a pure module must not name, and any path below it.
const IMPURE: [&str; 7] = [
    "tokio",
    "std::fs",
    "std::os::unix::net",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
];

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("layers::imports_only_point_down", || {
            let offences: Vec<String> = sources().iter().flat_map(forbidden_edges).collect();
            assert!(offences.is_empty(), "\n{}", offences.join("\n"));
            Ok(())
        }),
        Trial::test("layers::pure_modules_touch_nothing", || {
            let offences: Vec<String> = sources().iter().flat_map(impurities).collect();
            assert!(offences.is_empty(), "\n{}", offences.join("\n"));
            Ok(())
        }),
        Trial::test("layers::only_back_ends_confirm_credentials", || {
            let offences: Vec<String> = sources().iter().flat_map(confirmations).collect();
            assert!(offences.is_empty(), "\n{}", offences.join("\n"));
            let back_end = Source::new("rules/mod.rs", "fn f(c: &mut C) { c.confirm(); }");
            assert_eq!(confirmations(&back_end).len(), 1);
            Ok(())
        }),
        Trial::test("layers::every_module_has_a_row", || {
            let rows: BTreeSet<&str> = LAYERS.iter().map(|(module, _)| *module).collect();
            let sources = sources();
            let modules: BTreeSet<&str> = sources
                .iter()
                .map(Source::module)
                .filter(|m| *m != "lib")
                .collect();
            assert_eq!(modules, rows);
            Ok(())
        }),
        Trial::test("layers::a_forbidden_edge_is_found", || {
            for (path, text, expected) in FORBIDDEN {
                let source = Source::new(path, text);
                let found = [forbidden_edges(&source), impurities(&source)].concat();
                assert_eq!(found, [*expected], "{text}");
            }
            for (path, text) in ALLOWED {
                let source = Source::new(path, text);
                let found = [forbidden_edges(&source), impurities(&source)].concat();
                assert_eq!(found, [""; 0], "{text}");
            }
            Ok(())
        }),
    ]
}

const FORBIDDEN: &[(&str, &str, &str)] = &[
    (
        "server/mod.rs",
        "use crate::delivery::run;",
        "src/server/mod.rs:1: server may not import delivery::run",
    ),
    (
        "mail/address.rs",
        "fn f() {\n    let _ = crate::smtp::Reply::new();\n}",
        "src/mail/address.rs:2: mail may not import smtp::Reply::new",
    ),
    (
        "smtp/session.rs",
        "use crate::{mail::{Envelope, Status}, queue};\nfn f(_: queue::Entry) {}",
        "src/smtp/session.rs:1: smtp may not import queue",
    ),
    (
        "rules/mod.rs",
        "use crate::smtp::{Limits, Reply};",
        "src/rules/mod.rs:1: rules may not import smtp::Limits",
    ),
    (
        "config/load.rs",
        "use crate::server;\nfn f(_: server::Options, _: server::Shared) {}",
        "src/config/load.rs:2: config may not import server::Shared",
    ),
    (
        "config/mod.rs",
        "use crate::tls::*;",
        "src/config/mod.rs:1: config may not import tls::*",
    ),
    (
        "queue/store.rs",
        "fn f() { super::super::server::run() }",
        "src/queue/store.rs:1: queue may not import server::run",
    ),
    (
        "dns.rs",
        "macro_rules! m { () => { $crate::mail::Address } }",
        "src/dns.rs:1: dns may not import mail::Address",
    ),
    (
        "main.rs",
        "use vsmtp::server;",
        "src/main.rs:1: main may not import server",
    ),
    (
        "smtp/line.rs",
        "use std::{fmt, fs::File};",
        "src/smtp/line.rs:1: pure, yet it names std::fs::File",
    ),
    (
        "mail/trace.rs",
        "async fn f() { tokio::task::yield_now().await }",
        "src/mail/trace.rs:1: pure, yet it names tokio::task::yield_now",
    ),
    (
        "queue/schedule.rs",
        "fn f() -> Instant { Instant::now() }",
        "src/queue/schedule.rs:1: pure, yet it names Instant::now",
    ),
    (
        "smtp/session.rs",
        "fn f(clock: &Clock) { clock.now(); }",
        "src/smtp/session.rs:1: pure, yet it names .now()",
    ),
];

const ALLOWED: &[(&str, &str)] = &[
    (
        "rules/mod.rs",
        "use crate::smtp::Reply;\nuse crate::{mail, script::Diagnostic};",
    ),
    (
        "smtp/mod.rs",
        "//! See crate::server.\n// crate::queue\nmod line;\npub use line::Line;",
    ),
    (
        "smtp/line.rs",
        "fn f() -> &'static str { \"crate::server\" }",
    ),
    (
        "smtp/session.rs",
        "use super::Reply;\nuse std::net::{IpAddr, SocketAddr};",
    ),
    (
        "queue/schedule.rs",
        "pub fn next(now: Timestamp) -> Timestamp { now + PAUSE }",
    ),
    (
        "mail/trace.rs",
        "#[cfg(test)]\nmod tests {\n    use crate::smtp;\n    fn f() { Instant::now(); }\n}",
    ),
    (
        "queue/store.rs",
        "use std::fs;\nuse tokio::sync;\nuse super::Entry;",
    ),
];

/// One file of `src`: its path below it, and every path that its code names, with its line.
struct Source {
    path: PathBuf,
    names: Vec<(Vec<String>, usize)>,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let tokens: TokenStream = text
            .parse()
            .unwrap_or_else(|e| panic!("src/{path} is no Rust: {e}"));
        let mut names = Vec::new();
        collect(tokens, &[], &mut names);
        let mut source = Self {
            path: path.into(),
            names,
        };
        let here = source.module_path();
        for (name, _) in &mut source.names {
            resolve(name, &here);
        }
        source
    }

    /// The first folder or file below `src`: what has a row of its own in [`LAYERS`].
    fn module(&self) -> &str {
        let first = self.path.iter().next().expect("a path is not empty");
        first
            .to_str()
            .expect("names are ASCII")
            .trim_end_matches(".rs")
    }

    /// `queue::store` for `queue/store.rs`, `queue` for `queue/mod.rs`.
    fn module_path(&self) -> Vec<String> {
        let mut path: Vec<String> = self
            .path
            .with_extension("")
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        if path.last().is_some_and(|last| last == "mod") {
            path.pop();
        }
        path
    }
}

/// Makes `self::`, `super::` and `vsmtp::` start from `crate::`.
fn resolve(name: &mut Vec<String>, here: &[String]) {
    let ups = name.iter().take_while(|part| *part == "super").count();
    match name.first().map(String::as_str) {
        Some("super") => {
            let above = here.get(..here.len().saturating_sub(ups)).unwrap_or(&[]);
            name.splice(..ups, std::iter::once("crate".into()).chain(above.to_vec()));
        }
        Some("self") if name.len() > 1 => {
            name.splice(..1, std::iter::once("crate".into()).chain(here.to_vec()));
        }
        Some("vsmtp") if name.len() > 1 => name[0] = "crate".into(),
        _ => {}
    }
}

/// Every path in `tokens`, groups such as `use crate::{mail, smtp}` taken apart; test modules left out.
fn collect(tokens: TokenStream, prefix: &[String], names: &mut Vec<(Vec<String>, usize)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Punct(p) if p.as_char() == '#' && is_cfg_test(tokens.get(at)) => {
                at = end_of_item(&tokens, at + 1);
            }
            TokenTree::Group(group) => collect(group.stream(), prefix, names),
            TokenTree::Ident(ident) if !prefix.is_empty() && ident == "as" => at += 1,
            TokenTree::Ident(ident) if !prefix.is_empty() && ident == "self" => {
                names.push((prefix.to_vec(), ident.span().start().line));
            }
            TokenTree::Punct(p) if !prefix.is_empty() && p.as_char() == '*' => {
                let name = [prefix, &["*".into()]].concat();
                names.push((name, p.span().start().line));
            }
            TokenTree::Ident(ident) => {
                let method = is_punct(at.checked_sub(2).and_then(|i| tokens.get(i)), '.');
                let line = ident.span().start().line;
                let mut name = [prefix, &[ident.to_string()]].concat();
                while is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':') {
                    match tokens.get(at + 2) {
                        Some(TokenTree::Ident(next)) => name.push(next.to_string()),
                        Some(TokenTree::Punct(p)) if p.as_char() == '*' => name.push("*".into()),
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            collect(group.stream(), &name, names);
                            name.clear();
                        }
                        _ => break,
                    }
                    at += 3;
                }
                if method && name == ["now"] && is_call(tokens.get(at)) {
                    name = vec![".now()".into()];
                }
                if !name.is_empty() {
                    names.push((name, line));
                }
            }
            _ => {}
        }
    }
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == wanted)
}

fn is_call(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Parenthesis)
}

fn is_cfg_test(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Group(g)) if g.stream().to_string().replace(' ', "") == "cfg(test)")
}

/// Where the item that starts at `at` ends: behind its block, or its semicolon.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let length = tokens[at..].iter().position(|token| {
        is_punct(Some(token), ';')
            || matches!(token, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace)
    });
    length.map_or(tokens.len(), |length| at + length + 1)
}

/// Every file below `src`.
fn sources() -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(&root).expect("it lies below src");
            let text = fs::read_to_string(file).expect("src can be read");
            Source::new(path.to_str().expect("names are ASCII"), &text)
        })
        .collect()
}

/// Each `crate::` path that is no edge of [`LAYERS`].
fn forbidden_edges(source: &Source) -> Vec<String> {
    let module = source.module();
    let allowed = LAYERS
        .iter()
        .find(|(name, _)| *name == module)
        .map_or(&[][..], |(_, allowed)| allowed);
    let is_allowed = |target: &[String]| {
        allowed.iter().any(|edge| {
            let edge: Vec<&str> = edge.split("::").collect();
            target.len() >= edge.len() && target.iter().zip(&edge).all(|(a, b)| a == b)
        })
    };
    let mut offences = BTreeSet::new();
    for (name, line) in &source.names {
        let ["crate", target, ..] = name.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
            continue;
        };
        let is_module = LAYERS.iter().any(|(module, _)| *module == target);
        if module == "lib" || target == module || !is_module {
            continue;
        }
        let partly = allowed
            .iter()
            .any(|e| e.starts_with(&format!("{target}::")));
        if name.len() == 2 && partly {
            // `use crate::server;` where only some items of `server` are open: what counts is what is named of it.
            let named = source
                .names
                .iter()
                .filter(|(n, _)| n.len() > 1 && n[0] == target);
            for (name, line) in named.filter(|(n, _)| !is_allowed(n)) {
                offences.insert((*line, name.join("::")));
            }
        } else if !is_allowed(&name[1..]) {
            offences.insert((*line, name[1..].join("::")));
        }
    }
    offences
        .into_iter()
        .map(|(line, name)| {
            let path = source.path.display();
            format!("src/{path}:{line}: {module} may not import {name}")
        })
        .collect()
}

/// Each name of the runtime, of files, sockets or the clock in a pure module.
fn impurities(source: &Source) -> Vec<String> {
    let path = source.path.to_str().expect("names are ASCII");
    if !PURE.iter().any(|pure| path.starts_with(pure)) {
        return Vec::new();
    }
    let is_impure = |name: &str| {
        name == ".now()"
            || name.ends_with("::now")
            || IMPURE
                .iter()
                .any(|i| name == *i || name.starts_with(&format!("{i}::")))
    };
    source
        .names
        .iter()
        .map(|(name, line)| (name.join("::"), line))
        .filter(|(name, _)| is_impure(name))
        .map(|(name, line)| format!("src/{path}:{line}: pure, yet it names {name}"))
        .collect()
}

/// Where credentials are confirmed by somebody who has verified no password.
fn confirmations(source: &Source) -> Vec<String> {
    if ["authentication", "mail"].contains(&source.module()) {
        return Vec::new();
    }
    let path = source.path.display();
    source
        .names
        .iter()
        .filter(|(name, _)| name.last().is_some_and(|last| last == "confirm"))
        .map(|(_, line)| format!("src/{path}:{line}: confirms credentials, and is no back end"))
        .collect()
}
