//! Pods of one node reach each other, their node and, under its address, the outside.

use super::{footprint, install};
use crate::cluster::Cluster;
use crate::cluster::mirror::{Mirror, seen_from_outside};
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;

pub(in crate::e2e) fn pods_are_connected(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let before = footprint::of_pods(cluster)?;
    let pairs: Vec<[Pod; 2]> = cluster.nodes().iter().map(pair).collect();
    let all: Vec<Pod> = pairs.iter().flatten().cloned().collect();
    step("two pods run on each node", || kubectl.run_pods(&all))?;
    for (node, pair) in cluster.nodes().iter().zip(&pairs) {
        step(&format!("the pods of {} reach each other and the node", node.name()), || {
            reach_each_other(cluster, pair, node)
        })?;
        step(&format!("{} reaches its pods beside a docker0 and a VIP", node.name()), || {
            confuse(cluster, node)?;
            pair.iter().try_for_each(|pod| node_reaches(cluster, node, pod))
        })?;
    }
    step("outside they are seen under the address of their node", || {
        let _mirror = Mirror::start(cluster.underlay(), cluster.families())?;
        cluster.nodes().iter().zip(&pairs).try_for_each(|(node, [pod, _])| is_masqueraded(cluster, pod, node))
    })?;
    step("they are deleted", || all.iter().try_for_each(|pod| kubectl.delete_pod(&pod.name)))?;
    step("no link, route, rule, lease or record is left", || footprint::is_again(cluster, &before))
}

fn pair(node: &Node) -> [Pod; 2] {
    ["a", "b"].map(|letter| Pod::on(node.name(), &format!("{letter}-{}", node.name())))
}

fn reach_each_other(cluster: &Cluster, [a, b]: &[Pod; 2], node: &Node) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl()?;
    for (from, to) in [(a, b), (b, a)] {
        for address in every_family(cluster, to)? {
            kubectl.exec(&from.name, &["ping", "-c1", "-W2", &address])?;
        }
        for address in node.addresses() {
            kubectl.exec(&from.name, &["ping", "-c1", "-W2", &address])?;
        }
    }
    Ok(())
}

/// The pod's addresses: one of each family that the cluster speaks.
fn every_family(cluster: &Cluster, pod: &Pod) -> anyhow::Result<Vec<String>> {
    let addresses = cluster.kubectl()?.pod_addresses(&pod.name)?;
    let families: Vec<bool> = addresses.iter().map(|address| address.contains(':')).collect();
    let wanted = cluster.families().of([false, true]);
    anyhow::ensure!(families == wanted, "{} has {addresses:?} in {:?}", pod.name, cluster.families());
    Ok(addresses)
}

/// Addresses that the kernel might take for the node's when it speaks to a pod.
fn confuse(cluster: &Cluster, node: &Node) -> anyhow::Result<()> {
    let ip = |line: &str| node.machine().ip(&line.split(' ').collect::<Vec<_>>());
    ip("link add docker0 type bridge")?;
    ip("link set docker0 up")?;
    let v4 = ["172.17.0.1/16 dev docker0", "10.99.99.99/32 dev lo"];
    let v6 = ["fd17::1/64 dev docker0 nodad", "fd99::99/128 dev lo nodad"];
    let places = cluster.families().of([v4, v6]).into_iter().flatten();
    places.map(|place| ip(&format!("addr add {place}"))).try_for_each(|added| added.map(drop))
}

fn node_reaches(cluster: &Cluster, node: &Node, pod: &Pod) -> anyhow::Result<()> {
    for (address, own) in every_family(cluster, pod)?.iter().zip(node.addresses()) {
        node.exec(&["ping", "-c1", "-W2", address])?;
        let route = node.exec(&["ip", "route", "get", address])?;
        anyhow::ensure!(
            route.contains(&format!("src {own} ")),
            "{} speaks to {address} by {route}",
            node.name()
        );
    }
    Ok(())
}

fn is_masqueraded(cluster: &Cluster, pod: &Pod, node: &Node) -> anyhow::Result<()> {
    let seen = seen_from_outside(&cluster.kubectl()?, &pod.name, cluster.families())?;
    let own = node.addresses();
    anyhow::ensure!(seen == own, "{} is seen as {seen:?}, not as {own:?}", pod.name);
    Ok(())
}
