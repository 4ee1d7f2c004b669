//! CHECK: everything ADD made must still be there; what later members of the chain added is theirs.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::Node;
use crate::config::{Mode, NetConf, Outline};
use crate::datapath::bridge::Plan;
use crate::datapath::{HOST_MAC, Wiring, ports, shaping};
use crate::error::Error;
use crate::ipam::Grant;
use crate::ipam::range::{Assignment, RangeSet};
use crate::ipam::store::{Owner, Store};
use crate::netns::Netns;
use crate::nft::base::LINK_GROUP;
use crate::nft::{Nft, base, bridge, masquerade};
use crate::record::{Record, Stage};
use crate::rtnl::{Link, Mac, Rtnl};
use crate::spec::{Args, Prior};

pub(super) fn run(args: &Args, outline: Outline, node: &Node) -> Result<(), Error> {
    let prior = outline.prior()?;
    let mut conf = outline.complete()?;
    let failed = |problem: String| Error::CheckFailed {
        container_id: args.container_id.clone(),
        ifname: args.ifname.clone(),
        problem,
    };
    let record = recorded(args, node)?.ok_or_else(|| failed("has no complete record".to_owned()))?;
    let netns = Netns::open(args.netns.as_deref().unwrap_or(&record.netns), args.netns_override)?;
    let sandbox = Rtnl::open_in(&netns)?.map_err(Error::kernel("open", "a netlink socket in the sandbox"))?;
    conf.request.mac = record.mac;
    let grant = Grant::of(&record, &conf);
    let wanted = match (&conf.mode, &record.port) {
        (Mode::Routed, None) => Wanted::Routed(Wiring::new(args, &conf, &grant, 0)),
        (Mode::Bridge(bridge), Some(port)) if port.bridge == bridge.name => {
            let grant = Grant { assignments: assignments(&prior, &record), ..grant };
            Wanted::Bridged(Plan::new(args, &conf, bridge, &grant, 0))
        }
        _ => return Err(failed("was made in another \"mode\" than the configuration names now".to_owned())),
    };
    if let Some(delegated) = &record.delegated {
        node.plugins.forward(&delegated.plugin, "CHECK")?;
    }
    let check = Check { record: &record, conf: &conf, prior: &prior, wanted: &wanted };
    match check.difference(node, &sandbox)? {
        Some(problem) => Err(failed(problem)),
        None => Ok(()),
    }
}

/// What there should be: by the record, by the runtime's memory of ADD, and by the configuration.
struct Check<'a> {
    record: &'a Record,
    conf: &'a NetConf,
    prior: &'a Prior,
    wanted: &'a Wanted<'a>,
}

/// What ADD made, by mode.
enum Wanted<'a> {
    Routed(Wiring),
    Bridged(Plan<'a>),
}

impl Wanted<'_> {
    fn pod_routes(&self) -> Vec<IpNetwork> {
        let routes = match self {
            Self::Routed(wiring) => &wiring.routes,
            Self::Bridged(plan) => &plan.routes,
        };
        routes.iter().map(|route| route.dst).collect()
    }

    fn pod_neighbours(&self) -> Vec<(IpAddr, Mac)> {
        match self {
            Self::Routed(wiring) => wiring.next_hops().map(|hop| (hop, HOST_MAC)).collect(),
            Self::Bridged(_) => Vec::new(),
        }
    }

    fn leaves_pod_end_down(&self) -> bool {
        matches!(self, Self::Bridged(plan) if plan.bridge.leave_pod_end_down)
    }
}

impl Check<'_> {
    /// The first thing that is not as ADD left it.
    fn difference(&self, node: &Node, sandbox: &Rtnl) -> Result<Option<String>, Error> {
        if let Some(problem) = self.contradiction().or(self.lost_lease()?).or(self.lost_guard()?) {
            return Ok(Some(problem));
        }
        if let Some(problem) = ports::lost(self.record)?.or(self.lost_masquerade()?) {
            return Ok(Some(problem));
        }
        if let Some(problem) = self.host_difference(&node.rtnl)? {
            return Ok(Some(problem));
        }
        self.pod_difference(sandbox)
    }

    /// Where the runtime's memory of ADD and ours differ.
    fn contradiction(&self) -> Option<String> {
        let ifname = &self.record.ifname;
        let ours = self.prior.interfaces.iter().position(|i| i.name == *ifname && i.sandbox.is_some());
        let Some(ours) = ours.and_then(|index| i64::try_from(index).ok()) else {
            return Some(format!("prevResult lists no {ifname:?} in a sandbox"));
        };
        let listed = |address| {
            self.prior.ips.iter().any(|ip| ip.address.ip() == address && ip.interface == Some(ours))
        };
        let missing = self.record.addresses.iter().find(|address| !listed(**address));
        missing.map(|address| format!("prevResult does not list {address}"))
    }

    fn lost_lease(&self) -> Result<Option<String>, Error> {
        if self.record.delegated.is_some() {
            return Ok(None);
        }
        let store = Store::new(&self.record.store);
        for address in &self.record.addresses {
            if !store.is_leased(*address, &self.record.owner())? {
                return Ok(Some(format!("the lease of {address} is gone from {:?}", self.record.store)));
            }
        }
        Ok(None)
    }

    /// Of the network as it is configured: each of its pod CIDRs that holds an address of the pod.
    fn lost_masquerade(&self) -> Result<Option<String>, Error> {
        let holds =
            |subnet: &IpNetwork| self.record.addresses.iter().any(|address| subnet.contains(*address));
        let subnets = self.conf.ipam.sets.iter().flat_map(RangeSet::subnets).filter(holds);
        let Some(masquerade) = self.conf.masquerade_of(subnets) else { return Ok(None) };
        let lost = Nft::open().and_then(|nft| masquerade::lost(&nft, &masquerade));
        let lost = lost.map_err(Error::kernel("look at", "nftables table inet tripod"))?;
        Ok(lost.map(|prefix| {
            format!("the masquerade of {prefix} in nftables table inet tripod is gone or other")
        }))
    }

    fn host_difference(&self, host: &Rtnl) -> Result<Option<String>, Error> {
        let name = &self.record.host_ifname;
        let found = host.link(name).map_err(Error::kernel("look at interface", name))?;
        let Some(link) = found else {
            return Ok(Some(format!("host end {name:?} is gone")));
        };
        if link.group != LINK_GROUP {
            return Ok(Some(format!("host end {name:?} is in another link group")));
        }
        if let Some(problem) = shaping::difference(host, &link, self.record)? {
            return Ok(Some(problem));
        }
        if let Some(problem) = self.link_difference(&link) {
            return Ok(Some(problem));
        }
        match self.wanted {
            Wanted::Routed(wiring) => self.route_difference(host, &link, wiring),
            Wanted::Bridged(plan) => bridge_difference(host, &link, plan),
        }
    }

    fn route_difference(&self, host: &Rtnl, link: &Link, wiring: &Wiring) -> Result<Option<String>, Error> {
        let name = &link.name;
        let look = || Error::kernel("look at interface", name);
        let routes = host.destinations(link.index).map_err(look())?;
        let neighbours = host.neighbours(link.index).map_err(look())?;
        let wanted: Vec<IpNetwork> =
            wiring.host_routes(link.index).iter().map(|route| route.destination).collect();
        let hops: Vec<_> = self.record.addresses.iter().map(|ip| (*ip, wiring.pod_mac)).collect();
        Ok(missing_route(name, &wanted, &routes).or(missing_neighbour(name, &hops, &neighbours)))
    }

    fn lost_guard(&self) -> Result<Option<String>, Error> {
        let (table, whole) = match self.record.guarded() {
            Some(port) => ("bridge", Nft::open().and_then(|nft| bridge::is_whole(&nft, &port))),
            None => ("inet", Nft::open().and_then(|nft| base::is_whole(&nft, None))),
        };
        let whole = whole.map_err(Error::kernel("look at", format!("nftables table {table} tripod")))?;
        Ok((!whole).then(|| format!("the guard in nftables table {table} tripod is gone or emptied")))
    }

    fn pod_difference(&self, sandbox: &Rtnl) -> Result<Option<String>, Error> {
        let name = &self.record.ifname;
        let look = || Error::kernel("look at interface", name);
        let Some(link) = sandbox.link(name).map_err(look())? else {
            return Ok(Some(format!("{name:?} is gone from the sandbox")));
        };
        let present = sandbox.addresses(link.index).map_err(look())?;
        let routes = sandbox.destinations(link.index).map_err(look())?;
        let neighbours = sandbox.neighbours(link.index).map_err(look())?;
        let lost =
            self.record.addresses.iter().find(|address| !present.iter().any(|one| one.ip() == **address));
        let lost = lost.map(|address| format!("{name:?} has lost {address}"));
        Ok(self
            .link_difference(&link)
            .or(lost)
            .or(missing_route(name, &self.wanted.pod_routes(), &routes))
            .or(missing_neighbour(name, &self.wanted.pod_neighbours(), &neighbours)))
    }

    /// Against `prevResult`, in which a later member of the chain has written what it changed.
    fn link_difference(&self, link: &Link) -> Option<String> {
        let name = &link.name;
        if !link.up && (link.group == LINK_GROUP || !self.wanted.leaves_pod_end_down()) {
            return Some(format!("{name:?} is down"));
        }
        let prior = self.prior.interfaces.iter().find(|interface| interface.name == *name)?;
        let mac = link.mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
        if !prior.mac.is_empty() && !prior.mac.eq_ignore_ascii_case(&mac) {
            return Some(format!("{name:?} has hardware address {mac}, not {}", prior.mac));
        }
        let mtu = prior.mtu.filter(|mtu| *mtu != link.mtu)?;
        Some(format!("{name:?} has MTU {}, not {mtu}", link.mtu))
    }
}

/// The bridge, and the host end as a port of it.
fn bridge_difference(host: &Rtnl, port: &Link, plan: &Plan<'_>) -> Result<Option<String>, Error> {
    let name = &plan.bridge.name;
    let look = |name: &str| Error::kernel("look at interface", name.to_owned());
    let Some(bridge) = host.link(name).map_err(look(name))?.filter(|link| link.kind == "bridge") else {
        return Ok(Some(format!("bridge {name:?} is gone")));
    };
    if port.master != Some(bridge.index) {
        return Ok(Some(format!("host end {:?} is no port of bridge {name:?}", port.name)));
    }
    if port.port != plan.port_settings() {
        return Ok(Some(format!("host end {:?} has another hairpinMode or portIsolation", port.name)));
    }
    if !bridge.up || (plan.bridge.promiscuous && !bridge.promiscuous) {
        return Ok(Some(format!("bridge {name:?} is down or not promiscuous any more")));
    }
    let device = plan.bridge.gateway_device();
    let wanted = plan.gateways();
    if wanted.is_empty() {
        return Ok(None);
    }
    let Some(link) = host.link(&device).map_err(look(&device))? else {
        return Ok(Some(format!("gateway {device:?} is gone")));
    };
    let present = host.addresses(link.index).map_err(look(&device))?;
    let lost = wanted.iter().find(|gateway| !present.contains(gateway));
    Ok(lost.map(|gateway| format!("{device:?} has lost the gateway's address {gateway}")))
}

/// The pod's addresses as ADD told them.
fn assignments(prior: &Prior, record: &Record) -> Vec<Assignment> {
    let own = prior.ips.iter().filter(|ip| record.addresses.contains(&ip.address.ip()));
    own.map(|ip| Assignment { address: ip.address, gateway: ip.gateway }).collect()
}

fn missing_route(link: &str, wanted: &[IpNetwork], present: &[IpNetwork]) -> Option<String> {
    let lost = wanted.iter().find(|destination| !present.contains(destination));
    lost.map(|destination| format!("the route to {destination} by {link:?} is gone"))
}

fn missing_neighbour(link: &str, wanted: &[(IpAddr, Mac)], present: &[(IpAddr, Vec<u8>)]) -> Option<String> {
    let kept = |(address, mac): &&(IpAddr, Mac)| present.iter().any(|(ip, m)| ip == address && *m == mac.0);
    let lost = wanted.iter().find(|neighbour| !kept(neighbour));
    lost.map(|(address, _)| format!("the neighbour {address} of {link:?} is gone or changed"))
}

fn recorded(args: &Args, node: &Node) -> Result<Option<Record>, Error> {
    let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
    Ok(node.records.load(&owner)?.filter(|record| record.stage == Stage::Complete))
}
