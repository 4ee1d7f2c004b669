//! Links, addresses, routes and neighbours of one network namespace: typed verbs over rtnetlink.
//!
//! The kernel has done what a function asks for when that function returns. Numbers carry the names of
//! `linux/rtnetlink.h` and of the headers that it includes; a test compares every request byte by byte with
//! what another implementation makes of it.

mod address;
mod bridge;
mod link;
mod mac;
mod neighbour;
mod route;
mod traffic;

use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use crate::error;
use crate::failpoint;
use crate::netlink::{Answers, Attributes, Protocol, Request, Socket};
use crate::netns::Netns;
use crate::patience;

pub(crate) use bridge::{BridgeSpec, PortSpec, VlanSpec};
pub(crate) use link::{Link, VethSpec};
pub(crate) use mac::Mac;
pub(crate) use route::RouteSpec;
pub(crate) use traffic::Bucket;

/// Address families, `linux/socket.h`.
const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_BRIDGE: u8 = 7;
const AF_INET6: u8 = 10;

/// A connection to the routing half of one namespace's kernel.
#[derive(Clone, Debug)]
pub(crate) struct Rtnl {
    socket: Rc<Socket>,
}

impl Rtnl {
    /// Connects to the namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { socket: Rc::new(Socket::open(Protocol::Route)?) })
    }

    /// Connects to `netns`.
    pub(crate) fn open_in(netns: &Netns) -> Result<io::Result<Self>, error::Error> {
        netns.visit(Self::open)
    }

    fn send(&self, request: &Request) -> io::Result<Answers> {
        patience::check()?;
        failpoint::request(request.kind())?;
        self.socket.exchange(request)
    }

    fn change(&self, request: &Request) -> io::Result<()> {
        self.send(request).map(drop)
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

/// An attribute that is an address.
fn with_ip(attributes: Attributes, kind: u16, address: IpAddr) -> Attributes {
    match address {
        IpAddr::V4(v4) => attributes.bytes(kind, &v4.octets()),
        IpAddr::V6(v6) => attributes.bytes(kind, &v6.octets()),
    }
}

/// The address that an attribute is.
fn read_ip(value: &[u8]) -> Option<IpAddr> {
    let v4 = value.try_into().map(|octets: [u8; 4]| IpAddr::from(octets)).ok();
    v4.or_else(|| value.try_into().map(|octets: [u8; 16]| IpAddr::from(octets)).ok())
}

#[cfg(test)]
mod tests;
