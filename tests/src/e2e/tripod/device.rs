//! A device of one node: given to one pod, missed by the next, given again.

use std::time::Duration;

use super::install::{self, RESOURCE};
use crate::cluster::eventually::eventually;
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl};

/// The device node that the test makes on one node, which behaves as `/dev/zero` does.
const DEVICE: &str = "/dev/tripod-clock0";

pub(super) fn one_pod_gets_the_device(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let node = &cluster.nodes()[0];
    step("the node offers a device that was just plugged in", || plug_in(&kubectl, node))?;
    let [first, second] = ["first", "second"].map(|name| asking(node, name));
    step("a pod that asks for it runs and can read it", || {
        kubectl.run_pods(std::slice::from_ref(&first))?;
        kubectl.exec(&first.name, &["dd", &format!("if={DEVICE}"), "of=/dev/null", "count=1"])
    })?;
    step("a second one stays Pending", || {
        kubectl.apply(&second.manifest())?;
        is_told_to_wait(&kubectl, &second)
    })?;
    step("it runs once the first is gone", || {
        kubectl.delete_pod(&first.name)?;
        kubectl.wait_for_phase(&second.name, "Running")
    })?;
    kubectl.delete_pod(&second.name)?;
    step("a device that was unplugged is offered no longer", || unplug(&kubectl, node))
}

/// Makes the device, and waits until it is offered.
pub(super) fn plug_in(kubectl: &Kubectl<'_>, node: &Node) -> anyhow::Result<()> {
    node.exec(&["mknod", "-m", "666", DEVICE, "c", "1", "5"])?;
    offers(kubectl, node, "1")
}

/// Takes it away, and waits until it is no longer offered.
pub(super) fn unplug(kubectl: &Kubectl<'_>, node: &Node) -> anyhow::Result<()> {
    node.exec(&["rm", DEVICE])?;
    offers(kubectl, node, "0")
}

fn asking(node: &Node, name: &str) -> Pod {
    Pod { limits: vec![(RESOURCE.to_owned(), 1)], ..Pod::on(node.name(), name) }
}

fn offers(kubectl: &Kubectl<'_>, node: &Node, count: &str) -> anyhow::Result<()> {
    eventually(&format!("{} offers {count} of {RESOURCE}", node.name()), Duration::from_secs(60), || {
        let allocatable = kubectl.get(&["node", node.name()])?["status"]["allocatable"].take();
        anyhow::ensure!(allocatable[RESOURCE] == count, "it offers {allocatable}");
        Ok(())
    })
}

fn is_told_to_wait(kubectl: &Kubectl<'_>, pod: &Pod) -> anyhow::Result<()> {
    eventually("the scheduler says why", Duration::from_secs(60), || {
        let events = kubectl.events(&pod.name)?;
        let insufficient = format!("Insufficient {RESOURCE}");
        anyhow::ensure!(
            events.iter().any(|(_, message)| message.contains(&insufficient)),
            "there are {events:?}"
        );
        Ok(())
    })?;
    let phase = kubectl.pod(&pod.name)?["status"]["phase"].take();
    anyhow::ensure!(phase == "Pending", "{} is {phase}", pod.name);
    Ok(())
}
