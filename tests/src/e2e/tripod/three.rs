//! Three nodes, of which the third is behind a router that drops what carries a pod's address: by a route
//! or through the overlay, all pods reach one another and the nodes as if there were nothing between.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use serde_json::Value;

use super::echo_pods::{self, EchoPod, PORT, PROTOCOLS, pairs, tell_from};
use super::{footprint, install};
use crate::chance::Chance;
use crate::cluster::addresses::{Families, Link};
use crate::cluster::echo::Echo;
use crate::cluster::mirror::Protocol;
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Programs};

/// The port of each node that leads to its first pod.
const HOST_PORT: u16 = 8070;
const BODY: usize = 1_000_000;

/// Three nodes without a network.
pub(in crate::e2e) fn prepare(
    name: &str,
    programs: &Programs,
    families: Families,
) -> anyhow::Result<Cluster> {
    super::start_on(name, programs, &[Link::Near, Link::Near, Link::Far], families)
}

pub(in crate::e2e) fn all_reach_all(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let before = footprint::of_pods(cluster)?;
    let pods: Vec<Pod> = cluster.nodes().iter().flat_map(two_of).collect();
    step("two pods run on each of three nodes", || kubectl.run_pods(&pods))?;
    let entered = EchoPod::enter(cluster, &pods)?;
    step("all pairs of pods speak over TCP and UDP, and see one another as themselves", || {
        pairs(&entered).try_for_each(|(from, to)| speaks(from, to))
    })?;
    step("a body of 1 MB goes both ways between all pairs", || {
        let mut chance = Chance::new(Chance::seed());
        let body: Vec<u8> = (0..BODY).map(|_| u8::try_from(chance.below(256)).expect("a byte")).collect();
        pairs(&entered).try_for_each(|(from, to)| {
            let carry = |to| from.tell(SocketAddr::new(to, PORT), Protocol::Tcp, &body).map(drop);
            to.addresses.iter().try_for_each(|to| carry(*to))
        })
    })?;
    step("packets of the full MTU pass unfragmented between all pairs, longer ones do not", || {
        pairs(&entered).try_for_each(|(from, to)| fills(from, to))?;
        // To the next of the nodes' pods, which takes a second each.
        let next = entered.iter().cycle().skip(2);
        entered.iter().zip(next).step_by(2).try_for_each(|(from, to)| is_full(from, to))
    })?;
    step("nodes and pods reach each other", || nodes_and_pods(cluster, &entered))?;
    step("a port of each node leads to its pod, from all nodes and pods", || {
        cluster.nodes().iter().try_for_each(|node| host_port(cluster, node, &entered))
    })?;
    let dropped = cluster.dropped_by_router()?;
    anyhow::ensure!(dropped == 0, "{dropped} packets with a pod's address came to the router");
    drop(entered);
    step("they are deleted", || pods.iter().try_for_each(|pod| kubectl.delete_pod(&pod.name)))?;
    step("no link, route, rule, lease or record is left", || footprint::is_again(cluster, &before))
}

fn two_of(node: &Node) -> [Pod; 2] {
    let [a, b] = ["a", "b"].map(|letter| Pod::on(node.name(), &format!("{letter}-{}", node.name())));
    [Pod { host_ports: vec![(HOST_PORT, PORT)], ..a }, b]
}

fn speaks(from: &EchoPod, to: &EchoPod) -> anyhow::Result<()> {
    for address in &to.addresses {
        for protocol in PROTOCOLS {
            let place = SocketAddr::new(*address, PORT);
            let heard = from.tell(place, protocol, b"?").with_context(|| format!("from {}", from.name))?;
            let own = from.address_like(*address).context("an address of its own")?.to_string();
            anyhow::ensure!(
                heard.name == to.name && heard.seen == own,
                "{protocol:?} from {own} to {place}, which is {}: {heard:?}",
                to.name
            );
        }
    }
    Ok(())
}

/// The largest packet.
fn fills(from: &EchoPod, to: &EchoPod) -> anyhow::Result<()> {
    let mtu = mtu(from)?;
    let fill = |to: &IpAddr| ping(from, *to, mtu).with_context(|| format!("{mtu} bytes from {}", from.name));
    to.addresses.iter().try_for_each(fill)
}

/// One with a byte more is refused where it is made.
fn is_full(from: &EchoPod, to: &EchoPod) -> anyhow::Result<()> {
    let length = mtu(from)? + 1;
    for address in &to.addresses {
        let Err(refusal) = ping(from, *address, length) else { anyhow::bail!("{length} bytes pass") };
        let refusal = format!("{refusal:#}").to_lowercase();
        anyhow::ensure!(refusal.contains("too long"), "{length} bytes to {address}: {refusal}");
    }
    Ok(())
}

/// Asks with a packet of this length, headers included, that no router may cut.
fn ping(from: &EchoPod, to: IpAddr, length: u64) -> anyhow::Result<()> {
    let headers = if to.is_ipv4() { 20 + 8 } else { 40 + 8 };
    let (size, to) = ((length - headers).to_string(), to.to_string());
    from.network.exec(&["ping", "-c1", "-W5", "-Mdo", "-s", &size, &to]).map(drop)
}

fn mtu(pod: &EchoPod) -> anyhow::Result<u64> {
    let link: Value = serde_json::from_str(&pod.network.exec(&["ip", "-j", "link", "show", "eth0"])?)?;
    link[0]["mtu"].as_u64().with_context(|| format!("{}: {link}", pod.name))
}

fn nodes_and_pods(cluster: &Cluster, pods: &[EchoPod]) -> anyhow::Result<()> {
    for node in cluster.nodes() {
        let addresses = echo_pods::addresses(node)?;
        let _echo = Echo::on_machine(node.machine(), PORT)?;
        for (pod, protocol) in pods.iter().flat_map(|pod| PROTOCOLS.map(|protocol| (pod, protocol))) {
            for (own, to) in addresses.iter().zip(&pod.addresses) {
                let heard = tell_from(node, SocketAddr::new(*to, PORT), protocol, b"?")?;
                anyhow::ensure!(heard.seen == own.to_string(), "{} to {to}: {heard:?}", node.name());
                let heard = pod.tell(SocketAddr::new(*own, PORT), protocol, b"?");
                let heard = heard.with_context(|| format!("from {}", pod.name))?;
                anyhow::ensure!(heard.name == node.name(), "{} to {own}: {heard:?}", pod.name);
            }
        }
    }
    Ok(())
}

fn host_port(cluster: &Cluster, node: &Node, pods: &[EchoPod]) -> anyhow::Result<()> {
    let served = format!("a-{}", node.name());
    let places = echo_pods::addresses(node)?.into_iter().map(|ip: IpAddr| SocketAddr::new(ip, HOST_PORT));
    for (place, protocol) in places.flat_map(|place| PROTOCOLS.map(|protocol| (place, protocol))) {
        for from in cluster.nodes() {
            let heard = tell_from(from, place, protocol, b"?")?;
            let own = echo_pods::addresses(from)?;
            let own = own.iter().any(|own| own.to_string() == heard.seen);
            anyhow::ensure!(heard.name == served && own, "{place} from {}: {heard:?}", from.name());
        }
        for from in pods {
            let heard = from.tell(place, protocol, b"?").with_context(|| format!("from {}", from.name))?;
            anyhow::ensure!(heard.name == served, "{place} from {}: {heard:?}", from.name);
        }
    }
    Ok(())
}
