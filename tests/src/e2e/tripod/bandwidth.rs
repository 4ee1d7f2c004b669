//! Kubernetes' annotations for a pod's bandwidth, as they arrive in the kernel.

use super::{footprint, install};
use crate::cluster::Cluster;
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::queues::bucket_rates;

/// To the pod and from it, in bits per second.
const LIMITS: [(&str, &str, u64); 2] = [
    ("kubernetes.io/ingress-bandwidth", "8M", 8_000_000),
    ("kubernetes.io/egress-bandwidth", "4M", 4_000_000),
];

pub(super) fn annotations_limit_the_pod(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let before = footprint::of_pods(cluster)?;
    let node = &cluster.nodes()[0];
    let annotations = LIMITS.map(|(name, value, _)| (name.to_owned(), value.to_owned())).to_vec();
    let pod = Pod { annotations, ..Pod::on(node.name(), "slow") };
    step("a pod with limits runs", || kubectl.run_pods(std::slice::from_ref(&pod)))?;
    let rates = rates(node)?;
    for (name, _, bits) in LIMITS {
        anyhow::ensure!(rates.contains(&(bits / 8)), "{name}: the node has queues of {rates:?} bytes/s");
    }
    step("it is deleted", || kubectl.delete_pod(&pod.name))?;
    step("no link, route, rule, lease or record is left", || footprint::is_again(cluster, &before))?;
    let left = self::rates(node)?;
    anyhow::ensure!(left.is_empty(), "queues of {left:?} bytes/s are left");
    Ok(())
}

fn rates(node: &Node) -> anyhow::Result<Vec<u64>> {
    bucket_rates(&node.exec(&["tc", "-j", "qdisc", "show"])?)
}
