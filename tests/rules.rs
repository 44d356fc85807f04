//! Rule files: what is wrong with them is told when they are loaded, and what is right with them decides.

use libtest_mimic::{Failed, Trial};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vsmtp::mail::{
    Address, Connection, Domain, Domains, Envelope, Helo, Mailboxes, MessageId, Recipient,
    ReversePath, Service, TlsSession, Transaction, Transport,
};
use vsmtp::rules::{Options, Policy, Rules, Stage, Verdict};
use vsmtp::script::Limits;

pub fn trials() -> Vec<Trial> {
    errors().chain(behaviours()).collect()
}

/// Each file of `tests/rules/errors` ends with the diagnostics that it must cause, `// ` before each.
fn errors() -> impl Iterator<Item = Trial> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules/errors");
    let mut files: Vec<PathBuf> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "vsl"))
        .collect();
    files.sort();
    files.into_iter().map(move |file| {
        let root = root.clone();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        Trial::test(format!("rules::errors::{name}"), move || {
            let expected: Vec<String> = fs::read_to_string(&file)?
                .lines()
                .filter_map(|line| line.strip_prefix("// "))
                .map(str::to_owned)
                .collect();
            let options = Options {
                root: root.clone(),
                filter: file,
                domains: Vec::new(),
                app: PathBuf::new(),
                log: None,
                saslauthd: PathBuf::new(),
                dns: Default::default(),
                identity: ("vsmtp".to_owned(), "vsmtp".to_owned()),
                listed: None,
                limits: Limits::default(),
            };
            let found: Vec<String> = Rules::load(&options, Arc::new(Domains::default()))
                .err()
                .unwrap_or_default()
                .iter()
                .map(|error| {
                    error
                        .to_string()
                        .replace(&format!("{}/", root.display()), "")
                })
                .collect();
            same(&found, &expected)
        })
    })
}

fn same(found: &[String], expected: &[String]) -> Result<(), Failed> {
    if found == expected && !found.is_empty() {
        return Ok(());
    }
    Err(format!(
        "found\n{}\nexpected\n{}",
        found.join("\n"),
        expected.join("\n")
    )
    .into())
}

/// Rules in a folder of their own, and one session that meets them.
struct World {
    folder: tempfile::TempDir,
    policy: Policy,
    transaction: Transaction,
}

const RECIPIENT: &str = "john@example.com";

impl World {
    /// `files` by path below the configuration root. `example.com`, which has but one mailbox, and `example.org` are ours.
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let names = ["example.com", "example.org"];
        let options = Options {
            root: folder.path().to_owned(),
            filter: folder.path().join("filter.vsl"),
            domains: names
                .map(|name| {
                    (
                        name.to_owned(),
                        folder.path().join("domain-enabled").join(name),
                    )
                })
                .into(),
            app: folder.path().join("app"),
            log: Some(folder.path().join("app.log")),
            saslauthd: folder.path().join("mux"),
            dns: Default::default(),
            identity: ("vsmtp".to_owned(), "vsmtp".to_owned()),
            listed: None,
            limits: Limits::default(),
        };
        let domains = Domains::new(names.map(|name| Domain {
            name: name.to_owned(),
            mailboxes: match name {
                "example.com" => Mailboxes::Named(["john".to_owned()].into()),
                _ => Mailboxes::All,
            },
            aliases: [("away".to_owned(), vec![address("john@example.net")])].into(),
            transport: Transport::Maildir,
        }));
        let rules = Rules::load(&options, Arc::new(domains)).unwrap_or_else(|errors| {
            panic!(
                "{files:?}: {}",
                errors
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("\n")
            )
        });
        Self {
            folder,
            policy: Policy::new(rules),
            transaction: Transaction::new(Connection {
                client: "192.168.1.7:49152".parse().unwrap(),
                server: "192.168.1.1:25".parse().unwrap(),
                service: Service::Relay,
                opened: "2026-08-01T12:34:56Z".parse().unwrap(),
                server_name: "mx.example.com".into(),
                tls: None,
                authenticated: None,
                helo: None,
            }),
        }
    }

    fn filter(text: &str) -> Self {
        Self::new(&[("filter.vsl", text)])
    }

    fn connect(&mut self) -> String {
        self.run(Stage::Connect)
    }

    fn helo(&mut self) -> String {
        self.transaction.connection.helo = Some(Helo {
            name: "client.example.net".to_owned(),
            extended: true,
        });
        self.run(Stage::Helo)
    }

    fn mail(&mut self, from: &str) -> String {
        self.transaction.id = Some(MessageId(7));
        self.transaction.started = Some("2026-08-01T12:35:00Z".parse().unwrap());
        self.transaction.envelope = Some(Envelope {
            reverse_path: ReversePath((!from.is_empty()).then(|| address(from))),
            ..Envelope::default()
        });
        self.run(Stage::Mail)
    }

    /// A recipient that is refused goes, as the session lets it go.
    fn rcpt(&mut self, to: &str) -> String {
        let envelope = self.transaction.envelope.as_mut().unwrap();
        envelope.recipients.push(Recipient::from(address(to)));
        let answer = self.run(Stage::Rcpt);
        if answer != "go on" && !answer.starts_with('2') {
            let last = self.transaction.envelope.as_mut().unwrap().recipients.pop();
            assert_eq!(last.map(|recipient| recipient.address), Some(address(to)));
        }
        answer
    }

    fn preq(&mut self) -> String {
        self.run(Stage::Preq)
    }

    fn starttls(&mut self) {
        self.transaction.reset();
        self.transaction.connection.helo = None;
        self.transaction.connection.tls = Some(TlsSession {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            sni: Some("mail.example.com".to_owned()),
        });
    }

    fn reset(&mut self) {
        self.transaction.reset();
        self.policy.reset();
    }

    fn run(&mut self, stage: Stage) -> String {
        match self.policy.run(stage, &mut self.transaction) {
            Verdict::Proceed(None) => "go on".to_owned(),
            Verdict::Proceed(Some(reply)) | Verdict::Refuse(reply) => reply.to_string(),
        }
    }

    /// Each recipient, with its quarantine where it is in one.
    fn recipients(&self) -> Vec<String> {
        let envelope = self.transaction.envelope.as_ref().unwrap();
        envelope
            .recipients
            .iter()
            .map(|recipient| match &recipient.quarantine {
                Some(quarantine) => format!("{} in {quarantine}", recipient.address),
                None => recipient.address.to_string(),
            })
            .collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("app.log")).unwrap()
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// What a connection and a transaction from elsewhere to a mailbox of ours are answered, stage by stage.
fn stages(rules: &str) -> [String; 5] {
    let mut world = World::filter(rules);
    [
        world.connect(),
        world.helo(),
        world.mail("jane@example.net"),
        world.rcpt(RECIPIENT),
        world.preq(),
    ]
}

const RELAY: &str = "554 5.7.1 Relay access denied";
const AUTHENTICATE: &str = "530 5.7.0 Authentication required";
const UNKNOWN: &str = "550 5.1.1 No such mailbox";
const FAILED: &str = "451 4.3.0 Local error in processing";

fn behaviours() -> Vec<Trial> {
    let tests: [(&str, fn()); 24] = [
        ("no_filter_refuses_everything", no_filter_refuses_everything),
        (
            "an_empty_filter_leaves_it_to_the_guard",
            an_empty_filter_leaves_it_to_the_guard,
        ),
        ("the_page_s_rule_asks_for_tls", the_page_s_rule_asks_for_tls),
        ("deny_refuses_one_command", deny_refuses_one_command),
        ("accept_ends_a_stage", accept_ends_a_stage),
        (
            "accept_authorises_what_its_stage_is_about",
            accept_authorises_what_its_stage_is_about,
        ),
        (
            "faccept_at_connect_trusts_the_client",
            faccept_at_connect_trusts_the_client,
        ),
        (
            "faccept_at_helo_lasts_until_starttls",
            faccept_at_helo_lasts_until_starttls,
        ),
        (
            "faccept_lasts_for_the_transaction",
            faccept_lasts_for_the_transaction,
        ),
        ("quarantine_marks_recipients", quarantine_marks_recipients),
        (
            "files_are_chosen_by_sender_and_recipient",
            files_are_chosen_by_sender_and_recipient,
        ),
        (
            "preq_runs_once_for_each_group",
            preq_runs_once_for_each_group,
        ),
        ("envelopes_can_be_edited", envelopes_can_be_edited),
        (
            "a_refused_recipient_leaves_no_edit",
            a_refused_recipient_leaves_no_edit,
        ),
        (
            "a_rewritten_recipient_opens_no_relay",
            a_rewritten_recipient_opens_no_relay,
        ),
        ("bodies_see_their_file", bodies_see_their_file),
        ("runs_share_nothing", runs_share_nothing),
        (
            "context_is_what_the_session_says",
            context_is_what_the_session_says,
        ),
        ("early_questions_fail", early_questions_fail),
        ("objects_and_strings_compare", objects_and_strings_compare),
        ("codes_become_replies", codes_become_replies),
        ("failures_answer_451", failures_answer_451),
        ("endless_rules_end", endless_rules_end),
        ("small_namespaces", small_namespaces),
    ];
    tests
        .into_iter()
        .map(|(name, test)| {
            Trial::test(format!("rules::{name}"), move || {
                test();
                Ok(())
            })
        })
        .collect()
}

fn no_filter_refuses_everything() {
    let mut world = World::new(&[]);
    assert_eq!(world.connect(), "554 5.7.1 Access denied");
    assert_eq!(world.mail(""), "554 5.7.1 Access denied");
}

fn an_empty_filter_leaves_it_to_the_guard() {
    for text in ["", "// nothing\n", "#{}", "#{ rcpt: [] }"] {
        let mut world = World::filter(text);
        assert_eq!(world.connect(), "go on");
        assert_eq!(world.helo(), "go on");
        assert_eq!(world.mail("john@example.com"), AUTHENTICATE);
        assert_eq!(world.mail("john@sub.example.com"), AUTHENTICATE);
        assert_eq!(world.mail("jane@example.net"), "go on");
        assert_eq!(world.rcpt("john@example.com"), "go on");
        assert_eq!(world.rcpt("POSTMASTER@Example.com"), "go on");
        assert_eq!(world.rcpt("away@example.com"), "go on");
        assert_eq!(world.rcpt("gone@example.com"), UNKNOWN);
        assert_eq!(world.rcpt("john@example.net"), RELAY);
        assert_eq!(world.preq(), "go on");
        assert_eq!(world.mail(""), "go on");
        assert_eq!(world.rcpt("john@example.net"), RELAY);
    }
}

fn the_page_s_rule_asks_for_tls() {
    let mut world = World::filter(
        r#"#{
  mail: [
    rule "deny unencrypted" || {
      // It is possible to customize the policy to whitelist some ip for example.
      if ctx::is_secured() {
        state::next()
      } else {
        state::deny(code(451, "5.7.3", "Must issue a STARTTLS command first\r\n"))
      }
    }
  ]
}"#,
    );
    assert_eq!(world.connect(), "go on");
    assert_eq!(world.helo(), "go on");
    for from in ["jane@example.net", "", "john@example.com"] {
        assert_eq!(
            world.mail(from),
            "451 5.7.3 Must issue a STARTTLS command first"
        );
    }
    world.starttls();
    assert_eq!(world.helo(), "go on");
    assert_eq!(world.mail("jane@example.net"), "go on");
    assert_eq!(world.mail("john@example.com"), AUTHENTICATE);
}

fn deny_refuses_one_command() {
    for (stage, place) in [("connect", 0), ("helo", 1), ("mail", 2)] {
        let answers = stages(&format!(
            r#"#{{ {stage}: [ rule "a" || state::deny("421 4.7.0 go"), rule "b" || throw "not reached" ] }}"#
        ));
        for (index, answer) in answers.iter().enumerate() {
            assert_eq!(
                answer == "421 4.7.0 go",
                index == place,
                "{stage}: {answers:?}"
            );
        }
    }
    let default = stages(r#"#{ mail: [ rule "a" || state::deny() ] }"#);
    assert_eq!(default[2], "554 5.7.1 Refused by policy");
}

fn accept_ends_a_stage() {
    let answers = stages(
        r#"#{
            connect: [ rule "a" || state::accept(), rule "b" || state::deny() ],
            helo: [ rule "c" || state::accept("250 2.0.0 welcome"), rule "d" || state::deny() ],
            mail: [ rule "e" || state::next(), rule "f" || state::deny("550 5.7.1 f") ],
        }"#,
    );
    assert_eq!(answers[..3], ["go on", "250 2.0.0 welcome", "550 5.7.1 f"]);
    // What ends the mail stage of filter.vsl ends it for the domain too.
    let mut world = World::new(&[
        (
            "filter.vsl",
            r#"#{ mail: [ rule "a" || state::accept() ] }"#,
        ),
        (
            "domain-enabled/example.com/outgoing.vsl",
            r#"#{ mail: [ rule "b" || state::deny() ] }"#,
        ),
    ]);
    assert_eq!(world.mail("john@example.com"), "go on");
}

fn accept_authorises_what_its_stage_is_about() {
    for state in ["accept", "faccept"] {
        let mut world = World::new(&[
            (
                "filter.vsl",
                &format!(
                    r#"#{{
                        mail: [ rule "ours" || if ctx::mail_from() == "john@example.com" {{ state::{state}() }} ],
                        rcpt: [ rule "friend" || if ctx::rcpt() == "friend@example.net" {{ state::{state}() }} ],
                    }}"#
                ),
            ),
            (
                "domain-enabled/example.com/outgoing.vsl",
                r#"#{ rcpt: [ rule "partner" || if ctx::rcpt().domain == "example.net" { state::accept() } ] }"#,
            ),
            (
                "domain-enabled/example.com/incoming.vsl",
                &format!(r#"#{{ rcpt: [ rule "all" || state::{state}() ] }}"#),
            ),
        ]);
        assert_eq!(world.mail("john@example.com"), "go on");
        let partner = world.rcpt("any@example.net");
        assert_eq!(partner == "go on", state == "accept", "{partner}");
        assert_eq!(world.rcpt("any@example.edu"), RELAY);
        assert_eq!(world.mail("jane@example.com"), AUTHENTICATE);
        assert_eq!(world.mail("jane@example.net"), "go on");
        assert_eq!(world.rcpt("foe@example.net"), RELAY);
        assert_eq!(world.rcpt("gone@example.com"), UNKNOWN);
        world.mail("jane@example.net");
        assert_eq!(world.rcpt("friend@example.net"), "go on");
        assert_eq!(world.rcpt("foe@example.net"), RELAY);
    }
    // A whitelist of senders, which anybody can forge, opens no relay.
    let mut world = World::filter(r#"#{ mail: [ rule "all" || state::faccept() ] }"#);
    assert_eq!(world.mail("jane@example.net"), "go on");
    assert_eq!(world.rcpt("foe@example.net"), RELAY);
}

fn faccept_at_connect_trusts_the_client() {
    let rules = r#"#{
        connect: [ rule "lan" || if ctx::client_ip() in net::rg_192() { state::faccept() } ],
        helo: [ rule "a" || state::deny() ],
        mail: [ rule "b" || state::deny() ],
        rcpt: [ rule "c" || state::deny() ],
        preq: [ rule "d" || state::deny() ],
    }"#;
    let mut world = World::filter(rules);
    assert_eq!(world.connect(), "go on");
    for _ in 0..2 {
        assert_eq!(world.helo(), "go on");
        assert_eq!(world.mail("john@example.com"), "go on");
        assert_eq!(world.rcpt("jane@example.net"), "go on");
        assert_eq!(world.rcpt("gone@example.com"), UNKNOWN);
        assert_eq!(world.preq(), "go on");
        world.reset();
        world.starttls();
    }
    let mut world = World::filter(rules);
    world.transaction.connection.client = "203.0.113.9:1024".parse().unwrap();
    assert_eq!(world.connect(), "go on");
    assert_eq!(world.helo(), "554 5.7.1 Refused by policy");
}

fn faccept_at_helo_lasts_until_starttls() {
    let mut world = World::filter(
        r#"#{
            helo: [ rule "a" || if ctx::is_secured() { state::next() } else { state::faccept() } ],
            mail: [ rule "b" || state::deny() ],
        }"#,
    );
    assert_eq!(world.connect(), "go on");
    assert_eq!(
        world.mail("jane@example.net"),
        "554 5.7.1 Refused by policy"
    );
    assert_eq!(world.helo(), "go on");
    assert_eq!(world.mail("jane@example.net"), "go on");
    // The name that a client gives itself opens no relay.
    assert_eq!(world.rcpt("jane@example.net"), RELAY);
    world.reset();
    assert_eq!(world.mail("john@example.com"), AUTHENTICATE);
    world.starttls();
    assert_eq!(world.helo(), "go on");
    assert_eq!(
        world.mail("jane@example.net"),
        "554 5.7.1 Refused by policy"
    );
}

fn faccept_lasts_for_the_transaction() {
    for stage in ["mail", "rcpt"] {
        let mut world = World::new(&[
            (
                "filter.vsl",
                &format!(
                    r#"#{{ mail: [ rule "a" || {} ] }}"#,
                    match stage {
                        "mail" => "if ctx::mail_from() == \"\" { state::faccept() }",
                        _ => "state::next()",
                    }
                ),
            ),
            (
                "domain-enabled/example.com/incoming.vsl",
                r#"#{
                    rcpt: [ rule "b" || if ctx::mail_from() == "" { state::faccept("250 2.1.5 sure") } ],
                    preq: [ rule "c" || state::deny() ],
                }"#,
            ),
        ]);
        assert_eq!(world.mail(""), "go on");
        let answer = if stage == "mail" {
            "go on"
        } else {
            "250 2.1.5 sure"
        };
        assert_eq!(world.rcpt(RECIPIENT), answer);
        assert_eq!(world.preq(), "go on");
        world.reset();
        assert_eq!(world.mail("jane@example.net"), "go on");
        assert_eq!(world.rcpt(RECIPIENT), "go on");
        assert_eq!(world.preq(), "554 5.7.1 Refused by policy");
    }
}

fn quarantine_marks_recipients() {
    let incoming = r#"#{
        rcpt: [ rule "a" || if ctx::rcpt().local_part == "bad" { state::quarantine("spam") } ],
        preq: [ rule "b" || state::quarantine("late") ],
    }"#;
    let mut world = World::new(&[
        (
            "filter.vsl",
            r#"#{ mail: [ rule "q" || if ctx::mail_from() == "" { state::quarantine("null") } ] }"#,
        ),
        ("domain-enabled/example.org/incoming.vsl", incoming),
        (
            "domain-enabled/example.com/incoming.vsl",
            r#"#{ preq: [ action "x" || () ] }"#,
        ),
    ]);
    world.mail("");
    assert_eq!(world.rcpt("a@example.org"), "go on");
    assert_eq!(world.rcpt(RECIPIENT), "go on");
    assert_eq!(world.rcpt("foe@example.net"), RELAY);
    assert_eq!(world.preq(), "go on");
    assert_eq!(
        world.recipients(),
        ["a@example.org in null", "john@example.com in null"]
    );
    world.reset();
    world.mail("jane@example.net");
    for to in [
        "a@example.org",
        RECIPIENT,
        "bad@example.org",
        "c@example.org",
    ] {
        assert_eq!(world.rcpt(to), "go on");
    }
    assert_eq!(world.preq(), "go on");
    assert_eq!(
        world.recipients(),
        [
            "a@example.org in spam",
            "bad@example.org in spam",
            "c@example.org in spam",
            "john@example.com"
        ]
    );
    world.reset();
    world.mail("jane@example.net");
    world.rcpt("a@example.org");
    world.rcpt(RECIPIENT);
    world.preq();
    assert_eq!(
        world.recipients(),
        ["a@example.org in late", "john@example.com"]
    );
}

fn files_are_chosen_by_sender_and_recipient() {
    let note = |name: &str| {
        format!(
            r#"#{{
                mail: [ rule "m" || {{ log("info", "{name}:mail"); if ctx::mail_from().domain == "" {{ state::next() }} else {{ state::accept() }} }} ],
                rcpt: [ rule "r" || {{ log("info", "{name}:rcpt"); state::accept() }} ],
            }}"#
        )
    };
    let filter = r#"#{
        mail: [ action "m" || log("info", "filter:mail") ],
        rcpt: [ rule "r" || { log("info", "filter:rcpt"); state::accept() } ],
    }"#;
    let mut files = vec![("filter.vsl".to_owned(), filter.to_owned())];
    for domain in ["example.com", "example.org"] {
        for file in ["incoming", "outgoing", "internal"] {
            files.push((
                format!("domain-enabled/{domain}/{file}.vsl"),
                note(&format!("{domain}/{file}")),
            ));
        }
    }
    let files: Vec<_> = files
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    for (from, to, expected) in [
        (
            "jane@example.net",
            RECIPIENT,
            "filter:mail example.com/incoming:rcpt",
        ),
        ("", RECIPIENT, "filter:mail example.com/incoming:rcpt"),
        (
            "",
            "john@sub.example.com",
            "filter:mail example.com/incoming:rcpt",
        ),
        (
            "jane@example.net",
            "any@example.edu",
            "filter:mail filter:rcpt",
        ),
        (
            "john@example.com",
            RECIPIENT,
            "filter:mail example.com/outgoing:mail example.com/internal:rcpt",
        ),
        (
            "john@a.b.EXAMPLE.com",
            RECIPIENT,
            "filter:mail example.com/outgoing:mail example.com/internal:rcpt",
        ),
        (
            "john@example.com",
            "any@example.edu",
            "filter:mail example.com/outgoing:mail example.com/outgoing:rcpt",
        ),
        (
            "john@example.com",
            "any@example.org",
            "filter:mail example.com/outgoing:mail example.com/outgoing:rcpt",
        ),
        (
            "any@example.org",
            RECIPIENT,
            "filter:mail example.org/outgoing:mail example.org/outgoing:rcpt",
        ),
    ] {
        let mut world = World::new(&files);
        assert_eq!(world.mail(from), "go on");
        assert_eq!(world.rcpt(to), "go on");
        let log = world.log();
        let words: Vec<_> = log
            .lines()
            .filter_map(|line| line.split(' ').nth(2))
            .collect();
        assert_eq!(words.join(" "), expected, "{from} {to}");
    }
}

fn preq_runs_once_for_each_group() {
    let files = [
        (
            "filter.vsl",
            r#"#{ rcpt: [ rule "r" || state::accept() ], preq: [ action "p" || log("info", `filter ${ctx::rcpt_list()}`) ] }"#,
        ),
        (
            "domain-enabled/example.com/incoming.vsl",
            r#"#{ preq: [ action "p" || { log("info", `com ${ctx::rcpt_list()}`); envelop::add_rcpt("archive@example.org") } ] }"#,
        ),
        (
            "domain-enabled/example.org/incoming.vsl",
            r#"#{ preq: [
                action "p" || { log("info", `org ${ctx::rcpt_list()}`); envelop::rw_rcpt("b@example.org", "B@example.org") },
                rule "q" || if "evil@example.org" in ctx::rcpt_list() { state::deny("550 5.7.1 evil") },
            ] }"#,
        ),
    ];
    let mut world = World::new(&files);
    world.mail("jane@example.net");
    for to in [
        RECIPIENT,
        "a@example.org",
        "any@example.net",
        "b@example.org",
    ] {
        assert_eq!(world.rcpt(to), "go on");
    }
    assert_eq!(world.preq(), "go on");
    assert_eq!(
        world.recipients(),
        [
            RECIPIENT,
            "archive@example.org",
            "a@example.org",
            "B@example.org",
            "any@example.net"
        ]
    );
    let log = world.log();
    let seen: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once("info "))
        .map(|(_, text)| text)
        .collect();
    assert_eq!(
        seen,
        [
            "com [john@example.com]",
            "org [a@example.org, b@example.org]",
            "filter [any@example.net]"
        ]
    );
    world.reset();
    world.mail("jane@example.net");
    for to in [RECIPIENT, "evil@example.org", "any@example.net"] {
        world.rcpt(to);
    }
    assert_eq!(world.preq(), "550 5.7.1 evil");
}

fn envelopes_can_be_edited() {
    let mut world = World::new(&[
        (
            "filter.vsl",
            r#"#{ mail: [ action "a" || envelop::rw_mail_from("Jane.Doe@example.net") ] }"#,
        ),
        (
            "domain-enabled/example.org/incoming.vsl",
            r#"#{
                rcpt: [
                    action "a" || if ctx::rcpt() == "list@example.org" { envelop::rm_rcpt(ctx::rcpt()); envelop::add_rcpt("one@example.org"); envelop::bcc(address("two@example.org")) },
                    action "b" || envelop::rw_rcpt("old@example.org", address("new@example.org")),
                    rule "c" || if ctx::rcpt_list().len() == 0 { state::accept("250 2.1.5 nobody") },
                ],
                preq: [ action "n" || envelop::rw_mail_from("<>") ],
            }"#,
        ),
    ]);
    assert_eq!(world.mail("jane@example.net"), "go on");
    for to in ["list@example.org", "old@example.org", "list@example.org"] {
        assert_eq!(world.rcpt(to), "go on");
    }
    assert_eq!(
        world.recipients(),
        ["one@example.org", "two@example.org", "new@example.org"]
    );
    let path = |world: &World| {
        world
            .transaction
            .envelope
            .as_ref()
            .unwrap()
            .reverse_path
            .to_string()
    };
    assert_eq!(path(&world), "Jane.Doe@example.net");
    assert_eq!(world.preq(), "go on");
    assert_eq!(path(&world), "");
}

fn a_refused_recipient_leaves_no_edit() {
    let mut world = World::new(&[
        ("filter.vsl", "#{}"),
        (
            "domain-enabled/example.org/incoming.vsl",
            r#"#{ rcpt: [
                action "a" || { envelop::add_rcpt("more@example.org"); envelop::rw_rcpt("first@example.org", "other@example.org") },
                rule "b" || if ctx::rcpt().local_part == "bad" { state::deny() },
            ] }"#,
        ),
    ]);
    world.mail("jane@example.net");
    world.rcpt(RECIPIENT);
    assert_eq!(world.rcpt("bad@example.org"), "554 5.7.1 Refused by policy");
    assert_eq!(world.recipients(), [RECIPIENT]);
}

fn a_rewritten_recipient_opens_no_relay() {
    let lower = r#"#{ rcpt: [ action "lower" || envelop::rw_rcpt(ctx::rcpt(), ctx::rcpt().to_string().to_lower()) ] }"#;
    let mut world = World::new(&[
        ("filter.vsl", lower),
        (
            "domain-enabled/example.org/incoming.vsl",
            r#"#{ rcpt: [ action "forward" || envelop::rw_rcpt(ctx::rcpt(), "jane@example.net") ] }"#,
        ),
    ]);
    world.mail("jane@example.net");
    assert_eq!(world.rcpt("Foe@example.net"), RELAY);
    assert_eq!(world.rcpt("any@example.org"), "go on");
    assert_eq!(world.recipients(), ["jane@example.net"]);
}

fn bodies_see_their_file() {
    let mut world = World::new(&[
        (
            "filter.vsl",
            r#"
                import "objects/net" as net_objects;
                import "services/rules" as services;
                const LIMIT = 3;
                let greeting = "hello";
                let list = ["client.example.net"];
                fn shout(text) { text.to_upper() + global::LIMIT + net_objects::suffix() }
                #{
                    connect: [
                        rule "module function" || if net_objects::is_local(ctx::client_ip()) { state::next() } else { state::deny("550 5.7.1 function") },
                        rule "module constant" || if ctx::client_ip() in net_objects::local { state::next() } else { state::deny("550 5.7.1 constant") },
                        rule "constant" || if LIMIT == 3 { state::next() } else { state::deny("550 5.7.1 LIMIT") },
                        rule "variable" || if greeting == "hello" { state::next() } else { state::deny("550 5.7.1 variable") },
                        rule "function" || if shout("a") == "A3!" { state::next() } else { state::deny("550 5.7.1 " + shout("a")) },
                        rule "closure" || if ["x", "y"].filter(|e| e != greeting).len() == 2 { state::next() } else { state::deny("550 5.7.1 closure") },
                        services::from_module("192.168.1.7"),
                    ],
                    helo: [ rule "list" || if ctx::helo() in list { state::accept("250 2.0.0 " + greeting) } ],
                }
            "#,
        ),
        (
            "objects/net.vsl",
            r#"
                export const local = rg4("192.168.0.0/16");
                const mark = "!";
                fn is_local(ip) { ip in global::local }
                fn suffix() { global::mark }
            "#,
        ),
        (
            "services/rules.vsl",
            r#"
                import "objects/net" as n;
                fn twice(text) { text + text }
                fn from_module(ip) {
                    rule "from a module" || if n::is_local(ip) && ctx::client_ip() == ip && twice("a") == "aa" { state::accept("220 2.0.0 here") }
                }
            "#,
        ),
    ]);
    assert_eq!(world.connect(), "220 2.0.0 here");
    assert_eq!(world.helo(), "250 2.0.0 hello");
}

fn runs_share_nothing() {
    let mut world = World::filter(
        r#"
            let count = 0;
            let seen = [];
            #{ connect: [ rule "a" || { count += 1; seen.push(count); if count == 1 && seen == [1] { state::next() } else { state::deny() } } ] }
        "#,
    );
    for _ in 0..3 {
        assert_eq!(world.connect(), "go on");
    }
}

fn context_is_what_the_session_says() {
    for (stage, expression, expected) in [
        ("connect", "ctx::client_address()", "192.168.1.7:49152"),
        ("connect", "ctx::client_ip()", "192.168.1.7"),
        ("connect", "ctx::client_port()", "49152"),
        ("connect", "ctx::server_address()", "192.168.1.1:25"),
        ("connect", "ctx::server_ip()", "192.168.1.1"),
        ("connect", "ctx::server_port()", "25"),
        (
            "connect",
            "ctx::connection_timestamp()",
            "2026-08-01T12:34:56Z",
        ),
        ("connect", "ctx::server_name()", "mx.example.com"),
        ("connect", "ctx::is_secured()", "false"),
        ("connect", "ctx::is_authenticated()", "false"),
        ("helo", "ctx::helo()", "client.example.net"),
        ("helo", "ctx::tls_version()", ""),
        ("mail", "ctx::mail_from()", "jane@example.net"),
        ("mail", "ctx::mail_from().local_part", "jane"),
        ("mail", "ctx::mail_from().domain", "example.net"),
        ("mail", "ctx::mail_timestamp()", "2026-08-01T12:35:00Z"),
        ("mail", "ctx::message_id()", "0000000000000007"),
        ("rcpt", "ctx::rcpt()", "john@example.com"),
        ("rcpt", "ctx::rcpt_list()", "[john@example.com]"),
        ("preq", "ctx::rcpt()", "john@example.com"),
        ("preq", "ctx::rcpt_list().len()", "1"),
    ] {
        let rules =
            format!(r#"#{{ {stage}: [ action "a" || log("info", `>${{{expression}}}`) ] }}"#);
        let mut world = World::new(&[
            ("filter.vsl", &rules),
            ("domain-enabled/example.com/incoming.vsl", &rules),
        ]);
        world.connect();
        world.helo();
        world.mail("jane@example.net");
        assert_eq!(world.rcpt(RECIPIENT), "go on", "{expression}");
        assert_eq!(world.preq(), "go on", "{expression}");
        let log = world.log();
        let (_, found) = log
            .lines()
            .next()
            .and_then(|line| line.split_once('>'))
            .unwrap_or_default();
        assert_eq!(found, expected, "{expression}");
    }
    let mut world = World::filter(
        r#"#{ helo: [ rule "a" || state::accept(`250 2.0.0 ${ctx::is_secured()} ${ctx::tls_version()} ${ctx::tls_cipher()} ${ctx::tls_sni()}`) ] }"#,
    );
    world.starttls();
    assert_eq!(
        world.helo(),
        "250 2.0.0 true TLSv1.3 TLS_AES_256_GCM_SHA384 mail.example.com"
    );
}

fn early_questions_fail() {
    for (stage, call, place) in [
        ("connect", "ctx::helo()", 0),
        ("connect", "ctx::tls_sni()", 0),
        ("connect", "ctx::mail_from()", 0),
        ("helo", "ctx::message_id()", 1),
        ("mail", "ctx::rcpt()", 2),
        ("mail", "ctx::rcpt_list()", 2),
        ("mail", "envelop::add_rcpt(\"a@example.com\")", 2),
        ("helo", "envelop::rw_mail_from(\"a@example.com\")", 1),
        ("helo", "state::quarantine(\"x\")", 1),
    ] {
        let answers = stages(&format!(
            // Called by the rule itself it would be found when the file is loaded.
            r#"fn ask() {{ {call} }} #{{ {stage}: [ rule "a" || {{ ask(); state::next() }} ] }}"#
        ));
        assert_eq!(answers[place], FAILED, "{stage} {call}");
    }
}

fn objects_and_strings_compare() {
    for (expression, expected) in [
        ("ctx::client_ip() in net::rg_192()", true),
        ("ctx::client_ip() in net::rg_10()", false),
        ("ctx::client_ip() in net::non_routable()", true),
        ("\"203.0.113.9\" in net::non_routable()", false),
        ("\"fe80::1\" in net::non_routable()", true),
        ("ip4(ctx::client_ip()) in rg4(\"192.168.1.0/24\")", true),
        ("ctx::client_ip() in [\"192.168.1.7\", \"10.0.0.1\"]", true),
        ("ctx::client_ip() in [rg4(\"192.168.0.0/16\")]", true),
        (
            "ip4(ctx::client_ip()) in [\"10.0.0.1\", rg4(\"192.168.0.0/16\")]",
            true,
        ),
        (
            "ctx::client_ip() in [rg4(\"10.0.0.0/8\"), rg6(\"::/0\"), \"x\", 3]",
            false,
        ),
        ("!(ctx::client_ip() in net::rg_10())", true),
        ("ctx::client_ip() !in net::rg_10()", true),
        ("ctx::client_ip() == ip4(\"192.168.1.7\")", true),
        ("ip4(\"192.168.1.7\") != ctx::client_ip()", false),
        ("ctx::mail_from() == \"jane@EXAMPLE.net\"", true),
        ("\"jane@EXAMPLE.net\" == ctx::mail_from()", true),
        ("ctx::mail_from() == address(\"jane@Example.NET\")", true),
        ("ctx::mail_from() == \"Jane@example.net\"", false),
        ("ctx::mail_from() != \"\"", true),
        (
            "ctx::mail_from() in [\"bob@example.net\", \"jane@EXAMPLE.NET\"]",
            true,
        ),
        ("ctx::mail_from() in [address(\"jane@EXAMPLE.NET\")]", true),
        ("ctx::mail_from() in fqdn(\"example.net\")", true),
        (
            "ctx::mail_from() in [fqdn(\"example.org\"), fqdn(\"Example.net\")]",
            true,
        ),
        ("ctx::mail_from() in identifier(\"jane\")", true),
        ("ctx::mail_from() in regex(\"^j\")", true),
        ("ctx::mail_from() == regex(\"^x\")", false),
        ("ctx::mail_from().domain == fqdn(\"example.net\")", true),
        ("ctx::mail_from().domain in [\"example.net\"]", true),
        ("\"jane@example.net\".domain == \"example.net\"", true),
        ("`${ctx::mail_from()}` == \"jane@example.net\"", true),
        (
            "\"<\" + ctx::mail_from() + \">\" == \"<jane@example.net>\"",
            true,
        ),
        ("code(550, \"5.7.1\", \"no\") == \"550 5.7.1 no\"", true),
        (
            "code::c554_7_1 == code(554, \"5.7.1\", \"Relay access denied\")",
            true,
        ),
        ("state::next() == state::next()", true),
        ("state::next() != state::accept()", true),
        (
            "state::deny() == state::deny(\"554 5.7.1 Refused by policy\")",
            true,
        ),
        ("ctx::mail_from() == 3", false),
        ("3 in [1, 2, 3]", true),
        ("ctx::client_ip() is \"192.168.1.7\"", true),
        ("ctx::mail_from() is address(\"jane@EXAMPLE.net\")", true),
        ("ctx::mail_from() is not \"jane@example.net\"", false),
        ("ctx::client_ip() not in net::rg_10()", true),
        ("ctx::client_ip() not in [net::rg_192(), \"x\"]", false),
        ("not (ctx::client_ip() in net::rg_10())", true),
        ("not ctx::is_secured() && true", true),
        ("[ip4(\"1.2.3.4\")] == [\"1.2.3.4\"]", true),
    ] {
        let answers = stages(&format!(
            r#"#{{ mail: [ rule "a" || if {expression} {{ state::accept("250 2.0.0 yes") }} else {{ state::accept("250 2.0.0 no") }} ] }}"#
        ));
        let wanted = if expected {
            "250 2.0.0 yes"
        } else {
            "250 2.0.0 no"
        };
        assert_eq!(answers[2], wanted, "{expression}");
    }
}

fn codes_become_replies() {
    for (state, expected) in [
        (
            "state::deny(code(550, \"5.7.1\", \"not you\"))",
            "550 5.7.1 not you",
        ),
        ("state::deny(code(450, \"later\"))", "450 4.7.1 later"),
        ("state::deny(\"550 gone\")", "550 5.7.1 gone"),
        ("state::deny(code(\"550 5.7.2 gone\"))", "550 5.7.2 gone"),
        (
            "state::deny(code(550, \"5.7.1\", \"one\\r\\ntwo\\n\"))",
            "550 5.7.1 one\ntwo",
        ),
        (
            "state::deny(code::c550_7_23)",
            "550 5.7.23 SPF validation failed",
        ),
        (
            "state::accept(code(250, \"2.1.0\", \"fine\"))",
            "250 2.1.0 fine",
        ),
        ("state::accept(\"250 fine\")", "250 2.0.0 fine"),
        ("{ let n = 250; state::deny(code(n, \"fine\")) }", FAILED),
        ("{ let t = \"a\\x00\"; state::deny(code(550, t)) }", FAILED),
        ("{ let t = \"550 5.7.1 a\\rb\"; state::deny(t) }", FAILED),
        ("state::deny(ip4(\"1.2.3.4\"))", FAILED),
    ] {
        let answers = stages(&format!(r#"#{{ mail: [ rule "a" || {state} ] }}"#));
        assert_eq!(answers[2], expected, "{state}");
    }
}

fn failures_answer_451() {
    for body in [
        "throw \"oops\"",
        "[][1]",
        "1 / 0",
        "let x = 9223372036854775807; x + 1",
        "\"no state\"",
        "42",
        "ctx::client_ip().nothing()",
        "let s = \"a\"; s.pad(2000000, 'b')",
        "state::next().x",
        "log(\"loud\", \"x\")",
        "file(\"filter.vsl\", \"regex\")",
        "exit(42)",
        "import \"nothing\" as n; n::f()",
        "let a = [1]; for i in 0..100000 { a = [a] }",
        "let a = [1]; for i in 0..1000 { a = [a] } a == a",
        "let a = [1]; for i in 0..1000 { a = [a] } `${a}`",
        "let a = #{}; for i in 0..200 { a = #{ a: a } } a.to_json()",
        "let a = #{}; for i in 0..100000 { a = #{ a: a } }",
        "parse_json(\"[\")",
    ] {
        let mut world = World::filter(&format!(
            r#"#{{ connect: [ rule "a" || {{ {body} }} ], helo: [ rule "b" || state::accept("250 2.0.0 on") ] }}"#
        ));
        assert_eq!(world.connect(), FAILED, "{body}");
        assert_eq!(world.helo(), "250 2.0.0 on", "{body}");
    }
    let action =
        stages(r#"#{ connect: [ action "a" || state::deny() ], helo: [ action "b" || 42 ] }"#);
    assert_eq!(action[..2], [FAILED, "go on"]);
}

fn endless_rules_end() {
    for body in [
        "loop { }",
        "while true { let a = [1, 2, 3]; a.sort(|x, y| y - x); }",
        "let a = []; a.pad(1000, 1); a.map(|x| { for i in 0..100000 { } x })",
        "fn_endless()",
        "fn_deep([1])",
        "try { loop { } } catch { state::accept() }",
        "for i in 0..9223372036854775807 { }",
        "let s = \"\"; loop { s += \"abc\"; s = s.sub_string(1); }",
    ] {
        let mut world = World::filter(&format!(
            "fn fn_endless() {{ fn_endless() }}\n\
             fn fn_deep(a) {{ for i in 0..1 {{ if true {{ switch 1 {{ 1 => {{ let x = [1 + fn_deep([a])]; }} }} }} }} }}\n#{{ connect: [ rule \"a\" || {{ {body} }} ] }}"
        ));
        let begin = Instant::now();
        assert_eq!(world.connect(), FAILED, "{body}");
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(2), "{body}: {took:?}");
    }
}

fn small_namespaces() {
    for (expression, expected) in [
        (
            "utils::get_root_domain(\"mail.Example.co.uk\")",
            "example.co.uk",
        ),
        (
            "utils::get_root_domain(fqdn(\"a.b.example.com\"))",
            "example.com",
        ),
        ("utils::get_root_domain(\"localhost\")", "localhost"),
        ("utils::env(\"NO_SUCH_VARIABLE\") == ()", "true"),
        ("utils::env(\"A=B\\x00\") == ()", "true"),
        ("unix::user_exist(\"root\")", "true"),
        ("unix::user_exist(\"no such user\")", "false"),
        ("unix::user_exist(\"a\\x00\")", "false"),
        ("unix::hostname().len() > 0", "true"),
        ("time::now().len()", "8"),
        ("time::date().len()", "10"),
        ("time::date().starts_with(\"20\")", "true"),
    ] {
        let answers = stages(&format!(
            r#"#{{ connect: [ rule "a" || state::accept(`220 2.0.0 ${{{expression}}}`) ] }}"#
        ));
        assert_eq!(answers[0], format!("220 2.0.0 {expected}"), "{expression}");
    }
}
