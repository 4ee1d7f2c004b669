//! A hundred pods of one node, made at once and deleted at once.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;

use super::{footprint, install};
use crate::cluster::images::PAUSE;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl};

/// Below the kubelet's own limit of 110, together with what runs there already.
const PODS: usize = 100;
const OURS: &str = "--selector=test=hundred";

pub(super) fn a_hundred_pods_come_and_go(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let before = footprint::of_pods(cluster)?;
    let node = cluster.nodes()[0].name();
    let manifests: Vec<String> = (0..PODS).map(|number| manifest(node, number)).collect();
    let begin = Instant::now();
    step("they are applied", || kubectl.apply(&manifests.join("---\n")))?;
    step("all are Ready", || kubectl.run(&["wait", "--for=condition=Ready", "pod", OURS, "--timeout=600s"]))?;
    println!("  {PODS} pods, from apply to all Ready: {:.1} s", begin.elapsed().as_secs_f32());
    step("each has addresses of its own", || have_own_addresses(cluster, &kubectl))?;
    let begin = Instant::now();
    step("they are deleted", || kubectl.run(&["delete", "pod", OURS, "--wait", "--timeout=600s"]))?;
    println!("  {PODS} pods, from delete to all gone: {:.1} s", begin.elapsed().as_secs_f32());
    step("no link, route, rule, lease or record is left", || footprint::is_again(cluster, &before))?;
    step("no sandbox had to be made twice", || sandboxes_did_not_fail(&kubectl))
}

/// The smallest pod there is: one process besides its sandbox, and that one waits.
fn manifest(node: &str, number: usize) -> String {
    format!(
        r#"apiVersion: v1
kind: Pod
metadata: {{name: hundred-{number}, labels: {{test: hundred}}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: {node}}}
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  containers: [{{name: main, image: "{PAUSE}", imagePullPolicy: IfNotPresent}}]
"#
    )
}

fn have_own_addresses(cluster: &Cluster, kubectl: &Kubectl<'_>) -> anyhow::Result<()> {
    let pods = kubectl.get(&["pods", OURS])?;
    let pods = pods["items"].as_array().into_iter().flatten();
    let addresses: Vec<String> = pods
        .flat_map(|pod| pod["status"]["podIPs"].as_array().cloned().unwrap_or_default())
        .map(|address| address["ip"].to_string())
        .collect();
    let (all, different) = (addresses.len(), addresses.iter().collect::<BTreeSet<_>>().len());
    let wanted = PODS * cluster.families().of([4, 6]).len();
    anyhow::ensure!(all == wanted && different == wanted, "{all} addresses, {different} different ones");
    Ok(())
}

fn sandboxes_did_not_fail(kubectl: &Kubectl<'_>) -> anyhow::Result<()> {
    let events = kubectl.get(&["events", "--field-selector=reason=FailedCreatePodSandBox"])?;
    let ours = |event: &&Value| {
        event["involvedObject"]["name"].as_str().is_some_and(|name| name.starts_with("hundred-"))
    };
    let events = events["items"].as_array().into_iter().flatten().filter(ours);
    let told: Vec<String> = events.map(|event| event["message"].to_string()).collect();
    anyhow::ensure!(told.is_empty(), "{}", told.join("\n"));
    Ok(())
}
