//! AUTH on the daemon: clients that somebody else wrote, saslauthd as it is installed, and what the log tells.

use crate::support::{Certificate, Client, Configuration, Daemon, run, trial_with, wait_for};
use libtest_mimic::Trial;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// As the book of the language has it.
const FILTER: &str = r#"#{
  authenticate: [ rule "sasl authentication" || auth::unix_users() ],
  mail: [
    rule "deny unauthenticated" || {
      if auth::is_authenticated() { state::next() }
      else { state::deny(code(530, "5.7.0", "Authentication required\r\n")) }
    },
    action "note" || log("info", `mail by ${auth::credentials()}`),
  ],
}
"#;

/// `\0john\0secret` and `\0john\0wrong`.
const RIGHT: &str = "AUTH PLAIN AGpvaG4Ac2VjcmV0";
const WRONG: &str = "AUTH PLAIN AGpvaG4Ad3Jvbmc=";

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("the_log_tells_all_but_the_secret", log),
        trial("no_answer_is_no_yes", no_answer),
        trial("faccept_without_a_password", faccept_unverified),
        trial("faccept_ends_the_rules", faccept_verified),
        trial("no_auth_for_who_is_trusted", trusted),
        trial("credentials_are_for_rules_to_read", credentials),
        trial("others_are_served_meanwhile", others),
        trial("end_of_stream_in_an_exchange", end_of_stream),
    ];
    for (mechanism, way) in [
        ("PLAIN", "--tls"),
        ("LOGIN", "--tls"),
        ("PLAIN", "--tls-on-connect"),
        ("LOGIN", "--tls-on-connect"),
    ] {
        let name = format!("authentication::swaks::{mechanism}{way}");
        trials.push(trial_with(&["swaks"], name, move || swaks(mechanism, way)));
    }
    for way in ["starttls", "tls"] {
        let name = format!("authentication::smtplib::{way}");
        trials.push(trial_with(&["python3"], name, move || smtplib(way)));
    }
    trials.push(trial_with(
        &["saslauthd"],
        "authentication::saslauthd",
        saslauthd,
    ));
    trials
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(format!("authentication::{name}"), || {
        test();
        Ok(())
    })
}

fn configuration(filter: &str) -> Configuration {
    let certificate = Certificate::new(&["example.com"]);
    Configuration::new()
        .root_certificate(&certificate)
        .domain_with("example.com", &certificate)
        .filter(filter)
}

fn daemon() -> Daemon {
    Daemon::start(configuration(FILTER).user("john", "secret"))
}

fn secured(address: SocketAddr) -> Client {
    Client::hello_tls(address, Some("example.com"))
}

fn swaks(mechanism: &str, way: &str) {
    let mut daemon = daemon();
    let address = match way {
        "--tls" => daemon.submission(),
        _ => daemon.submissions(),
    };
    let swaks = |password: &str| {
        let mut command = Command::new("swaks");
        command.arg("--server").arg(address.to_string()).arg(way);
        command.args(["--helo", "client.example.net"]);
        command.args(["--from", "john@example.com", "--to", "jim@example.com"]);
        command.args(["--auth", mechanism, "--auth-user", "john"]);
        command.args(["--auth-password", password]);
        run(&mut command, "")
    };
    let refused = swaks("wrong");
    // "error authenticating"
    assert_eq!(refused.status.code(), Some(28), "{refused:?}");
    assert!(refused.stdout.contains("<~* 535 5.7.8"), "{refused:?}");
    let accepted = swaks("secret").success();
    assert!(accepted.contains("<~  235 2.7.0"), "{accepted}");
    daemon.wait_for_log(&["message accepted", "user=\"john\""]);
    daemon.stop();
}

const SMTPLIB: &str = r#"
import smtplib, ssl, sys
way, host, port = sys.argv[1:4]
trusting = ssl.create_default_context()
trusting.check_hostname = False
trusting.verify_mode = ssl.CERT_NONE
def session():
    if way == "tls":
        return smtplib.SMTP_SSL(host, int(port), "client.example.net", context=trusting, timeout=20)
    session = smtplib.SMTP(host, int(port), "client.example.net", timeout=20)
    session.ehlo()
    assert not session.has_extn("auth")
    session.starttls(context=trusting)
    return session

with session() as smtp:
    try:
        smtp.login("john", "wrong")
        raise SystemExit("a wrong password was taken")
    except smtplib.SMTPAuthenticationError as error:
        assert error.smtp_code == 535, error
    assert smtp.login("john", "secret")[0] == 235
    refused = smtp.sendmail("john@example.com", ["jim@example.com", "somebody@example.org"], "Subject: hi\n\nhello\n")
    assert refused == {}, refused

for initial in (True, False):
    for mechanism in ("auth_plain", "auth_login"):
        with session() as smtp:
            smtp.ehlo()
            smtp.user, smtp.password = "john", "secret"
            name = mechanism.removeprefix("auth_").upper()
            assert smtp.auth(name, getattr(smtp, mechanism), initial_response_ok=initial)[0] == 235
"#;

fn smtplib(way: &str) {
    let mut daemon = daemon();
    let address = match way {
        "tls" => daemon.submissions(),
        _ => daemon.submission(),
    };
    let mut command = Command::new("python3");
    command.args(["-c", SMTPLIB, way]);
    command.arg(address.ip().to_string());
    command.arg(address.port().to_string());
    run(&mut command, "").success();
    daemon.stop();
}

/// The one that is installed. It asks an IMAP server, which is ours.
fn saslauthd() {
    let configuration = configuration(FILTER);
    let folder = configuration.scratch().join("saslauthd");
    fs::create_dir(&folder).unwrap();
    let running = RealSaslauthd::start(&folder, imap_server());
    for path in [folder.clone(), folder.join("mux")] {
        fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    }
    let socket = folder.join("mux");
    let configuration = configuration.set("server.smtp.auth.saslauthd", &format!("{socket:?}"));
    let mut daemon = Daemon::start(configuration);
    let mut client = secured(daemon.submissions());
    client.command(WRONG).expect("535 5.7.8");
    // Longer than what it takes.
    client.command("AUTH LOGIN am9obg==").expect("334");
    client.command(&"YWFh".repeat(1000)).expect("535 5.7.8");
    client.command(RIGHT).expect("235 2.7.0");
    client.command("MAIL FROM:<john@example.com>").expect("250");
    client.quit();
    daemon.stop();
    drop(running);
}

/// Takes the password `secret` of john.
fn imap_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = |mut stream: TcpStream| -> io::Result<()> {
        stream.write_all(b"* OK hello\r\n")?;
        for line in BufReader::new(stream.try_clone()?).lines() {
            let line = line?;
            let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
            let yes = command == r#"LOGIN "john" "secret""# || command == "LOGOUT";
            let answer = if yes { "OK" } else { "NO" };
            stream.write_all(format!("{tag} {answer} done\r\n").as_bytes())?;
        }
        Ok(())
    };
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that hangs up is not our concern.
            let _ = stream.and_then(serve);
        }
    });
    address
}

struct RealSaslauthd(Child);

impl RealSaslauthd {
    fn start(folder: &Path, imap: SocketAddr) -> Self {
        let child = Command::new("saslauthd")
            .args(["-d", "-a", "rimap", "-n", "1", "-O"])
            .arg(format!("{}/{}", imap.ip(), imap.port()))
            .arg("-m")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("saslauthd", || UnixStream::connect(folder.join("mux")).ok());
        Self(child)
    }
}

impl Drop for RealSaslauthd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn log() {
    let mut daemon = daemon();
    let mut client = secured(daemon.submissions());
    client.command(WRONG).expect("535");
    client.command(RIGHT).expect("235");
    let reply = client.deliver("john@example.com", "jim@example.com", b"Subject: x\r\n\r\n");
    reply.expect("250");
    client.quit();
    let address = "client=127.0.0.1";
    let john = "user=\"john\"";
    daemon.wait_for_log(&["authentication failed", address, john, "535 5.7.8"]);
    daemon.wait_for_log(&["authenticated", address, john, "235 2.7.0"]);
    daemon.wait_for_log(&["message accepted", john]);
    let said = daemon.wait_for_log(&["mail by"]);
    assert!(said.contains("john") && said.contains("PLAIN"), "{said}");
    let log = daemon.stop().log;
    for secret in ["secret", "wrong", "AGpvaG4", "c2VjcmV0"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

/// Neither a daemon that is not there nor one that hangs up lets anybody in.
fn no_answer() {
    let nobody = configuration(FILTER).set("server.smtp.auth.saslauthd", "\"nobody\"");
    let rude = configuration(FILTER);
    let socket = rude.scratch().join("mux");
    let listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
    thread::spawn(move || listener.incoming().for_each(drop));
    let rude = rude.set("server.smtp.auth.saslauthd", &format!("{socket:?}"));
    for configuration in [nobody, rude] {
        let mut daemon = Daemon::start(configuration);
        let mut client = secured(daemon.submissions());
        client.command(RIGHT).expect("451 4.3.0");
        client.command("MAIL FROM:<john@example.com>").expect("530");
        client.quit();
        daemon.wait_for_log(&["saslauthd", "filter.vsl:2:", "sasl authentication"]);
        daemon.stop();
    }
}

fn faccept_unverified() {
    let filter = r#"#{
      authenticate: [ rule "anybody" || state::faccept() ],
      mail: [ rule "nobody" || state::deny("550 5.7.1 no") ],
    }"#;
    let mut daemon = Daemon::start(configuration(filter));
    let mut client = secured(daemon.submissions());
    client.command(RIGHT).expect("535 5.7.8");
    let reply = client.command("MAIL FROM:<jane@example.net>");
    reply.expect("550 5.7.1 no");
    client.quit();
}

fn faccept_verified() {
    let filter = r#"#{
      authenticate: [
        rule "users" || {
          if auth::unix_users() == state::accept() { state::faccept("235 2.7.0 hello") } else { state::deny() }
        }
      ],
      mail: [ rule "nobody" || state::deny("550 5.7.1 no") ],
    }"#;
    let mut daemon = Daemon::start(configuration(filter).user("john", "secret"));
    let mut client = secured(daemon.submissions());
    client.command(WRONG).expect("535 5.7.8");
    client
        .command("MAIL FROM:<john@example.com>")
        .expect("550 5.7.1 no");
    client.command(RIGHT).expect("235 2.7.0 hello");
    client.command("MAIL FROM:<john@example.com>").expect("250");
    client.command("RCPT TO:<x@example.org>").expect("250");
    client.quit();
}

/// No rule will run, so no password could be verified.
fn trusted() {
    for stage in ["connect", "helo"] {
        let filter = format!(
            "#{{ {stage}: [ rule \"trust\" || state::faccept() ],
                authenticate: [ rule \"users\" || auth::unix_users() ] }}"
        );
        let mut daemon = Daemon::start(configuration(&filter));
        let mut client = secured(daemon.submissions());
        assert!(!client.ehlo().has_line("AUTH PLAIN LOGIN"));
        client.command(RIGHT).expect("502");
        client.quit();
    }
}

fn credentials() {
    let filter = r#"#{
      authenticate: [
        rule "john only" || {
          let who = auth::credentials();
          if who.user == "john" && who.mechanism == "PLAIN" && !auth::is_authenticated() { auth::unix_user() }
          else { state::deny("535 5.7.8 who?") }
        }
      ],
      mail: [ rule "who" || state::accept(`250 2.1.0 ${auth::credentials().user}`) ],
      rcpt: [ rule "too late" || auth::unix_users() ],
    }"#;
    let mut daemon = Daemon::start(configuration(filter).user("john", "secret"));
    let mut client = secured(daemon.submissions());
    client
        .command("MAIL FROM:<jane@example.net>")
        .expect("451 4.3.0");
    daemon.wait_for_log(&["the client is not authenticated"]);
    client.command("AUTH LOGIN amltCg==").expect("501");
    client.command("AUTH LOGIN amlt").expect("334");
    client.command("c2VjcmV0").expect("535 5.7.8 who?");
    client.command(RIGHT).expect("235");
    client
        .command("MAIL FROM:<jane@example.net>")
        .expect("250 2.1.0 john");
    client
        .command("RCPT TO:<x@example.org>")
        .expect("451 4.3.0");
    daemon.wait_for_log(&["there are no credentials to verify at rcpt"]);
    client.quit();
}

/// With two worker threads and a saslauthd that takes its time, more clients wait than there are threads.
fn others() {
    let configuration = configuration(FILTER).set("server.system.thread_pool", "2");
    let socket = configuration.scratch().join("mux");
    let listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
    let configuration = configuration.set("server.smtp.auth.saslauthd", &format!("{socket:?}"));
    let mut daemon = Daemon::start(configuration);
    let address = daemon.submissions();
    let mut waiting: Vec<Client> = (0..20).map(|_| secured(address)).collect();
    for client in &mut waiting {
        client.send(format!("{RIGHT}\r\n").as_bytes());
    }
    // Nobody accepts: all of them hang.
    let began = Instant::now();
    let asked: Vec<_> = (0..waiting.len())
        .map(|_| listener.accept().unwrap().0)
        .collect();
    let mut client = secured(address);
    client.command("NOOP").expect("250");
    client.quit();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    drop(asked);
    for client in &mut waiting {
        client.reply().expect("451");
    }
    daemon.stop();
}

fn end_of_stream() {
    let mut daemon = Daemon::start(
        configuration(FILTER)
            .user("john", "secret")
            .set("server.client_count_max", "1"),
    );
    for line in ["AUTH LOGIN", "AUTH PLAIN"] {
        let mut client = secured(daemon.submissions());
        client.command(line).expect("334");
        client.send(b"am9o");
        drop(client);
        // The only slot is free again.
        wait_for("a free slot", || {
            let mut client = Client::connect(daemon.smtp());
            (client.reply().code == 220).then(|| client.quit())
        });
    }
    daemon.stop();
}
