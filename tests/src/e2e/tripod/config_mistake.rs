//! A mistake in the ConfigMap that would keep every private image from being pulled: it is told, and does not
//! reach the nodes.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::install;
use crate::cluster::eventually::eventually;
use crate::cluster::node::Node;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl};

const NAMESPACE: &str = "--namespace=tripod-system";
/// The key of the ConfigMap, which is the name of the file too.
const FILE: &str = "credential-provider.yaml";
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn is_told_and_does_no_harm(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let good = kubectl.get(&["configmap", "tripod-config", NAMESPACE])?["data"][FILE].take();
    let good = good.as_str().context("the ConfigMap has the file")?;
    let nodes = cluster.nodes();
    step("every node says that its files are current", || {
        nodes.iter().try_for_each(|node| says(&kubectl, node, |state| state == "current"))
    })?;
    step("a mistake is an event about each node", || {
        publish(&kubectl, &good.replace("docker-config", "docker-confg"))?;
        nodes.iter().try_for_each(|node| is_an_event(&kubectl, node))
    })?;
    step("the nodes keep the good one, and say so", || {
        nodes.iter().try_for_each(|node| {
            anyhow::ensure!(on_host(node)? == good, "{} has another one", node.name());
            says(&kubectl, node, |state| state == "refused")
        })
    })?;
    step("once it is mended, all is as before", || {
        let mended = format!("{good}# mended\n");
        publish(&kubectl, &mended)?;
        nodes.iter().try_for_each(|node| {
            says(&kubectl, node, |state| state == "current")?;
            anyhow::ensure!(on_host(node)? == mended, "{} has another one", node.name());
            Ok(())
        })
    })
}

/// A kubelet looks at a ConfigMap when it looks at a pod: about once a minute, and when the pod changes.
fn publish(kubectl: &Kubectl<'_>, text: &str) -> anyhow::Result<()> {
    let patch = json!({"data": {FILE: text}}).to_string();
    kubectl.run(&["patch", "configmap", "tripod-config", NAMESPACE, "--type=merge", "--patch", &patch])?;
    let version =
        kubectl.get(&["configmap", "tripod-config", NAMESPACE])?["metadata"]["resourceVersion"].take();
    let look = format!("tripod.test/config={}", version.as_str().unwrap_or_default());
    kubectl.run(&["annotate", "pods", "--all", NAMESPACE, "--overwrite", &look]).map(drop)
}

fn on_host(node: &Node) -> anyhow::Result<String> {
    node.within(|| Ok(fs::read_to_string(format!("/etc/tripod/{FILE}"))?))
}

/// By `tripod-node status` of the node's agent.
fn says(kubectl: &Kubectl<'_>, node: &Node, is_state: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    eventually("the agent says so", LIMIT, || {
        let on_node = format!("--field-selector=spec.nodeName={}", node.name());
        let ours = "--selector=app.kubernetes.io/name=tripod";
        let pod = kubectl.run(&["get", "pods", NAMESPACE, ours, &on_node, "--output=name"])?;
        let words = ["exec", NAMESPACE, pod.trim(), "--container=net", "--"];
        let status = kubectl.run(&[&words[..], &["/tripod-node", "status", "--json"]].concat())?;
        let installed: Value = serde_json::from_str::<Value>(&status)?["installed"].take();
        let file = installed
            .as_array()
            .into_iter()
            .flatten()
            .find(|file| file["path"].as_str().is_some_and(|path| path.ends_with(FILE)));
        let state = file.and_then(|file| file["state"].as_str()).unwrap_or_default();
        anyhow::ensure!(is_state(state), "{}: {installed}", node.name());
        Ok(())
    })
}

fn is_an_event(kubectl: &Kubectl<'_>, node: &Node) -> anyhow::Result<()> {
    let about =
        format!("--field-selector=reason=CredentialConfigInvalid,involvedObject.name={}", node.name());
    eventually("the event is there", LIMIT, || {
        let events = kubectl.get(&["events", "--all-namespaces", &about])?;
        let mut notes =
            events["items"].as_array().into_iter().flatten().map(|event| event["message"].to_string());
        anyhow::ensure!(notes.any(|note| note.contains(FILE) && note.contains("docker-confg")), "{events}");
        Ok(())
    })
}
