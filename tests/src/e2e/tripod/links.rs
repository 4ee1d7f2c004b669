//! Pods of different nodes reach each other, however their nodes are connected.

use std::time::Duration;

use super::{footprint, install};
use crate::cluster::Cluster;
use crate::cluster::addresses::CONTROL_PLANE;
use crate::cluster::eventually::eventually;
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;

pub(in crate::e2e) fn nodes_are_linked(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let before = footprint::of_pods(cluster)?;
    let [a, b] = cluster.nodes() else { anyhow::bail!("two nodes are needed") };
    let pods = [a, b].map(|node| Pod::on(node.name(), &format!("link-{}", node.name())));
    step("a pod runs on each of two nodes", || kubectl.run_pods(&pods))?;
    step("by direct routes they reach each other and each other's node", || {
        eventually("there is no overlay", Duration::from_secs(30), || overlays_are(cluster, ""))?;
        all_reach_all(cluster, &pods)
    })?;
    step("with a router between the nodes an overlay links them", || {
        route_between(cluster, "1")?;
        [(a, b), (b, a)].into_iter().try_for_each(|(from, to)| detour(cluster, from, to, "add"))?;
        eventually("there is an overlay", Duration::from_secs(30), || {
            overlays_are(cluster, "tripod4 tripod6 ")
        })?;
        all_reach_all(cluster, &pods)
    })?;
    step("without the router there are direct routes again", || {
        [(a, b), (b, a)].into_iter().try_for_each(|(from, to)| detour(cluster, from, to, "del"))?;
        route_between(cluster, "0")?;
        eventually("there is no overlay", Duration::from_secs(30), || overlays_are(cluster, ""))?;
        all_reach_all(cluster, &pods)
    })?;
    step("they are deleted", || pods.iter().try_for_each(|pod| kubectl.delete_pod(&pod.name)))?;
    step("no link, route, rule, lease or record is left", || footprint::is_again(cluster, &before))
}

/// Leads what `from` sends to `to` over the default gateway, which hands it back onto the same link.
fn detour(cluster: &Cluster, from: &Node, to: &Node, act: &str) -> anyhow::Result<()> {
    let gateways = cluster.families().addresses(CONTROL_PLANE);
    for (address, gateway) in to.addresses().iter().zip(gateways) {
        from.machine().ip(&["route", act, address, "via", &gateway.to_string()])?;
    }
    Ok(())
}

/// Makes the default gateway a router, or takes it back.
fn route_between(cluster: &Cluster, on: &str) -> anyhow::Result<()> {
    let keys = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"].map(|key| format!("{key}={on}"));
    cluster.underlay().exec(&["sysctl", "-qw", &keys[0], &keys[1]]).map(drop)
}

fn overlays_are(cluster: &Cluster, wanted: &str) -> anyhow::Result<()> {
    for node in cluster.nodes() {
        let devices =
            node.exec(&["sh", "-c", "ip -br link show type vxlan | awk '{print $1}' | sort | tr '\\n' ' '"])?;
        let routes = node.exec(&[
            "sh",
            "-c",
            "(ip route show proto 84; ip -6 route show proto 84) | grep -c ' dev tripod' || true",
        ])?;
        let is_routed = routes.trim() == if wanted.is_empty() { "0" } else { "2" };
        anyhow::ensure!(
            devices == wanted && is_routed,
            "{} has the devices {devices:?}, and routes {routes}",
            node.name()
        );
    }
    Ok(())
}

fn all_reach_all(cluster: &Cluster, pods: &[Pod; 2]) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl()?;
    let [a, b] = cluster.nodes() else { anyhow::bail!("two nodes are needed") };
    let [one, other] = pods;
    for (pod, node, peer) in [(one, a, other), (other, b, one)] {
        for address in kubectl.pod_addresses(&peer.name)? {
            kubectl.exec(&pod.name, &["ping", "-c1", "-W2", &address])?;
            node.exec(&["ping", "-c1", "-W2", &address])?;
        }
    }
    for (pod, node) in [(one, b), (other, a)] {
        for address in node.addresses() {
            kubectl.exec(&pod.name, &["ping", "-c1", "-W2", &address])?;
        }
    }
    Ok(())
}
