//! Everything of Tripod's that is found on a node: links, routes, neighbours, rules, leases, records.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::cluster::eventually::eventually;
use crate::cluster::node::Node;

/// One listing per command, in the same order every time.
const LISTINGS: [&str; 5] = [
    "ip -br link | grep '^tp' | sort || true",
    "ip -4 route show proto 84 | sort; ip -6 route show proto 84 | sort",
    "ip neigh show nud permanent | sort",
    "nft list table inet tripod",
    "find /run/tripod/attachments /run/tripod/ipam -type f ! -name lock ! -name 'last_reserved_ip*' | sort",
];

/// What one node has of Tripod's.
fn of_node(node: &Node) -> anyhow::Result<String> {
    LISTINGS.iter().map(|listing| node.exec(&["sh", "-c", listing])).collect()
}

/// What all nodes have.
pub(super) fn of(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    cluster.nodes().iter().map(of_node).collect()
}

/// Waits until every node is as it was: a sandbox is taken down a moment after its pod is gone.
pub(super) fn is_again(cluster: &Cluster, before: &[String]) -> anyhow::Result<()> {
    eventually("the nodes are as before", Duration::from_secs(60), || {
        let now = of(cluster)?;
        anyhow::ensure!(now == before, "before:\n{}\nnow:\n{}", before.join("\n"), now.join("\n"));
        Ok(())
    })
}
