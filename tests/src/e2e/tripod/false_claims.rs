//! A node that was taken over says, with its agent's own token, that others' traffic is its own. Nobody
//! believes it, and everybody tells.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::echo_pods::EchoPod;
use super::prober::Prober;
use super::{agents, install, mesh_dump};
use crate::cluster::Cluster;
use crate::cluster::eventually::eventually;
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;

const LIMIT: Duration = Duration::from_secs(15);

pub(in crate::e2e) fn are_ignored_and_told(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let [honest, taken, victim] = cluster.nodes() else { anyhow::bail!("three nodes are needed") };
    let pods = [honest, victim].map(|node| Pod::on(node.name(), &format!("honest-{}", node.name())));
    step("pods run on two honest nodes", || kubectl.run_pods(&pods))?;
    let before = mesh_dump::of(cluster)?;
    let entered = EchoPod::enter(cluster, &pods)?;
    let prober = Prober::start(&entered)?;
    // As long as its agent is asleep, nobody puts right what is said in its name.
    agents::signal(taken, "STOP")?;
    let pod = entered.first().and_then(|pod| pod.addresses.first()).context("a pod's address")?;
    let outcome =
        falsehoods(cluster, taken, victim, *pod)?.into_iter().try_for_each(|(about, spec, told)| {
            step(about, || {
                say(cluster, taken, &spec)?;
                eventually("the honest nodes tell", LIMIT, || is_told(cluster, honest, &told))?;
                prober.heals(Instant::now(), LIMIT).map(drop)
            })
        });
    agents::signal(taken, "CONT")?;
    outcome?;
    step("with its agent awake, all is as before", || {
        before.is_again(cluster, LIMIT)?;
        anyhow::ensure!(prober.lost() == 0, "{} questions of honest pods were lost", prober.lost());
        Ok(())
    })?;
    drop((prober, entered));
    step("they are deleted", || pods.iter().try_for_each(|pod| kubectl.delete_pod(&pod.name)))
}

/// What is said, and what is told of it.
fn falsehoods(
    cluster: &Cluster,
    taken: &Node,
    victim: &Node,
    pod: IpAddr,
) -> anyhow::Result<Vec<(&'static str, Value, String)>> {
    let ranges = cluster.kubectl()?.pod_ranges(victim.name())?;
    let own = cluster.kubectl()?.pod_ranges(taken.name())?;
    let is_kept = |address: &String| address.contains(':') != pod.is_ipv6();
    let beside: Vec<_> = taken.addresses().into_iter().filter(is_kept).chain([pod.to_string()]).collect();
    let cidrs = |cidrs: &[&str]| json!({"podCIDRs": cidrs});
    Ok(vec![
        (
            "it has another node's pods",
            json!({"podCIDRs": ranges}),
            format!("overlaps the claim of node {}, and its Node object does not have it", victim.name()),
        ),
        ("it has all of IPv4", cidrs(&["0.0.0.0/0"]), "0.0.0.0/0 is in none of clusterCIDRs".to_owned()),
        ("it has all pods", cidrs(&["10.244.0.0/16"]), "10.244.0.0/16 overlaps".to_owned()),
        ("it has half of them", cidrs(&["10.244.128.0/17"]), "10.244.128.0/17 is no /24".to_owned()),
        ("it has Services", cidrs(&["10.96.0.0/24"]), "10.96.0.0/24 is in none of clusterCIDRs".to_owned()),
        (
            "it has the addresses of another node",
            json!({"addresses": victim.addresses(), "podCIDRs": own}),
            format!("it claims {}, as node {} does", victim.addresses()[0], victim.name()),
        ),
        (
            "it is at the address of an honest node's pod",
            json!({"addresses": beside, "podCIDRs": own}),
            format!("{pod}/32 overlaps"),
        ),
    ])
}

/// As the agent of `node`, with its right to write its own TripodNode.
fn say(cluster: &Cluster, node: &Node, spec: &Value) -> anyhow::Result<()> {
    let (kubectl, patch) = (cluster.kubectl()?, json!({ "spec": spec }).to_string());
    let extra = format!("--as-user-extra=authentication.kubernetes.io/node-name={}", node.name());
    let agent = ["--as=system:serviceaccount:tripod-system:tripod", &extra];
    let words = ["patch", "tripodnode", node.name(), "--type=merge", "--patch", &patch];
    kubectl.run(&[&words[..], &agent].concat()).map(drop)
}

fn is_told(cluster: &Cluster, node: &Node, told: &str) -> anyhow::Result<()> {
    let (kubectl, on_node) = (cluster.kubectl()?, format!("--field-selector=spec.nodeName={}", node.name()));
    let ours = ["get", "pods", "--namespace=tripod-system", "--selector=app.kubernetes.io/name=tripod"];
    let name = kubectl.run(&[&ours[..], &[&on_node, "--output=name"]].concat())?;
    let log = kubectl.run(&["logs", "--namespace=tripod-system", "--container=net", name.trim()])?;
    anyhow::ensure!(log.contains(told), "{} does not say: {told}\n{}", node.name(), tail(&log));
    Ok(())
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
