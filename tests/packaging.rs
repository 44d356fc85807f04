//! What packages and administrators take from the program itself: manual page, completions, units.

use crate::support::{PROGRAM, run, trial_with};
use libtest_mimic::Trial;
use std::fs;
use std::process::Command;
use tempfile::TempDir;

pub fn trials() -> Vec<Trial> {
    vec![
        trial_with(&[], "packaging::the_page_names_every_command", page),
        trial_with(&["bash"], "packaging::completions_are_shell", completions),
        trial_with(&[], "packaging::printed_units_are_installed_ones", printed),
        trial_with(&[], "packaging::changed_units_are_kept", changed),
    ]
}

/// Standard output and standard error of the program, and its status.
fn vsmtp(arguments: &[&str]) -> (i32, String) {
    let output = run(Command::new(PROGRAM).args(arguments), "");
    (output.status.code().unwrap(), output.both())
}

/// The commands that `--help` shows to everybody.
fn commands() -> Vec<String> {
    let (_, help) = vsmtp(&["--help"]);
    let list = help.split("Commands:\n").nth(1).unwrap();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    let names: Vec<String> = names.map(str::to_owned).collect();
    assert!(names.len() > 4, "{help}");
    names
}

fn page() {
    let (status, page) = vsmtp(&["man"]);
    assert_eq!(status, 0, "{page}");
    for command in commands().iter().filter(|command| *command != "help") {
        let heading = format!("vsmtp {}", command.replace('-', "\\-"));
        assert!(page.contains(&heading), "{heading} is not in {page}");
    }
    for section in ["SYNOPSIS", "FILES", "EXIT STATUS", "EXAMPLES"] {
        assert!(page.contains(section), "{page}");
    }
    assert!(!page.contains("vsmtp completions"), "{page}");
}

fn completions() {
    for shell in ["bash", "fish", "zsh"] {
        let (status, text) = vsmtp(&["completions", shell]);
        assert_eq!(status, 0, "{text}");
        for command in commands() {
            assert!(text.contains(&command), "{shell}: no {command} in {text}");
        }
        if shell == "bash" {
            run(Command::new("bash").arg("-n"), &text).success();
        }
    }
}

fn printed() {
    let root = TempDir::new().unwrap();
    let folder = root.path().to_str().unwrap();
    let configuration = ["--config", "/srv/mail"];
    let (status, shown) = vsmtp(&[&["install-units", "--print"], &configuration[..]].concat());
    assert_eq!(status, 0, "{shown}");
    assert!(shown.contains("serve --config /srv/mail\n"), "{shown}");
    let program = format!("ExecStart={PROGRAM} serve");
    assert!(shown.contains(&program), "{shown}");

    let install = [&["install-units", "--root", folder], &configuration[..]].concat();
    let (status, output) = vsmtp(&install);
    assert_eq!(status, 0, "{output}");
    let mut files = 0;
    for line in output.lines().filter(|line| line.ends_with(": written")) {
        let path = line.trim_end_matches(": written");
        let text = fs::read_to_string(path).unwrap();
        let name = path.strip_prefix(folder).unwrap();
        assert!(
            shown.contains(&format!("# {name}\n{text}")),
            "{name}: {shown}"
        );
        files += 1;
    }
    assert_eq!(files, 5, "{output}");
    let (status, output) = vsmtp(&install);
    assert_eq!((status, output.matches(": unchanged").count()), (0, 5));
}

fn changed() {
    let root = TempDir::new().unwrap();
    let folder = root.path().to_str().unwrap();
    assert_eq!(vsmtp(&["install-units", "--root", folder]).0, 0);
    let service = root.path().join("etc/systemd/system/vsmtp.service");
    let ours = fs::read_to_string(&service).unwrap();
    fs::write(&service, "[Service]\n").unwrap();

    let (status, output) = vsmtp(&["install-units", "--root", folder]);
    assert_eq!(status, 73, "{output}");
    assert!(output.contains("vsmtp.service: kept"), "{output}");
    assert_eq!(fs::read_to_string(&service).unwrap(), "[Service]\n");

    let (status, output) = vsmtp(&["install-units", "--root", folder, "--force"]);
    assert_eq!(status, 0, "{output}");
    assert!(output.contains("vsmtp.service: replaced"), "{output}");
    assert_eq!(fs::read_to_string(&service).unwrap(), ours);
}
