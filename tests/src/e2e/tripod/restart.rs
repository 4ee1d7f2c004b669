//! Restarts of what serves a pod leave the pod alone.

use std::time::Duration;

use serde_json::Value;

use super::{footprint, install};
use crate::cluster::eventually::eventually;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl};

pub(super) fn running_pods_do_not_notice(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let node = &cluster.nodes()[0];
    let pods = ["one", "two"].map(|name| Pod::on(node.name(), name));
    step("two pods run", || kubectl.run_pods(&pods))?;
    let (containers, nodes) = (containers(&kubectl, &pods)?, footprint::of(cluster)?);
    let unchanged = |kubectl: &Kubectl<'_>| {
        anyhow::ensure!(self::containers(kubectl, &pods)? == containers, "a container was restarted");
        anyhow::ensure!(
            footprint::of(cluster)? == nodes,
            "a node changed: {:?}, now {:?}",
            nodes,
            footprint::of(cluster)?
        );
        for address in kubectl.pod_addresses(&pods[1].name)? {
            // A new kubelet knows a pod only once it has asked the API server and the runtime.
            eventually("the pods reach each other", Duration::from_secs(30), || {
                kubectl.exec(&pods[0].name, &["ping", "-c1", "-W2", &address])
            })?;
        }
        Ok(())
    };
    step("the kubelet is restarted", || {
        node.restart_kubelet(&[])?;
        kubectl.wait_for_heartbeat(node.name())
    })?;
    step("the pods are as before", || unchanged(&kubectl))?;
    step("Tripod's own pod is deleted and comes back", || replace_own_pod(&kubectl, node.name()))?;
    step("the pods are as before", || unchanged(&kubectl))?;
    pods.iter().try_for_each(|pod| kubectl.delete_pod(&pod.name))
}

fn replace_own_pod(kubectl: &Kubectl<'_>, node: &str) -> anyhow::Result<()> {
    let on_node = format!("--field-selector=spec.nodeName={node}");
    let ours = "--selector=app.kubernetes.io/name=tripod";
    kubectl.run(&["delete", "pod", "--namespace=tripod-system", ours, &on_node, "--timeout=60s"])?;
    install::rolled_out(kubectl)
}

/// Id and restarts of each pod's container.
fn containers(kubectl: &Kubectl<'_>, pods: &[Pod]) -> anyhow::Result<Vec<Value>> {
    let of = |pod: &Pod| {
        let status = kubectl.pod(&pod.name)?["status"]["containerStatuses"][0].take();
        anyhow::ensure!(status["containerID"].is_string(), "{} has no container: {status}", pod.name);
        Ok(Value::from(vec![status["containerID"].clone(), status["restartCount"].clone()]))
    };
    pods.iter().map(of).collect()
}
