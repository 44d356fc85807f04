//! The manual page and the completions of shells, which packages install beside the program.
//!
//! Commands and options are those that `main` declares, so that none can be missing; only the prose is here. What the keys
//! of the configuration mean is not repeated. The format of the page is man(7).

use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use std::io;

/// The manual page vsmtp(1): every command with its options on one page, which is what one wants to search.
///
/// # Errors
/// None in practice: nothing is written but memory.
pub fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut command = command.clone().subcommand_value_name("COMMAND");
    command.build();
    let man = Man::new(command.clone())
        .manual("Mail server")
        .date("")
        .section("1");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;

    let mut body = Roff::new();
    paragraphs(&mut body, "DESCRIPTION", DESCRIPTION);
    body.control("SH", ["COMMANDS"]);
    commands(&mut body, command.get_name(), &command);
    table(&mut body, "FILES", FILES);
    table(&mut body, "ENVIRONMENT", ENVIRONMENT);
    table(&mut body, "EXIT STATUS", EXIT_STATUS);
    table(&mut body, "EXAMPLES", EXAMPLES);
    paragraphs(&mut body, "SEE ALSO", SEE_ALSO);
    body.to_writer(&mut page)?;
    Ok(page)
}

/// The completions of `command` for a shell.
pub fn completions(command: &Command, shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command.clone(), name, &mut text);
    text
}

const DESCRIPTION: &[&str] = &[
    "vsmtp receives mail, keeps it durably, and delivers it to mailboxes of its own or to other servers. What it accepts, and \
     with which reply it refuses, is decided by rules in vSL, a dialect of the script language Rhai.",
    "Configuration and rules are checked before anything is bound or accepted. All errors are reported at once, one a line, each \
     with file, line and column. A running server that is told to reload keeps what it has when the new configuration is of no \
     use.",
    "Under systemd the sockets belong to systemd, and the server runs without any privilege; started by root without it, the \
     server binds its ports and then becomes the user that the configuration names.",
];

const FILES: &[(&str, &str)] = &[
    (
        "/etc/vsmtp/conf.d/config.vsl",
        "The server: fn on_config(config).",
    ),
    (
        "/etc/vsmtp/filter.vsl",
        "Rules for every client. Without this file every client is refused.",
    ),
    (
        "/etc/vsmtp/domain-enabled/DOMAIN/config.vsl",
        "A mail domain: fn on_domain_config(config).",
    ),
    (
        "/etc/vsmtp/domain-enabled/DOMAIN/{incoming,outgoing,internal}.vsl",
        "Rules for mail to the domain, from it, and within it.",
    ),
    (
        "/var/lib/vsmtp (under systemd), /var/spool/vsmtp (otherwise)",
        "The queue, and the Maildirs of the users: mail/DOMAIN/USER.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "STATE_DIRECTORY",
        "Where the state is, set by systemd; the configuration comes first.",
    ),
    (
        "LISTEN_FDS, LISTEN_FDNAMES",
        "Sockets of systemd: smtp, submission and submissions.",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC",
        "Readiness, reloads and signs of life, for systemd.",
    ),
];

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Nothing is wrong, or the server was told to stop."),
    ("2", "The command line is wrong."),
    ("67", "The user or the group to become does not exist."),
    ("70, 71, 74", "The program, the system or a disk failed."),
    ("73", "A file or folder cannot be made."),
    ("77", "Permission is missing, for a port below 1024 say."),
    (
        "78",
        "The configuration is wrong. To try again is of no use.",
    ),
];

const EXAMPLES: &[(&str, &str)] = &[
    (
        "vsmtp quickstart",
        "A demo on loopback, with certificates, rules and mailboxes of its own.",
    ),
    (
        "vsmtp check && systemctl reload vsmtp.service",
        "Put a changed configuration to use.",
    ),
    (
        "vsmtp config diff",
        "What this server does differently from the defaults.",
    ),
    (
        "vsmtp install-units --print | less",
        "What systemd would be told, and why so little is allowed.",
    ),
];

const SEE_ALSO: &[&str] = &[
    "systemd.socket(5), systemd.exec(5), saslauthd(8), openssl-s_client(1), swaks(1)",
    "RFC 5321 (SMTP), RFC 6409 and RFC 8314 (submission), RFC 3207 (STARTTLS), RFC 8461 (MTA-STS)",
];

/// Each command that is meant for people, those below it included.
fn commands(roff: &mut Roff, path: &str, command: &Command) {
    for inner in command.get_subcommands() {
        let path = format!("{path} {}", inner.get_name());
        if inner.is_hide_set() || inner.get_name() == "help" {
            continue;
        }
        let arguments: Vec<&Arg> = inner.get_arguments().filter(|arg| is_own(arg)).collect();
        let mut usage = vec![bold(&path)];
        if inner.has_subcommands() {
            usage.extend([roman(" "), italic("COMMAND")]);
        } else {
            for argument in &arguments {
                usage.push(roman(" "));
                usage.extend(optional(argument));
            }
        }
        roff.control("TP", []);
        roff.text(usage);
        if let Some(about) = inner.get_long_about().or_else(|| inner.get_about()) {
            roff.text([roman(about.to_string().replace('\n', " "))]);
        }
        if inner.has_subcommands() {
            commands(roff, &path, inner);
            continue;
        }
        roff.control("RS", []);
        for argument in arguments {
            option(roff, argument);
        }
        roff.control("RE", []);
    }
}

/// What every command has is not worth its lines.
fn is_own(argument: &Arg) -> bool {
    !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
}

fn optional(argument: &Arg) -> Vec<Inline> {
    let mut words = spelled(argument);
    if !argument.is_required_set() {
        words.insert(0, roman("["));
        words.push(roman("]"));
    }
    words
}

fn option(roff: &mut Roff, argument: &Arg) {
    roff.control("TP", []);
    roff.text(spelled(argument));
    let mut text = argument
        .get_long_help()
        .or_else(|| argument.get_help())
        .map(|help| help.to_string().replace('\n', " "))
        .unwrap_or_default();
    let defaults = argument.get_default_values();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        let defaults: Vec<_> = defaults
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        text.push_str(&format!(" [default: {}]", defaults.join(" ")));
    }
    roff.text([roman(text)]);
}

/// `--name VALUE`, or `VALUE` where it is known by its place.
fn spelled(argument: &Arg) -> Vec<Inline> {
    let mut words = Vec::new();
    if let Some(long) = argument.get_long() {
        words.push(bold(format!("--{long}")));
    } else if let Some(short) = argument.get_short() {
        words.push(bold(format!("-{short}")));
    }
    if !argument.get_action().takes_values() {
        return words;
    }
    let count = argument.get_num_args().unwrap_or_default();
    let is_named = !words.is_empty();
    let (open, close) = match (
        is_named,
        count.min_values(),
        argument.is_require_equals_set(),
    ) {
        (true, 0, true) => ("[=", "]"),
        (true, 0, false) => (" [", "]"),
        (true, _, true) => ("=", ""),
        (true, _, false) => (" ", ""),
        (false, _, _) => ("", ""),
    };
    let names = argument.get_value_names().unwrap_or_default();
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    words.extend([roman(open), italic(names.join(" "))]);
    if count.max_values() > names.len() {
        words.push(roman("..."));
    }
    words.push(roman(close));
    words
}

fn paragraphs(roff: &mut Roff, heading: &str, texts: &[&str]) {
    roff.control("SH", [heading]);
    for text in texts {
        roff.control("PP", []);
        roff.text([roman(*text)]);
    }
}

fn table(roff: &mut Roff, heading: &str, rows: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (item, text) in rows {
        roff.control("TP", []);
        roff.text([bold(*item)]);
        roff.text([roman(*text)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Command {
        let option = Arg::new("config").long("config").value_name("DIR");
        let flag = Arg::new("all").long("all").num_args(0).help("Even those");
        let targets = Arg::new("targets").value_name("TARGET").num_args(1..);
        let kind = Arg::new("kind").long("kind").value_name("NAME");
        let kind = kind.num_args(0..=1).require_equals(true);
        Command::new("vsmtp")
            .about("A mail server")
            .subcommand(
                Command::new("queue").about("The queue").subcommand(
                    Command::new("list")
                        .about("What waits")
                        .args([flag, kind, targets]),
                ),
            )
            .subcommand(Command::new("serve").arg(option.default_value("/etc/vsmtp")))
            .subcommand(Command::new("secret").hide(true))
    }

    #[test]
    fn the_page_has_every_command_with_its_options() {
        let page = String::from_utf8(page(&example()).unwrap()).unwrap();
        assert!(page.contains(".TH vsmtp 1"), "{page}");
        let plain = page
            .replace("\\fB", "")
            .replace("\\fI", "")
            .replace("\\fR", "");
        let plain = plain.replace("\\-", "-");
        for part in [
            "vsmtp queue COMMAND",
            "vsmtp queue list [--all] [--kind[=NAME]] [TARGET...]",
            "What waits",
            "Even those",
            "vsmtp serve [--config DIR]",
            "[default: /etc/vsmtp]",
        ] {
            assert!(plain.contains(part), "{part} is not in {plain}");
        }
        assert!(
            !plain.contains("secret") && !plain.contains("vsmtp help"),
            "{plain}"
        );
    }

    #[test]
    fn every_shell_gets_completions() {
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let text = String::from_utf8(completions(&example(), shell)).unwrap();
            assert!(
                text.contains("queue") && text.contains("vsmtp"),
                "{shell}: {text}"
            );
        }
    }
}
