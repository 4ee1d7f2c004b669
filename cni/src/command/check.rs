//! CHECK: everything ADD made must still be there; what later members of the chain added is theirs.

use std::net::IpAddr;

use super::Node;
use crate::config::Outline;
use crate::error::Error;
use crate::ipam::store::Owner;
use crate::netns::Netns;
use crate::nft::base::LINK_GROUP;
use crate::record::{Record, Stage};
use crate::rtnl::Rtnl;
use crate::spec::{Args, Prior};

pub(super) async fn run(args: &Args, outline: Outline, node: &Node) -> Result<(), Error> {
    let conf = outline.complete()?;
    let failed = |problem: String| Error::CheckFailed {
        container_id: args.container_id.clone(),
        ifname: args.ifname.clone(),
        problem,
    };
    let prior = conf.prior.as_ref();
    let prior =
        prior.ok_or_else(|| Error::config("prevResult", "null", "is missing; CHECK needs ADD's result"))?;
    let record = recorded(args, node)?.ok_or_else(|| failed("has no complete record".to_owned()))?;
    match difference(args, node, &record, prior).await? {
        Some(problem) => Err(failed(problem)),
        None => Ok(()),
    }
}

fn recorded(args: &Args, node: &Node) -> Result<Option<Record>, Error> {
    let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
    Ok(node.records.load(&owner)?.filter(|record| record.stage == Stage::Complete))
}

/// The first thing that is not as ADD left it.
async fn difference(
    args: &Args,
    node: &Node,
    record: &Record,
    prior: &Prior,
) -> Result<Option<String>, Error> {
    if let Some(problem) = contradiction(args, record, prior) {
        return Ok(Some(problem));
    }
    let leased = |ip: &IpAddr| record.store.join(ip.to_string()).exists();
    if let Some(address) = record.addresses.iter().find(|ip| !leased(ip)) {
        return Ok(Some(format!("the lease of {address} is gone from {:?}", record.store)));
    }
    if let Some(problem) = host_difference(node, record).await? {
        return Ok(Some(problem));
    }
    let netns = Netns::open(args.netns.as_deref().unwrap_or(&record.netns), args.netns_override)?;
    let sandbox = Rtnl::open_in(&netns)?.map_err(Error::kernel("open", "a netlink socket in the sandbox"))?;
    pod_difference(&sandbox, record).await
}

/// Where the runtime's memory of ADD and ours differ.
fn contradiction(args: &Args, record: &Record, prior: &Prior) -> Option<String> {
    let ours = prior.interfaces.iter().position(|i| i.name == args.ifname && i.sandbox.is_some());
    let Some(ours) = ours else { return Some(format!("prevResult lists no {:?} in a sandbox", args.ifname)) };
    let listed =
        |address| prior.ips.iter().any(|ip| ip.address.ip() == address && ip.interface == Some(ours));
    let missing = record.addresses.iter().find(|address| !listed(**address));
    missing.map(|address| format!("prevResult does not list {address}"))
}

async fn host_difference(node: &Node, record: &Record) -> Result<Option<String>, Error> {
    let name = &record.host_ifname;
    let look = || Error::kernel("look up interface", name);
    let Some(link) = node.rtnl.link(name).await.map_err(look())? else {
        return Ok(Some(format!("host end {name:?} is gone")));
    };
    if !link.up || link.group != LINK_GROUP {
        return Ok(Some(format!("host end {name:?} is down or in another group")));
    }
    for address in &record.addresses {
        if node.rtnl.device_towards(*address).await.map_err(look())? != Some(link.index) {
            return Ok(Some(format!("the node's route to {address} does not lead to {name:?}")));
        }
    }
    Ok(None)
}

async fn pod_difference(sandbox: &Rtnl, record: &Record) -> Result<Option<String>, Error> {
    let name = &record.ifname;
    let look = || Error::kernel("look up interface", name);
    let Some(link) = sandbox.link(name).await.map_err(look())? else {
        return Ok(Some(format!("{name:?} is gone from the sandbox")));
    };
    if !link.up {
        return Ok(Some(format!("{name:?} is down")));
    }
    let present = sandbox.addresses(link.index).await.map_err(look())?;
    let missing = record.addresses.iter().find(|address| !present.iter().any(|one| one.ip() == **address));
    Ok(missing.map(|address| format!("{name:?} has lost {address}")))
}
