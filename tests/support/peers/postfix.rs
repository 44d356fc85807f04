//! Postfix: the mailboxes of `peer.example`, and a relay for everything else.

use super::{Peer, Tree, free_address};
use crate::support::Maildir;
use nix::sys::signal::Signal;
use std::net::SocketAddr;

const MASTER: &str = "\
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
virtual   unix  -       n       n       -       -       virtual
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
";

/// A transaction may have three recipients. Who sends to Mary must come back later, until [`Postfix::relent`].
const MAIN: &str = "\
compatibility_level = 3.6
maillog_file = /var/log/peer
myhostname = postfix.peer.example
mydestination =
local_transport = error:none
alias_maps =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_tls_security_level = may
smtp_tls_loglevel = 1
smtpd_tls_security_level = may
smtpd_tls_cert_file = /etc/peer.pem
smtpd_tls_key_file = /etc/peer.key
smtpd_tls_received_header = yes
smtpd_recipient_restrictions = check_recipient_access texthash:/etc/postfix/greylist, permit_mynetworks, reject
virtual_mailbox_domains = peer.example
virtual_mailbox_base = /mail
virtual_mailbox_maps = texthash:/etc/postfix/mailboxes
virtual_minimum_uid = 8
virtual_uid_maps = static:8
virtual_gid_maps = static:8
smtpd_recipient_limit = 3
message_size_limit = 50000000
virtual_mailbox_limit = 0
minimal_backoff_time = 1s
queue_run_delay = 1s
";

/// Their local-parts, and the folders of their mailboxes.
const MAILBOXES: [(&str, &str); 9] = [
    ("john", "john"),
    ("jill", "jill"),
    ("mary", "mary"),
    ("jörg", "joerg"),
    ("one", "one"),
    ("two", "two"),
    ("three", "three"),
    ("four", "four"),
    ("five", "five"),
];

pub struct Postfix {
    peer: Peer,
    address: SocketAddr,
}

impl Postfix {
    /// Mail for other domains goes to `relay`.
    pub fn start(relay: SocketAddr) -> Self {
        let tree = Tree::new();
        let address = free_address();
        tree.certify("postfix.peer.example");
        let relay = format!("relayhost = [{}]:{}\n", relay.ip(), relay.port());
        tree.write("etc/postfix/main.cf", &(relay + MAIN));
        let smtpd = format!("{address} inet n - n - - smtpd\n");
        tree.write("etc/postfix/master.cf", &(smtpd + MASTER));
        let mailboxes = MAILBOXES.map(|(user, folder)| format!("{user}@peer.example {folder}/\n"));
        tree.write("etc/postfix/mailboxes", &mailboxes.concat());
        tree.write(
            "etc/postfix/greylist",
            "mary@peer.example 450 4.7.1 come back later\n",
        );
        let peer = tree.start(&["/usr/lib/postfix/sbin/master", "-s"], address);
        Self { peer, address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Greylists nobody any more.
    pub fn relent(&self) {
        self.peer.tree.write("etc/postfix/greylist", "");
        self.peer.signal(Signal::SIGHUP);
    }

    pub fn maildir(&self, user: &str) -> Maildir {
        self.peer.maildir(user)
    }

    pub fn wait_for_log(&self, parts: &[&str]) -> String {
        self.peer.wait_for_log(parts)
    }
}
