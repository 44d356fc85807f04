//! The daemon as systemd and an operator meet it: sockets, readiness, signals, limits, exit codes, privileges.

use crate::support::{
    Certificate, Client, Configuration, Daemon, PROGRAM, Start, is_root, run, trial_with,
    unprivileged, wait_for,
};
use libtest_mimic::Trial;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("readiness", readiness),
        trial("sockets_by_name", sockets_by_name),
        trial("sockets_that_are_wrong", wrong_sockets),
        trial("sigterm_finishes_a_transaction", sigterm),
        trial("sigterm_waits_only_so_long", sigterm_is_bounded),
        trial("check_without_the_host", check_without_the_host),
        trial("client_count_max", client_count_max),
        trial("all_errors_at_once", all_errors),
        trial("an_address_in_use", address_in_use),
        trial("config_show_and_diff", show_and_diff),
        trial("usage", usage),
        trial("one_line_a_message", one_line_a_message),
    ];
    trials.push(only_if(
        port_25().is_some(),
        "may not bind port 25",
        "sockets_by_port",
        sockets_by_port,
    ));
    trials.push(only_if(
        is_root(),
        "needs root",
        "privileges_are_dropped",
        privileges,
    ));
    trials.push(only_if(
        is_root(),
        "needs root",
        "root_is_refused",
        root_is_refused,
    ));
    trials
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    trial_with(&[], format!("daemon::{name}"), test)
}

/// A test that is ignored, with the reason as its kind, unless `possible`.
fn only_if(
    possible: bool,
    reason: &str,
    name: &str,
    test: impl FnOnce() + Send + 'static,
) -> Trial {
    let trial = trial(name, test);
    if possible {
        trial
    } else {
        trial.with_kind(reason).with_ignored_flag(true)
    }
}

fn configuration() -> Configuration {
    Configuration::new().domain_with("example.com", &Certificate::new(&["example.com"]))
}

fn readiness() {
    let mut daemon = Daemon::start(configuration());
    // No wait: READY=1 has said that it listens.
    Client::hello(daemon.smtp()).quit();
    Client::hello(daemon.submission()).quit();
    Client::hello_tls(daemon.submissions(), Some("example.com")).quit();
    let said = daemon.said();
    let ready = said.iter().position(|line| line == "READY=1").unwrap();
    assert!(
        said.iter().any(|line| line.starts_with("STATUS=")),
        "{said:?}"
    );
    let exit = daemon.stop();
    let stopping = exit.said.iter().position(|line| line == "STOPPING=1");
    assert!(
        stopping.is_some_and(|stopping| stopping > ready),
        "{:?}",
        exit.said
    );
}

fn listener() -> (OwnedFd, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener.into(), address)
}

fn sockets_by_name() {
    let (submissions, submissions_address) = listener();
    let (smtp, smtp_address) = listener();
    let (submission, submission_address) = listener();
    let daemon = Start::new(configuration())
        .sockets(
            vec![submissions, smtp, submission],
            Some("submissions:smtp:submission"),
        )
        .ready();
    Client::hello_tls(submissions_address, Some("example.com")).quit();
    for address in [smtp_address, submission_address] {
        Client::hello_starttls(address, Some("example.com")).quit();
    }
    daemon.stop();
}

/// A loopback address whose port 25 is free, where this user may bind it.
fn port_25() -> Option<TcpListener> {
    TcpListener::bind("127.0.25.25:25").ok()
}

fn sockets_by_port() {
    let sockets = vec![
        TcpListener::bind("127.0.25.25:465").unwrap().into(),
        TcpListener::bind("127.0.25.25:25").unwrap().into(),
        TcpListener::bind("127.0.25.25:587").unwrap().into(),
    ];
    let daemon = Start::new(configuration()).sockets(sockets, None).ready();
    let address = |port| SocketAddr::from(([127, 0, 25, 25], port));
    Client::hello_tls(address(465), Some("example.com")).quit();
    for port in [25, 587] {
        Client::hello_starttls(address(port), Some("example.com")).quit();
    }
    daemon.stop();
}

fn wrong_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let unix = UnixListener::bind(folder.path().join("socket")).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(peer.local_addr().unwrap()).unwrap();
    for (what, socket, names) in [
        ("a datagram socket", udp.into(), Some("smtp")),
        ("a unix socket", unix.into(), Some("smtp")),
        (
            "a socket that does not listen",
            connected.into(),
            Some("smtp"),
        ),
        ("a name that is none of ours", listener().0, Some("pop3")),
        ("a port that says nothing", listener().0, None),
    ] {
        let (good, _) = listener();
        let names = names.map(|name| format!("smtp:{name}"));
        let exit = Start::new(configuration())
            .sockets(vec![good, socket], names.as_deref())
            .exit();
        // The good one comes first, as descriptor 3; without its name it is as bad as the other.
        let fd = if names.is_some() { "fd 4" } else { "fd 3" };
        assert!(!exit.status.success(), "{what} was taken: {}", exit.log);
        assert!(exit.log.contains(fd), "{what}: {}", exit.log);
        assert!(!exit.log.contains("panicked"), "{what}: {}", exit.log);
        assert!(!exit.said.iter().any(|line| line == "READY=1"), "{what}");
    }
    let exit = Start::new(configuration())
        .sockets(vec![listener().0], Some("smtp"))
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", "smtp:submission")
        .exit();
    assert!(!exit.status.success(), "a closed descriptor: {}", exit.log);
    assert!(
        exit.log.contains("fd 4"),
        "a closed descriptor: {}",
        exit.log
    );
}

fn sigterm() {
    let mut daemon = Daemon::start(configuration());
    let address = daemon.smtp();
    let mut idle = Client::hello(address);
    let mut busy = Client::hello(address);
    busy.command("MAIL FROM:<jane@example.net>").expect("250");
    busy.command("RCPT TO:<john@example.com>").expect("250");
    busy.command("DATA").expect("354");
    busy.send(b"Subject: in flight\r\n\r\nhello\r\n");

    daemon.terminate();
    idle.reply().expect("421 4.3.2");
    assert_eq!(idle.rest(), b"");
    wait_for("STOPPING=1", || {
        daemon
            .said()
            .contains(&"STOPPING=1".to_owned())
            .then_some(())
    });
    wait_for("an end of accepting", || {
        // What the kernel had taken before the end of listening is closed, not served.
        let served = Client::try_connect(address).and_then(|mut late| late.try_reply());
        (!served.is_ok_and(|reply| reply.code == 220)).then_some(())
    });

    busy.send(b"bye\r\n.\r\n");
    busy.reply().expect("250");
    let exit = daemon.wait();
    assert!(exit.status.success(), "{}\n{}", exit.status, exit.log);
    let daemon = Daemon::start(exit.configuration);
    let message = daemon.maildir("example.com", "john").wait_one();
    assert!(message.ends_with("\r\n\r\nhello\r\nbye\r\n"), "{message}");
}

/// Who never finishes does not hold the daemon up for ever.
fn sigterm_is_bounded() {
    let mut daemon = Daemon::start(configuration());
    let mut stuck = Client::hello(daemon.smtp());
    stuck.command("MAIL FROM:<jane@example.net>").expect("250");
    stuck.command("RCPT TO:<john@example.com>").expect("250");
    stuck.command("DATA").expect("354");
    let exit = daemon.stop();
    assert!(!exit.log.contains("panicked"), "{}", exit.log);
}

fn client_count_max() {
    for key in [
        "server.client_count_max",
        "server.client_count_max_per_address",
    ] {
        places_are_limited(configuration().set(key, "2"));
    }
}

fn places_are_limited(configuration: Configuration) {
    let mut daemon = Daemon::start(configuration);
    let address = daemon.smtp();
    for _ in 0..3 {
        let [first, second] = two_clients(address);
        let mut third = Client::connect(address);
        third.reply().expect("421 4.7.0");
        assert_eq!(third.rest(), b"");
        // However a client leaves, its place is free again.
        drop(first);
        second.quit();
    }
    two_clients(address);
    let mut nonsense = Client::connect(daemon.submissions());
    nonsense.send(b"no ClientHello");
    nonsense.rest();
    two_clients(address);
    daemon.stop();
}

/// Two clients at once, as soon as there are two free places.
fn two_clients(address: SocketAddr) -> [Client; 2] {
    wait_for("two free places", || {
        let mut clients = [Client::connect(address), Client::connect(address)];
        let codes = clients.each_mut().map(|client| client.reply().code);
        (codes == [220, 220]).then_some(clients)
    })
}

/// `vsmtp ARGUMENTS --config ROOT`
fn vsmtp(arguments: &[&str], configuration: &Configuration) -> crate::support::Output {
    configuration.write();
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    command.arg("--config").arg(configuration.root());
    run(&mut command, "")
}

fn broken() -> Configuration {
    let configuration = configuration()
        .set("server.tls.handshake_timout", "\"1s\"")
        .set("server.client_count_max", "\"many\"")
        .filter("#{ mail: [ rule \"unfinished\" || { ] }\n")
        .domain("example.org", |domain| {
            domain
                .tls("certificate", "\"certs/absent.pem\"")
                .tls("private_key", "\"certs/absent.key\"")
        });
    configuration.write();
    configuration
}

/// What `check` says is what a start says; both say everything at once and leave with EX_CONFIG.
fn all_errors() {
    let configuration = broken();
    let check = vsmtp(&["check"], &configuration);
    let said = check.both();
    assert_eq!(check.status.code(), Some(78), "{said}");
    for part in [
        "conf.d/config.vsl",
        "handshake_timout",
        "handshake_timeout",
        "client_count_max",
        "filter.vsl:1:",
        "absent.pem",
    ] {
        assert!(said.contains(part), "{part} is missing from\n{said}");
    }
    let exit = Start::new(configuration).exit();
    assert_eq!(exit.status.code(), Some(78), "{}", exit.log);
    for line in said.lines().filter(|line| line.contains(".vsl:")) {
        assert!(
            exit.log.contains(line),
            "{line} is missing from\n{}",
            exit.log
        );
    }
    assert!(!exit.said.iter().any(|line| line == "READY=1"));

    let good = self::configuration();
    assert!(vsmtp(&["check"], &good).status.success());
    Daemon::start(good).stop();
}

/// Certificates and keys are left unread; everything else is not.
fn check_without_the_host() {
    let absent = configuration().domain("example.org", |domain| {
        domain
            .tls("certificate", "\"/absent/certificate.pem\"")
            .tls("private_key", "\"/absent/key.pem\"")
    });
    assert_eq!(vsmtp(&["check"], &absent).status.code(), Some(78));
    vsmtp(&["check", "--no-host"], &absent).success();

    let check = vsmtp(&["check", "--no-host"], &broken());
    let said = check.both();
    assert_eq!(check.status.code(), Some(78), "{said}");
    for part in ["handshake_timout", "client_count_max", "filter.vsl:1:"] {
        assert!(said.contains(part), "{part} is missing from\n{said}");
    }
    assert!(!said.contains("absent"), "{said}");
}

fn address_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let configuration = configuration().set("server.interfaces.addr", &format!("[\"{address}\"]"));
    let exit = Start::new(configuration).exit();
    assert!(!exit.status.success());
    assert!(exit.log.contains(&address), "{}", exit.log);
}

fn show_and_diff() {
    let configuration = configuration().set("server.tls.handshake_timeout", "\"2500ms\"");
    let show = vsmtp(&["config", "show"], &configuration).success();
    for part in [
        "handshake_timeout",
        "rcpt_count_max",
        "1000",
        "mx.example.test",
    ] {
        assert!(show.contains(part), "{part} is missing from\n{show}");
    }
    let diff = vsmtp(&["config", "diff"], &configuration).success();
    assert!(diff.contains("handshake_timeout"), "{diff}");
    assert!(!diff.contains("rcpt_count_max"), "{diff}");
}

fn usage() {
    let help = run(Command::new(PROGRAM).arg("--help"), "").success();
    for command in ["serve", "check", "config", "quickstart"] {
        assert!(help.contains(command), "{help}");
    }
    let wrong = run(Command::new(PROGRAM).arg("sevre"), "");
    assert!(!wrong.status.success());
    assert!(wrong.stderr.contains("serve"), "{}", wrong.stderr);
}

fn one_line_a_message() {
    let mut daemon = Daemon::start(configuration());
    let mut client = Client::hello_starttls(daemon.smtp(), Some("example.com"));
    let content = b"Subject: hi\r\n\r\nhello\r\n";
    let reply = client.deliver("jane@example.net", "john@example.com", content);
    reply.expect("250");
    let client_address = client.local_address().to_string();
    client.quit();
    let parts = [
        "jane@example.net",
        "john@example.com",
        &client_address,
        "TLSv1.3",
    ];
    let line = daemon.wait_for_log(&parts);
    let id = reply.text();
    let id = id.split_whitespace().last().unwrap();
    assert!(line.contains(id), "{line} has no {id}");
    daemon.stop();
}

fn privileges() {
    let mut daemon = Daemon::start(configuration());
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (user, group) = unprivileged();
    let uid = nix::unistd::User::from_name(&user)
        .unwrap()
        .unwrap()
        .uid
        .to_string();
    let gid = nix::unistd::Group::from_name(&group)
        .unwrap()
        .unwrap()
        .gid
        .to_string();
    assert_eq!(field("Uid:"), vec![uid; 4]);
    assert_eq!(field("Gid:"), vec![gid.clone(); 4]);
    assert!(field("Groups:").iter().all(|g| *g == gid), "{status}");
    for set in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    let mut client = Client::hello(daemon.smtp());
    let reply = client.deliver(
        "jane@example.net",
        "john@example.com",
        b"Subject: hi\r\n\r\nhello\r\n",
    );
    reply.expect("250");
    daemon.maildir("example.com", "john").wait(1);
}

fn root_is_refused() {
    let configuration = configuration()
        .set("server.system.user", "\"root\"")
        .set("server.system.group", "\"root\"");
    let start = Instant::now();
    let exit = Start::new(configuration).exit();
    assert!(!exit.status.success(), "{}", exit.log);
    assert!(exit.log.contains("root"), "{}", exit.log);
    assert!(start.elapsed() < Duration::from_secs(20));
}
