//! Routes.

use std::fmt;
use std::net::IpAddr;

use futures_util::TryStreamExt;
use ipnetwork::IpNetwork;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use nix::errno::Errno;
use rtnetlink::RouteMessageBuilder;

use super::{ADD_ROUTE, Kernel, KernelError, PROTOCOL};
use crate::mesh::{MAIN, Reach};

/// Preference of a route that leads nowhere: behind every other.
const LAST: u32 = u32::MAX;

/// A route of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostRoute {
    /// Its table.
    pub table: u32,
    /// Where to.
    pub destination: IpNetwork,
    /// The next hop; none where the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Index of the device.
    pub device: u32,
    /// The address with which this node itself speaks to the destination.
    pub source: Option<IpAddr>,
    /// Whether the next hop is on the link although no address says so.
    pub onlink: bool,
    /// Whether it tells that there is no way, where no other route of this destination is.
    pub is_unreachable: bool,
}

impl HostRoute {
    /// The route that lets nothing for `destination` leave by a less specific one.
    pub fn unreachable(destination: IpNetwork) -> Self {
        let (gateway, source) = (None, None);
        Self { table: MAIN, destination, gateway, device: 0, source, onlink: false, is_unreachable: true }
    }

    /// What the kernel holds one route of.
    pub fn key(&self) -> (u32, IpNetwork, bool) {
        (self.table, self.destination, self.is_unreachable)
    }

    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = super::family(self.destination.ip());
        message.header.destination_prefix_length = self.destination.prefix();
        message.header.table = u8::try_from(self.table).unwrap_or(0);
        message.header.protocol = RouteProtocol::Other(PROTOCOL);
        if self.is_unreachable {
            message.header.kind = RouteType::Unreachable;
            let destination = RouteAttribute::Destination(self.destination.network().into());
            message.attributes = vec![destination, RouteAttribute::Priority(LAST)];
            return message;
        }
        message.header.kind = RouteType::Unicast;
        message.header.scope = if self.gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
        if self.onlink {
            message.header.flags |= RouteFlags::Onlink;
        }
        let attributes = [
            Some(RouteAttribute::Destination(self.destination.network().into())),
            self.gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())),
            Some(RouteAttribute::Oif(self.device)),
            self.source.map(|source| RouteAttribute::PrefSource(source.into())),
        ];
        message.attributes = attributes.into_iter().flatten().collect();
        message
    }

    fn read(message: &RouteMessage) -> Option<Self> {
        let any: IpAddr = match message.header.address_family {
            AddressFamily::Inet => [0; 4].into(),
            AddressFamily::Inet6 => [0; 16].into(),
            _ => return None,
        };
        let onlink = message.header.flags.contains(RouteFlags::Onlink);
        let mut route = Self {
            table: message.header.table.into(),
            destination: any.into(),
            gateway: None,
            device: 0,
            source: None,
            onlink,
            is_unreachable: message.header.kind == RouteType::Unreachable,
        };
        let mut destination = any;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => destination = ip(address)?,
                RouteAttribute::Gateway(address) => route.gateway = ip(address),
                RouteAttribute::PrefSource(address) => route.source = ip(address),
                // In IPv6 the way to nowhere is by the loopback link.
                RouteAttribute::Oif(index) if !route.is_unreachable => route.device = *index,
                RouteAttribute::Table(table) => route.table = *table,
                _ => {}
            }
        }
        route.destination = IpNetwork::new(destination, message.header.destination_prefix_length).ok()?;
        Some(route)
    }
}

impl fmt::Display for HostRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nowhere = if self.is_unreachable { "unreachable " } else { "" };
        write!(f, "{nowhere}{}", self.destination)?;
        self.gateway.map_or(Ok(()), |gateway| write!(f, " via {gateway}"))?;
        if self.table == MAIN { Ok(()) } else { write!(f, " table {}", self.table) }
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

impl Kernel {
    /// All routes of ours, those of pods among them.
    pub async fn routes(&self) -> Result<Vec<HostRoute>, KernelError> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family;
            filter.header.protocol = RouteProtocol::Other(PROTOCOL);
            let routes = self.strict.route().get(filter).execute().try_collect::<Vec<_>>().await;
            let routes = routes.map_err(KernelError::refused("list", "routes"))?;
            // A kernel before 4.20 knows no filter.
            let ours = routes.iter().filter(|route| route.header.protocol == RouteProtocol::Other(PROTOCOL));
            found.extend(ours.filter_map(HostRoute::read));
        }
        Ok(found)
    }

    /// Adds a route, or with `replace` puts it in place of the one of ours with the same key. One of somebody
    /// else is never replaced.
    pub async fn put_route(&self, route: &HostRoute, replace: bool) -> Result<(), KernelError> {
        let request = self.handle.route().add(route.message());
        let request = if replace { request.replace() } else { request };
        request.execute().await.map_err(KernelError::refused(ADD_ROUTE, route))
    }

    /// Removes a route; one that is gone already is gone.
    pub async fn delete_route(&self, route: &HostRoute) -> Result<(), KernelError> {
        let removed = self.handle.route().del(route.message()).execute().await;
        match removed.map_err(KernelError::refused("remove route", route)) {
            Err(error) if error.is(Errno::ESRCH) => Ok(()),
            removed => removed,
        }
    }

    /// How packets of this node reach `address`.
    pub async fn reach(&self, address: IpAddr) -> Reach {
        let query = RouteMessageBuilder::<IpAddr>::new();
        let Ok(query) = query.destination_prefix(address, IpNetwork::from(address).prefix()) else {
            return Reach::Unknown;
        };
        // No way is an error here, and which one depends on the route that forbids it.
        let Ok(Some(route)) = self.handle.route().get(query.build()).execute().try_next().await else {
            return Reach::Unknown;
        };
        let is_routed =
            |it: &RouteAttribute| matches!(it, RouteAttribute::Gateway(_) | RouteAttribute::Via(_));
        let device = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        });
        match device {
            _ if route.header.kind != RouteType::Unicast => Reach::Unknown,
            _ if route.attributes.iter().any(is_routed) => Reach::Routed(device),
            Some(device) => Reach::OnLink(device),
            None => Reach::Unknown,
        }
    }
}
