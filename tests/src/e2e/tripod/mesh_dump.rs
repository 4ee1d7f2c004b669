//! All that links the nodes, as the kernels hold it.

use std::time::Duration;

use ipnetwork::IpNetwork;
use tripod_node::prefix;

use crate::cluster::Cluster;
use crate::cluster::eventually::eventually;
use crate::cluster::node::Node;

/// Overlay devices, their addresses, entries, routes, rules and tables; without what is numbered anew when
/// it is made anew, and without what belongs to single pods.
const LINKS: [&str; 7] = [
    "ip -d -o link show type vxlan | sed 's/^[0-9]*: //' | sort",
    "ip -o addr show | grep ' tripod[46] ' | sed 's/^[0-9]*: //; s/ valid_lft.*//' | sort",
    "for it in tripod4 tripod6; do bridge fdb show dev $it | sort; done",
    "ip neigh show nud permanent | grep ' dev tripod[46] ' | sort",
    "(ip -4 route show table all proto 84; ip -6 route show table all proto 84) | grep ' via ' | sort",
    "ip -4 rule show; ip -6 rule show",
    "nft list table inet tripod; nft list table bridge tripod 2>/dev/null || true",
];
/// What single pods have.
const PODS: [&str; 4] = [
    "ip -br link | grep '^tp' || true",
    "(ip -4 route show table all proto 84; ip -6 route show table all proto 84) | grep ' dev tp' || true",
    "ip neigh show nud permanent | grep ' dev tp' || true",
    "find /run/tripod/attachments -type f ! -name '.*' ! -name lock",
];

/// What was found, by node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dump(Vec<String>);

/// What all nodes hold.
pub(super) fn of(cluster: &Cluster) -> anyhow::Result<Dump> {
    let of_node = |node: &Node| LINKS.iter().map(|listing| node.exec(&["sh", "-c", listing])).collect();
    Ok(Dump(cluster.nodes().iter().map(of_node).collect::<anyhow::Result<_>>()?))
}

impl Dump {
    /// Waits until all nodes hold this again, and ways to as many pods as there are.
    pub(super) fn is_again(&self, cluster: &Cluster, limit: Duration) -> anyhow::Result<()> {
        eventually("the kernels hold what they held before", limit, || {
            let now = of(cluster)?;
            for ((was, is), node) in self.0.iter().zip(&now.0).zip(cluster.nodes()) {
                anyhow::ensure!(was == is, "{}:\n{}", node.name(), difference(was, is));
            }
            Ok(())
        })
    }

    /// Fails unless there is as much as `before`, and nothing of these ranges.
    pub(super) fn has_moved(&self, before: &Self, ranges: &[String]) -> anyhow::Result<()> {
        let ranges = ranges.iter().map(|range| range.parse()).collect::<Result<Vec<IpNetwork>, _>>()?;
        for (was, is) in before.0.iter().zip(&self.0) {
            let stale = is.lines().find(|line| names(line, &ranges));
            anyhow::ensure!(stale.is_none(), "there is still: {stale:?}");
            let same = was.lines().count() == is.lines().count();
            anyhow::ensure!(same, "another number of things:\n{}", difference(was, is));
        }
        Ok(())
    }
}

/// Waits until no node has anything of a pod.
pub(super) fn has_no_pods(cluster: &Cluster, limit: Duration) -> anyhow::Result<()> {
    eventually("no pod has left anything", limit, || {
        for node in cluster.nodes() {
            for listing in PODS {
                let left = node.exec(&["sh", "-c", listing])?;
                anyhow::ensure!(left.is_empty(), "{} has {left}", node.name());
            }
        }
        Ok(())
    })
}

/// Whether `line` names a range that lies in one of `ranges`, or an address in it.
fn names(line: &str, ranges: &[IpNetwork]) -> bool {
    let words = line.split([' ', ',', '\t']).filter_map(|word| word.parse::<IpNetwork>().ok());
    words.into_iter().any(|word| ranges.iter().any(|range| prefix::contains(range, &word)))
}

fn difference(was: &str, is: &str) -> String {
    let missing = was.lines().filter(|line| !is.lines().any(|other| other == *line));
    let more = is.lines().filter(|line| !was.lines().any(|other| other == *line));
    let missing = missing.map(|line| format!("- {line}\n"));
    missing.chain(more.map(|line| format!("+ {line}\n"))).collect()
}
