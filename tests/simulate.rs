//! `vsmtp simulate`: what it tells, and how it judges dialogues.

use crate::support::{Configuration, Output, PROGRAM, run};
use libtest_mimic::Trial;
use std::fs;
use std::process::Command;

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("simulate::{name}"), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("tells_every_stage_rule_and_reply", tells_everything),
        trial("goes_on_in_the_queue", goes_on_in_the_queue),
        trial("what_it_tells_is_a_dialogue", comes_back),
        trial("flags_shape_the_session", flags),
        trial("json_is_one_object_a_line", json),
        trial("the_first_difference_is_told", difference),
        trial("a_dialogue_may_ask_only", only_asks),
        trial("nothing_is_left_behind", nothing_is_left_behind),
        trial("what_is_wrong_is_said", refusals),
    ]
}

const FILTER: &str = r#"#{
  connect: [ action "note" || log("info", `from ${ctx::client_ip()}`) ],
  helo: [ rule "no localhost" || if ctx::helo() == "localhost" { state::deny() } ],
  authenticate: [ rule "users" || auth::unix_users() ],
  mail: [
    rule "sni" || if ctx::tls_sni() == "mx.example.com" { state::accept("250 2.1.0 by name") },
    rule "oops" || if ctx::mail_from() == "oops@example.net" { throw "oops" },
  ],
}
"#;

const INCOMING: &str = r#"#{
  preq: [
    action "copy" || fs::write("copies"),
    action "mark" || msg::set_header("X-Mark", "1"),
    rule "spam" || if msg::get_header("Subject") == "spam" { state::quarantine("spam") },
  ],
}
"#;

fn configuration() -> Configuration {
    let configuration = Configuration::new()
        .set("server.name", "\"mx.example.com\"")
        // Nobody reads these.
        .set(
            "server.tls.root",
            "#{ certificate: \"absent.pem\", private_key: \"absent.key\" }",
        )
        .filter(FILTER)
        .domain("example.com", |domain| {
            domain.rules("incoming.vsl", INCOMING)
        });
    configuration.write();
    configuration
}

fn simulate(configuration: &Configuration, arguments: &[&str]) -> Output {
    run(
        Command::new(PROGRAM)
            .args(["simulate", "--config", "etc"])
            .args(arguments)
            .current_dir(configuration.scratch()),
        "",
    )
}

/// Lines in the order given, each with a `*` where anything may stand.
fn has(said: &str, lines: &[&str]) {
    let mut rest = said.lines();
    for line in lines {
        let (start, end) = line.split_once('*').unwrap_or((line, ""));
        let found = rest.any(|said| said.starts_with(start) && said.ends_with(end));
        assert!(found, "{line} is not, or not there, in\n{said}");
    }
}

fn tells_everything() {
    let configuration = configuration();
    fs::write(
        configuration.scratch().join("spam.eml"),
        "Subject: spam\n\n.buy\n",
    )
    .unwrap();
    let said = simulate(
        &configuration,
        &[
            "--client-ip=2001:db8::1",
            "--from=jane@example.net",
            "--to=john@example.com",
            "--to=john@example.org",
            "--message=spam.eml",
        ],
    );
    has(
        &said.success(),
        &[
            "# connect [2001:db8::1]:49152",
            "#   etc/filter.vsl:2:21: action \"note\": done (* µs)",
            "#   log: info from 2001:db8::1",
            "S: 220 mx.example.com ESMTP",
            "C: EHLO client.example.org",
            "# helo client.example.org",
            "#   etc/filter.vsl:3:16: rule \"no localhost\": next (* µs)",
            "S: 250-STARTTLS",
            "C: MAIL FROM:<jane@example.net>",
            "# mail jane@example.net",
            "#   etc/filter.vsl:6:10: rule \"sni\": next (* µs)",
            "C: RCPT TO:<john@example.com>",
            "# rcpt john@example.com",
            "S: 250 2.1.5 *",
            "C: RCPT TO:<john@example.org>",
            "#   no rule decides, the built-in guard does: 554 5.7.1 Relay access denied",
            "S: 554 5.7.1 Relay access denied",
            "C: DATA",
            "C: ..buy",
            "C: .",
            "# preq * octets",
            "#   etc/domain-enabled/example.com/incoming.vsl:3:12: action \"copy\": done (* µs)",
            "#   etc/domain-enabled/example.com/incoming.vsl:5:10: rule \"spam\": quarantine \"spam\" (* µs)",
            "#   writes copies/0000000000000001.eml below app.dirpath",
            "S: 250 2.0.0 *",
            "# queue 0000000000000001 from <jane@example.net> to <john@example.com>, 34 octets, in quarantine \"spam\"",
            "C: QUIT",
            "S: 221 *",
        ],
    );
}

fn goes_on_in_the_queue() {
    let rules = r#"#{
      preq: [ action "mark" || msg::set_header("X-Mark", "1") ],
      postq: [ action "seen" || log("info", msg::get_header("X-Mark")) ],
      delivery: [ rule "big" || if ctx::rcpt_list().len() > 1 { state::deny("550 5.7.1 one at a time") } ],
    }"#;
    let configuration = configuration().domain("example.com", |domain| {
        let domain = domain.set(
            "aliases",
            r#"#{ all: ["john@example.com", "jenny@example.com"] }"#,
        );
        domain.rules("incoming.vsl", rules)
    });
    for (to, lines) in [
        (
            "john@example.com",
            &[
                "S: 250 2.0.0 *",
                "# queue 0000000000000001 from <jane@example.net> to <john@example.com>, * octets",
                "# postq john@example.com",
                "#   etc/domain-enabled/example.com/incoming.vsl:3:23: action \"seen\": done (* µs)",
                "#   log: info 1",
                "# delivery john@example.com",
                "#   etc/domain-enabled/example.com/incoming.vsl:4:24: rule \"big\": next (* µs)",
                "# deliver 0000000000000001 from <jane@example.net> to <john@example.com>, * octets",
                "C: QUIT",
            ][..],
        ),
        (
            "all@example.com",
            &[
                "# delivery john@example.com, jenny@example.com",
                "#   refused for <john@example.com>: 550 5.7.1 one at a time",
                "#   refused for <jenny@example.com>: 550 5.7.1 one at a time",
                "C: QUIT",
            ],
        ),
    ] {
        let to = format!("--to={to}");
        has(
            &simulate(&configuration, &["--from=jane@example.net", &to]).success(),
            lines,
        );
    }
}

fn comes_back() {
    let configuration = configuration();
    let told = simulate(
        &configuration,
        &[
            "--tls=mx.example.com",
            "--auth=john",
            "--from=<>",
            "--to=john@example.com",
        ],
    );
    let mut told = told.success();
    // What a simulation is told by flags, a dialogue is told by settings.
    told.insert_str(0, "P: user john password\n");
    let file = configuration.scratch().join("told.smtp");
    fs::write(&file, &told).unwrap();
    let again = simulate(&configuration, &["--quiet", "told.smtp"]);
    assert_eq!(again.success(), "ok told.smtp\n1 passed, 0 failed\n");
}

fn flags() {
    let configuration = configuration();
    for (arguments, lines) in [
        (
            &["--helo=localhost"][..],
            &[
                "#   etc/filter.vsl:3:16: rule \"no localhost\": deny 554 5.7.1 *",
                "S: 554 5.7.1 *",
                "C: QUIT",
            ][..],
        ),
        (
            &["--tls=MX.example.com", "--from=jane@example.net"],
            &[
                "S: 220 *",
                "C: STARTTLS",
                "T: starttls MX.example.com",
                "S: 250 2.1.0 by name",
                "C: QUIT",
            ],
        ),
        (
            &[
                "--service=submissions",
                "--tls=mx.example.com",
                "--from=jane@example.net",
            ],
            &[
                "S: 220 *",
                "C: MAIL FROM:<jane@example.net>",
                "S: 250 2.1.0 by name",
            ],
        ),
        (
            &[
                "--tls",
                "--auth=john",
                "--from=john@example.com",
                "--to=jane@example.net",
            ],
            &[
                "# authenticate john",
                "#   etc/filter.vsl:4:24: rule \"users\": accept (* µs)",
                "S: 235 *",
                "S: 250 2.0.0 *",
            ],
        ),
        (
            &["--auth=john", "--from=john@example.com"],
            &["S: 538 *", "C: QUIT"],
        ),
        (
            &["--from=oops@example.net"],
            &[
                "#   etc/filter.vsl:7:10: rule \"oops\": failed: *",
                "S: 451 4.3.0 Local error in processing",
            ],
        ),
    ] {
        has(&simulate(&configuration, arguments).success(), lines);
    }
}

fn json() {
    let configuration = configuration();
    let told = simulate(&configuration, &["--json", "--from=jane@example.net"]).success();
    let events: Vec<serde_json::Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |kind: &'static str| events.iter().filter(move |event| event["event"] == kind);
    assert_eq!(of("stage").count(), 3);
    let note = of("ran").next().unwrap();
    assert_eq!(note["name"], "note");
    assert_eq!(note["file"], "etc/filter.vsl");
    assert_eq!(note["line"], 2);
    assert!(note["microseconds"].is_u64());
    assert!(of("server").any(|event| event["line"] == "220 mx.example.com ESMTP"));
}

const GREETED: &str = "S: 220 *\nC: EHLO client.example.org\nS: 250...\n";

fn difference() {
    let configuration = configuration();
    let folder = configuration.scratch().join("dialogues");
    fs::create_dir(&folder).unwrap();
    for (name, text) in [
        (
            "a.smtp",
            "C: MAIL FROM:<jane@example.net>\nS: 250 2.1.0 *\n",
        ),
        (
            "b.smtp",
            "C: MAIL FROM:<jane@example.net>\nS: 550 *\nC: QUIT\n",
        ),
        ("c.smtp", "C: NOOP\n"),
        ("notes.txt", "no dialogue"),
    ] {
        fs::write(folder.join(name), format!("# {name}\n{GREETED}{text}")).unwrap();
    }
    let judged = simulate(&configuration, &["-q", "dialogues"]);
    assert_eq!(judged.status.code(), Some(1));
    assert_eq!(
        judged.stdout,
        "ok dialogues/a.smtp\n\
         FAILED dialogues/b.smtp:6: expected \"550 *\", got \"250 2.1.0 Sender ok\"\n\
         FAILED dialogues/c.smtp:5: at the end: Ok(Some(\"250 2.0.0 Ok\"))\n\
         1 passed, 2 failed\n"
    );
}

/// A dialogue without a word of the server expects nothing.
fn only_asks() {
    let configuration = configuration();
    let text = "C: EHLO localhost\nC: NOOP\nT: connect\nC: EHLO client.example.org\n";
    fs::write(configuration.scratch().join("asks.smtp"), text).unwrap();
    let told = simulate(&configuration, &["asks.smtp"]).success();
    has(
        &told,
        &[
            "S: 220 *",
            "S: 554 5.7.1 *",
            "C: NOOP",
            "T: connect",
            "S: 220 *",
            "S: 250-mx.example.com",
            "ok asks.smtp",
        ],
    );
}

fn nothing_is_left_behind() {
    let configuration = configuration();
    let log = configuration.scratch().join("rules.log");
    let configuration = configuration.set("app.logs.filename", &format!("{log:?}"));
    configuration.write();
    let wishes = ["--from=jane@example.net", "--to=john@example.com"];
    has(
        &simulate(&configuration, &wishes).success(),
        &["#   log: *", "#   writes *"],
    );
    assert!(!log.exists());
    assert_eq!(fs::read_dir(configuration.state()).unwrap().count(), 0);
}

fn refusals() {
    let good = configuration();
    let bad = configuration().filter("#{ conect: [] }");
    bad.write();
    fs::write(good.scratch().join("bad.smtp"), "S: 220 *\nwhat?\n").unwrap();
    fs::write(good.scratch().join("set.smtp"), "P: clients 3\nS: 220 *\n").unwrap();
    for (configuration, arguments, code, said) in [
        (
            &bad,
            &[][..],
            78,
            "etc/filter.vsl:1:4: unknown stage `conect`",
        ),
        (&good, &["absent.smtp"], 66, "absent.smtp: "),
        (&good, &["--message=absent.eml"], 66, "absent.eml: "),
        (
            &good,
            &["bad.smtp"],
            65,
            "bad.smtp:2: this is no line of a dialogue",
        ),
        (
            &good,
            &["set.smtp"],
            65,
            "set.smtp:1: no setting \"clients\"",
        ),
        (
            &good,
            &["bad.smtp", "--from=a@example.org"],
            2,
            "cannot be used with",
        ),
    ] {
        let output = simulate(configuration, arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(output.stderr.contains(said), "{output:?}");
    }
}
