//! The kubelet comes and goes; pods stay.

use std::time::Duration;

use serde_json::Value;

use super::network::install_network;
use crate::cluster::eventually::eventually;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl};

pub(super) fn pods_outlive_the_kubelet(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl()?;
    install_network(cluster, &kubectl)?;
    let node = &cluster.nodes()[0];
    let pod = Pod::on(node.name(), "patient");
    step("a pod runs", || kubectl.run_pods(std::slice::from_ref(&pod)))?;
    let before = container(&kubectl, &pod)?;
    step("the kubelet is restarted with another flag", || {
        node.restart_kubelet(&["--node-labels=tripod.dev/restarted=yes".to_owned(), "--v=4".to_owned()])
    })?;
    // Sent only by a kubelet that is back: the lease of the old one stays as it was.
    step("its node is Ready again", || kubectl.wait_for_heartbeat(node.name()))?;
    kubectl.wait_for_phase(&pod.name, "Running")?;
    // The new kubelet knows a pod only once it has asked the API server and the container runtime.
    step("its pod can be entered again", || {
        eventually("exec", Duration::from_secs(30), || kubectl.exec(&pod.name, &["true"]))
    })?;
    let after = container(&kubectl, &pod)?;
    anyhow::ensure!(before == after, "the pod's container was {before}, now it is {after}");
    kubectl.delete_pod(&pod.name)
}

/// Id and start time of the pod's container, and how often it was restarted.
fn container(kubectl: &Kubectl<'_>, pod: &Pod) -> anyhow::Result<Value> {
    let status = kubectl.pod(&pod.name)?["status"]["containerStatuses"][0].take();
    anyhow::ensure!(status["containerID"].is_string(), "{} has no container: {status}", pod.name);
    Ok(Value::from(vec![
        status["containerID"].clone(),
        status["state"]["running"]["startedAt"].clone(),
        status["restartCount"].clone(),
    ]))
}
