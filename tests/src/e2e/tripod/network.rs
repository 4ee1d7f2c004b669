//! Pods of one node reach each other, their node and, under its address, the outside.

use super::{footprint, install};
use crate::cluster::mirror::{Mirror, seen_from_outside};
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl};

pub(super) fn pods_are_connected(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let before = footprint::of(cluster)?;
    let pairs: Vec<[Pod; 2]> = cluster.nodes().iter().map(pair).collect();
    let all: Vec<Pod> = pairs.iter().flatten().cloned().collect();
    step("two pods run on each node", || kubectl.run_pods(&all))?;
    for (node, pair) in cluster.nodes().iter().zip(&pairs) {
        step(&format!("the pods of {} reach each other and the node", node.name()), || {
            reach_each_other(&kubectl, pair, node)
        })?;
        step(&format!("{} reaches its pods beside a docker0 and a VIP", node.name()), || {
            confuse(node)?;
            pair.iter().try_for_each(|pod| node_reaches(&kubectl, node, pod))
        })?;
    }
    step("outside they are seen under the address of their node", || {
        let _mirror = Mirror::start(cluster.underlay())?;
        cluster
            .nodes()
            .iter()
            .zip(&pairs)
            .try_for_each(|(node, [pod, _])| is_masqueraded(&kubectl, pod, node))
    })?;
    step("they are deleted", || all.iter().try_for_each(|pod| kubectl.delete_pod(&pod.name)))?;
    step("no link, route, rule, lease or record is left", || footprint::is_again(cluster, &before))
}

fn pair(node: &Node) -> [Pod; 2] {
    ["a", "b"].map(|letter| Pod::on(node.name(), &format!("{letter}-{}", node.name())))
}

fn reach_each_other(kubectl: &Kubectl<'_>, [a, b]: &[Pod; 2], node: &Node) -> anyhow::Result<()> {
    for (from, to) in [(a, b), (b, a)] {
        for address in both_families(kubectl, to)? {
            kubectl.exec(&from.name, &["ping", "-c1", "-W2", &address])?;
        }
        for address in [node.address().v4.to_string(), node.address().v6.to_string()] {
            kubectl.exec(&from.name, &["ping", "-c1", "-W2", &address])?;
        }
    }
    Ok(())
}

fn both_families(kubectl: &Kubectl<'_>, pod: &Pod) -> anyhow::Result<Vec<String>> {
    let addresses = kubectl.pod_addresses(&pod.name)?;
    let families: Vec<bool> = addresses.iter().map(|address| address.contains(':')).collect();
    anyhow::ensure!(
        families == [false, true],
        "{} has {addresses:?}, not an IPv4 and an IPv6 address",
        pod.name
    );
    Ok(addresses)
}

/// Addresses that the kernel might take for the node's when it speaks to a pod.
fn confuse(node: &Node) -> anyhow::Result<()> {
    for command in [
        "link add docker0 type bridge",
        "addr add 172.17.0.1/16 dev docker0",
        "addr add fd17::1/64 dev docker0 nodad",
        "link set docker0 up",
        "addr add 10.99.99.99/32 dev lo",
        "addr add fd99::99/128 dev lo nodad",
    ] {
        node.machine().ip(&command.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}

fn node_reaches(kubectl: &Kubectl<'_>, node: &Node, pod: &Pod) -> anyhow::Result<()> {
    for (address, own) in both_families(kubectl, pod)?.iter().zip(own_addresses(node)) {
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

fn is_masqueraded(kubectl: &Kubectl<'_>, pod: &Pod, node: &Node) -> anyhow::Result<()> {
    let (seen, own) = (seen_from_outside(kubectl, &pod.name)?, own_addresses(node));
    anyhow::ensure!(seen == own, "{} is seen as {seen:?}, not as {own:?}", pod.name);
    Ok(())
}

fn own_addresses(node: &Node) -> [String; 2] {
    [node.address().v4.to_string(), node.address().v6.to_string()]
}
