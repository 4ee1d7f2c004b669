//! Pods that answer, with their networks open for whoever asks from there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::cluster::Cluster;
use crate::cluster::echo::{Answer, Echo, tell};
use crate::cluster::mirror::Protocol;
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::sandbox::SandboxNetwork;

/// Where they answer.
pub(super) const PORT: u16 = 7070;
/// Both protocols.
pub(super) const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];
const LIMIT: Duration = Duration::from_secs(5);

/// A running pod. Dropped in this order: sockets keep a network alive.
#[derive(Debug)]
pub(super) struct EchoPod {
    _echo: Echo,
    pub(super) network: SandboxNetwork,
    pub(super) name: String,
    pub(super) node: String,
    pub(super) addresses: Vec<IpAddr>,
}

impl EchoPod {
    /// Enters `pods`, which run, and answers there.
    pub(super) fn enter(cluster: &Cluster, pods: &[Pod]) -> anyhow::Result<Vec<Self>> {
        let kubectl = cluster.kubectl()?;
        let enter = |pod: &Pod| {
            let network = SandboxNetwork::open(node(cluster, &pod.node)?, &pod.name)?;
            let addresses = kubectl.pod_addresses(&pod.name)?;
            let addresses = addresses.iter().map(|address| address.parse()).collect::<Result<_, _>>()?;
            let _echo = Echo::in_pod(&network, &pod.name, PORT)?;
            Ok(Self { _echo, network, name: pod.name.clone(), node: pod.node.clone(), addresses })
        };
        pods.iter().map(enter).collect()
    }

    /// Asks at `place` from within.
    pub(super) fn tell(&self, place: SocketAddr, protocol: Protocol, body: &[u8]) -> anyhow::Result<Answer> {
        self.network.within(|| tell(place, protocol, body, LIMIT))
    }

    /// Its address of the family of `other`.
    pub(super) fn address_like(&self, other: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|own| own.is_ipv4() == other.is_ipv4())
    }
}

/// Asks at `place` from a node itself.
pub(super) fn tell_from(
    node: &Node,
    place: SocketAddr,
    protocol: Protocol,
    body: &[u8],
) -> anyhow::Result<Answer> {
    node.machine().within_network(|| tell(place, protocol, body, LIMIT))
}

/// The node of this name.
pub(super) fn node<'a>(cluster: &'a Cluster, name: &str) -> anyhow::Result<&'a Node> {
    let found = cluster.nodes().iter().find(|node| node.name() == name);
    found.ok_or_else(|| anyhow::anyhow!("no node {name}"))
}

/// The addresses of a node.
pub(super) fn addresses(node: &Node) -> anyhow::Result<Vec<IpAddr>> {
    Ok(node.addresses().iter().map(|address| address.parse()).collect::<Result<_, _>>()?)
}

/// All ordered pairs of different ones.
pub(super) fn pairs<T>(all: &[T]) -> impl Iterator<Item = (&T, &T)> {
    let others = |at: usize| all.iter().enumerate().filter(move |(other, _)| *other != at);
    all.iter().enumerate().flat_map(move |(at, one)| others(at).map(move |(_, other)| (one, other)))
}
