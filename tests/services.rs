//! Functions of rules that wait for somebody else: name servers, commands, lists in files, databases.

use crate::support::{Client, Configuration, Daemon, Start, name_server, wait_for};
use libtest_mimic::Trial;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::thread;

/// What a rule that fails answers.
pub const FAILED: &str = "451 4.3.0";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("dns", dns),
        trial("dns_that_gives_no_answer", dns_without_answer),
        trial("cmd", cmd),
        trial("cmd_that_takes_too_long", cmd_too_long),
        trial("csv", csv),
        trial("csv_is_reloaded", csv_reload),
        trial("sqlite", sqlite),
        trial("sqlite_greylist_of_many_sessions", greylist),
        #[cfg(not(feature = "postgresql"))]
        trial("database_that_is_not_built_in", not_built_in),
        trial("a_hundred_that_wait_slow_nobody", a_hundred),
    ]
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(format!("services::{name}"), || {
        test();
        Ok(())
    })
}

/// A daemon whose rules tell the values of expressions.
pub struct Oracle {
    pub daemon: Daemon,
    client: Client,
}

impl Oracle {
    /// `imports` stand at the top of the rules. Expression number N is evaluated for the sender `N@example.net`.
    pub fn start(configuration: Configuration, imports: &str, expressions: &[&str]) -> Self {
        let rules: String = expressions
            .iter()
            .enumerate()
            .map(|(number, expression)| {
                format!(
                    "    rule \"{number}\" || if ctx::mail_from().local_part == \"{number}\" {{\n      \
                     state::deny(code(550, \"5.7.1\", `${{{expression}}}`))\n    }},\n"
                )
            })
            .collect();
        let filter = format!("{imports}\n#{{\n  mail: [\n{rules}  ]\n}}\n");
        // Every answer is a refusal.
        let configuration = configuration
            .set("server.smtp.error.soft_count", "-1")
            .set("server.smtp.error.hard_count", "-1");
        let mut daemon = Daemon::start(configuration.filter(&filter));
        let client = Client::hello(daemon.smtp());
        Self { daemon, client }
    }

    /// The value of that expression, or the reply when its rule failed.
    pub fn ask(&mut self, number: usize) -> String {
        let reply = self
            .client
            .command(&format!("MAIL FROM:<{number}@example.net>"));
        let text = reply.text();
        let value = text.strip_prefix("550 5.7.1");
        value.map_or(text.as_str(), str::trim_start).to_owned()
    }
}

/// Compares the value of each expression with what stands beside it.
pub fn expect(configuration: Configuration, imports: &str, cases: &[(&str, &str)]) -> Daemon {
    let expressions: Vec<&str> = cases.iter().map(|(expression, _)| *expression).collect();
    let mut oracle = Oracle::start(configuration, imports, &expressions);
    for (number, (expression, expected)) in cases.iter().enumerate() {
        let value = oracle.ask(number);
        let value = if value.starts_with(FAILED) {
            FAILED
        } else {
            &value
        };
        assert_eq!(value, *expected, "{expression}");
    }
    oracle.daemon
}

fn asking(records: &[(&str, &str, &str)], options: &str) -> Configuration {
    let server = name_server(records);
    let dns = format!(
        "#{{ type: \"custom\", config: #{{ name_servers: [\"{server}\"] }}, options: #{{ {options} }} }}"
    );
    Configuration::new().set("server.dns", &dns)
}

fn dns() {
    let configuration = asking(
        &[
            ("mail.example.org", "A", "192.0.2.1"),
            ("mail.example.org", "A", "192.0.2.2"),
            ("mail.example.org", "AAAA", "2001:db8::1"),
            ("example.org", "AAAA", "2001:db8::2"),
            ("text.example.org", "TXT", "no address"),
            ("1.2.0.192.in-addr.arpa", "PTR", "MAIL.example.org"),
        ],
        "",
    );
    expect(
        configuration,
        "",
        &[
            ("dns::lookup(\"mail.example.org\").len()", "3"),
            ("\"192.0.2.2\" in dns::lookup(\"mail.example.org\")", "true"),
            (
                "\"192.0.2.3\" in dns::lookup(\"mail.example.org\")",
                "false",
            ),
            (
                "ip6(\"2001:db8:0::1\") in dns::lookup(fqdn(\"Mail.Example.org.\"))",
                "true",
            ),
            (
                "dns::lookup(address(\"john@example.org\"))[0]",
                "2001:db8::2",
            ),
            ("dns::lookup(\"text.example.org\")", "[]"),
            ("dns::lookup(\"nobody.example.org\")", "[]"),
            ("dns::lookup(\"no name at all\")", "[]"),
            ("dns::lookup(\"192.0.2.1\")", "[]"),
            ("dns::rlookup(\"192.0.2.1\")[0]", "mail.example.org"),
            ("dns::rlookup(ip4(\"192.0.2.1\")).len()", "1"),
            ("dns::rlookup(\"::ffff:192.0.2.1\").len()", "1"),
            ("dns::rlookup(\"192.0.2.9\")", "[]"),
            ("dns::rlookup(\"mail.example.org\")", FAILED),
            ("dns::lookup(1)", FAILED),
        ],
    );
}

fn dns_without_answer() {
    let configuration = asking(&[], "timeout: \"200ms\", attempts: 1");
    let daemon = expect(
        configuration,
        "",
        &[
            ("dns::lookup(\"a.silent.test\")", FAILED),
            ("dns::lookup(\"a.broken.test\")", FAILED),
            ("dns::lookup(\"nobody.test\")", "[]"),
        ],
    );
    daemon.wait_for_log(&[
        "\"a.silent.test\": the DNS gives no answer now",
        "server.dns",
    ]);
    daemon.wait_for_log(&[
        "filter.vsl:",
        "\"a.broken.test\": the DNS gives no answer now",
    ]);
}

/// The file of services that tests write.
pub const SERVICES: &str = "import \"services/all\" as services;";

fn cmd() {
    let configuration = Configuration::new();
    configuration.file(
        "services/all.vsl",
        r#"
        export const test = cmd::build(#{ command: "test", args: ["a", "=", "a"] });
        export const shell = cmd::build(#{ command: "/bin/sh", timeout: "20s" });
        export const nothing = cmd::build(#{ command: "/nowhere/to/be/found" });
        "#,
    );
    let daemon = expect(
        configuration,
        SERVICES,
        &[
            ("services::test.run() == 0", "true"),
            ("services::test.run([\"a\", \"=\", \"b\"]).code", "1"),
            (
                "services::test.run([\"$(id)\", \"=\", \"$(id)\"]) != 0",
                "false",
            ),
            (
                "services::test.run([ctx::mail_from(), \"=\", \"3@example.net\"]) == 0",
                "true",
            ),
            (
                "services::shell.run([\"-c\", \"echo hi; exit 3\"])",
                "exit code 3",
            ),
            ("services::shell.run([\"-c\", \"printf hi\"]).output", "hi"),
            ("services::shell.run([\"-c\", \"kill -9 $$\"]).signal", "9"),
            (
                "services::shell.run([\"-c\", \"kill -9 $$\"]).has_code",
                "false",
            ),
            (
                "services::shell.run([\"-c\", \"kill -9 $$\"]) == 0",
                "false",
            ),
            (
                "services::shell.run([\"-c\", \"echo oh no >&2; exit 1\"]).has_signal",
                "false",
            ),
            ("services::nothing.run() == 0", FAILED),
            ("services::test.run([#{}])", FAILED),
        ],
    );
    daemon.wait_for_log(&["the command failed", "oh no"]);
    daemon.wait_for_log(&["filter.vsl:", "\"/nowhere/to/be/found\" cannot be reached"]);
}

fn cmd_too_long() {
    let configuration = Configuration::new();
    let services = "export const sleep = cmd::build(#{ command: \"sleep\", timeout: \"300ms\" });";
    configuration.file("services/all.vsl", services);
    let cases = [("services::sleep.run([1000])", FAILED), ("1 + 1", "2")];
    let daemon = expect(configuration, SERVICES, &cases);
    daemon.wait_for_log(&["the command \"sleep\" gave no answer within 300ms"]);
}

fn csv() {
    let configuration = Configuration::new();
    configuration.file(
        "lists/users.csv",
        "john@example.com,5,\"a, b\"\njane@example.com,7\n",
    );
    configuration.file("lists/other.csv", "a;b,c\n");
    configuration.file(
        "services/all.vsl",
        r#"
        export const users = csv::connect(#{ connector: "lists/users.csv" });
        export const other = csv::connect(#{ connector: "lists/other.csv", delimiter: ';', access: "O_RDONLY", refresh: "no" });
        export const seen = csv::connect(#{ connector: "seen.csv", access: "O_RDWR", refresh: "always" });
        "#,
    );
    let daemon = expect(
        configuration,
        SERVICES,
        &[
            ("services::users.get(\"john@example.com\")[2]", "a, b"),
            (
                "services::users.get(address(\"jane@example.com\")).len()",
                "2",
            ),
            ("services::users.get(\"nobody\")", "[]"),
            ("services::other.get(\"a\")[1]", "b,c"),
            ("services::users.set([\"x\"])", FAILED),
            ("services::seen.get(\"192.0.2.1\").is_empty()", "true"),
            ("services::seen.set([ip4(\"192.0.2.1\"), 1, \"x,y\"])", ""),
            ("services::seen.get(\"192.0.2.1\")[2]", "x,y"),
            ("services::seen.rm(\"192.0.2.1\")", "true"),
            ("services::seen.rm(\"192.0.2.1\")", "false"),
            ("services::seen.set([])", FAILED),
            ("services::seen.set([\"last\"])", ""),
        ],
    );
    let seen = daemon.configuration().state().join("app/seen.csv");
    assert_eq!(fs::read_to_string(seen).unwrap(), "last\n");
    daemon.wait_for_log(&["lists/users.csv refuses: it is open for reading only"]);
}

fn csv_reload() {
    let configuration = Configuration::new();
    configuration.file("lists/users.csv", "john,1\n");
    let services = "export const users = csv::connect(#{ connector: \"lists/users.csv\" });";
    configuration.file("services/all.vsl", services);
    let mut oracle = Oracle::start(
        configuration,
        SERVICES,
        &["services::users.get(\"john\")[1]"],
    );
    assert_eq!(oracle.ask(0), "1");
    oracle
        .daemon
        .configuration()
        .file("lists/users.csv", "john,2\n");
    assert_eq!(oracle.ask(0), "1");
    oracle.daemon.hang_up();
    oracle.daemon.wait_for_log(&["reloaded: sessions"]);
    let mut client = Client::hello(oracle.daemon.smtp());
    client
        .command("MAIL FROM:<0@example.net>")
        .expect("550 5.7.1 2");
}

fn sqlite() {
    let configuration = Configuration::new();
    configuration.file("text.db", &"this is no database ".repeat(100));
    let text = configuration.root().join("text.db");
    configuration.file(
        "services/all.vsl",
        &format!(
            r#"
        export const db = sqlite::connect(#{{
            path: "test.db",
            schema: "CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, v)",
            timeout: "60s",
            connections: 2,
        }});
        export const text = sqlite::connect(#{{ path: {text:?} }});
        export const MANY = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n LIMIT ?";
        "#
        ),
    );
    let daemon = expect(
        configuration,
        SERVICES,
        &[
            ("services::db.query(\"SELECT * FROM t\")", "[]"),
            (
                "services::db.query(\"INSERT INTO t VALUES (?, ?)\", [\"a'b\", 1])",
                "[]",
            ),
            (
                "services::db.query(\"SELECT v FROM t WHERE k = ?\", [\"a'b\"])[0].v + 1",
                "2",
            ),
            (
                "services::db.query(\"INSERT INTO t VALUES (?, ?)\", [\"a'b\", 1])",
                FAILED,
            ),
            (
                "services::db.query(\"SELECT ? AS x\", [ctx::mail_from()])[0].x",
                "4@example.net",
            ),
            ("services::db.query(\"SELECT 1.5 AS x\")[0].x", "1.5"),
            (
                "services::db.query(\"SELECT NULL AS x\")[0].x == ()",
                "true",
            ),
            (
                "services::db.query(\"SELECT ? AS x\", [()])[0].x == ()",
                "true",
            ),
            (
                "services::db.query(\"SELECT x'00ff' AS x\")[0].x.len()",
                "2",
            ),
            (
                "services::db.query(\"SELECT typeof(?) AS x\", [blob(2, 0)])[0].x",
                "blob",
            ),
            ("services::db.query(services::MANY, [100]).len()", "100"),
            (
                "services::db.query(services::MANY, [100_000]).len()",
                FAILED,
            ),
            ("services::db.query(\"SELECT ?\", [[]])", FAILED),
            ("services::db.query(\"DELETE FROM t\")", "[]"),
            ("services::text.query(\"SELECT 1\")", FAILED),
            // However it is put together.
            (
                "{ let sql = \"SELECT \"; sql += ctx::mail_from().local_part; services::db.query(sql) }",
                FAILED,
            ),
            ("Fn(\"query\").call(services::db, \"SELECT \" + 16)", FAILED),
            (
                "{ let sql = \"SELECT 17 AS x\"; services::db.query(sql)[0].x }",
                "17",
            ),
        ],
    );
    assert!(daemon.configuration().state().join("app/test.db").exists());
    daemon.wait_for_log(&["test.db refuses: UNIQUE constraint failed"]);
    daemon.wait_for_log(&["answers with more than", "LIMIT the rows"]);
    daemon.wait_for_log(&["text.db cannot be reached"]);
    daemon.wait_for_log(&["put together, not written out: \"SELECT 15\""]);
    daemon.wait_for_log(&["put together, not written out: \"SELECT 16\""]);
}

/// Each client is turned away once, and let in from then on.
fn greylist() {
    const SESSIONS: usize = 24;
    let configuration = Configuration::new().domain("example.com", |domain| domain);
    configuration.file(
        "services/all.vsl",
        r#"
        export const db = sqlite::connect(#{
            path: "greylist.db",
            schema: "CREATE TABLE IF NOT EXISTS seen (sender TEXT PRIMARY KEY, times INTEGER)",
            timeout: "60s",
        });
        "#,
    );
    let filter = format!(
        r#"{SERVICES}
        #{{
          mail: [
            rule "greylist" || {{
              let seen = services::db.query(
                "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times",
                [ctx::mail_from()],
              );
              if seen[0].times > 1 {{ state::next() }} else {{ state::deny(code::c451_7_1) }}
            }}
          ]
        }}"#
    );
    let mut daemon = Daemon::start(configuration.filter(&filter));
    let address = daemon.smtp();
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|number| {
            thread::spawn(move || {
                let mut client = Client::hello(address);
                let mail = format!("MAIL FROM:<{number}@example.net>");
                client.command(&mail).expect("451 4.7.1");
                client.command(&mail).expect("250");
                client.quit();
            })
        })
        .collect();
    for session in sessions {
        session.join().unwrap();
    }
}

#[cfg(not(feature = "postgresql"))]
fn not_built_in() {
    let filter =
        "const db = postgresql::connect(#{ url: \"postgresql://localhost/mail\" });\n#{}\n";
    let configuration = Configuration::new().filter(filter);
    let exit = Start::new(configuration).exit();
    assert_eq!(exit.status.code(), Some(78));
    let expected = "filter.vsl:1:24: this vsmtp is built without postgresql: build it with \
                    `cargo build --release --features postgresql`";
    assert!(exit.log.contains(expected), "{}", exit.log);
}

/// A hundred sessions whose rules wait for a command, two worker threads, and one session that wants nothing of it.
fn a_hundred() {
    const SESSIONS: usize = 100;
    const O_NONBLOCK: i32 = nix::libc::O_NONBLOCK;
    let configuration = Configuration::new()
        .set("server.system.thread_pool", "2")
        .domain("example.com", |domain| domain);
    let gate = configuration.scratch().join("gate");
    mkfifo(&gate, Mode::all()).unwrap();
    fs::set_permissions(&gate, PermissionsExt::from_mode(0o666)).unwrap();
    configuration.file(
        "services/all.vsl",
        &format!("export const gate = cmd::build(#{{ command: \"cat\", args: [{gate:?}], timeout: \"3m\" }});"),
    );
    let filter = format!(
        "{SERVICES}
        #{{
          mail: [
            rule \"wait\" || if ctx::mail_from().local_part == \"patient\" {{
              log(\"info\", \"waits at the gate\");
              if services::gate.run() == 0 {{ state::next() }} else {{ state::deny() }}
            }}
          ]
        }}"
    );
    let mut daemon = Start::new(configuration.filter(&filter)).ready();
    let mut patient: Vec<Client> = (0..SESSIONS)
        .map(|_| Client::hello(daemon.smtp()))
        .collect();
    for client in &mut patient {
        client.send(b"MAIL FROM:<patient@example.net>\r\n");
    }
    wait_for("all of them to wait", || {
        let waiting = daemon.log().matches("waits at the gate").count();
        (waiting == SESSIONS).then_some(())
    });
    let mut client = Client::hello(daemon.smtp());
    let content = b"Subject: hi\r\n\r\nhello\r\n";
    client
        .deliver("jane@example.net", "john@example.com", content)
        .expect("250");
    daemon.maildir("example.com", "john").wait(1);
    // Whoever opens it for writing lets all pass that stand before it; some may only now arrive.
    let replies = thread::spawn(move || {
        for client in &mut patient {
            client.reply().expect("250");
        }
    });
    wait_for("all of them to pass", || {
        let mut opened = fs::OpenOptions::new();
        let _ = opened.write(true).custom_flags(O_NONBLOCK).open(&gate);
        replies.is_finished().then_some(())
    });
    replies.join().unwrap();
}
