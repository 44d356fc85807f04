//! Whether sessions that wait in a rule slow those that do not. `cargo bench --bench waiting`
//!
//! A daemon as everyone runs it; a hundred clients whose passwords are being verified, by a back end that takes its time;
//! and one client beside them, whose commands meet five rules each.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    dead_code,
    unused_imports,
    missing_docs
)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use support::{Client, Configuration, Daemon};

/// Clients that wait, and for how long.
const WAITING: usize = 100;
const PATIENCE: Duration = Duration::from_secs(5);

/// Commands of the one that does not.
const COMMANDS: usize = 1000;

const RULES: &str = r#"const networks = [rg4("10.0.0.0/8"), rg4("172.16.0.0/12")];
#{
  authenticate: [ rule "users" || auth::unix_users() ],
  mail: [
    rule "ours" || if ctx::client_ip() in networks { state::accept() } else { state::next() },
    rule "names" || if ctx::helo() == "localhost" { state::deny() } else { state::next() },
    rule "senders" || if ctx::mail_from() in fqdn("spam.example") { state::deny() } else { state::next() },
    rule "users too" || if auth::is_authenticated() { state::accept() } else { state::next() },
    rule "null" || state::next(),
  ],
}
"#;

fn main() {
    let mut configuration = Configuration::new()
        .set("server.logs.level", "\"error\"")
        .set(
            "server.smtp.auth.enable_dangerous_mechanism_in_clair",
            "true",
        )
        .filter(RULES);
    let socket = slow_saslauthd(configuration.scratch());
    configuration = configuration.set("server.smtp.auth.saslauthd", &format!("{socket:?}"));
    let mut daemon = Daemon::start(configuration);
    let address = daemon.smtp();
    // Whatever is done once is done.
    commands(address);
    println!(
        "{:<28}{:>12}{:>12}{:>12}",
        "MAIL FROM and its reply", "median", "99 %", "longest"
    );
    report("alone", commands(address));
    let start = Instant::now();
    let waiting: Vec<_> = (0..WAITING)
        .map(|_| thread::spawn(move || authenticate(address)))
        .collect();
    // Until all have asked.
    thread::sleep(PATIENCE / 5);
    let beside = commands(address);
    let took = start.elapsed();
    assert!(
        took < PATIENCE,
        "measured for {took:?}: some do not wait any more"
    );
    report(&format!("beside {WAITING} that wait"), beside);
    for client in waiting {
        client.join().unwrap();
    }
    println!(
        "{WAITING} verified in {:.1?}, each by {PATIENCE:?} of waiting",
        start.elapsed()
    );
    daemon.stop();
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| format!("{:.0?}", times[(times.len() - 1) * part / 100]);
    println!("{name:<28}{:>12}{:>12}{:>12}", at(50), at(99), at(100));
}

/// How long each MAIL FROM took.
fn commands(address: SocketAddr) -> Vec<Duration> {
    let mut client = Client::hello(address);
    (0..COMMANDS)
        .map(|_| {
            let start = Instant::now();
            client.command("MAIL FROM:<jane@example.org>").expect("250");
            let took = start.elapsed();
            client.command("RSET").expect("250");
            took
        })
        .collect()
}

fn authenticate(address: SocketAddr) {
    let mut client = Client::hello(address);
    client.command("AUTH PLAIN AGpvaG4Ac2VjcmV0").expect("235");
}

/// Says yes to everybody, after a while.
fn slow_saslauthd(folder: &Path) -> PathBuf {
    let socket = folder.join("slow");
    let listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 1024]);
                thread::sleep(PATIENCE);
                stream.write_all(b"\0\x02OK")
            });
        }
    });
    socket
}
