//! Addresses of links: messages and their verbs.

use std::io;

use ipnetwork::IpNetwork;
use nix::libc::{IFA_ADDRESS, IFA_FLAGS, IFA_LOCAL, RTM_DELADDR, RTM_GETADDR, RTM_NEWADDR};

use super::{AF_UNSPEC, Rtnl, family, read_ip, with_ip};
use crate::netlink::{Attributes, Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, Request, native};

/// Without duplicate address detection, `linux/if_addr.h`.
const IFA_F_NODAD: u8 = 0x2;

/// Length of `struct ifaddrmsg`: family, length of the prefix, flags, scope, index of the link.
const IFADDRMSG: usize = 8;

impl Rtnl {
    /// Gives `address` to a link, without duplicate address detection.
    pub(crate) fn add_address(&self, index: u32, address: IpNetwork) -> io::Result<()> {
        self.change(&new_address(index, address))
    }

    /// Takes `address` from a link.
    pub(crate) fn delete_address(&self, index: u32, address: IpNetwork) -> io::Result<()> {
        self.change(&delete_address(index, address))
    }

    /// All addresses of a link. A dump, and so not for ADD or DEL.
    pub(crate) fn addresses(&self, index: u32) -> io::Result<Vec<IpNetwork>> {
        let answers = self.send(&dump_addresses(index))?;
        Ok(answers.messages().filter_map(|message| read(message, index)).collect())
    }
}

fn ifaddrmsg(family: u8, prefix: u8, flags: u8, index: u32) -> [u8; IFADDRMSG] {
    const RT_SCOPE_UNIVERSE: u8 = 0;
    let [i0, i1, i2, i3] = index.to_ne_bytes();
    [family, prefix, flags, RT_SCOPE_UNIVERSE, i0, i1, i2, i3]
}

fn of(address: IpNetwork) -> Attributes {
    with_ip(with_ip(Attributes::new(), IFA_LOCAL, address.ip()), IFA_ADDRESS, address.ip())
}

pub(super) fn new_address(index: u32, address: IpNetwork) -> Request {
    let fixed = ifaddrmsg(family(address.ip()), address.prefix(), IFA_F_NODAD, index);
    // Nobody else has the pod's address; waiting to find that out costs a second.
    let attributes = of(address).native(IFA_FLAGS, u32::from(IFA_F_NODAD));
    Request::new(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &fixed, &attributes)
}

pub(super) fn delete_address(index: u32, address: IpNetwork) -> Request {
    let fixed = ifaddrmsg(family(address.ip()), address.prefix(), 0, index);
    Request::new(RTM_DELADDR, NLM_F_ACK, &fixed, &of(address))
}

pub(super) fn dump_addresses(index: u32) -> Request {
    Request::new(RTM_GETADDR, NLM_F_DUMP, &ifaddrmsg(AF_UNSPEC, 0, 0, index), &Attributes::new())
}

/// The address that `message` says the link with `index` has.
pub(super) fn read(message: Message<'_>, index: u32) -> Option<IpNetwork> {
    let [_, prefix, _, _, of @ ..] = message.body().first_chunk::<IFADDRMSG>()?;
    let address = message.attributes(IFADDRMSG).find(IFA_ADDRESS).and_then(read_ip)?;
    let meant = message.kind == RTM_NEWADDR && native(of) == Some(index);
    IpNetwork::new(address, *prefix).ok().filter(|_| meant)
}
