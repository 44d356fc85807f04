//! How many clients may be served at once: all together (`server.client_count_max`), and from one address
//! (`server.client_count_max_per_address`), so that one flood does not take every place.

use super::Options;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places that all listeners share.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// One client's place. Given back when it is dropped, however its session ends.
#[derive(Debug)]
pub(super) struct Slot {
    client: SocketAddr,
    slots: Slots,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("server.client_count_max clients are served")]
    Server,
    #[error("server.client_count_max_per_address clients of this address are served")]
    Address,
}

impl Slots {
    /// A place for `client`, if `options` leave one. The limits are asked for each time because a reload may change them.
    pub fn take(&self, client: SocketAddr, options: &Options) -> Result<Slot, Full> {
        let mut taken = self.lock();
        let is_full = |taken: usize, most: Option<usize>| most.is_some_and(|most| taken >= most);
        if is_full(taken.all, options.client_count_max) {
            return Err(Full::Server);
        }
        let of_source = taken.by_source.get(&source(client)).copied().unwrap_or(0);
        if is_full(of_source, options.client_count_max_per_address) {
            return Err(Full::Address);
        }
        taken.all += 1;
        taken.by_source.insert(source(client), of_source + 1);
        let slots = self.clone();
        Ok(Slot { client, slots })
    }

    fn give_back(&self, client: SocketAddr) {
        let mut taken = self.lock();
        taken.all = taken.all.saturating_sub(1);
        let source = source(client);
        match taken.by_source.get_mut(&source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.by_source.remove(&source)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts as one address: of IPv6 the /64 that a single host is given (RFC 6177 §2).
fn source(client: SocketAddr) -> IpAddr {
    match client.ip() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.give_back(self.client);
        // tokio catches the panic and keeps the others going; without this, nobody would know whose session it was.
        if std::thread::panicking() {
            tracing::error!(client = %self.client, "session ended by a panic");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Full, Slots};
    use crate::server::Options;
    use crate::server::tests::options;
    use std::net::SocketAddr;

    fn limits(all: Option<usize>, address: Option<usize>) -> Options {
        Options {
            client_count_max: all,
            client_count_max_per_address: address,
            ..options()
        }
    }

    fn client(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn a_slot_is_given_back() {
        let client = client("192.0.2.1:1");
        let slots = Slots::default();
        for one in [limits(Some(1), None), limits(None, Some(1))] {
            for _ in 0..3 {
                let slot = slots.take(client, &one).unwrap();
                assert!(slots.take(client, &one).is_err());
                let thrown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                    let _slot = slot;
                    std::panic::resume_unwind(Box::new(()));
                }));
                assert!(thrown.is_err());
            }
        }
        assert!(slots.take(client, &limits(Some(0), None)).is_err());
        assert!(slots.take(client, &limits(None, None)).is_ok());
        assert!(slots.lock().by_source.is_empty());
    }

    #[test]
    fn a_limit_may_change() {
        let client = client("192.0.2.1:1");
        let slots = Slots::default();
        let _first = slots.take(client, &limits(Some(1), None)).unwrap();
        let _second = slots.take(client, &limits(Some(2), None)).unwrap();
        assert!(slots.take(client, &limits(Some(1), None)).is_err());
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let slots = Slots::default();
        let limits = limits(Some(3), Some(1));
        let mut taken = Vec::new();
        for (address, expected) in [
            ("192.0.2.1:1", None),
            ("192.0.2.1:2", Some(Full::Address)),
            ("192.0.2.2:1", None),
            ("[2001:db8::1]:1", None),
            ("[2001:db8::2]:1", Some(Full::Server)),
        ] {
            let slot = slots.take(client(address), &limits);
            assert_eq!(slot.as_ref().err(), expected.as_ref(), "{address}");
            taken.extend(slot);
        }
        taken.remove(0);
        assert_eq!(
            slots.take(client("[2001:db8::2]:1"), &limits).err(),
            Some(Full::Address)
        );
        assert!(slots.take(client("[2001:db8:0:1::]:1"), &limits).is_ok());
    }
}
