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
        trial("a_rule_beyond_its_limits_fails", limits),
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

/// `app.vsl.limits` are those that hold.
fn limits() {
    for (key, value, body, expected) in [
        (
            "operations",
            "500",
            "for i in 0..1000 {}",
            "took more than 500 operations",
        ),
        ("deadline", "\"20ms\"", "loop {}", "ran for more than 20ms"),
        ("call_depth", "2", "f(9)", "too many nested calls"),
        (
            "string_size",
            "10",
            "let a = \"0123456789\"; a += a",
            "exceeds its limit",
        ),
        (
            "array_size",
            "2",
            "let a = []; for i in 0..3 { a.push(i) }",
            "exceeds its limit",
        ),
        (
            "map_size",
            "2",
            "let a = #{}; for i in 0..3 { a.set(`${i}`, i) }",
            "exceeds its limit",
        ),
    ] {
        let rules = format!(
            "fn f(n) {{ if n > 0 {{ f(n - 1) }} }}\n#{{ helo: [ rule \"a\" || {{ {body}; state::next() }} ] }}"
        );
        for (configuration, answer) in [
            (Configuration::new(), (body != "loop {}").then_some("250")),
            (
                Configuration::new().set(&format!("app.vsl.limits.{key}"), value),
                Some("451"),
            ),
        ] {
            // Within the limits that nobody has set, all but one end well.
            let Some(answer) = answer else { continue };
            let mut daemon = Daemon::start(configuration.filter(&rules));
            let mut client = Client::connect(daemon.smtp());
            client.reply().expect("220");
            client.command("EHLO client.example.net").expect(answer);
            if answer == "451" {
                daemon.wait_for_log(&[expected]);
            }
        }
    }
}
