//! Errors teach: what is wrong, where, the line itself, and what to write in its place.

use crate::support::{Client, Configuration, Daemon, PROGRAM, run};
use libtest_mimic::Trial;
use std::process::Command;

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("teaching::{name}"), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("check_shows_the_line", check_shows_the_line),
        trial("a_rule_that_fails_is_logged_with_its_line", running),
    ]
}

/// One error a line, its source below it, every path as it was given.
fn check_shows_the_line() {
    let configuration = Configuration::new()
        .set("server.tls.handshake_timout", "\"1s\"")
        .filter("#{\n  conect: [],\n  mail: [ rule \"a\" || state::deny(550) ],\n}\n");
    configuration.write();
    let check = run(
        Command::new(PROGRAM)
            .args(["check", "--config", "etc"])
            .current_dir(configuration.scratch()),
        "",
    );
    assert_eq!(check.status.code(), Some(78));
    let said: Vec<&str> = check.stderr.lines().collect();
    let [key, key_line, key_caret, rest @ ..] = said.as_slice() else {
        panic!("{}", check.stderr);
    };
    assert!(key.starts_with("etc/conf.d/config.vsl:"), "{key}");
    assert!(
        key_line.starts_with("  ")
            && key_line.ends_with("config.server.tls.handshake_timout = \"1s\";")
    );
    assert_eq!(key_caret.trim_start_matches([' ', '|']), "^");
    assert_eq!(
        rest,
        [
            "etc/filter.vsl:2:3: unknown stage `conect`: did you mean `connect`?",
            "  2 |   conect: [],",
            "    |   ^",
            "etc/filter.vsl:3:23: `state::deny` is called with (integer): it is state::deny(code: object) -> state or \
             state::deny(code: string) -> state",
            "  3 |   mail: [ rule \"a\" || state::deny(550) ],",
            "    |                       ^",
        ]
    );
}

/// What is known only when mail arrives goes to the log, with the line and with what the function takes.
fn running() {
    let rules = "fn no() { 550 }\n#{\n  helo: [ rule \"a\" || state::deny(no()) ],\n}\n";
    let mut daemon = Daemon::start(Configuration::new().filter(rules));
    let mut client = Client::connect(daemon.smtp());
    client.reply().expect("220");
    client.command("EHLO client.example.net").expect("451");
    daemon.wait_for_log(&[
        "filter.vsl:3:30: function not found: state::deny (integer): it is state::deny() -> state or state::deny(code: object) -> state",
        "line=\"helo: [ rule \\\"a\\\" || state::deny(no()) ],\"",
    ]);
}
