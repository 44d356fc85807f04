//! `vsmtp help-rules`: the manual has a page for whatever rules can use, and finds it.

use crate::support::{Output, PROGRAM, run};
use libtest_mimic::Trial;
use std::process::Command;

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("manual::{name}"), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("has_a_page_for_all_of_the_language", all_of_the_language),
        trial("finds_pages_by_any_of_their_names", names),
        trial("suggests_the_nearest", nearest),
    ]
}

/// What operators rely on, by namespace.
const LANGUAGE: [(&str, &str); 20] = [
    (
        "ctx",
        "client_address client_ip client_port server_address server_ip server_port connection_timestamp server_name \
         is_secured is_authenticated helo mail_from rcpt rcpt_list mail_timestamp message_id tls_version tls_cipher tls_sni",
    ),
    ("envelop", "rw_mail_from rw_rcpt add_rcpt bcc rm_rcpt"),
    (
        "msg",
        "has_header count_header get_header get_all_headers get_header_untouched append_header prepend_header \
         set_header rename_header rm_header mail rw_mail_from rw_rcpt add_rcpt rm_rcpt",
    ),
    ("state", "next accept faccept deny quarantine"),
    ("auth", "is_authenticated credentials unix_users"),
    ("dns", "lookup rlookup"),
    (
        "transport",
        "forward forward_all deliver deliver_all maildir maildir_all mbox mbox_all lmtp lmtp_all",
    ),
    ("cmd", "build"),
    ("csv", "connect"),
    ("sqlite", "connect"),
    ("net", "rg_192 rg_172 rg_10 non_routable"),
    ("fs", "write dump"),
    ("time", "now date"),
    ("utils", "get_root_domain env"),
    ("unix", "user_exist hostname"),
    (
        "",
        "ip4 ip6 rg4 rg6 address fqdn identifier regex file code log in query",
    ),
    (
        "code",
        "c554_7_1 c550_7_20 c550_7_21 c550_7_22 c550_7_23 c550_7_24 c550_7_25 c550_7_26 c550_7_27 c556_1_10 c451_7_1 \
         c451_3_0 c550_1_1",
    ),
    ("", ".local_part .domain .run"),
    (
        "",
        "connect helo authenticate mail rcpt preq postq delivery",
    ),
    ("", "rule action"),
];

fn help(name: &[&str]) -> Output {
    run(Command::new(PROGRAM).arg("help-rules").args(name), "")
}

fn all_of_the_language() {
    let list = help(&[]).success();
    let listed: Vec<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .collect();
    for (namespace, names) in LANGUAGE {
        for name in names.split_whitespace() {
            let name = match namespace {
                "" => name.to_owned(),
                _ => format!("{namespace}::{name}"),
            };
            assert!(listed.contains(&name.as_str()), "{name} is not in\n{list}");
        }
    }
    for line in list.lines().filter(|line| line.starts_with("  ")) {
        let mut words = line.split_whitespace();
        assert!(words.nth(1).is_some(), "{line:?} says nothing");
    }
}

fn names() {
    for (name, parts) in [
        (
            "ctx::helo",
            &[
                "ctx::helo() -> string",
                "    The name that the client gave in EHLO",
            ][..],
        ),
        ("helo", &["ctx::helo() -> string", "#{ helo: [ … ] }"]),
        ("helo()", &["ctx::helo() -> string"]),
        (
            "state",
            &[
                "state: what a rule returns",
                "state::deny() -> state",
                "state::deny(code: object) -> state",
                "state::deny(code: string) -> state",
            ],
        ),
        (
            "code",
            &[
                "code(number: integer, text: string) -> object",
                "code::c554_7_1",
            ],
        ),
        ("c550_1_1", &["550 5.1.1 No such mailbox"]),
        (
            "unix_users",
            &["auth::unix_users() -> state", "asks saslauthd"],
        ),
        ("log", &["log(level: string, text)"]),
        ("file", &["file(path: string, kind: string) -> object"]),
        (
            "domain",
            &["object.domain -> string", "string.domain -> string"],
        ),
        (
            "cmd",
            &[
                "cmd::build(options: map) -> command",
                "command.run() -> outcome",
                "\n        export const scan = cmd::build(#{\n",
                "outcome == integer -> bool",
            ],
        ),
        ("in", &["string in object -> bool"]),
        ("rule", &["rule \"NAME\" || BODY"]),
        ("connect", &["#{ connect: [ … ] }"]),
    ] {
        let page = help(&[name]).success();
        for part in parts {
            assert!(page.contains(part), "{name}: {part:?} is not in\n{page}");
        }
    }
}

fn nearest() {
    for (name, expected) in [
        (
            "ctx::hello",
            "no page `ctx::hello`: did you mean `ctx::helo`?\n",
        ),
        (
            "clientip",
            "no page `clientip`: did you mean `client_ip`?\n",
        ),
        (
            "nothing_like_it_at_all",
            "no page `nothing_like_it_at_all`: the list without a name has all of them\n",
        ),
    ] {
        let output = help(&[name]);
        assert_eq!(output.stderr, expected);
        assert_eq!(output.status.code(), Some(2));
    }
}
