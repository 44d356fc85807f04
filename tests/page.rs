//! The TLS chapter of the language's book, word for word: a folder stands for `/etc/vsmtp`, loopback and ports of our
//! own for `192.168.1.254`, `25` and `465`; nothing else differs.

use crate::support::{
    Certificate, Client, Configuration, Daemon, Handshake, Start, run, trial_with,
};
use libtest_mimic::Trial;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

/// `/etc/vsmtp/conf.d/config.vsl`
const ROOT_TLS: &str = r#"fn on_config(config) {
  // Add root TLS settings.
  config.server.tls = #{
    preempt_cipherlist: false,
    handshake_timeout: "1000ms",
    protocol_version: ["TLSv1.2", "TLSv1.3"],
  };

  config
}
"#;

/// `/etc/vsmtp/filter.vsl`
const POLICY: &str = r#"#{
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
}
"#;

/// `/etc/vsmtp/domain-available/example.com/config.vsl`
const DOMAIN: &str = r#"fn on_domain_config(config) {
  config.tls = #{
    certificate: "/etc/vsmtp/certs/fullchain.pem",
    private_key: "/etc/vsmtp/certs/privkey.pem",
  };

  config
}
"#;

/// `/etc/vsmtp/conf.d/config.vsl`, with a default domain.
const DEFAULT_DOMAIN: &str = r#"fn on_config(config) {
  // ...

  config.server.tls = #{
    // ...
    root: #{
      certificate: "/etc/vsmtp/certs/fullchain.pem",
      private_key: "/etc/vsmtp/certs/privkey.pem",
    }
  };

  config
}
"#;

const WITHOUT_SNI: [&str; 2] = [
    "openssl s_client -starttls smtp -crlf -connect 192.168.1.254:25",
    "openssl s_client -crlf -connect 192.168.1.254:465",
];

const WITH_SNI: [&str; 2] = [
    "openssl s_client -starttls smtp -crlf -connect 192.168.1.254:25 -servername example.com",
    "openssl s_client -crlf -connect 192.168.1.254:465 -servername example.com",
];

pub fn trials() -> Vec<Trial> {
    vec![
        trial_with(&["openssl"], "page::sni_is_required", sni_is_required),
        trial_with(&["openssl"], "page::default_domain", default_domain),
        trial_with(&[], "page::policy", policy),
    ]
}

/// The page's files, and sockets from systemd, since what the page leaves unsaid are ports that belong to root.
struct Page {
    daemon: Daemon,
    smtp: SocketAddr,
    submissions: SocketAddr,
}

impl Page {
    fn serve(config: &str) -> Self {
        let configuration = Configuration::bare();
        let root = configuration.root();
        let place = |text: &str| text.replace("/etc/vsmtp", &root.display().to_string());
        configuration.file("conf.d/config.vsl", &place(config));
        configuration.file("filter.vsl", &place(POLICY));
        configuration.file("domain-available/example.com/config.vsl", &place(DOMAIN));
        let certificate = Certificate::new(&["example.com"]);
        configuration.file("certs/fullchain.pem", &certificate.pem());
        configuration.file("certs/privkey.pem", &certificate.key_pem());
        let state = configuration.state().display().to_string();

        let [smtp, submissions] = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        Self {
            smtp: smtp.local_addr().unwrap(),
            submissions: submissions.local_addr().unwrap(),
            daemon: Start::new(configuration)
                .unprivileged()
                .env("STATE_DIRECTORY", state)
                .sockets(
                    vec![smtp.into(), submissions.into()],
                    Some("smtp:submissions"),
                )
                .ready(),
        }
    }

    /// Runs one of the page's commands.
    fn run(&self, command: &str) -> Handshake {
        let command = command
            .replace("192.168.1.254:25", &self.smtp.to_string())
            .replace("192.168.1.254:465", &self.submissions.to_string());
        // Q is how the operator leaves s_client.
        Handshake::parse(run(Command::new("sh").arg("-c").arg(command), "Q\n"))
    }
}

fn sni_is_required() {
    let page = Page::serve(ROOT_TLS);
    for command in WITHOUT_SNI {
        page.run(command).is_refused();
    }
    for command in WITH_SNI {
        page.run(command).shows("example.com");
    }
    page.daemon.stop();
}

fn default_domain() {
    let page = Page::serve(DEFAULT_DOMAIN);
    for command in WITHOUT_SNI.iter().chain(&WITH_SNI) {
        page.run(command).shows("example.com");
    }
    page.daemon.stop();
}

fn policy() {
    let page = Page::serve(ROOT_TLS);
    let mut client = Client::hello(page.smtp);
    let reply = client.command("MAIL FROM:<john@example.net>");
    assert_eq!(
        reply.text(),
        "451 5.7.3 Must issue a STARTTLS command first"
    );
    client.starttls(Some("example.com"));
    client.command("MAIL FROM:<john@example.net>").expect("250");
    client.quit();
    let mut client = Client::hello_tls(page.submissions, Some("example.com"));
    client.command("MAIL FROM:<john@example.net>").expect("250");
    client.quit();
    page.daemon.stop();
}
