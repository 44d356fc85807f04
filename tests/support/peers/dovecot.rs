//! Dovecot: mailboxes that are filled by LMTP, over TCP and over a unix socket, and read by IMAP.

use super::{Peer, Tree, free_address};
use crate::support::Maildir;
use std::net::SocketAddr;
use std::path::PathBuf;

/// John has a mailbox; that of Mary is so small that nothing fits.
const USERS: &str = "\
john:secret::::::
mary:secret::::::userdb_quota_rule=*:bytes=10
";

pub struct Dovecot {
    peer: Peer,
    lmtp: SocketAddr,
    imap: SocketAddr,
}

impl Dovecot {
    pub fn start() -> Self {
        let tree = Tree::new();
        let (lmtp, imap) = (free_address(), free_address());
        tree.write("etc/dovecot/dovecot.conf", &configuration(lmtp, imap));
        tree.write("etc/dovecot/users", USERS);
        let peer = tree.start(&["/usr/sbin/dovecot", "-F"], lmtp);
        Self { peer, lmtp, imap }
    }

    pub fn lmtp(&self) -> SocketAddr {
        self.lmtp
    }

    pub fn lmtp_socket(&self) -> PathBuf {
        self.peer.tree.path("run/dovecot/lmtp")
    }

    pub fn imap(&self) -> SocketAddr {
        self.imap
    }

    pub fn maildir(&self, user: &str) -> Maildir {
        self.peer.maildir(user)
    }
}

fn configuration(lmtp: SocketAddr, imap: SocketAddr) -> String {
    format!(
        "protocols = lmtp imap
log_path = /var/log/peer
base_dir = /run/dovecot
ssl = no
disable_plaintext_auth = no
mail_location = maildir:/mail/%n
mail_plugins = quota
first_valid_uid = 8
passdb {{
  driver = passwd-file
  args = scheme=plain username_format=%n /etc/dovecot/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%n /etc/dovecot/users
  default_fields = uid=mail gid=mail home=/mail/%n
}}
plugin {{
  quota = maildir
  quota_rule = *:storage=1G
}}
quota_full_tempfail = yes
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = {}
    port = {}
  }}
}}
service imap-login {{
  inet_listener imap {{
    address = {}
    port = {}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
",
        lmtp.ip(),
        lmtp.port(),
        imap.ip(),
        imap.port(),
    )
}
