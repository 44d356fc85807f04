//! `net`: networks that everybody knows.

use crate::rules::object::Object;
use ipnet::{Ipv4Net, Ipv6Net};
use rhai::plugin::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

const RG_192: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16);
const RG_172: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12);
const RG_10: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8);
const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
const LINK_LOCAL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);
const LOOPBACK_6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128);
const UNIQUE_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);
const LINK_LOCAL_6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);

#[export_module]
pub(super) mod functions {
    /// `192.168.0.0/16` (RFC 1918).
    pub fn rg_192() -> Object {
        Object::Rg4(RG_192)
    }

    /// `172.16.0.0/12` (RFC 1918).
    pub fn rg_172() -> Object {
        Object::Rg4(RG_172)
    }

    /// `10.0.0.0/8` (RFC 1918).
    pub fn rg_10() -> Object {
        Object::Rg4(RG_10)
    }

    /// Every network that the internet does not route: those of RFC 1918, loopback, link-local and, in IPv6, unique
    /// local addresses (RFC 4193).
    pub fn non_routable() -> Object {
        Object::List(Arc::new([
            Object::Rg4(RG_192),
            Object::Rg4(RG_172),
            Object::Rg4(RG_10),
            Object::Rg4(LOOPBACK),
            Object::Rg4(LINK_LOCAL),
            Object::Rg6(LOOPBACK_6),
            Object::Rg6(UNIQUE_LOCAL),
            Object::Rg6(LINK_LOCAL_6),
        ]))
    }
}
