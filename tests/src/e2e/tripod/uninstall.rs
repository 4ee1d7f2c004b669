//! Uninstalling as the README says, without Helm's release: what was applied is deleted.

mod traces;

use std::process::Command;
use std::time::Duration;

use super::install;
use crate::cluster::eventually::eventually;
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl, Programs};
use crate::programs;

const NAMESPACE: &str = "--namespace=tripod-system";
const CARD: &str = "/dev/tripod-card0";
const UNINSTALL: &str = "daemonset/tripod-uninstall";

pub(super) fn nodes_are_rid_of_it(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    cluster.nodes().iter().try_for_each(plug)?;
    step("a pod with a port of its node and a device runs on each", || kubectl.run_pods(&pods(cluster)))?;
    step("what Tripod has there is seen", || cluster.nodes().iter().try_for_each(traces::ours_are_seen))?;
    step("others have files, a link, a route and a table on each node", || {
        cluster.nodes().iter().try_for_each(traces::make_foreign)
    })?;
    step("nodes are drained", || drain(cluster, &kubectl))?;
    step("the DaemonSet makes way for the one that uninstalls", || {
        kubectl.run(&["delete", NAMESPACE, "daemonset/tripod"])?;
        kubectl.run(&[
            "wait",
            NAMESPACE,
            "--for=delete",
            "pod",
            "--selector=app.kubernetes.io/component=node",
        ])?;
        cluster.nodes().iter().try_for_each(traces::make_overlay)?;
        kubectl.apply(&rendered()?).map(drop)
    })?;
    step("every node is rid of all it can be", || {
        kubectl.run(&["rollout", "status", NAMESPACE, UNINSTALL, "--timeout=120s"])
    })?;
    step("what was done is told of each object", || {
        cluster
            .nodes()
            .iter()
            .try_for_each(|node| traces::judge_report(&report(&kubectl, node.name())?, node.name()))
    })?;
    step("the rest of the installation is deleted", || forget(cluster, &kubectl))?;
    step("what no kubelet refers to is removed by hand, as the report says", || {
        cluster.nodes().iter().try_for_each(traces::remove_provider)
    })?;
    step("nothing of Tripod is left, and all of others", || {
        cluster.nodes().iter().try_for_each(traces::only_foreign_are_left)
    })?;
    step("nodes take pods again", || {
        cluster.nodes().iter().try_for_each(|node| kubectl.run(&["uncordon", node.name()]).map(drop))
    })?;
    install::install(cluster)?;
    let again = pods(cluster);
    step("pods run again", || kubectl.run_pods(&again))?;
    step("all of it goes", || {
        again.iter().try_for_each(|pod| kubectl.delete_pod(&pod.name))?;
        cluster.nodes().iter().try_for_each(unplug)?;
        cluster.nodes().iter().try_for_each(traces::remove_foreign)
    })
}

fn pods(cluster: &Cluster) -> Vec<Pod> {
    let pod = |name: &str| Pod {
        host_ports: vec![(8099, 80)],
        limits: vec![(install::BY_CDI.to_owned(), 1)],
        ..Pod::on(name, &format!("uninstall-{name}"))
    };
    cluster.nodes().iter().map(|node| pod(node.name())).collect()
}

/// A device that reaches its container by a CDI spec.
fn plug(node: &Node) -> anyhow::Result<()> {
    node.exec(&["sh", "-c", &format!("test -e {CARD} || mknod -m 666 {CARD} c 1 5")]).map(drop)
}

fn unplug(node: &Node) -> anyhow::Result<()> {
    node.exec(&["rm", "-f", CARD]).map(drop)
}

/// Pods without an owner would not come back, and `kubectl` wants to be told that this is meant.
fn drain(cluster: &Cluster, kubectl: &Kubectl<'_>) -> anyhow::Result<()> {
    let words = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s"];
    cluster
        .nodes()
        .iter()
        .try_for_each(|node| kubectl.run(&[&["drain", node.name()], &words[..]].concat()).map(drop))
}

/// What the chart makes of `uninstall.enabled`.
fn rendered() -> anyhow::Result<String> {
    let mut helm = Command::new(Programs::helm()?);
    helm.args(["template", "tripod", "--namespace=tripod-system", "--set=uninstall.enabled=true"]);
    let output = helm.arg(programs::workspace().join("daemonset/chart")).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn report(kubectl: &Kubectl<'_>, node: &str) -> anyhow::Result<String> {
    let on_node = format!("--field-selector=spec.nodeName={node}");
    let ours = "--selector=app.kubernetes.io/component=uninstall";
    let pods = kubectl.run(&["get", "pods", NAMESPACE, ours, &on_node, "--output=name"])?;
    kubectl.run(&["logs", NAMESPACE, pods.trim()])
}

/// The definition of TripodNode is the last to go.
fn forget(cluster: &Cluster, kubectl: &Kubectl<'_>) -> anyhow::Result<()> {
    kubectl.run(&["delete", NAMESPACE, UNINSTALL, "--wait"])?;
    let manifests = install::edited_manifests(cluster)?;
    let manifests = format!("--kustomize={}", manifests.display());
    kubectl.run(&["delete", &manifests, "--ignore-not-found", "--wait", "--timeout=120s"])?;
    eventually("nothing of it is in the API", Duration::from_secs(30), || {
        let kinds = "namespaces,clusterroles,clusterrolebindings,validatingadmissionpolicies,\
            validatingadmissionpolicybindings,customresourcedefinitions";
        let left = kubectl.run(&["get", kinds, "--output=name"])?;
        let left: Vec<_> = left.lines().filter(|name| name.contains("tripod")).collect();
        anyhow::ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
}
