//! Making a port of the bridge, and the bridge itself for whoever comes first. Two ADDs may do this at
//! once: each step finds what the other has made and goes on.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;
use nix::errno::Errno;

use super::{BRIDGE_GROUP, Made, Plan, port_vlans};
use crate::config::Vlans;
use crate::datapath::attach::{add_routes, all, await_ipv6, create_veth, set_ipv6};
use crate::datapath::mac_of;
use crate::error::{self, Error};
use crate::ipam::store::Owner;
use crate::journal::Journal;
use crate::netns::Netns;
use crate::nft::base::LINK_GROUP;
use crate::rtnl::{BridgeSpec, Link, Mac, Rtnl, VethSpec};
use crate::sysctl;

/// The kernel's bridges as they should be named to somebody who has none.
const BRIDGES: &str = "bridges (CONFIG_BRIDGE)";
const VLAN_FILTERING: &str = "VLANs on bridges (CONFIG_BRIDGE_VLAN_FILTERING)";

/// Where the kernel's random numbers come from.
const RANDOM: &str = "/dev/urandom";

impl Plan<'_> {
    /// Makes the bridge what it must be, both ends and everything on them.
    pub(crate) fn attach(
        &self,
        host: &Rtnl,
        sandbox: &Rtnl,
        netns: &Netns,
        journal: &mut Journal,
    ) -> Result<Made, Error> {
        let bridge = self.prepare_bridge(host)?;
        let gateway = self.prepare_gateway(host, &bridge)?;
        let veth = VethSpec {
            host: &self.host_ifname,
            host_mac: self.host_mac(),
            group: LINK_GROUP,
            pod: &self.ifname,
            pod_mac: self.pod_mac,
            netns: Some(netns.raw_fd()),
            mtu: self.mtu,
            master: Some(bridge.index),
        };
        create_veth(&veth, host, sandbox, journal).map_err(|error| self.full(error))?;
        let port = self.configure_port(host, &bridge)?;
        let pod_index = port.peer.ok_or_else(|| vanished(&self.ifname))?;
        self.configure_pod_end(sandbox, pod_index, netns)?;
        if !self.bridge.leave_pod_end_down {
            let addresses: Vec<IpAddr> = self.assignments.iter().map(|one| one.address.ip()).collect();
            await_ipv6(sandbox, &addresses)?;
        }
        // As for a routed link: asking makes the kernel see the carrier now, first the port's, which lets it
        // forward, then the bridge's, which lets the node send.
        look(host, &self.host_ifname)?;
        let bridge = look(host, &bridge.name)?;
        Ok(Made { bridge, gateway })
    }

    /// The bridge, made unless it is there.
    fn prepare_bridge(&self, host: &Rtnl) -> Result<Link, Error> {
        let name = &self.bridge.name;
        let found = host.link(name).map_err(Error::kernel("look up interface", name))?;
        let link = match found {
            Some(link) => link,
            None => {
                self.create_bridge(host)?;
                look(host, name)?
            }
        };
        if let Some(problem) = self.bridge.unfit(&link) {
            return Err(Error::BridgeUnfit { bridge: link.name, problem });
        }
        if !link.up {
            host.set_up(link.index, true).map_err(Error::kernel("set up", name))?;
        }
        if self.bridge.promiscuous && !link.promiscuous {
            let set = host.set_promiscuous(link.index);
            set.map_err(Error::kernel("make promiscuous", name))?;
        }
        if self.bridge.vlans.is_some() && !link.bridge.vlan_filtering {
            host.filter_vlans(link.index).map_err(|source| lacking(VLAN_FILTERING, source, name))?;
        }
        // Whose router a pod is (CVE-2020-10749) is not for the pod to say.
        set_ipv6(name, "accept_ra", "0")?;
        Ok(link)
    }

    fn create_bridge(&self, host: &Rtnl) -> Result<(), Error> {
        let bridge = BridgeSpec {
            name: &self.bridge.name,
            mac: random_mac().map_err(Error::state("read", Path::new(RANDOM)))?,
            mtu: self.mtu,
            group: BRIDGE_GROUP,
            vlan_filtering: self.bridge.vlans.is_some(),
        };
        match host.create_bridge(&bridge) {
            // Another ADD was quicker.
            Err(source) if error::is(&source, Errno::EEXIST) => Ok(()),
            Err(source) => {
                let feature = if bridge.vlan_filtering { VLAN_FILTERING } else { BRIDGES };
                Err(lacking(feature, source, bridge.name))
            }
            Ok(()) => trust_own_link_local(bridge.name),
        }
    }

    /// Gives the gateway's addresses to the bridge, or to a link into it that is inside of the VLAN.
    fn prepare_gateway(&self, host: &Rtnl, bridge: &Link) -> Result<Option<Link>, Error> {
        let gateways = self.gateways();
        if gateways.is_empty() {
            return Ok(None);
        }
        let inside = match self.bridge.gateway_vlan() {
            Some(vlan) => Some(self.prepare_vlan_gateway(host, bridge, vlan)?),
            None => None,
        };
        let device = inside.as_ref().unwrap_or(bridge);
        if gateways.iter().any(IpNetwork::is_ipv6) {
            set_ipv6(&device.name, "disable_ipv6", "0")?;
        }
        for gateway in gateways {
            self.ensure_address(host, device, gateway)?;
            forward(gateway.is_ipv4())?;
        }
        Ok(inside)
    }

    /// A pair of links on the node: one a port of the bridge in the VLAN, the other the gateway.
    fn prepare_vlan_gateway(&self, host: &Rtnl, bridge: &Link, vlan: u16) -> Result<Link, Error> {
        let name = self.bridge.gateway_device();
        let owner = Owner { container_id: &name, ifname: "" };
        let port = format!("tb{}", crate::record::attachment_hash(&owner));
        let host_mac = mac_of(&owner);
        let veth = VethSpec {
            host: &port,
            host_mac,
            group: BRIDGE_GROUP,
            pod: &name,
            pod_mac: random_mac().map_err(Error::state("read", Path::new(RANDOM)))?,
            netns: None,
            mtu: bridge.mtu,
            master: Some(bridge.index),
        };
        if let Some(link) = host.link(&name).map_err(Error::kernel("look up interface", &name))? {
            return Ok(link);
        }
        match host.create_veth(&veth) {
            Err(source) if !error::is(&source, Errno::EEXIST) => {
                return Err(self.full(Error::kernel("create interface", &name)(source)));
            }
            _ => {}
        }
        let vlans = Vlans { native: vlan, is_named: true, trunk: Vec::new(), keep_default: false };
        let port = look(host, &port)?;
        set_vlans(host, bridge, &port, &vlans)?;
        let link = look(host, &name)?;
        trust_own_link_local(&name)?;
        set_ipv6(&name, "accept_ra", "0")?;
        host.set_up(link.index, true).map_err(Error::kernel("set up", &name))?;
        Ok(link)
    }

    /// The kernel says whether the address is there already, which is nearly always so and then all there
    /// is to ask.
    fn ensure_address(&self, host: &Rtnl, device: &Link, gateway: IpNetwork) -> Result<(), Error> {
        let name = &device.name;
        let failed = |act| Error::kernel(act, format!("{gateway} dev {name}"));
        match host.add_address(device.index, gateway) {
            Err(source) if error::is(&source, Errno::EEXIST) => return Ok(()),
            added => added.map_err(failed("add address"))?,
        }
        let present = host.addresses(device.index).map_err(failed("look for addresses beside"))?;
        let conflicts = self.conflicts(&present, gateway);
        if let Some(other) = conflicts.first().filter(|_| !self.bridge.force_address) {
            host.delete_address(device.index, gateway).map_err(failed("delete address"))?;
            let problem = format!(
                "has address {other} where the gateway {gateway} belongs; \"forceAddress\": true replaces it"
            );
            return Err(Error::BridgeUnfit { bridge: name.clone(), problem });
        }
        for other in &conflicts {
            host.delete_address(device.index, *other).map_err(failed("make way for"))?;
        }
        if !conflicts.is_empty() {
            // IPv4 takes the later addresses of a subnet away with the first.
            match host.add_address(device.index, gateway) {
                Err(source) if error::is(&source, Errno::EEXIST) => {}
                added => added.map_err(failed("add address"))?,
            }
        }
        // A bridge whose hardware address was never set takes its ports' lowest, and pods would lose it;
        // one that lost its last port has none.
        let mac = match device.mac.iter().any(|byte| *byte != 0) {
            true => device.mac.clone(),
            false => random_mac().map_err(Error::state("read", Path::new(RANDOM)))?.0.to_vec(),
        };
        host.set_mac(device.index, &mac).map_err(failed("keep the hardware address for"))?;
        await_ipv6(host, &[gateway.ip()])
    }

    fn configure_port(&self, host: &Rtnl, bridge: &Link) -> Result<Link, Error> {
        let name = &self.host_ifname;
        let set = host.set_port(name, &self.alias, self.port_settings());
        let port = look(host, name)?;
        set.map_err(Error::kernel("set the port settings of", name))?;
        if let Some(vlans) = &self.bridge.vlans {
            set_vlans(host, bridge, &port, vlans)?;
        }
        Ok(port)
    }

    fn configure_pod_end(&self, sandbox: &Rtnl, index: u32, netns: &Netns) -> Result<(), Error> {
        if self.bridge.leave_pod_end_down {
            return Ok(());
        }
        let name = &self.ifname;
        if !self.assignments.is_empty() {
            let has_ipv6 = self.assignments.iter().any(|one| one.address.is_ipv6());
            let set = || {
                // An address made up from a router's advertisement is one that the guard does not know.
                set_ipv6(name, "accept_ra", "0")?;
                if has_ipv6 { set_ipv6(name, "disable_ipv6", "0") } else { Ok(()) }
            };
            netns.visit(|| Ok(set()))?.map_err(Error::kernel("enter", name))??;
        }
        // In this order: an IPv6 route needs its device up.
        let addresses = self.assignments.iter().map(|one| one.address);
        all("add address", name, addresses, |ip| sandbox.add_address(index, *ip))?;
        sandbox.set_up(index, true).map_err(Error::kernel("set up", name))?;
        add_routes(sandbox, name, index, &self.routes)
    }

    /// The kernel's answer to one port too many has a name of its own.
    fn full(&self, error: Error) -> Error {
        match error {
            Error::Kernel { source, .. } if error::is(&source, Errno::EXFULL) => {
                Error::BridgeFull { bridge: self.bridge.name.clone(), source }
            }
            other => other,
        }
    }
}

fn set_vlans(host: &Rtnl, bridge: &Link, port: &Link, vlans: &Vlans) -> Result<(), Error> {
    let failed = |act| Error::kernel(act, &port.name);
    let default = bridge.bridge.default_vlan;
    if !vlans.keep_default && default != 0 {
        match host.delete_vlan(port.index, default) {
            // Not in it any more.
            Err(source) if error::is(&source, Errno::ENOENT) => {}
            deleted => deleted.map_err(failed("take out of the default VLAN"))?,
        }
    }
    let added = host.add_vlans(port.index, &port_vlans(vlans));
    added.map_err(failed("put into its VLANs"))
}

fn look(host: &Rtnl, name: &str) -> Result<Link, Error> {
    let link = host.link(name).map_err(Error::kernel("look up interface", name))?;
    link.ok_or_else(|| vanished(name))
}

fn vanished(name: &str) -> Error {
    Error::kernel("look up interface", name)(io::Error::from_raw_os_error(Errno::ENODEV as i32))
}

fn lacking(feature: &'static str, source: io::Error, bridge: &str) -> Error {
    if error::is(&source, Errno::EOPNOTSUPP) {
        return Error::KernelFeature { feature, source };
    }
    Error::kernel("make bridge", bridge)(source)
}

/// Without a link-local address that is in force the node asks nobody for a pod's hardware address, so what
/// is forwarded to a new bridge would wait for duplicate address detection. Nobody else has this one.
fn trust_own_link_local(name: &str) -> Result<(), Error> {
    set_ipv6(name, "accept_dad", "0")
}

/// Pods reach what is beyond their bridge only if the node forwards.
fn forward(v4: bool) -> Result<(), Error> {
    let key = if v4 { "ipv4/ip_forward" } else { "ipv6/conf/all/forwarding" };
    let set = sysctl::set(Path::new(sysctl::ROOT), key, "1");
    set.map_err(Error::kernel("set sysctl", format!("net.{}=1", key.replace('/', "."))))
}

/// A locally administered unicast address that no other node has.
fn random_mac() -> io::Result<Mac> {
    let mut mac = [0; 6];
    File::open(RANDOM)?.read_exact(&mut mac)?;
    let [first, rest @ ..] = mac;
    let [b, c, d, e, f] = rest;
    Ok(Mac([(first & 0xfc) | 2, b, c, d, e, f]))
}
