//! Links: messages and their verbs.

use std::io;
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::libc::{
    IFLA_ADDRESS, IFLA_EXT_MASK, IFLA_GROUP, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND,
    IFLA_LINK, IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_NET_NS_FD, RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK,
    RTM_SETLINK,
};

use super::bridge::{self, BridgeInfo, PortSpec};
use super::{AF_UNSPEC, Mac, Rtnl};
use crate::error;
use crate::netlink::{Attributes, Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Request, native, text};

/// Flags of a link, `linux/if.h`.
pub(super) const IFF_UP: u32 = 0x1;
pub(super) const IFF_PROMISC: u32 = 0x100;

/// `linux/veth.h`.
const VETH_INFO_PEER: u16 = 1;

/// A pair of connected ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VethSpec<'a> {
    /// The host end's name.
    pub host: &'a str,
    /// The host end's hardware address.
    pub host_mac: Mac,
    /// The host end's group.
    pub group: u32,
    /// The pod end's name.
    pub pod: &'a str,
    /// The pod end's hardware address.
    pub pod_mac: Mac,
    /// The pod's network namespace; absent for a pair whose ends both stay here.
    pub netns: Option<RawFd>,
    /// MTU of both ends, in bytes.
    pub mtu: u32,
    /// The bridge that the host end is a port of.
    pub master: Option<u32>,
}

/// What we need to know of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: Vec<u8>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its group.
    pub group: u32,
    /// Index of a veth's other end, in that end's namespace.
    pub peer: Option<u32>,
    /// Whether it was set up.
    pub up: bool,
    /// Whether it was told to take every frame.
    pub promiscuous: bool,
    /// What kind of link it is; empty for hardware.
    pub kind: String,
    /// Index of the bridge that it is a port of.
    pub master: Option<u32>,
    /// How it is as a bridge.
    pub bridge: BridgeInfo,
    /// How it is as a port of a bridge.
    pub port: PortSpec,
}

impl Rtnl {
    /// Creates both ends of a veth pair, the other one in its namespace. `EEXIST` when either name is
    /// taken.
    pub(crate) fn create_veth(&self, veth: &VethSpec<'_>) -> io::Result<()> {
        self.change(&new_veth(veth))
    }

    /// Sets the alias, which a person sees in `ip link`. The kernel ignores it at creation.
    pub(crate) fn set_alias(&self, name: &str, alias: &str) -> io::Result<()> {
        self.change(&set_alias(name, alias))
    }

    /// Sets a hardware address for good: a bridge that never got one takes its ports' lowest.
    pub(crate) fn set_mac(&self, index: u32, mac: &[u8]) -> io::Result<()> {
        self.change(&set_mac(index, mac))
    }

    /// Sets a link up or down.
    pub(crate) fn set_up(&self, index: u32, up: bool) -> io::Result<()> {
        self.change(&set_up(index, up))
    }

    /// The link called `name`, or none.
    pub(crate) fn link(&self, name: &str) -> io::Result<Option<Link>> {
        self.get_link(&get_link_by_name(name))
    }

    /// The link with `index`, or none.
    pub(crate) fn link_at(&self, index: u32) -> io::Result<Option<Link>> {
        self.get_link(&get_link_by_index(index))
    }

    fn get_link(&self, request: &Request) -> io::Result<Option<Link>> {
        match self.send(request) {
            Ok(answers) => Ok(answers.messages().find_map(read)),
            Err(error) if error::is(&error, Errno::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes the link called `name`; a veth's other end goes with it.
    pub(crate) fn delete_link(&self, name: &str) -> io::Result<()> {
        self.change(&delete_link(name))
    }
}

/// `struct ifinfomsg` in `linux/rtnetlink.h`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ifinfomsg {
    pub family: u8,
    pub index: u32,
    pub flags: u32,
    /// Which of the flags are meant.
    pub change: u32,
}

impl Ifinfomsg {
    pub(super) const LENGTH: usize = 16;

    /// A link that is up, or is to be.
    pub(super) const UP: Self = Self { family: AF_UNSPEC, index: 0, flags: IFF_UP, change: IFF_UP };

    /// The link with `index`.
    pub(super) fn of(index: u32) -> Self {
        Self { index, ..Self::default() }
    }

    pub(super) fn request(self, kind: u16, flags: u16, attributes: &Attributes) -> Request {
        Request::new(kind, flags, &self.render(), attributes)
    }

    fn render(self) -> [u8; Self::LENGTH] {
        let [i0, i1, i2, i3] = self.index.to_ne_bytes();
        let [f0, f1, f2, f3] = self.flags.to_ne_bytes();
        let [c0, c1, c2, c3] = self.change.to_ne_bytes();
        // Behind the family its padding, and the type of hardware.
        [self.family, 0, 0, 0, i0, i1, i2, i3, f0, f1, f2, f3, c0, c1, c2, c3]
    }
}

pub(super) fn new_veth(veth: &VethSpec<'_>) -> Request {
    // The peer may not be created up: the kernel answers ENOTCONN.
    let mut peer = Attributes::behind(&Ifinfomsg::default().render())
        .text(IFLA_IFNAME, veth.pod)
        .bytes(IFLA_ADDRESS, &veth.pod_mac.0)
        .native(IFLA_MTU, veth.mtu);
    if let Some(netns) = veth.netns {
        peer = peer.native(IFLA_NET_NS_FD, netns.cast_unsigned());
    }
    let info = Attributes::new()
        .text(IFLA_INFO_KIND, "veth")
        .plain(IFLA_INFO_DATA, &Attributes::new().plain(VETH_INFO_PEER, &peer));
    let mut host = Attributes::new()
        .text(IFLA_IFNAME, veth.host)
        .bytes(IFLA_ADDRESS, &veth.host_mac.0)
        .native(IFLA_MTU, veth.mtu)
        .native(IFLA_GROUP, veth.group)
        .plain(IFLA_LINKINFO, &info);
    if let Some(master) = veth.master {
        host = host.native(IFLA_MASTER, master);
    }
    Ifinfomsg::UP.request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &host)
}

pub(super) fn set_alias(name: &str, alias: &str) -> Request {
    let attributes = Attributes::new().text(IFLA_IFNAME, name).text(IFLA_IFALIAS, alias);
    Ifinfomsg::default().request(RTM_SETLINK, NLM_F_ACK, &attributes)
}

pub(super) fn set_mac(index: u32, mac: &[u8]) -> Request {
    let attributes = Attributes::new().bytes(IFLA_ADDRESS, mac);
    Ifinfomsg::of(index).request(RTM_SETLINK, NLM_F_ACK, &attributes)
}

pub(super) fn set_up(index: u32, up: bool) -> Request {
    let link = Ifinfomsg { flags: if up { IFF_UP } else { 0 }, change: IFF_UP, ..Ifinfomsg::of(index) };
    link.request(RTM_SETLINK, NLM_F_ACK, &Attributes::new())
}

pub(super) fn get_link_by_name(name: &str) -> Request {
    Ifinfomsg::default().request(RTM_GETLINK, 0, &without_counters().text(IFLA_IFNAME, name))
}

pub(super) fn get_link_by_index(index: u32) -> Request {
    Ifinfomsg::of(index).request(RTM_GETLINK, 0, &without_counters())
}

/// Counters are most of an answer and take a walk over all CPUs.
fn without_counters() -> Attributes {
    const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
    Attributes::new().native(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
}

pub(super) fn delete_link(name: &str) -> Request {
    let attributes = Attributes::new().text(IFLA_IFNAME, name);
    Ifinfomsg::default().request(RTM_DELLINK, NLM_F_ACK, &attributes)
}

/// Reads the answer that describes a link. What it says beside is passed over, and so is what is cut.
pub(super) fn read(message: Message<'_>) -> Option<Link> {
    let fixed = message.body().first_chunk::<{ Ifinfomsg::LENGTH }>()?;
    let [_, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *fixed;
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let mut link = Link {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        up: flags & IFF_UP != 0,
        promiscuous: flags & IFF_PROMISC != 0,
        ..Link::default()
    };
    for (kind, value) in message.attributes(Ifinfomsg::LENGTH) {
        link.take(kind, value);
    }
    (message.kind == RTM_NEWLINK).then_some(link)
}

impl Link {
    fn take(&mut self, kind: u16, value: &[u8]) {
        match kind {
            IFLA_IFNAME => self.name = text(value),
            IFLA_ADDRESS => self.mac = value.to_vec(),
            IFLA_MTU => self.mtu = native(value).unwrap_or_default(),
            IFLA_GROUP => self.group = native(value).unwrap_or_default(),
            IFLA_LINK => self.peer = native(value),
            IFLA_MASTER => self.master = native(value),
            IFLA_LINKINFO => bridge::read_info(value, self),
            _ => {}
        }
    }
}
