//! Services, led to pods by the real kube-proxy: from pods and nodes, to pods of all nodes, and back to the
//! pod that asks.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context;

use super::echo_pods::{self, EchoPod, PORT, PROTOCOLS, tell_from};
use super::{footprint, install};
use crate::cluster::Cluster;
use crate::cluster::echo::Answer;
use crate::cluster::eventually::eventually;
use crate::cluster::mirror::Protocol;
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;

const SERVICE_PORT: u16 = 80;
/// Ports of all nodes: one for pods of any node, one for those of the same.
const NODE_PORT: u16 = 30070;
const LOCAL_PORT: u16 = 30071;
/// So many times a Service is asked at most until each of its pods has answered: that one of three is not
/// met happens once in 10^10.
const TRIES: usize = 60;

pub(in crate::e2e) fn by_nftables(cluster: &Cluster) -> anyhow::Result<()> {
    services(cluster, "nftables")
}

pub(in crate::e2e) fn by_iptables(cluster: &Cluster) -> anyhow::Result<()> {
    let version = cluster.nodes()[0].exec(&["iptables", "--version"]);
    println!("  {}", version.context("this case needs Debian's package iptables")?.trim());
    services(cluster, "iptables")
}

fn services(cluster: &Cluster, mode: &str) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let before = footprint::of(cluster)?;
    let pods: Vec<Pod> = cluster.nodes().iter().map(labelled).collect();
    step("a pod runs on each of three nodes, with Services", || {
        kubectl.run_pods(&pods)?;
        kubectl.apply(&manifests(&pods)).map(drop)
    })?;
    let entered = EchoPod::enter(cluster, &pods)?;
    step(&format!("kube-proxy runs on every node, in mode {mode}"), || cluster.start_kube_proxy(mode))?;
    let judged = judge(cluster, &entered);
    drop(entered);
    step("kube-proxy ends", || cluster.stop_kube_proxy())?;
    judged?;
    step("Services and pods are deleted", || {
        kubectl.run(&["delete", "service", "--selector=test=proxy"])?;
        pods.iter().try_for_each(|pod| kubectl.delete_pod(&pod.name))
    })?;
    step("the nodes have of Tripod's what they had", || {
        eventually("the nodes are as before", Duration::from_secs(60), || {
            let now = footprint::of(cluster)?;
            anyhow::ensure!(now == before, "before:\n{}\nnow:\n{}", before.join("\n"), now.join("\n"));
            Ok(())
        })
    })
}

fn labelled(node: &Node) -> Pod {
    let name = format!("served-{}", node.name());
    let labels = [("app", "served"), ("own", &name)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    Pod { labels: labels.to_vec(), ..Pod::on(node.name(), &name) }
}

/// One Service of all pods; one that keeps to the node it came to; one that keeps to a pod; and one for each
/// pod alone.
fn manifests(pods: &[Pod]) -> String {
    let mut services = vec![
        service("all", "app: served", "type: NodePort", Some(NODE_PORT)),
        service("local", "app: served", "type: NodePort, externalTrafficPolicy: Local", Some(LOCAL_PORT)),
        service("sticky", "app: served", "sessionAffinity: ClientIP", None),
    ];
    services.extend(pods.iter().map(|pod| service(&pod.name, &format!("own: {}", pod.name), "", None)));
    services.join("---\n")
}

fn service(name: &str, selector: &str, more: &str, node_port: Option<u16>) -> String {
    let ports = ["TCP", "UDP"].map(|protocol| {
        let node_port = node_port.map(|port| format!(", nodePort: {port}")).unwrap_or_default();
        format!(
            "{{name: {}, protocol: {protocol}, port: {SERVICE_PORT}, targetPort: {PORT}{node_port}}}",
            protocol.to_lowercase()
        )
    });
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, labels: {{test: proxy}}}}\n\
         spec: {{selector: {{{selector}}}, ipFamilyPolicy: PreferDualStack, ports: [{}]{more}}}\n",
        ports.join(", ")
    )
}

fn judge(cluster: &Cluster, pods: &[EchoPod]) -> anyhow::Result<()> {
    let (all, sticky) = (places(cluster, "all")?, places(cluster, "sticky")?);
    step("every Service has its rules", || {
        let from = cluster.nodes().last().context("a node")?;
        for pod in pods {
            for place in places(cluster, &pod.name)? {
                eventually(&format!("{} is served", pod.name), Duration::from_secs(30), || {
                    tell_from(from, place, Protocol::Tcp, b"?").map(drop)
                })?;
            }
        }
        Ok(())
    })?;
    step("pods reach a Service's pods on all nodes, as themselves", || {
        each(&all).try_for_each(|(place, protocol)| {
            pods.iter().try_for_each(|pod| from_pod(cluster, pod, place, protocol, pods))
        })
    })?;
    step("nodes do, as themselves", || {
        each(&all).try_for_each(|(place, protocol)| {
            cluster.nodes().iter().try_for_each(|node| from_node(node, place, protocol, pods))
        })
    })?;
    step("a pod reaches itself by its Service, as its node", || {
        pods.iter().try_for_each(|pod| reaches_itself(cluster, pod))
    })?;
    step("a Service that keeps to a pod does", || {
        each(&sticky).try_for_each(|(place, protocol)| {
            let answers = (0..10).map(|_| pods[0].tell(place, protocol, b"?"));
            let met = answers.map(|answer| Ok(answer?.name)).collect::<anyhow::Result<BTreeSet<_>>>()?;
            anyhow::ensure!(met.len() == 1, "{place} was answered by {met:?}");
            Ok(())
        })
    })?;
    step("a port of any node leads to pods of all nodes, from pods, nodes and outside", || {
        cluster.nodes().iter().try_for_each(|node| node_port(cluster, node, pods))
    })?;
    step("one that keeps to its node shows the pod who asks", || {
        cluster.nodes().iter().zip(pods).try_for_each(|(node, pod)| local_port(cluster, node, pod))
    })
}

/// The addresses of a Service.
fn places(cluster: &Cluster, service: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let addresses = cluster.kubectl()?.get(&["service", service])?["spec"]["clusterIPs"].take();
    let addresses: Vec<IpAddr> = serde_json::from_value(addresses)?;
    Ok(addresses.into_iter().map(|address| SocketAddr::new(address, SERVICE_PORT)).collect())
}

fn each(places: &[SocketAddr]) -> impl Iterator<Item = (SocketAddr, Protocol)> {
    places.iter().flat_map(|place| PROTOCOLS.map(|protocol| (*place, protocol)))
}

/// Asks until every pod has answered; `check` looks at each answer.
fn meets_all(
    what: &str,
    pods: &[EchoPod],
    ask: impl Fn() -> anyhow::Result<Answer>,
    check: impl Fn(&Answer) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let wanted: BTreeSet<String> = pods.iter().map(|pod| pod.name.clone()).collect();
    let mut met = BTreeSet::new();
    for _ in 0..TRIES {
        let answer = ask().with_context(|| what.to_owned())?;
        check(&answer).with_context(|| what.to_owned())?;
        met.insert(answer.name);
        if met == wanted {
            return Ok(());
        }
    }
    anyhow::bail!("{what}: only {met:?} answered in {TRIES} tries")
}

fn from_pod(
    cluster: &Cluster,
    from: &EchoPod,
    place: SocketAddr,
    protocol: Protocol,
    pods: &[EchoPod],
) -> anyhow::Result<()> {
    let own = from.address_like(place.ip()).context("an address")?;
    let node = echo_pods::addresses(echo_pods::node(cluster, &from.node)?)?;
    let check = |answer: &Answer| {
        let seen: IpAddr = answer.seen.parse()?;
        // To itself it must not speak as itself: it would answer without its node.
        let right = if answer.name == from.name { node.contains(&seen) } else { seen == own };
        anyhow::ensure!(right, "{} with the address {own} is seen as {answer:?}", from.name);
        Ok(())
    };
    let what = format!("{protocol:?} from {} to {place}", from.name);
    meets_all(&what, pods, || from.tell(place, protocol, b"?"), check)
}

fn from_node(node: &Node, place: SocketAddr, protocol: Protocol, pods: &[EchoPod]) -> anyhow::Result<()> {
    let what = format!("{protocol:?} from {} to {place}", node.name());
    meets_all(&what, pods, || tell_from(node, place, protocol, b"?"), |answer| is_seen_as(answer, node))
}

fn is_seen_as(answer: &Answer, node: &Node) -> anyhow::Result<()> {
    let right = node.addresses().contains(&answer.seen);
    anyhow::ensure!(right, "{} with {:?} is seen as {answer:?}", node.name(), node.addresses());
    Ok(())
}

fn reaches_itself(cluster: &Cluster, pod: &EchoPod) -> anyhow::Result<()> {
    let node = echo_pods::node(cluster, &pod.node)?;
    for (place, protocol) in each(&places(cluster, &pod.name)?) {
        let answer = pod.tell(place, protocol, b"?").with_context(|| format!("from {}", pod.name))?;
        anyhow::ensure!(answer.name == pod.name, "{place} of {} led to {answer:?}", pod.name);
        is_seen_as(&answer, node)?;
    }
    Ok(())
}

/// The node that was asked speaks to the pod in its own name, so that the answer comes back to it.
fn node_port(cluster: &Cluster, node: &Node, pods: &[EchoPod]) -> anyhow::Result<()> {
    for (place, protocol) in each(&ports_of(node, NODE_PORT)?) {
        let what = |from: &str| format!("{protocol:?} from {from} to {place}");
        let outside = || cluster.underlay().within_network(|| told(place, protocol));
        meets_all(&what("outside"), pods, outside, |answer| is_seen_as(answer, node))?;
        for from in cluster.nodes() {
            meets_all(&what(from.name()), pods, || tell_from(from, place, protocol, b"?"), |_| Ok(()))?;
        }
        for from in pods {
            meets_all(&what(&from.name), pods, || from.tell(place, protocol, b"?"), |_| Ok(()))?;
        }
    }
    Ok(())
}

fn local_port(cluster: &Cluster, node: &Node, own: &EchoPod) -> anyhow::Result<()> {
    for (place, protocol) in each(&ports_of(node, LOCAL_PORT)?) {
        let answer = cluster.underlay().within_network(|| told(place, protocol))?;
        let kept = !node.addresses().contains(&answer.seen);
        anyhow::ensure!(answer.name == own.name && kept, "{place} from outside: {answer:?}");
    }
    Ok(())
}

fn told(place: SocketAddr, protocol: Protocol) -> anyhow::Result<Answer> {
    crate::cluster::echo::tell(place, protocol, b"?", Duration::from_secs(5))
}

fn ports_of(node: &Node, port: u16) -> anyhow::Result<Vec<SocketAddr>> {
    Ok(echo_pods::addresses(node)?.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}
