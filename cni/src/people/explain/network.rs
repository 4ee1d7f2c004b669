//! What an ADD would do with one network.

use std::path::Path;

use crate::br_netfilter::CallIptables;
use crate::command::{Dirs, agent_is_ready};
use crate::config::{Bandwidth, Chained, Limit, Mode, NetConf, Parameter};
use crate::datapath::next_hop;
use crate::finding::Finding;
use crate::ipam::range::RangeSet;
use crate::ipam::store::Store;
use crate::rtnl::Rtnl;
use crate::sysctl;

pub(super) fn findings(conf: &NetConf, dirs: &Dirs) -> Vec<Finding> {
    let mut findings = vec![readiness(&conf.name, conf.agent_state.as_deref()), connection(conf)];
    findings.extend(taken(conf));
    findings.extend(addresses(conf));
    findings.extend(masquerade(conf));
    findings.extend(services(conf));
    findings.extend(limits(&conf.name, &conf.bandwidth));
    findings.extend(parameters(&conf.name, &conf.sysctl));
    findings.push(Finding::ok("records", dirs.attachments.display(), "one file per attachment goes here"));
    findings
}

/// What an ADD adds to another plugin's work.
pub(super) fn additions(conf: &Chained) -> Vec<Finding> {
    let text = "what the plugins before it make; host ports as the runtime asks for them";
    let agent = readiness(&conf.name, conf.agent_state.as_deref());
    let mut findings = vec![agent, Finding::ok("link", &conf.name, text)];
    findings.extend(limits(&conf.name, &conf.bandwidth));
    findings.extend(parameters(&conf.name, &conf.sysctl));
    findings
}

fn limits(network: &str, bandwidth: &Bandwidth) -> Option<Finding> {
    let bits = |limit: Limit| format!("{} bit/s", limit.rate.saturating_mul(8));
    let side = |name: &str, limit: Option<Limit>| limit.map(|limit| format!("{name} {}", bits(limit)));
    let sides = [side("towards the pod", bandwidth.ingress), side("from the pod", bandwidth.egress)];
    let text = sides.into_iter().flatten().collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then(|| Finding::ok("bandwidth", network, text))
}

fn parameters(network: &str, sysctl: &[Parameter]) -> Option<Finding> {
    let named: Vec<String> = sysctl.iter().map(|one| format!("{}={}", one.key, one.value)).collect();
    (!named.is_empty()).then(|| Finding::ok("sysctl", network, format!("in the pod: {}", named.join(", "))))
}

fn readiness(network: &str, state: Option<&Path>) -> Finding {
    const CHECK: &str = "agent";
    match (state, agent_is_ready(state)) {
        (None, _) => Finding::ok(CHECK, network, "is not waited for: \"agentState\" is not set"),
        (Some(folder), Ok(())) => Finding::ok(CHECK, folder.display(), "the agent has made this boot ready"),
        (Some(folder), Err(error)) => Finding::fail(CHECK, folder.display(), error.in_one_line())
            .fix("look at the log of the tripod pod of this node"),
    }
}

fn connection(conf: &NetConf) -> Finding {
    let text = match &conf.mode {
        Mode::Routed => format!(
            "a veth pair, routed: pods have their addresses alone and reach all else by {} and {}",
            next_hop(true),
            next_hop(false)
        ),
        Mode::Bridge(bridge) => format!("a veth pair, its host end a port of bridge {:?}", bridge.name),
    };
    let mtu = conf.mtu.map_or_else(|| "that of the default route's device".to_owned(), |mtu| mtu.to_string());
    Finding::ok("link", &conf.name, format!("{text}; MTU {mtu}"))
}

/// Whether something else has the bridge's name.
fn taken(conf: &NetConf) -> Option<Finding> {
    const CHECK: &str = "bridge";
    let Mode::Bridge(bridge) = &conf.mode else { return None };
    let found = Rtnl::open().and_then(|rtnl| rtnl.link(&bridge.name));
    match found {
        Ok(link) => {
            let problem = link.and_then(|link| bridge.unfit(&link))?;
            let fix = "name another \"bridge\", or delete or change that interface";
            Some(Finding::fail(CHECK, &bridge.name, problem).fix(fix))
        }
        Err(error) => Some(Finding::warn(CHECK, &bridge.name, format!("cannot be looked up: {error}"))),
    }
}

fn addresses(conf: &NetConf) -> Vec<Finding> {
    if let Some(plugin) = &conf.ipam.plugin {
        return vec![Finding::ok("addresses", &conf.name, format!("come from IPAM plugin {plugin:?}"))];
    }
    if conf.ipam.sets.is_empty() {
        return vec![Finding::ok("addresses", &conf.name, "pods get none: there is no \"ipam\"")];
    }
    conf.ipam.sets.iter().map(|set| supply(set, &Store::new(&conf.ipam.store))).collect()
}

fn supply(set: &RangeSet, store: &Store) -> Finding {
    const CHECK: &str = "addresses";
    let leases = match store.leases() {
        Ok(leases) => leases,
        Err(error) => {
            return Finding::fail(CHECK, store.folder().display(), error.in_one_line())
                .fix("run as root, and look at the folder's file system");
        }
    };
    let given = leases.iter().filter(|(address, _)| set.gives(*address)).count();
    let all = set.slots().saturating_sub(set.gateway_slots().count());
    let text = format!("{given} of {all} given");
    if given < all {
        return Finding::ok(CHECK, set, text);
    }
    let fix = "delete pods of this node, or give the network a larger range; see `tripod-cni leases`";
    Finding::fail(CHECK, set, text).fix(fix)
}

fn masquerade(conf: &NetConf) -> Option<Finding> {
    let spared = conf.masquerade.as_ref()?;
    let spared: Vec<String> = spared.iter().map(ToString::to_string).collect();
    let text = format!("pods leave with the node's address, except towards {}", spared.join(", "));
    Some(Finding::ok("masquerade", &conf.name, text))
}

/// Where pods share a bridge, the kernel may keep what they say to each other from the node's rules.
fn services(conf: &NetConf) -> Vec<Finding> {
    const CHECK: &str = "services";
    let Mode::Bridge(bridge) = &conf.mode else { return Vec::new() };
    let has = |v4: bool| conf.ipam.sets.iter().any(|set| set.is_ipv4() == v4);
    match CallIptables::read(Path::new(sysctl::ROOT)) {
        Err(error) => vec![Finding::warn(CHECK, sysctl::ROOT, format!("cannot be read: {error}"))],
        Ok(switches) => {
            let warnings = switches.warnings(has(true), has(false)).into_iter();
            warnings.map(|one| Finding::warn(CHECK, &bridge.name, one.to_string()).fix(one.fix())).collect()
        }
    }
}
