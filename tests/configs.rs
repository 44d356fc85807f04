//! Configurations and what is said about them. Each folder of `tests/configs` is one: its files, and in `expected` every
//! error, warning and hint, word for word. A folder that loads without error may hold a `diff` and a `show` too; either
//! way, what `show` prints must load to the same configuration.
//!
//! `VSMTP_BLESS=1 cargo test configs` writes what is said now to `expected`, `diff` and `show`, to be read before it is
//! committed; a new folder begins so, with an empty `diff` or `show` where one is wanted.

use libtest_mimic::{Failed, Trial};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use vsmtp::config::{self, Environment, Loaded};

/// Stands for the folder of the fixture in `diff` and `show`.
const ROOT: &str = "/ROOT";

pub fn trials() -> Vec<Trial> {
    let mut folders: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    let fixtures = folders.into_iter().map(|folder| {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        Trial::test(format!("configs::{name}"), move || check(&folder))
    });
    fixtures
        .chain([
            Trial::test("configs::a_root_that_is_not_there", || {
                said_of(
                    "nowhere",
                    "error: nowhere: there is no such configuration root: name an existing folder with --config\n",
                )
            }),
            Trial::test("configs::a_root_that_is_its_entry_point", || {
                said_of("entry_point/vsmtp.vsl", "")
            }),
            Trial::test("configs::a_root_that_is_another_file", || {
                said_of(
                    "entry_point/conf.d/config.vsl",
                    "error: entry_point/conf.d/config.vsl: is no configuration root: give a folder, or the vsmtp.vsl in it\n",
                )
            }),
            // Not a folder of its own: some file systems cannot hold both.
            Trial::test("configs::a_domain_in_two_spellings", a_domain_in_two_spellings),
            Trial::test("configs::paths_are_shown_as_given", paths_are_shown_as_given),
            Trial::test("configs::defaults_hang_on_the_host", defaults_hang_on_the_host),
            Trial::test("configs::origins_are_found", origins_are_found),
        ])
        .collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs")
}

/// A host that is the same wherever the tests run.
fn host() -> Environment {
    Environment {
        host_name: "mx.example.com".into(),
        state_directory: None,
        runtime_directory: None,
        cores: 4,
        journald: false,
        sockets: false,
    }
}

fn check(folder: &Path) -> Result<(), Failed> {
    let loaded = config::load_in(folder, &host());
    compare(&folder.join("expected"), &said(&loaded, folder))?;
    let here = folder.display().to_string();
    for (name, text) in [
        ("diff", config::diff(&loaded)),
        ("show", config::show(&loaded)),
    ] {
        let file = folder.join(name);
        if file.exists() {
            compare(&file, &text.replace(&here, ROOT))?;
        }
    }
    if loaded.errors.is_empty() {
        comes_back(&config::show(&loaded))?;
    }
    Ok(())
}

/// What an operator reads, with paths relative to `folder`.
fn said(loaded: &Loaded, folder: &Path) -> String {
    let mut text = String::new();
    for (kind, diagnostics) in [
        ("error", &loaded.errors),
        ("warning", &loaded.warnings),
        ("hint", &loaded.hints),
    ] {
        for diagnostic in diagnostics {
            let _ = writeln!(text, "{kind}: {diagnostic}");
        }
    }
    text.replace(&format!("{}/", folder.display()), "")
}

fn compare(file: &Path, found: &str) -> Result<(), Failed> {
    if std::env::var_os("VSMTP_BLESS").is_some() {
        fs::write(file, found)?;
    }
    let expected = fs::read_to_string(file)?;
    if expected == found {
        return Ok(());
    }
    Err(format!(
        "{}\n--- expected\n{expected}--- found\n{found}",
        file.display()
    )
    .into())
}

/// What `show` printed, put into files of its own, shows the same.
fn comes_back(shown: &str) -> Result<(), Failed> {
    let copy = tempfile::tempdir()?;
    let domains = copy.path().join("domains");
    let mut blocks = shown.split("\n\n// ");
    let root = blocks.next().unwrap();
    let mut files: BTreeMap<PathBuf, &str> = BTreeMap::new();
    for block in blocks.clone() {
        let (file, lines) = block.split_once('\n').unwrap();
        let name = Path::new(file).parent().unwrap().file_name().unwrap();
        files.insert(domains.join(name), lines);
    }
    fs::create_dir_all(copy.path().join("conf.d"))?;
    fs::create_dir_all(&domains)?;
    let there = format!("config.app.vsl.domain_dir = {:?};", domains.display());
    fs::write(
        copy.path().join("conf.d/config.vsl"),
        format!("fn on_config(config) {{\n{root}\n{there}\nconfig }}"),
    )?;
    for (folder, lines) in &files {
        fs::create_dir_all(folder)?;
        let lines = lines.replace("// ", "");
        fs::write(
            folder.join("config.vsl"),
            format!("fn on_domain_config(config) {{\n{lines}\nconfig }}"),
        )?;
    }
    let again = config::load_in(copy.path(), &host());
    let said = said(&again, copy.path());
    if said.contains("error: ") {
        return Err(said.into());
    }
    let unmoved = |text: &str| -> String {
        text.lines()
            .filter(|line| !line.contains("domain_dir") && !line.ends_with("config.vsl"))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    let (first, second) = (unmoved(shown), unmoved(&config::show(&again)));
    if first == second {
        return Ok(());
    }
    Err(format!("--- shown\n{first}--- shown again\n{second}").into())
}

fn said_of(path: &str, expected: &str) -> Result<(), Failed> {
    let loaded = config::load_in(&folder().join(path), &host());
    assert_eq!(said(&loaded, &folder()), expected);
    Ok(())
}

fn a_domain_in_two_spellings() -> Result<(), Failed> {
    let root = tempfile::tempdir()?;
    let enabled = root.path().join("domain-enabled");
    for name in ["EXAMPLE.com", "example.com", "example.com."] {
        fs::create_dir_all(enabled.join(name))?;
    }
    fs::create_dir(root.path().join("conf.d"))?;
    fs::write(
        root.path().join("conf.d/config.vsl"),
        "fn on_config(config) { config }",
    )?;
    let said = said(&config::load_in(root.path(), &host()), root.path());
    assert_eq!(
        said,
        "error: domain-enabled/example.com: the domain example.com is there twice: keep one: domains compare without case
error: domain-enabled/example.com.: \"example.com.\" is no mail domain: name the folder after the domain, such as example.com (xn-- for other letters)
warning: domain-enabled/EXAMPLE.com: example.com has no mailbox but postmaster: name them in config.mailboxes, or set it to \"*\" for every one
"
    );
    Ok(())
}

/// Diagnostics as the operator wrote `--config`, values wherever the process goes.
fn paths_are_shown_as_given() -> Result<(), Failed> {
    let root = Path::new("tests/configs/domains");
    let loaded = config::load_in(root, &host());
    let hint = loaded.hints.first().unwrap().to_string();
    assert!(
        hint.starts_with("tests/configs/domains/domain-available/example.net: "),
        "{hint}"
    );
    let certificate = &loaded.config.tls.root.as_ref().unwrap().certificate;
    assert_eq!(*certificate, folder().join("domains/root.pem"));
    Ok(())
}

fn defaults_hang_on_the_host() -> Result<(), Failed> {
    let host = Environment {
        state_directory: Some("/var/lib/vsmtp".into()),
        journald: true,
        sockets: true,
        ..host()
    };
    let loaded = config::load_in(&folder().join("defaults"), &host);
    let shown = config::show(&loaded);
    for line in [
        "config.server.interfaces.addr = [];",
        "config.server.logs.system.backend = \"journald\";",
        "config.server.queues.dirpath = \"/var/lib/vsmtp\";",
        "config.app.dirpath = \"/var/lib/vsmtp/app\";",
        "config.app.mail_dirpath = \"/var/lib/vsmtp/mail\";",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    assert_eq!(config::diff(&loaded), "");
    Ok(())
}

fn origins_are_found() -> Result<(), Failed> {
    let root = folder().join("domains");
    let loaded = config::load_in(&root, &host());
    for (domain, path, file, position) in [
        (
            Some("example.com"),
            "tls.certificate",
            "domain-enabled/example.com/config.vsl",
            Some((3, 5)),
        ),
        (
            Some("example.org"),
            "tls.certificate",
            "domain-enabled/EXAMPLE.org",
            None,
        ),
        (
            None,
            "server.tls.root.private_key",
            "conf.d/config.vsl",
            Some((4, 5)),
        ),
        (None, "server.name", "conf.d/config.vsl", None),
    ] {
        let (found, at) = loaded.origin(domain, path);
        assert_eq!(
            (found, at),
            (root.join(file), position),
            "{domain:?} {path}"
        );
    }
    Ok(())
}
