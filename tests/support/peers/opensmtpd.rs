//! OpenSMTPD: the mailboxes of `peer.example`, and a relay for everything else.

use super::{Peer, Tree, free_address};
use crate::support::Maildir;
use std::net::SocketAddr;

pub struct OpenSmtpd {
    peer: Peer,
    address: SocketAddr,
    relay: SocketAddr,
}

impl OpenSmtpd {
    /// Mail for other domains goes to `relay`.
    pub fn start(relay: SocketAddr) -> Self {
        let tree = Tree::new();
        tree.certify("opensmtpd.peer.example");
        let address = free_address();
        let greylisting = configuration(address, relay, "mary@peer.example");
        tree.write("etc/smtpd.conf", &greylisting);
        let peer = tree.start(&["/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf"], address);
        Self {
            peer,
            address,
            relay,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Greylists nobody any more. It reads its configuration at a start only.
    pub fn relent(&mut self) {
        let configuration = configuration(self.address, self.relay, "nobody@peer.example");
        self.peer.tree.write("etc/smtpd.conf", &configuration);
        self.peer.restart();
    }

    pub fn maildir(&self, user: &str) -> Maildir {
        self.peer.maildir(user)
    }

    pub fn wait_for_log(&self, parts: &[&str]) -> String {
        self.peer.wait_for_log(parts)
    }
}

/// John, Jill and Mary have mailboxes; who sends to `greylisted` must come back later.
fn configuration(address: SocketAddr, relay: SocketAddr, greylisted: &str) -> String {
    let users = ["john", "jill", "mary"].map(|user| format!("\"{user}@peer.example\" = \"mail\""));
    format!(
        "pki peer cert \"/etc/peer.pem\"
pki peer key \"/etc/peer.key\"
filter greylist phase rcpt-to match rcpt-to {{ \"{greylisted}\" }} reject \"451 4.7.1 come back later\"
listen on {} port {} tls pki peer hostname opensmtpd.peer.example filter greylist
table users {{ {} }}
action here maildir \"/mail/%{{rcpt.user}}\" virtual <users>
action onward relay host \"smtp://{relay}\"
match from any for domain \"peer.example\" action here
match from any for any action onward
",
        address.ip(),
        address.port(),
        users.join(", "),
    )
}
