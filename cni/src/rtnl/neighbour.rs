//! Neighbours of links: messages and their verbs.

use std::io;
use std::net::IpAddr;

use nix::libc::{NDA_DST, NDA_LLADDR, NUD_PERMANENT, RTM_GETNEIGH, RTM_NEWNEIGH};

use super::{Mac, Rtnl, family, read_ip, with_ip};
use crate::netlink::{Attributes, Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, Request};

/// Length of `struct ndmsg` in `linux/neighbour.h`: family, padding, index of the link, state, flags, type.
const NDMSG: usize = 12;

impl Rtnl {
    /// A neighbour that is never asked for and never expires.
    pub(crate) fn add_neighbour(&self, index: u32, address: IpAddr, mac: Mac) -> io::Result<()> {
        self.change(&new_neighbour(index, address, mac))
    }

    /// Permanent neighbours of a link. A dump, and so not for ADD or DEL.
    pub(crate) fn neighbours(&self, index: u32) -> io::Result<Vec<(IpAddr, Vec<u8>)>> {
        let answers = self.send(&dump_neighbours())?;
        Ok(answers.messages().filter_map(|message| permanent(message, index)).collect())
    }
}

pub(super) fn new_neighbour(index: u32, address: IpAddr, mac: Mac) -> Request {
    const RTN_UNICAST: u8 = 1;
    let [i0, i1, i2, i3] = index.to_ne_bytes();
    let [s0, s1] = NUD_PERMANENT.to_ne_bytes();
    let fixed: [u8; NDMSG] = [family(address), 0, 0, 0, i0, i1, i2, i3, s0, s1, 0, RTN_UNICAST];
    let attributes = with_ip(Attributes::new(), NDA_DST, address).bytes(NDA_LLADDR, &mac.0);
    Request::new(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, &fixed, &attributes)
}

pub(super) fn dump_neighbours() -> Request {
    // Of all families: `AF_UNSPEC` is 0.
    Request::new(RTM_GETNEIGH, NLM_F_DUMP, &[0; NDMSG], &Attributes::new())
}

/// Address and hardware address of a neighbour of the link with `index`, if it never expires.
pub(super) fn permanent(message: Message<'_>, index: u32) -> Option<(IpAddr, Vec<u8>)> {
    let [_, _, _, _, i0, i1, i2, i3, s0, s1, ..] = message.body().first_chunk::<NDMSG>()?;
    let attributes = message.attributes(NDMSG);
    let address = attributes.find(NDA_DST).and_then(read_ip)?;
    let mac = attributes.find(NDA_LLADDR)?.to_vec();
    let meant = message.kind == RTM_NEWNEIGH
        && u32::from_ne_bytes([*i0, *i1, *i2, *i3]) == index
        && u16::from_ne_bytes([*s0, *s1]) == NUD_PERMANENT;
    meant.then_some((address, mac))
}
