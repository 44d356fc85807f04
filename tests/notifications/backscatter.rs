//! How much is told to those who may not have sent anything.

use super::{CONTENT, configuration, refusing, send, send_content};
use crate::support::{Client, Daemon, trial_with};
use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("notifications::strangers_are_told_so_much", || {
            strangers();
            Ok(())
        }),
        Trial::test("notifications::ours_are_told_more", || {
            ours();
            Ok(())
        }),
        trial_with(
            &["saslauthd"],
            "notifications::who_authenticated_is_always_told",
            authenticated,
        ),
    ]
}

/// Reports to a stranger leave for an address at which nobody listens.
fn strangers() {
    let hop = refusing();
    let configuration =
        configuration(hop.address()).set("server.queues.delivery.report_count_max_per_domain", "2");
    let mut daemon = Daemon::start(configuration);
    for _ in 0..3 {
        send_content(
            &mut daemon,
            "<victim@[127.9.9.9]>",
            &["<john@far.example>"],
            CONTENT,
        );
    }
    daemon.wait_for_log(&[
        "WARN",
        "notification suppressed",
        "to=victim@[127.9.9.9]",
        "limit=\"server.queues.delivery.report_count_max_per_domain\"",
    ]);
    let log = daemon.stop().log;
    assert_eq!(log.matches("notification suppressed").count(), 1, "{log}");
    assert_eq!(log.matches("actions=[Failed]").count(), 2, "{log}");
}

fn ours() {
    let hop = refusing();
    let configuration = configuration(hop.address())
        .set("server.queues.delivery.report_count_max", "1")
        .set("server.queues.delivery.report_count_max_per_domain", "1");
    let mut daemon = Daemon::start(configuration);
    for _ in 0..11 {
        send(&mut daemon, "", &["<john@far.example>"]);
    }
    daemon.wait_for_log(&["notification suppressed", "to=jane@home.example"]);
    daemon.maildir("home.example", "jane").wait(10);
    daemon.stop();
}

fn authenticated() {
    let hop = refusing();
    let filter = r#"#{
        authenticate: [ rule "users" || auth::unix_users() ],
        rcpt: [ rule "ours" || state::faccept() ],
    }"#;
    let configuration = configuration(hop.address())
        .filter(filter)
        .user("john", "secret")
        .set(
            "server.smtp.auth.enable_dangerous_mechanism_in_clair",
            "true",
        )
        .set("server.queues.delivery.report_count_max_per_domain", "1");
    let mut daemon = Daemon::start(configuration);
    let mut client = Client::hello(daemon.smtp());
    client.command("AUTH PLAIN AGpvaG4Ac2VjcmV0").expect("235");
    for _ in 0..12 {
        client
            .deliver("jane@home.example", "john@far.example", CONTENT)
            .expect("250");
    }
    client.quit();
    daemon.maildir("home.example", "jane").wait(12);
    daemon.stop();
}
