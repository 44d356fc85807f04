//! Redis.

use crate::services::{FAILED, Oracle, SERVICES, expect};
use crate::support::database::{PASSWORD, Server, start_redis};
use crate::support::{Configuration, trial_with};
use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("answers", answers),
        trial("comes_back", comes_back),
        trial("under_tls", under_tls),
    ]
}

fn trial(name: &str, test: fn(Server)) -> Trial {
    let name = format!("databases::redis::{name}");
    trial_with(&["redis-server"], name, move || test(start_redis()))
}

fn socket(server: &Server) -> String {
    let folder = server.path().display();
    format!("url: \"redis:///1?socket={folder}/socket\", password: \"{PASSWORD}\"")
}

fn configuration(services: &str) -> Configuration {
    let configuration = Configuration::new();
    configuration.file("services/all.vsl", services);
    configuration
}

fn answers(server: Server) {
    let url = socket(&server);
    let configuration = configuration(&format!(
        r#"
        export const db = redis::connect(#{{ {url}, timeout: "60s", connections: 2 }});
        export const hasty = redis::connect(#{{ {url}, timeout: "500ms" }});
        "#
    ));
    let daemon = expect(
        configuration,
        SERVICES,
        &[
            ("services::db.command(\"PING\")", "PONG"),
            (
                "services::db.command(\"SET\", [ctx::mail_from(), \"a b\\r\\nFLUSHALL\\r\\n\"])",
                "OK",
            ),
            (
                "services::db.command(\"GET\", [\"1@example.net\"]).len()",
                "15",
            ),
            ("services::db.command(\"GET\", [\"nobody\"]) == ()", "true"),
            (
                "services::db.command(\"INCR\", [\"n\"]) + services::db.command(\"incr\", [\"n\"])",
                "3",
            ),
            (
                "services::db.command(\"RPUSH\", [\"list\", 1, 1.5, true, \"x\"])",
                "4",
            ),
            (
                "services::db.command(\"LRANGE\", [\"list\", 0, -1])",
                "[\"1\", \"1.5\", \"1\", \"x\"]",
            ),
            (
                "services::db.command(\"SET\", [\"octets\", blob(3, 255)])",
                "OK",
            ),
            ("services::db.command(\"GET\", [\"octets\"])[2]", "255"),
            (
                "services::db.command(\"EVAL\", [\"return {1, {KEYS[1]}}\", 1, \"k\"])",
                "[1, [\"k\"]]",
            ),
            (
                "services::db.command(\"EVAL\", [\"return \" + 1, 0])",
                FAILED,
            ),
            ("services::db.command(\"INCR\", [\"list\"])", FAILED),
            ("services::db.command(\"SELECT\", [2])", FAILED),
            ("services::db.command(\"SET\", [\"k\", ()])", FAILED),
            (
                "{ let name = \"FLUSH\"; name += \"ALL\"; services::db.command(name) }",
                FAILED,
            ),
            (
                "services::db.command(\"SET\", [\"long\", \"x\"]) + services::db.command(\"SETRANGE\", [\"long\", 2000000, \"x\"])",
                "OK2000001",
            ),
            ("services::db.command(\"GET\", [\"long\"])", FAILED),
            (
                "services::hasty.command(\"BLPOP\", [\"nothing\", 600])",
                FAILED,
            ),
            ("services::db.command(\"GET\", [\"n\"])", "2"),
        ],
    );
    daemon.wait_for_log(&["refuses: ", "WRONGTYPE"]);
    daemon.wait_for_log(&["refuses: SELECT is about the connection"]);
    daemon.wait_for_log(&["the script is put together"]);
    daemon.wait_for_log(&["the command is put together", "FLUSHALL"]);
    daemon.wait_for_log(&["gave no answer within 500ms"]);
}

fn comes_back(mut server: Server) {
    server.stop();
    let url = socket(&server);
    let configuration = configuration(&format!(
        "export const db = redis::connect(#{{ {url}, timeout: \"60s\" }});"
    ));
    let mut oracle = Oracle::start(configuration, SERVICES, &["services::db.command(\"PING\")"]);
    assert!(oracle.ask(0).starts_with(FAILED));
    oracle
        .daemon
        .wait_for_log(&["cannot be reached", "see that it is there"]);
    server.start_again();
    assert_eq!(oracle.ask(0), "PONG");
    server.stop();
    assert!(oracle.ask(0).starts_with(FAILED));
    server.start_again();
    assert_eq!(oracle.ask(0), "PONG");
}

fn under_tls(server: Server) {
    let (port, authority) = (server.port, server.authority());
    let options = format!("url: \"rediss://localhost:{port}/0\", timeout: \"60s\"");
    let configuration = configuration(&format!(
        r#"
        export const db = redis::connect(#{{ {options}, password: "{PASSWORD}", authority: {authority:?} }});
        export const stranger = redis::connect(#{{ {options}, password: "{PASSWORD}" }});
        export const liar = redis::connect(#{{ {options}, password: "guess", authority: {authority:?} }});
        "#
    ));
    let daemon = expect(
        configuration,
        SERVICES,
        &[
            ("services::db.command(\"PING\")", "PONG"),
            ("services::stranger.command(\"PING\")", FAILED),
            ("services::liar.command(\"PING\")", FAILED),
        ],
    );
    daemon.wait_for_log(&["cannot be reached", "certificate"]);
    daemon.wait_for_log(&["cannot be reached", "Password authentication failed"]);
    assert!(!daemon.log().contains(PASSWORD));
}
