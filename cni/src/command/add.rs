//! ADD: attach a sandbox, or leave the node as it was.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde_json::Value;

use super::{Node, status};
use crate::config::{Bandwidth, Mode, NetConf, Outline};
use crate::datapath::bridge::Plan;
use crate::datapath::{Wiring, ports, shaping, tuning};
use crate::error::Error;
use crate::ipam;
use crate::ipam::store::Owner;
use crate::journal::{Journal, Undo};
use crate::netns::Netns;
use crate::nft::masquerade::{self, Masquerade};
use crate::nft::{self, base, bridge};
use crate::patience::{to_the_end, within};
use crate::record::{Entry, Record, Stage};
use crate::rtnl::Rtnl;
use crate::spec::{Args, Success};

/// A documentation prefix (RFC 5737, RFC 3849): nobody routes it but by the default route.
const FAR_AWAY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// What a link has when nothing says otherwise, in bytes.
const ETHERNET_MTU: u32 = 1500;

pub(super) fn run(args: &Args, outline: Outline, node: &Node) -> Result<Value, Error> {
    let conf = outline.complete()?.asked_by(args)?;
    status::agent_is_ready(conf.agent_state.as_deref())?;
    let path = args.netns.clone().unwrap_or_default();
    let netns = Netns::open(&path, args.netns_override)?;
    let sandbox = Rtnl::open_in(&netns)?.map_err(Error::kernel("open", "a netlink socket in the sandbox"))?;
    let plugin = conf.ipam.plugin.as_deref();
    // One that is not there can undo nothing either, so nothing is begun.
    plugin.map(|plugin| node.plugins.find(plugin)).transpose()?;
    let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
    let _held = node.records.hold(&owner)?;
    let mut record = Record::intent(args, path, &conf.name, &conf.ipam.store).delegated_to(plugin);
    record.mac = conf.request.mac;
    record.host_ports.clone_from(&conf.host_ports);
    shaping::intend(&conf.bandwidth, &mut record);
    let mut journal = Journal::new(record.clone());
    let attempt = Attempt { args, conf: &conf, node, netns, sandbox };
    match within("ADD", 30, || attempt.attach(&mut record, &mut journal)) {
        Ok(document) => Ok(document),
        Err(error) => Err(undo(journal, node, error)),
    }
}

/// One ADD on its way.
struct Attempt<'a> {
    args: &'a Args,
    conf: &'a NetConf,
    node: &'a Node,
    netns: Netns,
    sandbox: Rtnl,
}

impl Attempt<'_> {
    /// The steps, each noted in the journal before it is taken.
    fn attach(&self, record: &mut Record, journal: &mut Journal) -> Result<Value, Error> {
        self.repair(record)?;
        journal.push(Undo::RemoveRecord);
        self.node.records.save(record)?;
        let grant = ipam::obtain(self.conf, self.node, record, journal)?;
        record.addresses = grant.addresses();
        if self.conf.mode == Mode::Routed {
            guard(self.node)?;
        }
        self.hide(grant.assignments.iter().map(|one| one.address).collect(), record, journal)?;
        if !record.host_ports.is_empty() {
            journal.push(Undo::ReleaseHostPorts);
            record.shared_device = self.conf.mode.shared_device();
            ports::claim(record, self.node)?;
        }
        let mtu = match self.conf.mtu {
            Some(mtu) => mtu,
            None => detect_mtu(&self.node.rtnl)?,
        };
        let success = match &self.conf.mode {
            Mode::Routed => self.route(record, journal, &Wiring::new(self.args, self.conf, &grant, mtu)),
            Mode::Bridge(bridge) => {
                self.bridge(record, journal, &Plan::new(self.args, self.conf, bridge, &grant, mtu))
            }
        };
        let document = success?.render(self.conf.version);
        self.limit(record, journal)?;
        tuning::set(&self.netns, &self.conf.sysctl, &self.args.ifname)?;
        record.stage = Stage::Complete;
        self.node.records.save(record)?;
        Ok(document)
    }

    /// What is hidden is the node's pod CIDRs, not this pod, and so not undone; but an IPAM plugin may give
    /// an address that is all of its subnet.
    fn hide(&self, subnets: Vec<IpNetwork>, record: &mut Record, journal: &mut Journal) -> Result<(), Error> {
        let is_alone = |subnet: &IpNetwork| IpNetwork::from(subnet.ip()) == *subnet;
        let alone = record.delegated.is_some() && subnets.iter().any(is_alone);
        let Some(masquerade) = self.conf.masquerade_of(subnets) else { return Ok(()) };
        if alone {
            record.hidden_alone = true;
            self.node.records.save(record)?;
            journal.push(Undo::ReleaseMasquerade(record.addresses.clone()));
        }
        hide(self.node, &masquerade)
    }

    fn route(&self, record: &Record, journal: &mut Journal, wiring: &Wiring) -> Result<Success, Error> {
        wiring.attach(&self.node.rtnl, &self.sandbox, &self.netns, journal)?;
        self.open_ports(record, &record.host_ifname)?;
        Ok(wiring.success(&record.netns))
    }

    fn bridge(&self, record: &mut Record, journal: &mut Journal, plan: &Plan<'_>) -> Result<Success, Error> {
        record.port = Some(plan.port());
        // What the guard is told of the port can only be taken back by who knows it.
        self.node.records.save(record)?;
        self.guard_port(record, journal)?;
        let made = plan.attach(&self.node.rtnl, &self.sandbox, &self.netns, journal)?;
        self.open_ports(record, &plan.bridge.gateway_device())?;
        Ok(plan.success(&record.netns, &made))
    }

    fn open_ports(&self, record: &Record, device: &str) -> Result<(), Error> {
        if record.host_ports.is_empty() {
            return Ok(());
        }
        ports::open(record, Some(device), &self.node.rtnl)
    }

    /// Before the port is there, so that no frame of the pod's goes unseen.
    fn guard_port(&self, record: &Record, journal: &mut Journal) -> Result<(), Error> {
        const FEATURE: &str = "nf_tables for bridges (CONFIG_NF_TABLES_BRIDGE)";
        let Some(guarded) = record.guarded() else { return Ok(()) };
        journal.push(Undo::ForgetPort(guarded.clone()));
        // One that cannot be read now is the next GC's to report.
        let others = || {
            let records = self.node.records.list().unwrap_or_default().into_iter().flatten();
            let guarded = |entry| if let Entry::Whole(record) = entry { record.guarded() } else { None };
            records.filter_map(guarded).collect()
        };
        let guarded = self.node.nft().and_then(|nft| bridge::guard(nft, &guarded, others));
        guarded.map_err(unguarded(FEATURE, "nftables table bridge tripod"))
    }

    fn limit(&self, record: &Record, journal: &mut Journal) -> Result<(), Error> {
        if self.conf.bandwidth == Bandwidth::default() {
            return Ok(());
        }
        let name = &record.host_ifname;
        let failed = || Error::kernel("look up interface", name);
        let link = self.node.rtnl.link(name).map_err(failed())?;
        let link = link.ok_or_else(|| failed()(nix::errno::Errno::ENODEV.into()))?;
        shaping::attach(&self.node.rtnl, &link, &self.conf.bandwidth, record, journal)
    }

    /// Clears what an ADD of the same attachment left when it was killed. A whole attachment is not a
    /// leftover, in whatever namespace its other end is: the specification forbids a second ADD. Whether a
    /// name is taken by something else, the kernel says when the link is made.
    fn repair(&self, wanted: &Record) -> Result<(), Error> {
        let Some(old) = self.node.records.load(&wanted.owner())? else { return Ok(()) };
        if old.stage == Stage::Complete {
            refuse_taken(&self.sandbox, &wanted.ifname, "in the sandbox")?;
            refuse_taken(&self.node.rtnl, &wanted.host_ifname, "on the node, of the same container")?;
        }
        Journal::of_attachment(old).rollback(self.node)
    }
}

fn refuse_taken(place: &Rtnl, ifname: &str, said: &'static str) -> Result<(), Error> {
    match place.link(ifname).map_err(Error::kernel("look up interface", ifname))? {
        Some(_) => Err(Error::InterfaceExists { ifname: ifname.to_owned(), place: said }),
        None => Ok(()),
    }
}

/// Undoes over a connection of its own: the other one may be what failed.
pub(super) fn undo(journal: Journal, node: &Node, cause: Error) -> Error {
    match to_the_end("undoing ADD", 10, || journal.rollback(&node.reopen()?)) {
        Ok(()) => cause,
        Err(undo) => Error::NotUndone { cause: Box::new(cause), undo: Box::new(undo) },
    }
}

fn guard(node: &Node) -> Result<(), Error> {
    const FEATURE: &str = "nf_tables with fib (CONFIG_NF_TABLES_INET, CONFIG_NFT_FIB_INET)";
    let guarded = node.nft().and_then(base::ensure_guard);
    guarded.map_err(unguarded(FEATURE, "nftables table inet tripod"))
}

fn unguarded(feature: &'static str, table: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| {
        if nft::is_lacking(&source) {
            return Error::KernelFeature { feature, source };
        }
        Error::kernel("make the guard chain of", table)(source)
    }
}

fn hide(node: &Node, masquerade: &Masquerade) -> Result<(), Error> {
    const FEATURE: &str = "nf_tables with masquerade (CONFIG_NFT_NAT, CONFIG_NFT_MASQ)";
    node.nft().and_then(|nft| masquerade::ensure(nft, masquerade)).map_err(|source| {
        if nft::is_lacking(&source) {
            return Error::KernelFeature { feature: FEATURE, source };
        }
        Error::kernel("make a masquerade chain of", "nftables table inet tripod")(source)
    })
}

/// MTU of the device that the default route leaves by.
fn detect_mtu(node: &Rtnl) -> Result<u32, Error> {
    for destination in FAR_AWAY {
        let failed = || Error::kernel("look up the route to", destination);
        if let Some(device) = node.device_towards(destination).map_err(failed())?
            && let Some(link) = node.link_at(device).map_err(failed())?
        {
            return Ok(link.mtu.clamp(1280, 65535));
        }
    }
    Ok(ETHERNET_MTU)
}
