//! The rtnetlink messages we send. Pure.

use std::fmt;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};

use super::Message;
use crate::spec::RouteOptions;

/// Marks our routes, so that an agent can tell its own from foreign ones.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(84);

/// `RTNH_F_ONLINK`: the gateway is on this link although no route says so.
const ONLINK: u32 = 4;

/// An Ethernet hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Mac(pub [u8; 6]);

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

/// A unicast route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteSpec {
    /// Destination prefix.
    pub destination: IpNetwork,
    /// Next hop; absent when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The device.
    pub device: u32,
    /// Source that the host itself uses towards the destination.
    pub source: Option<IpAddr>,
    /// What else there is to say.
    pub options: RouteOptions,
}

impl fmt::Display for RouteSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        self.gateway.map_or(Ok(()), |gateway| write!(f, " via {gateway}"))?;
        self.source.map_or(Ok(()), |source| write!(f, " src {source}"))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = ();

    /// Six bytes in hexadecimal, with colons or dashes between them.
    fn from_str(text: &str) -> Result<Self, ()> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let byte = |digits: &str| {
            let digits = Some(digits).filter(|two| two.bytes().all(|digit| digit.is_ascii_hexdigit()));
            u8::from_str_radix(digits.filter(|two| two.len() == 2)?, 16).ok()
        };
        let bytes: Option<Vec<u8>> = text.split(separator).map(byte).collect();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(())
    }
}

impl Mac {
    /// Whether one interface can have it.
    pub(crate) fn is_unicast(self) -> bool {
        let Self([first, ..]) = self;
        first & 1 == 0 && self.0 != [0; 6]
    }
}

impl TryFrom<String> for Mac {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map_err(|()| "no hardware address")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

pub(super) fn request(message: RouteNetlinkMessage, flags: u16) -> Message {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | flags;
    message
}

pub(super) fn new_veth(veth: &VethSpec<'_>) -> Message {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(veth.pod.to_owned()),
        LinkAttribute::Address(veth.pod_mac.0.to_vec()),
        LinkAttribute::Mtu(veth.mtu),
    ];
    peer.attributes.extend(veth.netns.map(LinkAttribute::NetNsFd));
    let mut host = LinkMessage::default();
    // The peer may not be created up: the kernel answers ENOTCONN.
    host.header.flags = LinkFlags::Up;
    host.header.change_mask = LinkFlags::Up;
    host.attributes = vec![
        LinkAttribute::IfName(veth.host.to_owned()),
        LinkAttribute::Address(veth.host_mac.0.to_vec()),
        LinkAttribute::Mtu(veth.mtu),
        LinkAttribute::Group(veth.group),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    host.attributes.extend(veth.master.map(LinkAttribute::Controller));
    request(RouteNetlinkMessage::NewLink(host), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
}

pub(super) fn set_alias(name: &str, alias: &str) -> Message {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::IfAlias(alias.to_owned())];
    request(RouteNetlinkMessage::SetLink(link), NLM_F_ACK)
}

pub(super) fn set_mac(index: u32, mac: &[u8]) -> Message {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes = vec![LinkAttribute::Address(mac.to_vec())];
    request(RouteNetlinkMessage::SetLink(link), NLM_F_ACK)
}

pub(super) fn set_up(index: u32, up: bool) -> Message {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    link.header.change_mask = LinkFlags::Up;
    request(RouteNetlinkMessage::SetLink(link), NLM_F_ACK)
}

pub(super) fn get_link_by_name(name: &str) -> Message {
    get_link(0, Some(LinkAttribute::IfName(name.to_owned())))
}

pub(super) fn get_link_by_index(index: u32) -> Message {
    get_link(index, None)
}

fn get_link(index: u32, name: Option<LinkAttribute>) -> Message {
    let mut link = LinkMessage::default();
    link.header.index = index;
    // Counters are most of an answer and take a walk over all CPUs.
    link.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    link.attributes.extend(name);
    request(RouteNetlinkMessage::GetLink(link), 0)
}

pub(super) fn delete_link(name: &str) -> Message {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    request(RouteNetlinkMessage::DelLink(link), NLM_F_ACK)
}

pub(super) fn new_address(index: u32, address: IpNetwork) -> Message {
    let mut message = AddressMessage::default();
    message.header.family = family(address.ip());
    message.header.prefix_len = address.prefix();
    message.header.flags = AddressHeaderFlags::Nodad;
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(address.ip()),
        AddressAttribute::Address(address.ip()),
        // Nobody else has the pod's address; waiting to find that out costs a second.
        AddressAttribute::Flags(AddressFlags::Nodad),
    ];
    request(RouteNetlinkMessage::NewAddress(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
}

pub(super) fn delete_address(index: u32, address: IpNetwork) -> Message {
    let mut message = AddressMessage::default();
    message.header.family = family(address.ip());
    message.header.prefix_len = address.prefix();
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(address.ip()), AddressAttribute::Address(address.ip())];
    request(RouteNetlinkMessage::DelAddress(message), NLM_F_ACK)
}

pub(super) fn dump_addresses(index: u32) -> Message {
    let mut message = AddressMessage::default();
    message.header.index = index;
    request(RouteNetlinkMessage::GetAddress(message), NLM_F_DUMP)
}

pub(super) fn new_neighbour(index: u32, address: IpAddr, mac: Mac) -> Message {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.kind = RouteType::Unicast;
    let destination = match address {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    };
    message.attributes = vec![
        NeighbourAttribute::Destination(destination),
        NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()),
    ];
    request(RouteNetlinkMessage::NewNeighbour(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)
}

pub(super) fn new_route(route: &RouteSpec) -> Message {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.destination.ip());
    message.header.destination_prefix_length = route.destination.prefix();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = PROTOCOL;
    message.header.kind = RouteType::Unicast;
    message.header.scope = if route.gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::from(route.destination.network())),
        RouteAttribute::Oif(route.device),
    ];
    if let Some(gateway) = route.gateway {
        message.header.flags = RouteFlags::from_bits_retain(ONLINK);
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
    }
    message.attributes.extend(route.source.map(|ip| RouteAttribute::PrefSource(RouteAddress::from(ip))));
    set_route_options(&mut message, route.options);
    request(RouteNetlinkMessage::NewRoute(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
}

fn set_route_options(message: &mut RouteMessage, options: RouteOptions) {
    // The header has room for the first 256 tables only; this attribute wins over it.
    message.attributes.extend(options.table.map(RouteAttribute::Table));
    message.attributes.extend(options.priority.map(RouteAttribute::Priority));
    if let Some(scope) = options.scope {
        message.header.scope = RouteScope::from(scope);
    }
    let metrics = [options.mtu.map(RouteMetric::Mtu), options.advmss.map(RouteMetric::Advmss)];
    let metrics: Vec<RouteMetric> = metrics.into_iter().flatten().collect();
    if !metrics.is_empty() {
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
}

pub(super) fn dump_routes(v4: bool) -> Message {
    let mut message = RouteMessage::default();
    message.header.address_family = if v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    request(RouteNetlinkMessage::GetRoute(message), NLM_F_DUMP)
}

/// Where `route` leads, if it leaves by the device with `index`.
pub(super) fn destination_by(route: &RouteMessage, index: u32) -> Option<IpNetwork> {
    let by_device =
        route.attributes.iter().any(|one| matches!(one, RouteAttribute::Oif(oif) if *oif == index));
    let address = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Destination(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    });
    // A default route states no destination.
    let any = match route.header.address_family {
        AddressFamily::Inet => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    };
    let prefix = IpNetwork::new(address.unwrap_or(any), route.header.destination_prefix_length).ok();
    prefix.filter(|_| by_device)
}

pub(super) fn dump_neighbours() -> Message {
    request(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), NLM_F_DUMP)
}

/// Address and hardware address of `neighbour`, if it never expires.
pub(super) fn permanent(neighbour: &NeighbourMessage) -> Option<(IpAddr, Vec<u8>)> {
    let address = neighbour.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    })?;
    let mac = neighbour.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(mac) => Some(mac.clone()),
        _ => None,
    })?;
    (neighbour.header.state == NeighbourState::Permanent).then_some((address, mac))
}

pub(super) fn get_route(destination: IpAddr) -> Message {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = if destination.is_ipv4() { 32 } else { 128 };
    message.attributes = vec![RouteAttribute::Destination(RouteAddress::from(destination))];
    request(RouteNetlinkMessage::GetRoute(message), 0)
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
