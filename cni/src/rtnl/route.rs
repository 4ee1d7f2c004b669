//! Routes: messages and their verbs.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use nix::libc::{
    RT_SCOPE_LINK, RT_SCOPE_UNIVERSE, RT_TABLE_MAIN, RTA_DST, RTA_GATEWAY, RTA_METRICS, RTA_OIF, RTA_PREFSRC,
    RTA_PRIORITY, RTA_TABLE, RTM_GETROUTE, RTM_NEWROUTE, RTN_LOCAL, RTN_UNICAST,
};

use super::{AF_INET, AF_INET6, Rtnl, family, read_ip, with_ip};
use crate::error;
use crate::netlink::{Attributes, Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, Request, native};
use crate::spec::RouteOptions;

/// Marks our routes, so that an agent can tell its own from foreign ones.
const PROTOCOL: u8 = 84;

/// The gateway is on this link although no route says so, `linux/rtnetlink.h`.
const RTNH_F_ONLINK: u32 = 4;

/// A route's metrics, `linux/rtnetlink.h`.
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

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

impl Rtnl {
    /// Adds a route. `EEXIST` when there is one for that destination.
    pub(crate) fn add_route(&self, route: &RouteSpec) -> io::Result<()> {
        self.change(&new_route(route))
    }

    /// Destinations of all routes that lead to a link. A dump, and so not for ADD or DEL.
    pub(crate) fn destinations(&self, index: u32) -> io::Result<Vec<IpNetwork>> {
        let mut found = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let answers = self.send(&dump_routes(family))?;
            found.extend(answers.messages().filter_map(|message| destination_by(message, index)));
        }
        Ok(found)
    }

    /// Whether `address` is one of this namespace's own.
    pub(crate) fn is_local(&self, address: IpAddr) -> io::Result<bool> {
        let answers = match self.send(&get_route(address)) {
            Err(error) if is_unreachable(&error) => return Ok(false),
            answers => answers?,
        };
        Ok(answers.messages().filter_map(Rtmsg::read).any(|route| route.kind == RTN_LOCAL))
    }

    /// Index of the device by which `destination` would be reached, or none.
    pub(crate) fn device_towards(&self, destination: IpAddr) -> io::Result<Option<u32>> {
        let answers = match self.send(&get_route(destination)) {
            Err(error) if is_unreachable(&error) => return Ok(None),
            answers => answers?,
        };
        Ok(answers.messages().find_map(device))
    }
}

/// The last two are the kernel's answers for blackhole and prohibit routes.
fn is_unreachable(error: &io::Error) -> bool {
    [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EAFNOSUPPORT, Errno::EINVAL, Errno::EACCES]
        .iter()
        .any(|errno| error::is(error, *errno))
}

/// `struct rtmsg` in `linux/rtnetlink.h`.
#[derive(Clone, Copy, Debug, Default)]
struct Rtmsg {
    family: u8,
    /// Length of the destination's prefix.
    prefix: u8,
    table: u8,
    protocol: u8,
    scope: u8,
    kind: u8,
    flags: u32,
}

impl Rtmsg {
    const LENGTH: usize = 12;

    fn request(self, kind: u16, flags: u16, attributes: &Attributes) -> Request {
        let [f0, f1, f2, f3] = self.flags.to_ne_bytes();
        // Behind the prefix that of the source, and the type of service.
        let Self { family, prefix, table, protocol, scope, kind: route, .. } = self;
        let fixed: [u8; Self::LENGTH] = [family, prefix, 0, 0, table, protocol, scope, route, f0, f1, f2, f3];
        Request::new(kind, flags, &fixed, attributes)
    }

    /// The fixed part of an answer that describes a route.
    fn read(message: Message<'_>) -> Option<Self> {
        let [family, prefix, _, _, table, protocol, scope, kind, flags @ ..] =
            *message.body().first_chunk::<{ Self::LENGTH }>()?;
        let flags = u32::from_ne_bytes(flags);
        let route = Self { family, prefix, table, protocol, scope, kind, flags };
        (message.kind == RTM_NEWROUTE).then_some(route)
    }
}

pub(super) fn new_route(route: &RouteSpec) -> Request {
    let scope = if route.gateway.is_some() { RT_SCOPE_UNIVERSE } else { RT_SCOPE_LINK };
    let fixed = Rtmsg {
        family: family(route.destination.ip()),
        prefix: route.destination.prefix(),
        table: RT_TABLE_MAIN,
        protocol: PROTOCOL,
        scope: route.options.scope.unwrap_or(scope),
        kind: RTN_UNICAST,
        flags: if route.gateway.is_some() { RTNH_F_ONLINK } else { 0 },
    };
    let attributes = with_ip(Attributes::new(), RTA_DST, route.destination.network());
    let mut attributes = attributes.native(RTA_OIF, route.device);
    for (kind, address) in [(RTA_GATEWAY, route.gateway), (RTA_PREFSRC, route.source)] {
        attributes = address.into_iter().fold(attributes, |all, address| with_ip(all, kind, address));
    }
    let attributes = with_options(attributes, route.options);
    fixed.request(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &attributes)
}

fn with_options(attributes: Attributes, options: RouteOptions) -> Attributes {
    // The fixed part has room for the first 256 tables only; this attribute wins over it.
    let attributes = with(attributes, RTA_TABLE, options.table);
    let attributes = with(attributes, RTA_PRIORITY, options.priority);
    let metrics = with(with(Attributes::new(), RTAX_MTU, options.mtu), RTAX_ADVMSS, options.advmss);
    if metrics.as_bytes().is_empty() { attributes } else { attributes.plain(RTA_METRICS, &metrics) }
}

fn with(attributes: Attributes, kind: u16, value: Option<u32>) -> Attributes {
    value.into_iter().fold(attributes, |all, value| all.native(kind, value))
}

pub(super) fn dump_routes(family: u8) -> Request {
    Rtmsg { family, ..Rtmsg::default() }.request(RTM_GETROUTE, NLM_F_DUMP, &Attributes::new())
}

pub(super) fn get_route(destination: IpAddr) -> Request {
    let prefix = if destination.is_ipv4() { 32 } else { 128 };
    let fixed = Rtmsg { family: family(destination), prefix, ..Rtmsg::default() };
    fixed.request(RTM_GETROUTE, 0, &with_ip(Attributes::new(), RTA_DST, destination))
}

/// Index of the device that a route leaves by.
fn device(message: Message<'_>) -> Option<u32> {
    Rtmsg::read(message)?;
    message.attributes(Rtmsg::LENGTH).find(RTA_OIF).and_then(native)
}

/// Where a route leads, if it leaves by the device with `index`.
pub(super) fn destination_by(message: Message<'_>, index: u32) -> Option<IpNetwork> {
    let route = Rtmsg::read(message)?;
    let stated = message.attributes(Rtmsg::LENGTH).find(RTA_DST).and_then(read_ip);
    // A default route states no destination.
    let any = if route.family == AF_INET {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    let prefix = IpNetwork::new(stated.unwrap_or(any), route.prefix).ok();
    prefix.filter(|_| device(message) == Some(index))
}
