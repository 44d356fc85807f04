//! PostgreSQL.

use crate::services::{FAILED, Oracle, SERVICES, expect};
use crate::support::database::{PASSWORD, Server, USER, postgresql, start_postgresql};
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
    let name = format!("databases::postgresql::{name}");
    match postgresql() {
        Some(programs) => Trial::test(name, move || {
            test(start_postgresql(&programs));
            Ok(())
        }),
        None => trial_with(&["postgres"], name, || {}),
    }
}

/// The URL of the socket.
fn socket(server: &Server) -> String {
    let folder = server.path().display();
    format!("postgresql://:{}/postgres?host={folder}", server.port).replace("//:", "//localhost:")
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
        export const db = postgresql::connect(#{{ url: "{url}", user: "{USER}", timeout: "60s", connections: 2 }});
        export const hasty = postgresql::connect(#{{ url: "{url}", user: "{USER}", timeout: "500ms" }});
        export const CREATE = "CREATE TABLE t (k text PRIMARY KEY, n int, f float8, b bool, o bytea, ip inet, at timestamptz DEFAULT now())";
        export const INSERT = "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6)";
        "#
    ));
    let daemon = expect(
        configuration,
        SERVICES,
        &[
            ("services::db.query(services::CREATE)", "[]"),
            (
                "services::db.query(services::INSERT, [\"a'b\", 5, 1.5, true, blob(2, 255), ip4(\"192.0.2.1\")])",
                "[]",
            ),
            (
                "services::db.query(services::INSERT, [\"empty\", (), (), (), (), ()])",
                "[]",
            ),
            (
                "services::db.query(\"SELECT n, f, b FROM t WHERE ip = $1\", [\"192.0.2.1\"])[0]",
                "#{\"b\": true, \"f\": 1.5, \"n\": 5}",
            ),
            (
                "services::db.query(\"SELECT o FROM t WHERE k = $1\", [\"a'b\"])[0].o[1]",
                "255",
            ),
            (
                "services::db.query(\"SELECT k FROM t WHERE n = $1\", [6])",
                "[]",
            ),
            (
                "services::db.query(\"SELECT n FROM t WHERE k = 'empty'\")[0].n == ()",
                "true",
            ),
            (
                "services::db.query(\"SELECT $1::text AS x\", [ctx::mail_from()])[0].x",
                "7@example.net",
            ),
            (
                "services::db.query(\"SELECT count(*) AS n FROM t\")[0].n",
                "2",
            ),
            ("services::db.query(\"SELECT at FROM t\")", FAILED),
            (
                "services::db.query(\"SELECT ip::text FROM t LIMIT 1\")[0].ip",
                "192.0.2.1/32",
            ),
            (
                "services::db.query(services::INSERT, [\"a'b\", 5, 1.5, true, blob(2, 255), ()])",
                FAILED,
            ),
            (
                "services::db.query(\"SELECT $1::int\", [\"no number\"])",
                FAILED,
            ),
            ("services::db.query(\"SELECT $1::int\", [])", FAILED),
            ("services::db.query(\"SELECT 1 AS a, 2 AS a\")", FAILED),
            ("services::db.query(\"SELEKT\")", FAILED),
            (
                "services::db.query(\"SELECT * FROM generate_series(1, 10000000) x\")",
                FAILED,
            ),
            ("services::hasty.query(\"SELECT pg_sleep(600)\")", FAILED),
            ("services::db.query(\"SELECT 1 AS x\")[0].x", "1"),
        ],
    );
    daemon.wait_for_log(&["column \"at\" of type timestamptz", "column::text"]);
    daemon.wait_for_log(&["refuses: duplicate key value violates unique constraint"]);
    daemon.wait_for_log(&["refuses: the statement has places for 1 parameters, and 0 are given"]);
    daemon.wait_for_log(&["answers with more than", "LIMIT the rows"]);
    daemon.wait_for_log(&["gave no answer within 500ms"]);
}

fn comes_back(mut server: Server) {
    server.stop();
    let url = socket(&server);
    let configuration = configuration(&format!(
        "export const db = postgresql::connect(#{{ url: \"{url}\", user: \"{USER}\", timeout: \"60s\" }});"
    ));
    let statement = "services::db.query(\"SELECT 17 AS x\")[0].x";
    let mut oracle = Oracle::start(configuration, SERVICES, &[statement]);
    assert!(oracle.ask(0).starts_with(FAILED));
    oracle
        .daemon
        .wait_for_log(&["cannot be reached", "see that it is there"]);
    for _ in 0..2 {
        server.start_again();
        assert_eq!(oracle.ask(0), "17");
        server.stop();
        assert!(oracle.ask(0).starts_with(FAILED));
    }
}

fn under_tls(server: Server) {
    let (port, authority) = (server.port, server.authority());
    let url = format!("postgresql://{USER}@localhost:{port}/postgres");
    let options = format!("url: \"{url}\", tls: true, timeout: \"60s\"");
    let configuration = configuration(&format!(
        r#"
        export const db = postgresql::connect(#{{ {options}, password: "{PASSWORD}", authority: {authority:?} }});
        export const stranger = postgresql::connect(#{{ {options}, password: "{PASSWORD}" }});
        export const liar = postgresql::connect(#{{ {options}, password: "guess", authority: {authority:?} }});
        export const CIPHER = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        "#
    ));
    let daemon = expect(
        configuration,
        SERVICES,
        &[
            ("services::db.query(services::CIPHER)[0].ssl", "true"),
            ("services::stranger.query(services::CIPHER)", FAILED),
            ("services::liar.query(services::CIPHER)", FAILED),
        ],
    );
    daemon.wait_for_log(&["cannot be reached", "certificate"]);
    daemon.wait_for_log(&["cannot be reached: password authentication failed"]);
    assert!(!daemon.log().contains(PASSWORD));
}
