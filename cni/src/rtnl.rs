//! Links, addresses, routes and neighbours of one network namespace: typed verbs over rtnetlink.
//!
//! The kernel has done what a function asks for when that function returns.

mod bridge;
mod message;
mod socket;
mod traffic;

use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use ipnetwork::IpNetwork;
use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteType};
use nix::errno::Errno;

use crate::error;
use crate::netns::Netns;
use crate::patience;

pub(crate) use bridge::{BridgeInfo, BridgeSpec, PortSpec, VlanSpec};
pub(crate) use message::{Mac, RouteSpec, VethSpec};
use socket::Connection;
pub(crate) use traffic::Bucket;

type Message = NetlinkMessage<RouteNetlinkMessage>;

/// A connection to the routing half of one namespace's kernel.
#[derive(Clone, Debug)]
pub(crate) struct Rtnl {
    connection: Rc<Connection>,
}

/// What we need to know of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Connects to the namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { connection: Rc::new(Connection::open()?) })
    }

    /// Connects to `netns`.
    pub(crate) fn open_in(netns: &Netns) -> Result<io::Result<Self>, error::Error> {
        netns.visit(Self::open)
    }

    fn send(&self, message: Message) -> io::Result<Vec<RouteNetlinkMessage>> {
        patience::check()?;
        self.connection.exchange(message)
    }

    fn change(&self, message: Message) -> io::Result<()> {
        self.send(message).map(drop)
    }

    /// Creates both ends of a veth pair, the other one in its namespace. `EEXIST` when either name is
    /// taken.
    pub(crate) fn create_veth(&self, veth: &VethSpec<'_>) -> io::Result<()> {
        self.change(message::new_veth(veth))
    }

    /// Sets the alias, which a person sees in `ip link`. The kernel ignores it at creation.
    pub(crate) fn set_alias(&self, name: &str, alias: &str) -> io::Result<()> {
        self.change(message::set_alias(name, alias))
    }

    /// Creates a bridge that is up. `EEXIST` when the name is taken.
    pub(crate) fn create_bridge(&self, bridge: &BridgeSpec<'_>) -> io::Result<()> {
        self.change(bridge::new_bridge(bridge))
    }

    /// Makes a bridge tell VLANs apart.
    pub(crate) fn filter_vlans(&self, index: u32) -> io::Result<()> {
        self.change(bridge::filter_vlans(index))
    }

    /// Makes a link take every frame, whoever it is for.
    pub(crate) fn set_promiscuous(&self, index: u32) -> io::Result<()> {
        self.change(bridge::set_promiscuous(index))
    }

    /// Gives a new port of a bridge its alias and its settings, and no link-local address of its own.
    pub(crate) fn set_port(&self, name: &str, alias: &str, port: PortSpec) -> io::Result<()> {
        self.change(bridge::set_port(name, alias, port))
    }

    /// Puts a port of a bridge into VLANs.
    pub(crate) fn add_vlans(&self, port: u32, vlans: &[VlanSpec]) -> io::Result<()> {
        self.change(bridge::add_vlans(port, vlans))
    }

    /// Takes a port of a bridge out of a VLAN.
    pub(crate) fn delete_vlan(&self, port: u32, vlan: u16) -> io::Result<()> {
        self.change(bridge::delete_vlan(port, vlan))
    }

    /// Sets a hardware address for good: a bridge that never got one takes its ports' lowest.
    pub(crate) fn set_mac(&self, index: u32, mac: &[u8]) -> io::Result<()> {
        self.change(message::set_mac(index, mac))
    }

    /// Sets a link up or down.
    pub(crate) fn set_up(&self, index: u32, up: bool) -> io::Result<()> {
        self.change(message::set_up(index, up))
    }

    /// The link called `name`, or none.
    pub(crate) fn link(&self, name: &str) -> io::Result<Option<Link>> {
        self.get_link(message::get_link_by_name(name))
    }

    /// The link with `index`, or none.
    pub(crate) fn link_at(&self, index: u32) -> io::Result<Option<Link>> {
        self.get_link(message::get_link_by_index(index))
    }

    fn get_link(&self, message: Message) -> io::Result<Option<Link>> {
        match self.send(message) {
            Ok(answers) => Ok(answers.into_iter().find_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => Some(read_link(&link)),
                _ => None,
            })),
            Err(error) if error::is(&error, Errno::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes the link called `name`; a veth's other end goes with it.
    pub(crate) fn delete_link(&self, name: &str) -> io::Result<()> {
        self.change(message::delete_link(name))
    }

    /// Gives `address` to a link, without duplicate address detection.
    pub(crate) fn add_address(&self, index: u32, address: IpNetwork) -> io::Result<()> {
        self.change(message::new_address(index, address))
    }

    /// Takes `address` from a link.
    pub(crate) fn delete_address(&self, index: u32, address: IpNetwork) -> io::Result<()> {
        self.change(message::delete_address(index, address))
    }

    /// All addresses of a link. A dump, and so not for ADD or DEL.
    pub(crate) fn addresses(&self, index: u32) -> io::Result<Vec<IpNetwork>> {
        let answers = self.send(message::dump_addresses(index))?;
        let of_link = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(address) if address.header.index == index => Some(address),
            _ => None,
        });
        Ok(of_link
            .filter_map(|message| {
                let address = message.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Address(address) => Some(*address),
                    _ => None,
                })?;
                IpNetwork::new(address, message.header.prefix_len).ok()
            })
            .collect())
    }

    /// Destinations of all routes that lead to a link. A dump, and so not for ADD or DEL.
    pub(crate) fn destinations(&self, index: u32) -> io::Result<Vec<IpNetwork>> {
        let mut found = Vec::new();
        for v4 in [true, false] {
            for answer in self.send(message::dump_routes(v4))? {
                if let RouteNetlinkMessage::NewRoute(route) = answer {
                    found.extend(message::destination_by(&route, index));
                }
            }
        }
        Ok(found)
    }

    /// Permanent neighbours of a link. A dump, and so not for ADD or DEL.
    pub(crate) fn neighbours(&self, index: u32) -> io::Result<Vec<(IpAddr, Vec<u8>)>> {
        let answers = self.send(message::dump_neighbours())?;
        let of_link = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewNeighbour(neighbour) if neighbour.header.ifindex == index => {
                Some(neighbour)
            }
            _ => None,
        });
        Ok(of_link.filter_map(|neighbour| message::permanent(&neighbour)).collect())
    }

    /// A neighbour that is never asked for and never expires.
    pub(crate) fn add_neighbour(&self, index: u32, address: IpAddr, mac: Mac) -> io::Result<()> {
        self.change(message::new_neighbour(index, address, mac))
    }

    /// Adds a route. `EEXIST` when there is one for that destination.
    pub(crate) fn add_route(&self, route: &RouteSpec) -> io::Result<()> {
        self.change(message::new_route(route))
    }

    /// Whether `address` is one of this namespace's own.
    pub(crate) fn is_local(&self, address: IpAddr) -> io::Result<bool> {
        let answers = match self.send(message::get_route(address)) {
            Err(error) if is_unreachable(&error) => return Ok(false),
            answers => answers?,
        };
        let is_local = |answer: &RouteNetlinkMessage| matches!(answer, RouteNetlinkMessage::NewRoute(route) if route.header.kind == RouteType::Local);
        Ok(answers.iter().any(is_local))
    }

    /// Index of the device by which `destination` would be reached, or none.
    pub(crate) fn device_towards(&self, destination: IpAddr) -> io::Result<Option<u32>> {
        let answers = match self.send(message::get_route(destination)) {
            Err(error) if is_unreachable(&error) => return Ok(None),
            answers => answers?,
        };
        Ok(answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(route) => {
                route.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Oif(index) => Some(*index),
                    _ => None,
                })
            }
            _ => None,
        }))
    }
}

/// The last two are the kernel's answers for blackhole and prohibit routes.
fn is_unreachable(error: &io::Error) -> bool {
    [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EAFNOSUPPORT, Errno::EINVAL, Errno::EACCES]
        .iter()
        .any(|errno| error::is(error, *errno))
}

fn read_link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: Vec::new(),
        mtu: 0,
        group: 0,
        peer: None,
        up: message.header.flags.contains(LinkFlags::Up),
        promiscuous: message.header.flags.contains(LinkFlags::Promisc),
        kind: String::new(),
        master: None,
        bridge: BridgeInfo::default(),
        port: PortSpec::default(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(mac) => link.mac.clone_from(mac),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Group(group) => link.group = *group,
            LinkAttribute::Link(peer) => link.peer = Some(*peer),
            LinkAttribute::Controller(bridge) => link.master = Some(*bridge),
            LinkAttribute::LinkInfo(infos) => bridge::read_infos(infos, &mut link),
            _ => {}
        }
    }
    link
}
