//! What changes while the daemon runs: configurations by SIGHUP, certificates also without.

use crate::support::{Certificate, Client, Configuration, Daemon, SClient, trial_with, wait_for};
use libtest_mimic::Trial;
use std::fs;

pub fn trials() -> Vec<Trial> {
    vec![
        trial_with(&[], "reload::rules_and_domains_of_new_sessions", rules),
        trial_with(&[], "reload::limits_of_new_sessions", limits),
        trial_with(&[], "reload::a_bad_configuration_changes_nothing", bad),
        trial_with(&[], "reload::what_needs_a_restart_is_named", restart),
        trial_with(&["openssl"], "reload::certificates", certificates),
        trial_with(&["openssl"], "reload::a_renewal_needs_no_signal", renewal),
    ]
}

const CLOSED: &str =
    r#"#{ mail: [ rule "closed" || state::deny(code(550, "5.7.1", "closed today")) ] }"#;

fn example() -> Configuration {
    Configuration::new().domain("example.com", |domain| {
        domain.set("mailboxes", r#"["john"]"#)
    })
}

/// Sends SIGHUP and waits until the service manager has heard that the reload is over.
fn reload(daemon: &mut Daemon) -> String {
    let before = daemon.said().len();
    daemon.hang_up();
    wait_for("READY=1 after RELOADING=1", || {
        let said = daemon.said().split_off(before).join("\n");
        let (_, since) = said.split_once("RELOADING=1")?;
        assert!(since.contains("MONOTONIC_USEC="), "{said}");
        since.contains("READY=1").then(|| since.to_owned())
    })
}

fn rules() {
    let mut daemon = Daemon::start(example());
    let address = daemon.smtp();
    let mut old = Client::hello(address);

    daemon.configuration().file("filter.vsl", CLOSED);
    let enabled = "domain-enabled/example.org/config.vsl";
    daemon.configuration().file(
        enabled,
        r#"fn on_domain_config(config) { config.mailboxes = "*"; config }"#,
    );
    reload(&mut daemon);

    old.deliver("a@example.net", "john@example.com", b"old\r\n")
        .expect("250");
    let mut new = Client::hello(address);
    new.command("MAIL FROM:<a@example.net>")
        .expect("550 5.7.1 closed today");

    daemon.configuration().file("filter.vsl", "#{}");
    reload(&mut daemon);
    Client::hello(address)
        .deliver("a@example.net", "ann@example.org", b"new\r\n")
        .expect("250");
    daemon.maildir("example.org", "ann").wait(1);
    daemon.stop();
}

fn limits() {
    let mut daemon = Daemon::start(example().set("server.client_count_max", "1"));
    let address = daemon.smtp();
    let _only = Client::hello(address);
    Client::connect(address).reply().expect("421");
    let file = daemon.configuration().root().join("conf.d/config.vsl");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("client_count_max = 1;", "client_count_max = 2;");
    fs::write(&file, text).unwrap();
    reload(&mut daemon);
    let _second = Client::hello(address);
    Client::connect(address).reply().expect("421");
    daemon.stop();
}

fn bad() {
    let mut daemon = Daemon::start(example());
    let address = daemon.smtp();
    daemon
        .configuration()
        .file("filter.vsl", r#"#{ mial: [] }"#);
    let said = reload(&mut daemon);
    assert!(said.contains("STATUS=reload failed"), "{said}");
    assert!(said.contains("filter.vsl:1:"), "{said}");
    daemon.wait_for_log(&["ERROR", "filter.vsl:1:", "mial"]);
    Client::hello(address)
        .deliver("a@example.net", "john@example.com", b"still\r\n")
        .expect("250");
    daemon.stop();
}

fn restart() {
    let mut daemon = Daemon::start(example());
    let file = daemon.configuration().root().join("conf.d/config.vsl");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace(r#"logs.level = "debug""#, r#"logs.level = "info""#);
    fs::write(&file, text).unwrap();
    for _ in 0..2 {
        let seen = daemon.log().matches("server.logs has changed").count();
        reload(&mut daemon);
        assert_eq!(
            daemon.log().matches("server.logs has changed").count(),
            seen + 1
        );
    }
    daemon.stop();
}

fn shown(daemon: &mut Daemon) -> Option<String> {
    SClient::implicit(daemon.submissions())
        .server_name(Some("example.com"))
        .run()
        .subject
}

fn with_certificate() -> Daemon {
    let first = Certificate::new(&["first.example.com", "example.com"]);
    Daemon::start(Configuration::new().domain_with("example.com", &first))
}

fn certificates() {
    let mut daemon = with_certificate();
    assert_eq!(shown(&mut daemon).as_deref(), Some("first.example.com"));
    let folder = daemon.configuration().root().join("certs");
    Certificate::new(&["second.example.com", "example.com"]).write(&folder, "example.com");
    reload(&mut daemon);
    assert_eq!(shown(&mut daemon).as_deref(), Some("second.example.com"));
    daemon.stop();
}

fn renewal() {
    let mut daemon = with_certificate();
    let folder = daemon.configuration().root().join("certs");
    let second = Certificate::new(&["second.example.com", "example.com"]);
    // The certificate alone: until its key is there too, the first pair is shown.
    fs::write(folder.join("example.com.pem"), second.pem()).unwrap();
    daemon.wait_for_log(&["certificate not renewed", "example.com"]);
    assert_eq!(shown(&mut daemon).as_deref(), Some("first.example.com"));
    fs::write(folder.join("example.com.key"), second.key_pem()).unwrap();
    daemon.wait_for_log(&["certificates have changed on disk"]);
    assert_eq!(shown(&mut daemon).as_deref(), Some("second.example.com"));
    daemon.stop();
}
