//! ADD: attach a sandbox, or leave the node as it was.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde_json::Value;
use tokio::time::timeout;

use super::{Node, UNDO_DEADLINE, status, within};
use crate::config::{NetConf, Outline};
use crate::datapath::{Wiring, host_ifname};
use crate::error::Error;
use crate::ipam;
use crate::ipam::store::{Owner, Store};
use crate::journal::{Journal, Undo};
use crate::netns::Netns;
use crate::nft::{Nft, base};
use crate::record::{Record, Stage};
use crate::rtnl::Rtnl;
use crate::spec::Args;

/// A documentation prefix (RFC 5737, RFC 3849): nobody routes it but by the default route.
const FAR_AWAY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// What a link has when nothing says otherwise, in bytes.
const ETHERNET_MTU: u32 = 1500;

pub(super) async fn run(args: &Args, outline: Outline, node: &Node) -> Result<Value, Error> {
    let conf = outline.complete()?;
    status::agent_is_ready(conf.agent_state.as_deref())?;
    let path = args.netns.clone().unwrap_or_default();
    let netns = Netns::open(&path, args.netns_override)?;
    let sandbox = Rtnl::open_in(&netns)?.map_err(Error::kernel("open", "a netlink socket in the sandbox"))?;
    let record = intent(args, &conf, path);
    repair(&record, node, &sandbox).await?;
    let mut journal = Journal::new(record.clone());
    let sandbox = Sandbox { netns, rtnl: sandbox };
    match within("ADD", 30, attach(args, &conf, node, &sandbox, (record, &mut journal))).await {
        Ok(document) => Ok(document),
        Err(error) => Err(undo(journal, node, error).await),
    }
}

struct Sandbox {
    netns: Netns,
    rtnl: Rtnl,
}

/// The steps, each noted in the journal before it is taken.
async fn attach(
    args: &Args,
    conf: &NetConf,
    node: &Node,
    sandbox: &Sandbox,
    (mut record, journal): (Record, &mut Journal),
) -> Result<Value, Error> {
    journal.push(Undo::RemoveRecord);
    node.records.save(&record)?;
    journal.push(Undo::ReleaseAnyLease);
    let addresses = ipam::reserve(conf, &Store::new(&record.store), &record.owner()).await?;
    journal.pop();
    journal.push(Undo::ReleaseLeases(addresses.clone()));
    guard()?;
    let mtu = match conf.mtu {
        Some(mtu) => mtu,
        None => detect_mtu(&node.rtnl).await?,
    };
    let wiring = Wiring::new(args, conf, addresses.clone(), mtu);
    wiring.attach(&node.rtnl, &sandbox.rtnl, &sandbox.netns, journal).await?;
    record.stage = Stage::Complete;
    record.addresses = addresses;
    node.records.save(&record)?;
    Ok(wiring.success(&record.netns, conf).render(conf.version))
}

async fn undo(journal: Journal, node: &Node, cause: Error) -> Error {
    match timeout(UNDO_DEADLINE, journal.rollback(node)).await {
        Ok(Ok(())) => cause,
        // What is left is written in the record, and the next ADD, DEL or GC repairs it.
        Ok(Err(_)) | Err(_) => Error::Several { first: Box::new(cause), others: 1 },
    }
}

fn intent(args: &Args, conf: &NetConf, netns: PathBuf) -> Record {
    let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
    Record {
        v: 1,
        stage: Stage::Intent,
        container_id: args.container_id.clone(),
        ifname: args.ifname.clone(),
        netns,
        network: conf.name.clone(),
        store: conf.ipam.store.clone(),
        host_ifname: host_ifname(&owner),
        addresses: Vec::new(),
        pod: args.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name)),
    }
}

/// Clears what an ADD of the same attachment left when it was killed. A whole attachment is not a
/// leftover: the specification forbids a second ADD.
async fn repair(wanted: &Record, node: &Node, sandbox: &Rtnl) -> Result<(), Error> {
    let in_pod =
        sandbox.link(&wanted.ifname).await.map_err(Error::kernel("look up interface", &wanted.ifname))?;
    let old = node.records.load(&wanted.owner())?;
    let interrupted = old.as_ref().is_some_and(|old| old.stage == Stage::Intent);
    if in_pod.is_some() && !interrupted {
        return Err(Error::InterfaceExists { ifname: wanted.ifname.clone(), place: "in the sandbox" });
    }
    match old {
        Some(old) => Journal::of_attachment(old).rollback(node).await,
        None => Ok(()),
    }
}

fn guard() -> Result<(), Error> {
    let failed = |source| Error::KernelFeature {
        feature: "nf_tables with fib (CONFIG_NF_TABLES_INET, CONFIG_NFT_FIB_INET)",
        source,
    };
    Nft::open().and_then(|nft| base::ensure_guard(&nft)).map_err(failed)
}

/// MTU of the device that the default route leaves by.
async fn detect_mtu(node: &Rtnl) -> Result<u32, Error> {
    for destination in FAR_AWAY {
        let failed = || Error::kernel("look up the route to", destination);
        if let Some(device) = node.device_towards(destination).await.map_err(failed())?
            && let Some(link) = node.link_at(device).await.map_err(failed())?
        {
            return Ok(link.mtu.clamp(1280, 65535));
        }
    }
    Ok(ETHERNET_MTU)
}
