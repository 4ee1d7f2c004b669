//! Mode `chained`: limits and parameters for what another main plugin made. Its links and addresses are
//! never changed or given back here.
//!
//! The guard rules of table `inet tripod` match our own host ends, so what a pod of another plugin may
//! send stays that plugin's affair, and nothing here may open what they would have to close: host ports
//! are not served on 127.0.0.1.

use serde_json::Value;

use super::{Node, add, status};
use crate::config::{Bandwidth, Chained, Outline};
use crate::datapath::{ports, shaping, tuning};
use crate::error::Error;
use crate::ipam::store::Owner;
use crate::journal::{Journal, Undo};
use crate::netns::Netns;
use crate::patience::within;
use crate::record::{Record, Stage};
use crate::rtnl::{Link, Rtnl};
use crate::spec::{Args, Prior, restate};

const VETH: &str = "veth";

pub(super) fn add(args: &Args, outline: Outline, node: &Node) -> Result<Value, Error> {
    let conf = outline.complete_chained()?;
    status::agent_is_ready(conf.agent_state.as_deref())?;
    let path = args.netns.clone().unwrap_or_default();
    let netns = Netns::open(&path, args.netns_override)?;
    let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
    let _held = node.records.hold(&owner)?;
    within("ADD", 30, || repair(args, node))?;
    let host_end = within("ADD", 10, || host_end(args, node, &netns))?;
    if host_end.is_none() && conf.bandwidth != Bandwidth::default() {
        return Err(no_host_end(args, &conf.bandwidth));
    }
    let record = intent(args, &conf, host_end.as_ref());
    if record.addresses.is_empty() && !record.host_ports.is_empty() {
        let problem = format!("lists no address of {:?}, to which host ports could lead", args.ifname);
        return Err(Error::config("prevResult.ips", "[]", problem));
    }
    let mut journal = Journal::new(record.clone());
    let attempt = Attempt { conf: &conf, node, netns, host_end };
    match within("ADD", 30, || attempt.attach(record, &mut journal)) {
        Ok(()) => Ok(restate(conf.result, conf.version)),
        Err(error) => Err(add::undo(journal, node, error)),
    }
}

/// What a killed ADD of the same attachment left, or one whose DEL never came. One that is not chained
/// is a whole attachment of ours, which has these keys itself.
fn repair(args: &Args, node: &Node) -> Result<(), Error> {
    let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
    let Some(old) = node.records.load(&owner)? else { return Ok(()) };
    let look = || Error::kernel("look up interface", &old.host_ifname);
    if !old.chained && node.rtnl.link(&old.host_ifname).map_err(look())?.is_some() {
        let problem = "comes after tripod-cni in another mode, which has the same keys; write them there";
        return Err(Error::config("mode", "\"chained\"", problem));
    }
    Journal::of_attachment(old).rollback(node)
}

/// The other end of the pod's interface, where that is a veth whose other end is on the node.
fn host_end(args: &Args, node: &Node, netns: &Netns) -> Result<Option<Link>, Error> {
    let look = || Error::kernel("look up interface", &args.ifname);
    let sandbox = Rtnl::open_in(netns)?.map_err(Error::kernel("open", "a netlink socket in the sandbox"))?;
    let Some(pod_end) = sandbox.link(&args.ifname).map_err(look())?.filter(|link| link.kind == VETH) else {
        return Ok(None);
    };
    let Some(index) = pod_end.peer else { return Ok(None) };
    let found = node.rtnl.link_at(index).map_err(look())?;
    // The number may be that of a link in a third namespace: the pair must agree.
    Ok(found.filter(|link| link.kind == VETH && link.peer == Some(pod_end.index)))
}

fn no_host_end(args: &Args, bandwidth: &Bandwidth) -> Error {
    let problem = format!(
        "needs a veth: {:?} in the sandbox has no other end on the node; take the limits out, or use a main \
         plugin that makes veths",
        args.ifname
    );
    Error::config("bandwidth", bandwidth, problem)
}

fn intent(args: &Args, conf: &Chained, host_end: Option<&Link>) -> Record {
    let netns = args.netns.clone().unwrap_or_default();
    let mut record = Record::intent(args, netns, &conf.name, "".as_ref());
    record.chained = true;
    record.host_ifname = host_end.map(|link| link.name.clone()).unwrap_or_default();
    record.host_index = host_end.map(|link| link.index);
    record.addresses = addresses(&conf.prior, &args.ifname);
    record.host_ports.clone_from(&conf.host_ports);
    shaping::intend(&conf.bandwidth, &mut record);
    record
}

/// Those of the pod's interface. Old plugins list addresses without an interface.
fn addresses(prior: &Prior, ifname: &str) -> Vec<std::net::IpAddr> {
    let of_pod = |index: Option<i64>| {
        let Some(index) = index.and_then(|index| usize::try_from(index).ok()) else { return true };
        let interface = prior.interfaces.get(index);
        interface.is_some_and(|one| one.name == ifname && one.sandbox.as_ref().is_some_and(|s| !s.is_empty()))
    };
    let listed = prior.ips.iter().filter(|ip| of_pod(ip.interface)).map(|ip| ip.address.ip());
    let of_family = prior.ip4.iter().chain(&prior.ip6).map(|family| family.ip.ip());
    listed.chain(of_family).collect()
}

/// One ADD on its way.
struct Attempt<'a> {
    conf: &'a Chained,
    node: &'a Node,
    netns: Netns,
    host_end: Option<Link>,
}

impl Attempt<'_> {
    /// The steps, each noted in the journal before it is taken.
    fn attach(&self, mut record: Record, journal: &mut Journal) -> Result<(), Error> {
        journal.push(Undo::RemoveRecord);
        self.node.records.save(&record)?;
        if !record.host_ports.is_empty() {
            journal.push(Undo::ReleaseHostPorts);
            record.shared_device = self.bridge()?;
            ports::claim(&record, self.node)?;
            ports::open(&record, None, &self.node.rtnl)?;
        }
        if let Some(host_end) = &self.host_end {
            shaping::attach(&self.node.rtnl, host_end, &self.conf.bandwidth, &record, journal)?;
        }
        tuning::set(&self.netns, &self.conf.sysctl, &record.ifname)?;
        record.stage = Stage::Complete;
        self.node.records.save(&record)
    }

    /// Name of the bridge that the pod shares with others.
    fn bridge(&self) -> Result<Option<String>, Error> {
        let Some(index) = self.host_end.as_ref().and_then(|link| link.master) else { return Ok(None) };
        let look = Error::kernel("look up bridge", index);
        Ok(self.node.rtnl.link_at(index).map_err(look)?.map(|bridge| bridge.name))
    }
}

pub(super) fn check(args: &Args, outline: Outline, node: &Node) -> Result<(), Error> {
    outline.complete_chained()?;
    let failed = |problem: String| Error::CheckFailed {
        container_id: args.container_id.clone(),
        ifname: args.ifname.clone(),
        problem,
    };
    let owner = Owner { container_id: &args.container_id, ifname: &args.ifname };
    let record = node.records.load(&owner)?.filter(|record| record.stage == Stage::Complete);
    let record = record.ok_or_else(|| failed("has no complete record".to_owned()))?;
    if let Some(problem) = ports::lost(&record)? {
        return Err(failed(problem));
    }
    let Some(index) = record.host_index else { return Ok(()) };
    let look = Error::kernel("look up interface", &record.host_ifname);
    let Some(link) = node.rtnl.link_at(index).map_err(look)? else {
        return Err(failed(format!("host end {:?} is gone", record.host_ifname)));
    };
    match shaping::difference(&node.rtnl, &link, &record)? {
        Some(problem) => Err(failed(problem)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_pods_addresses_are_those_of_its_interface_in_the_sandbox() {
        let prior = json!({
            "interfaces": [{"name": "cni0"}, {"name": "eth0", "sandbox": ""}, {"name": "eth0", "sandbox": "/n"}, {"name": "eth1", "sandbox": "/n"}],
            "ips": [
                {"address": "10.0.0.1/24", "interface": 0}, {"address": "10.0.0.2/24", "interface": 1},
                {"address": "10.0.0.3/24", "interface": 2}, {"address": "fd00::3/64", "interface": 2},
                {"address": "10.0.0.4/24", "interface": 3}, {"address": "10.0.0.5/24", "interface": 9},
                {"address": "10.0.0.6/24"}, {"address": "10.0.0.7/24", "interface": -1},
            ],
        });
        let prior: Prior = serde_json::from_value(prior).unwrap();
        let found: Vec<String> = addresses(&prior, "eth0").iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.3", "fd00::3", "10.0.0.6", "10.0.0.7"]);
        let oldest =
            json!({"ip4": {"ip": "10.0.0.3/24", "gateway": "10.0.0.1"}, "ip6": {"ip": "fd00::3/64"}});
        let oldest: Prior = serde_json::from_value(oldest).unwrap();
        assert_eq!(addresses(&oldest, "eth0").len(), 2);
    }
}
