//! A port of the node that leads to a pod: from everywhere, for one pod at a time, and closed after it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{footprint, install};
use crate::cluster::eventually::eventually;
use crate::cluster::mirror::{Mirror, Protocol, ask};
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::sandbox::SandboxNetwork;
use crate::cluster::{Cluster, Kubectl};

/// The node's port.
const PORT: u16 = 8053;
/// The pod's.
const OWN_PORT: u16 = 5353;

pub(super) fn a_port_of_the_node_leads_to_the_pod(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let before = footprint::of_pods(cluster)?;
    let (node, other) = (&cluster.nodes()[0], &cluster.nodes()[1]);
    let served = |name: &str| Pod { host_ports: vec![(PORT, OWN_PORT)], ..Pod::on(node.name(), name) };
    let (server, client) = (served("server"), Pod::on(node.name(), "client"));
    step("a pod with a host port runs", || kubectl.run_pods(&[server.clone(), client.clone()]))?;
    is_served(cluster, [&server, &client])?;
    step("a second pod is not started there", || is_not_scheduled(&kubectl, &served("rival")))?;
    step("they are deleted", || {
        ["rival", "server", "client"].iter().try_for_each(|pod| kubectl.delete_pod(pod))
    })?;
    step("no link, route, rule, lease or record is left", || footprint::is_again(cluster, &before))?;
    step("the port is closed", || is_closed(other, node))
}

/// From the other node, the node itself, a pod beside it and the pod itself.
fn is_served(cluster: &Cluster, [server, client]: [&Pod; 2]) -> anyhow::Result<()> {
    let (node, other) = (&cluster.nodes()[0], &cluster.nodes()[1]);
    let server = SandboxNetwork::open(node, &server.name)?;
    let client = SandboxNetwork::open(node, &client.name)?;
    let _mirror = Mirror::in_pod(&server, OWN_PORT)?;
    let places = places(node)?;
    step("the other node reaches it, and is seen as itself", || {
        for (place, own) in places.iter().zip(other.addresses()) {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let seen = other.machine().within_network(|| ask(*place, protocol))?;
                anyhow::ensure!(seen == own, "{protocol:?} to {place} from {own} is seen as {seen}");
            }
        }
        Ok(())
    })?;
    let every = |places: &[SocketAddr]| {
        let both = |place: &SocketAddr| [Protocol::Tcp, Protocol::Udp].map(|protocol| (*place, protocol));
        places.iter().flat_map(both).try_for_each(|(place, protocol)| ask(place, protocol).map(drop))
    };
    step("the node reaches it, also by 127.0.0.1", || {
        let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT);
        node.machine().within_network(|| every(&[&places[..], &[local]].concat()))
    })?;
    step("a pod of the same node reaches it", || client.within(|| every(&places)))?;
    step("it reaches itself", || server.within(|| every(&places)))
}

fn places(node: &Node) -> anyhow::Result<Vec<SocketAddr>> {
    let place = |address: String| Ok(SocketAddr::new(address.parse::<IpAddr>()?, PORT));
    node.addresses().into_iter().map(place).collect()
}

fn is_not_scheduled(kubectl: &Kubectl<'_>, pod: &Pod) -> anyhow::Result<()> {
    kubectl.apply(&pod.manifest())?;
    eventually("the scheduler says why", Duration::from_secs(60), || {
        let events = kubectl.events(&pod.name)?;
        let taken = |(reason, message): &(String, String)| {
            reason == "FailedScheduling" && message.contains("free ports")
        };
        anyhow::ensure!(events.iter().any(taken), "there are {events:?}");
        Ok(())
    })
}

fn is_closed(from: &Node, node: &Node) -> anyhow::Result<()> {
    for place in places(node)? {
        let answer = from.machine().within_network(|| ask(place, Protocol::Tcp));
        let refusal = format!("{:#}", answer.expect_err("nobody is there"));
        anyhow::ensure!(refusal.contains("refused"), "{refusal}");
    }
    Ok(())
}
