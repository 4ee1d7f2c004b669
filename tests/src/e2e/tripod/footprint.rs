//! Everything of Tripod's that is found on a node: links, routes, neighbours, rules, leases, records.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::cluster::eventually::eventually;
use crate::cluster::node::Node;

/// What pods leave, one listing per command, in the same order every time. Of the table only the elements
/// of its sets and maps: its chains are the node's, and some come with the first pod that needs them.
const OF_PODS: [&str; 5] = [
    "ip -br link | grep '^tp' | sort || true",
    "(ip -4 route show proto 84; ip -6 route show proto 84) | grep -v ' via ' | sort || true",
    "ip neigh show nud permanent | sort",
    "nft list table inet tripod | sed -n '/elements = {/,/}/p'",
    "find /run/tripod/attachments /run/tripod/ipam -type f ! -name lock \
     ! -name 'last_reserved_ip*' ! -name '.*' | sort",
];
const RULES: &str = "nft list table inet tripod";

/// What all nodes have of Tripod's.
pub(super) fn of(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let everything = [&OF_PODS[..], &[RULES]].concat();
    cluster.nodes().iter().map(|node| list(node, &everything)).collect()
}

/// What pods have left on all nodes.
pub(super) fn of_pods(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    cluster.nodes().iter().map(|node| list(node, &OF_PODS)).collect()
}

/// Waits until pods have left no more than `before`: a sandbox is taken down a moment after its pod is
/// gone.
pub(super) fn is_again(cluster: &Cluster, before: &[String]) -> anyhow::Result<()> {
    eventually("the nodes are as before", Duration::from_secs(60), || {
        let now = of_pods(cluster)?;
        anyhow::ensure!(now == before, "before:\n{}\nnow:\n{}", before.join("\n"), now.join("\n"));
        Ok(())
    })
}

fn list(node: &Node, listings: &[&str]) -> anyhow::Result<String> {
    listings.iter().map(|listing| node.exec(&["sh", "-c", listing])).collect()
}
