//! MySQL, by way of MariaDB.

use crate::services::{FAILED, Oracle, SERVICES, expect};
use crate::support::database::{PASSWORD, Server, USER, start_mariadb};
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
    let programs = &["mariadbd", "mariadb-install-db"];
    trial_with(programs, format!("databases::mysql::{name}"), move || {
        test(start_mariadb())
    })
}

fn socket(server: &Server) -> String {
    let folder = server.path().display();
    format!("url: \"mysql://root@localhost/test?socket={folder}/socket\"")
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
        export const db = mysql::connect(#{{ {url}, timeout: "60s", connections: 2 }});
        export const hasty = mysql::connect(#{{ {url}, timeout: "500ms" }});
        export const CREATE = "CREATE TABLE t (k VARCHAR(100) PRIMARY KEY, n INT, f DOUBLE, b BOOL, o BLOB, d DATE, t DATETIME(6), m DECIMAL(5,2), u BIGINT UNSIGNED)";
        export const INSERT = "INSERT INTO t VALUES (?, ?, ?, ?, ?, '2026-08-01', '2026-08-01 12:34:56.5', 1.25, 18446744073709551615)";
        "#
    ));
    let daemon = expect(
        configuration,
        SERVICES,
        &[
            ("services::db.query(services::CREATE)", "[]"),
            (
                "services::db.query(services::INSERT, [\"a'é\", 5, 1.5, true, blob(2, 255)])",
                "[]",
            ),
            (
                "services::db.query(services::INSERT, [\"empty\", (), (), (), ()])",
                "[]",
            ),
            (
                "services::db.query(\"SELECT n, f, b FROM t WHERE k = ?\", [\"a'é\"])[0]",
                "#{\"b\": 1, \"f\": 1.5, \"n\": 5}",
            ),
            (
                "services::db.query(\"SELECT k FROM t WHERE n = ?\", [5])[0].k == \"a'é\"",
                "true",
            ),
            (
                "services::db.query(\"SELECT o FROM t WHERE n = 5\")[0].o[1]",
                "255",
            ),
            (
                "services::db.query(\"SELECT d, t, m, u FROM t WHERE n = 5\")[0]",
                "#{\"d\": \"2026-08-01\", \"m\": \"1.25\", \"t\": \"2026-08-01 12:34:56.500000\", \"u\": \"18446744073709551615\"}",
            ),
            (
                "services::db.query(\"SELECT n FROM t WHERE k = 'empty'\")[0].n == ()",
                "true",
            ),
            (
                "services::db.query(\"SELECT ? AS x\", [ctx::mail_from()])[0].x",
                "8@example.net",
            ),
            (
                "services::db.query(services::INSERT, [\"empty\", (), (), (), ()])",
                FAILED,
            ),
            ("services::db.query(\"SELECT ?\", [])", FAILED),
            ("services::db.query(\"SELECT 1\", [1])", FAILED),
            ("services::db.query(\"SELECT 1; SELECT 2\")", FAILED),
            (
                "services::db.query(\"SELECT seq FROM test.seq_1_to_10000000\")",
                FAILED,
            ),
            ("services::hasty.query(\"SELECT SLEEP(600)\")", FAILED),
            ("services::db.query(\"SELECT 1 AS x\")[0].x", "1"),
        ],
    );
    daemon.wait_for_log(&["refuses: Duplicate entry"]);
    daemon.wait_for_log(&["answers with more than", "LIMIT the rows"]);
    daemon.wait_for_log(&["gave no answer within 500ms"]);
}

fn comes_back(mut server: Server) {
    server.stop();
    let url = socket(&server);
    let configuration = configuration(&format!(
        "export const db = mysql::connect(#{{ {url}, timeout: \"60s\" }});"
    ));
    let statement = "services::db.query(\"SELECT 17 AS x\")[0].x";
    let mut oracle = Oracle::start(configuration, SERVICES, &[statement]);
    assert!(oracle.ask(0).starts_with(FAILED));
    oracle
        .daemon
        .wait_for_log(&["cannot be reached", "see that it is there"]);
    server.start_again();
    assert_eq!(oracle.ask(0), "17");
    server.stop();
    assert!(oracle.ask(0).starts_with(FAILED));
    server.start_again();
    assert_eq!(oracle.ask(0), "17");
}

fn under_tls(server: Server) {
    let (port, authority) = (server.port, server.authority());
    let options =
        format!("url: \"mysql://{USER}@localhost:{port}/test\", tls: true, timeout: \"60s\"");
    let configuration = configuration(&format!(
        r#"
        export const db = mysql::connect(#{{ {options}, password: "{PASSWORD}", authority: {authority:?} }});
        export const stranger = mysql::connect(#{{ {options}, password: "{PASSWORD}" }});
        export const liar = mysql::connect(#{{ {options}, password: "guess", authority: {authority:?} }});
        export const CIPHER = "SHOW STATUS LIKE 'Ssl_version'";
        "#
    ));
    let daemon = expect(
        configuration,
        SERVICES,
        &[
            ("services::db.query(services::CIPHER)[0].Value", "TLSv1.3"),
            ("services::stranger.query(services::CIPHER)", FAILED),
            ("services::liar.query(services::CIPHER)", FAILED),
        ],
    );
    daemon.wait_for_log(&["cannot be reached", "certificate"]);
    daemon.wait_for_log(&["cannot be reached: Access denied"]);
    assert!(!daemon.log().contains(PASSWORD));
}
