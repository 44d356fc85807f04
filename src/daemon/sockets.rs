//! Listening sockets: those that systemd passed (sd_listen_fds(3)), and those that the configuration names.

use crate::config::Interfaces;
use crate::mail::Service;
use listenfd::ListenFd;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, getsockopt, listen,
    setsockopt, socket, sockopt,
};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;

/// The first descriptor that systemd passes.
const FIRST_FD: usize = 3;

/// Why there is nothing to listen on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A descriptor from the service manager is not a listening TCP socket.
    #[error(
        "fd {fd} (named \"{name}\") from the service manager cannot be used: {why}: let its socket unit say ListenStream= with an address and a port"
    )]
    Unusable {
        /// The descriptor.
        fd: usize,
        /// Its `FileDescriptorName`.
        name: String,
        /// What it is instead.
        why: String,
    },
    /// Neither the name nor the port tells what to speak on it.
    #[error(
        "fd {fd} (named \"{name}\", listening on {address}) from the service manager: neither its name nor its port tells the service: set FileDescriptorName= to smtp, submission or submissions"
    )]
    Nameless {
        /// The descriptor.
        fd: usize,
        /// Its `FileDescriptorName`.
        name: String,
        /// Where it listens.
        address: SocketAddr,
    },
    /// The system refuses an address of the configuration.
    #[error("cannot listen on {address} ({key}): {error}: {}", remedy(error))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The configuration key that names it.
        key: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl Error {
    /// Whether more rights would help.
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::Bind { error, .. } if error.kind() == io::ErrorKind::PermissionDenied)
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need systemd's socket activation, or a start as root"
        }
        io::ErrorKind::AddrInUse => "stop the program that has it, or choose another port",
        io::ErrorKind::AddrNotAvailable => "use an address of this machine",
        _ => "choose another address",
    }
}

/// Every socket to serve, listening, with what to speak on it.
///
/// Those that systemd passed, and each address of `interfaces` that is not among them; when there are neither, the
/// usual ports of the loopback interface. Call it once, before any thread starts: it takes systemd's variables out of
/// the environment.
pub fn open(interfaces: &Interfaces) -> Result<Vec<(Service, TcpListener)>, Error> {
    // Read first: taking the descriptors removes the variables that belong to them.
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut sockets = inherited(ListenFd::from_env(), &names)?;
    let mut wanted = configured(interfaces);
    if wanted.is_empty() && sockets.is_empty() {
        wanted = loopback();
    }
    let taken: Vec<_> = sockets
        .iter()
        .filter_map(|(_, socket)| socket.local_addr().ok())
        .collect();
    wanted.retain(|(_, _, address)| !taken.contains(address));
    let addresses: Vec<_> = wanted.iter().map(|(_, _, address)| *address).collect();
    for (service, key, address) in wanted {
        let socket = listen_on(address, &addresses).map_err(|error| Error::Bind {
            address,
            key,
            error,
        })?;
        sockets.push((service, socket));
    }
    Ok(sockets)
}

/// Sockets for content filters to give messages back, which `receivers` name.
pub fn for_filters(receivers: &[SocketAddr]) -> Result<Vec<(Service, TcpListener)>, Error> {
    let listen = |&address| {
        let socket = listen_on(address, &[]).map_err(|error| Error::Bind {
            address,
            key: "receiver of smtp::connect()",
            error,
        })?;
        Ok((Service::Delegation, socket))
    };
    receivers.iter().map(listen).collect()
}

fn inherited(mut passed: ListenFd, names: &str) -> Result<Vec<(Service, TcpListener)>, Error> {
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        let fd = FIRST_FD + index;
        let name = names.next().unwrap_or_default();
        let unusable = |why: String| Error::Unusable {
            fd,
            name: name.escape_debug().to_string(),
            why,
        };
        let socket = passed
            .take_tcp_listener(index)
            .map_err(|error| unusable(error.to_string()))?
            .ok_or_else(|| unusable("it was taken before".into()))?;
        if !getsockopt(&socket, sockopt::AcceptConn).unwrap_or(false) {
            return Err(unusable("it does not listen".into()));
        }
        let address = socket
            .local_addr()
            .map_err(|error| unusable(error.to_string()))?;
        let service = by_name(name)
            .or_else(|| by_port(address.port()))
            .ok_or_else(|| Error::Nameless {
                fd,
                name: name.escape_debug().to_string(),
                address,
            })?;
        sockets.push((service, socket));
    }
    Ok(sockets)
}

fn by_name(name: &str) -> Option<Service> {
    match name {
        "smtp" => Some(Service::Relay),
        "submission" => Some(Service::Submission),
        "submissions" => Some(Service::Submissions),
        _ => None,
    }
}

fn by_port(port: u16) -> Option<Service> {
    match port {
        25 => Some(Service::Relay),
        587 => Some(Service::Submission),
        465 => Some(Service::Submissions),
        _ => None,
    }
}

type Wanted = (Service, &'static str, SocketAddr);

fn configured(interfaces: &Interfaces) -> Vec<Wanted> {
    let lists = [
        (Service::Relay, "server.interfaces.addr", &interfaces.addr),
        (
            Service::Submission,
            "server.interfaces.addr_submission",
            &interfaces.addr_submission,
        ),
        (
            Service::Submissions,
            "server.interfaces.addr_submissions",
            &interfaces.addr_submissions,
        ),
    ];
    lists
        .into_iter()
        .flat_map(|(service, key, list)| list.iter().map(move |&address| (service, key, address)))
        .collect()
}

fn loopback() -> Vec<Wanted> {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    configured(&Interfaces {
        addr: vec![address(25)],
        addr_submission: vec![address(587)],
        addr_submissions: vec![address(465)],
    })
}

fn listen_on(address: SocketAddr, all: &[SocketAddr]) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Lets a restart bind while connections of the last process linger in TIME_WAIT.
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    // `[::]:25` alone serves both families; beside `0.0.0.0:25` it must leave IPv4 to that one.
    let shared = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port();
    if address.is_ipv6() && all.iter().any(shared) {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    // The system lowers it to net.core.somaxconn.
    listen(&fd, Backlog::MAXCONN)?;
    Ok(TcpListener::from(fd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_service_by_name_then_by_port() {
        for (name, port, expected) in [
            ("smtp", 2525, Some(Service::Relay)),
            ("submissions", 25, Some(Service::Submissions)),
            ("vsmtp.socket", 587, Some(Service::Submission)),
            ("", 465, Some(Service::Submissions)),
            ("unknown", 2525, None),
        ] {
            assert_eq!(by_name(name).or_else(|| by_port(port)), expected, "{name}");
        }
    }

    #[test]
    fn both_families_share_a_port() {
        let v4 = listen_on("0.0.0.0:0".parse().unwrap(), &[]).unwrap();
        let port = v4.local_addr().unwrap().port();
        let wanted = [
            SocketAddr::from(([0, 0, 0, 0], port)),
            SocketAddr::from(([0; 8], port)),
        ];
        match listen_on(wanted[1], &wanted) {
            Ok(v6) => assert_eq!(v6.local_addr().unwrap().port(), port),
            // A machine without IPv6.
            Err(error) => assert_ne!(error.kind(), io::ErrorKind::AddrInUse),
        }
    }

    #[test]
    fn names_the_address_and_the_key_that_cannot_be_bound() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let interfaces = Interfaces {
            addr_submission: vec![address],
            ..Interfaces::default()
        };
        let text = open(&interfaces).unwrap_err().to_string();
        assert!(text.contains(&address.to_string()), "{text}");
        assert!(text.contains("server.interfaces.addr_submission"), "{text}");
        assert!(text.contains("stop the program"), "{text}");
    }
}
