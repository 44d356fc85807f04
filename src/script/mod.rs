//! The Rhai engine that reads the configuration and runs the rules: limits, file loading confined to the configuration
//! root, errors with file:line:column.
//!
//! Knows nothing of mail. What a script may see is registered by whoever asks for an [`engine`].
//!
//! Invariants: no script runs longer than its [`Limits`] allow, reads a file other than by `import`, or imports what
//! lies outside the root; nothing that a script does writes to standard output.

mod diagnostic;
mod limits;
mod literals;
mod modules;
mod natives;
mod nesting;
mod source;
mod wait;
mod words;

pub use diagnostic::{Diagnostic, Fault, cause, diagnose, line_and_column};
pub use limits::{Limits, stamp};
pub use literals::Literals;
pub use source::Sources;
pub use wait::wait;

use modules::Modules;
use rhai::packages::{Package, StandardPackage};
use rhai::{AST, Engine};
use std::fs;
use std::io;
use std::path::Path;

/// The largest file that is read as a script, in octets.
const FILE_SIZE_MAX: u64 = 4 << 20;

/// An engine with `limits` whose imports stay below `root`. Has no function that reads files, prints or waits.
pub fn engine(root: &Path, limits: &Limits) -> Engine {
    let mut engine = Engine::new_raw();
    engine.register_global_module(StandardPackage::new().as_shared_module());
    engine.set_module_resolver(Modules::new(root));
    engine.disable_symbol("eval");
    engine.on_print(|text| tracing::info!(target: "script", "{text}"));
    engine.on_debug(|text, source, position| {
        tracing::debug!(target: "script", file = source.unwrap_or_default(), %position, "{text}");
    });
    engine.register_type_with_name::<Fault>("error");
    engine.register_fn("to_string", |fault: &mut Fault| fault.to_string());
    engine.register_fn("to_debug", |fault: &mut Fault| fault.to_string());
    natives::replace(&mut engine);
    nesting::replace(&mut engine);
    limits.impose(&mut engine);
    engine
}

/// Reads and compiles one file.
pub fn compile(engine: &Engine, file: &Path) -> Result<AST, Diagnostic> {
    let text = read(file).map_err(|error| Diagnostic {
        file: Some(file.to_owned()),
        position: None,
        what: format!("cannot be read: {error}"),
        remedy: "check that it is a file that the server may read".to_owned(),
    })?;
    let mut ast = engine
        .compile(words::spell(engine, &text))
        .map_err(|error| diagnose(file, &error.into()))?;
    ast.set_source(file.to_string_lossy().as_ref());
    Ok(ast)
}

/// The text of a script. Refuses what is no regular file, so that no pipe or device makes the reader wait.
fn read(file: &Path) -> io::Result<String> {
    let metadata = fs::metadata(file)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if metadata.len() > FILE_SIZE_MAX {
        return Err(io::Error::other("larger than 4 MiB"));
    }
    fs::read_to_string(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhai::Scope;
    use std::time::{Duration, Instant};

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    /// Runs `main.vsl` and gives its value, or its error with the folder's name cut off.
    fn run(folder: &Path, limits: &Limits) -> Result<String, String> {
        let engine = engine(folder, limits);
        let file = folder.join("main.vsl");
        compile(&engine, &file)
            .and_then(|ast| {
                engine
                    .eval_ast_with_scope::<rhai::Dynamic>(&mut Scope::new(), &ast)
                    .map_err(|error| diagnose(&file, &error))
            })
            .map(|value| value.to_string())
            .map_err(|diagnostic| {
                diagnostic
                    .to_string()
                    .replace(&format!("{}/", folder.display()), "")
            })
    }

    #[test]
    fn errors_name_file_line_and_column() {
        for (files, expected) in [
            (
                &[("main.vsl", "let a = 1;\nlet b = ;")][..],
                "main.vsl:2:9: unexpected ';': correct the syntax",
            ),
            (
                &[("main.vsl", "eval(\"1\")")],
                "main.vsl:1:1: `eval` is not available: write the code out",
            ),
            (
                &[("main.vsl", "nothing()")],
                "main.vsl:1:1: function not found: nothing (): check its name and its arguments",
            ),
            (
                &[("main.vsl", "let a = [];\n  a[3]")],
                "main.vsl:2:5: array index 3 out of bounds: array is empty: correct the script",
            ),
            (
                &[("main.vsl", "import \"x/y\" as y;\n1")],
                "main.vsl:1:8: no module `x/y`: put it at x/y.vsl below the configuration root, or next to this file",
            ),
            (
                &[
                    ("main.vsl", "import \"lib/a\" as a;\na::f()"),
                    ("lib/a.vsl", "fn f() {\n  nothing()\n}"),
                ],
                "lib/a.vsl:2:3: function not found: nothing (): check its name and its arguments",
            ),
            (
                &[
                    ("main.vsl", "import \"lib/a\" as a;\n1"),
                    ("lib/a.vsl", "import \"b\" as b;"),
                    ("lib/b.vsl", "\n\n let ="),
                ],
                "lib/b.vsl:3:6: expecting name of a variable: correct the syntax",
            ),
            (
                &[
                    ("main.vsl", "import \"a\" as a;\n1"),
                    ("a.vsl", "import \"b\" as b;"),
                    ("b.vsl", "\nimport \"a\" as a;"),
                ],
                "b.vsl:2:8: module `a` imports itself: break the circle",
            ),
        ] {
            let folder = folder(files);
            assert_eq!(
                run(folder.path(), &Limits::default()),
                Err(expected.to_owned())
            );
        }
    }

    #[test]
    fn imports_resolve_against_the_root_then_against_the_importing_file() {
        let folder = folder(&[
            (
                "main.vsl",
                "import \"conf.d/a\" as a; import \"conf.d/a.vsl\" as again; a::name + a::b() + again::name",
            ),
            (
                "conf.d/a.vsl",
                "import \"b\" as b; import \"c\" as c; export const name = \"a\"; fn b() { b::name + c::name }",
            ),
            ("conf.d/b.vsl", "export const name = \"b\";"),
            ("conf.d/c.vsl", "export const name = \"near\";"),
            ("c.vsl", "export const name = \"root\";"),
        ]);
        assert_eq!(
            run(folder.path(), &Limits::default()),
            Ok("abroota".to_owned())
        );
    }

    #[test]
    fn no_import_leaves_the_root() {
        let outside = folder(&[("secret.vsl", "export const x = 1;")]);
        let absolute = outside.path().join("secret");
        let inside = folder(&[("conf/a.vsl", "")]);
        std::os::unix::fs::symlink(
            outside.path().join("secret.vsl"),
            inside.path().join("link.vsl"),
        )
        .unwrap();
        std::os::unix::fs::symlink(outside.path(), inside.path().join("folder")).unwrap();
        let up = format!(
            "../{}/secret",
            outside.path().file_name().unwrap().to_string_lossy()
        );
        for path in [
            absolute.to_str().unwrap(),
            &up,
            &format!("conf/../{up}"),
            "link",
            "folder/secret",
        ] {
            fs::write(
                inside.path().join("main.vsl"),
                format!("import \"{path}\" as x; x::x"),
            )
            .unwrap();
            assert_eq!(
                run(inside.path(), &Limits::default()),
                Err(format!(
                    "main.vsl:1:8: module `{path}` lies outside the configuration root: move it inside"
                ))
            );
        }
    }

    #[test]
    fn a_link_that_stays_inside_is_followed() {
        let folder = folder(&[
            ("main.vsl", "import \"on/a\" as a; a::x"),
            ("off/a.vsl", "export const x = 7;"),
        ]);
        std::os::unix::fs::symlink("off", folder.path().join("on")).unwrap();
        assert_eq!(run(folder.path(), &Limits::default()), Ok("7".to_owned()));
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = folder(&[("main.vsl", "import \"pipe\" as a; 1")]);
        nix::unistd::mkfifo(
            &folder.path().join("pipe.vsl"),
            nix::sys::stat::Mode::S_IRWXU,
        )
        .unwrap();
        assert_eq!(
            run(folder.path(), &Limits::default()),
            Err("main.vsl:1:8: pipe.vsl cannot be read: not a regular file: check that it is a file that the server may read".to_owned())
        );
    }

    #[test]
    fn the_deepest_values_fit_the_stack() {
        let ends = || {
            let mut engine = engine(Path::new("/"), &Limits::MAX);
            engine.register_fn("deep", |array: bool| {
                (0..4090).fold(rhai::Dynamic::UNIT, |inner, _| match array {
                    true => vec![inner].into(),
                    false => rhai::Map::from([("a".into(), inner)]).into(),
                })
            });
            for text in [
                "let a = deep(true); let b = a; loop { a = [a, b] }",
                "let a = deep(false); let b = a; loop { a = #{ a: a, b: b } }",
            ] {
                let error = engine.eval::<()>(text).unwrap_err().to_string();
                assert!(error.contains("too large"), "{error}");
            }
        };
        let thread = std::thread::Builder::new().stack_size(Limits::STACK);
        thread.spawn(ends).unwrap().join().unwrap();
    }

    #[test]
    fn limits_end_what_does_not_end() {
        let limits = Limits {
            operations: u64::MAX,
            deadline: Duration::from_millis(50),
            array_size: 10_000,
            ..Limits::default()
        };
        for (text, expected) in [
            ("loop {}", "ran for more than 50ms"),
            (
                "let a = [1]; a.pad(9000, 2); a.sort(|x, y| { let n = 0; while n < 1000 { n += 1 } x - y })",
                "ran for more than 50ms",
            ),
            (
                "let a = [1]; a.pad(9000, 2); a.map(|x| { let n = 0; while n < 1000 { n += 1 } x })",
                "ran for more than 50ms",
            ),
            (
                "let a = \"aaaaaaaa\"; loop { a.replace(\"a\", a) }",
                "length of string exceeds its limit",
            ),
            (
                "let a = \"a\"; a.pad(1000000000, \"b\")",
                "length of string exceeds its limit",
            ),
            (
                "let a = []; a.pad(1000000000, 1)",
                "size of array/BLOB exceeds its limit",
            ),
            ("blob(1000000000, 1)", "exceeds its limit"),
            (
                "let a = \"a\"; loop { a += a }",
                "length of string exceeds its limit",
            ),
            (
                "let a = []; for i in 0..1000000000 { a.append([0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); a += a }",
                "size of array/BLOB exceeds its limit",
            ),
            ("sleep(5)", "a script cannot sleep"),
            ("fn f() { f() }\nf()", "too many nested calls"),
        ] {
            let folder = folder(&[("main.vsl", text)]);
            let begin = Instant::now();
            let error = run(folder.path(), &limits).unwrap_err();
            assert!(
                error.starts_with("main.vsl:") && error.contains(expected),
                "{text}: {error}"
            );
            let took = begin.elapsed();
            assert!(
                took < limits.deadline + Duration::from_millis(500),
                "{text}: {took:?}"
            );
        }
        let few = Limits {
            operations: 1000,
            ..Limits::default()
        };
        let folder = folder(&[("main.vsl", "loop {}")]);
        assert_eq!(
            run(folder.path(), &few),
            Err(
                "main.vsl:1:6: took more than 1000 operations: look for a loop that does not end"
                    .to_owned()
            )
        );
    }
}
