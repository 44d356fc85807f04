//! What rules cost. `cargo bench --bench rules`
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs
)]
use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vsmtp::mail::{
    Address, Connection, Domains, Envelope, Helo, MessageId, Recipient, ReversePath, Service,
    Transaction,
};
use vsmtp::rules::{Options, Policy, Rules, Stage, Verdict};
use vsmtp::script::Limits;

/// How many times a stage runs between two looks at the clock, and how many such batches there are. The median batch
/// counts: whatever else the machine does disturbs a few of them.
const BATCH: u32 = 200;
const BATCHES: usize = 101;

/// Name, rules at `rcpt`, and what the stage may take.
const STAGES: [(&str, &str, Option<Duration>); 4] = [
    ("no rule", "", None),
    (
        "a null rule",
        r#"rule "null" || state::next()"#,
        Some(Duration::from_micros(2)),
    ),
    (
        "five ordinary rules",
        r#"
        rule "ours" || if ctx::client_ip() in networks { state::accept() } else { state::next() },
        rule "names" || if ctx::helo() == "localhost" { state::deny() } else { state::next() },
        rule "senders" || if ctx::mail_from() in blocked { state::deny("550 5.7.1 no") } else { state::next() },
        rule "users" || if ctx::is_secured() && auth::is_authenticated() { state::accept() } else { state::next() },
        rule "postmaster" || if ctx::rcpt().local_part == "postmaster" { state::accept() } else { state::next() },
        "#,
        Some(Duration::from_micros(20)),
    ),
    (
        "a loop of a thousand",
        r#"rule "loop" || { let n = 0; while n < 1000 { n += 1; } state::next() }"#,
        None,
    ),
];

fn main() -> ExitCode {
    println!("{:<24}{:>12}{:>12}", "stage with", "median", "at most");
    let mut missed = false;
    for (name, rules, target) in STAGES {
        let took = measure(rules);
        let most = target.map_or(String::new(), |target| format!("{target:?}"));
        let is_missed = target.is_some_and(|target| took > target);
        let verdict = if is_missed { "  MISSED" } else { "" };
        println!("{name:<24}{:>12}{most:>12}{verdict}", format!("{took:.2?}"));
        missed |= is_missed;
    }
    match missed && !cfg!(debug_assertions) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// The time of one run of the stage, the guard behind the rules included.
fn measure(rules: &str) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let filter = folder.path().join("filter.vsl");
    let text = format!(
        "const networks = [rg4(\"10.0.0.0/8\"), rg4(\"172.16.0.0/12\")];\n\
         const blocked = [address(\"a@example.net\"), fqdn(\"spam.example\")];\n\
         #{{ rcpt: [ {rules} ] }}\n"
    );
    fs::write(&filter, text).unwrap();
    let options = Options {
        root: folder.path().to_owned(),
        filter,
        domains: Vec::new(),
        app: folder.path().join("app"),
        log: None,
        saslauthd: folder.path().join("mux"),
        dns: Default::default(),
        identity: Default::default(),
        listed: None,
        limits: Limits::default(),
    };
    let rules = Rules::load(&options, Arc::new(Domains::default())).unwrap();
    let mut policy = Policy::new(rules);
    let mut transaction = transaction();
    let mut batches: Vec<Duration> = (0..BATCHES)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..BATCH {
                let verdict = policy.run(Stage::Rcpt, black_box(&mut transaction));
                // Not ours, and nobody accepted it: all rules have run.
                assert!(matches!(verdict, Verdict::Refuse(_)));
            }
            start.elapsed() / BATCH
        })
        .collect();
    batches.sort();
    batches[BATCHES / 2]
}

fn transaction() -> Transaction {
    let address = |text| Address::parse(text).unwrap();
    let mut transaction = Transaction::new(Connection {
        client: "192.0.2.1:49152".parse().unwrap(),
        server: "192.0.2.25:25".parse().unwrap(),
        service: Service::Relay,
        opened: "2026-08-01T12:34:56Z".parse().unwrap(),
        server_name: "mx.example.com".into(),
        tls: None,
        authenticated: None,
        helo: Some(Helo {
            name: "client.example.org".to_owned(),
            extended: true,
        }),
    });
    transaction.id = Some(MessageId(1));
    transaction.started = Some("2026-08-01T12:35:00Z".parse().unwrap());
    transaction.envelope = Some(Envelope {
        reverse_path: ReversePath(Some(address("jane@example.org"))),
        recipients: vec![Recipient::from(address("john@example.com"))],
        ..Envelope::default()
    });
    transaction
}
