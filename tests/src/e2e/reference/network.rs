//! The reference `bridge` and `host-local` make nodes Ready and give pods addresses of both families.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::cluster::eventually::eventually;
use crate::cluster::mirror::{Mirror, seen_from_outside};
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl};

const PLUGINS: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];

/// Also leaves the cluster with a network, for the cases after it.
pub(super) fn pods_reach_their_nodes(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl()?;
    step("no node is Ready without a network", || {
        cluster.nodes().iter().try_for_each(|node| kubectl.wait_for_condition(node.name(), "Ready", "False"))
    })?;
    step("every node is Ready with one", || install_network(cluster, &kubectl))?;
    let pods: Vec<Pod> =
        cluster.nodes().iter().map(|node| Pod::on(node.name(), &format!("on-{}", node.name()))).collect();
    step("a pod runs on each node", || kubectl.run_pods(&pods))?;
    for (node, pod) in cluster.nodes().iter().zip(&pods) {
        step(&format!("{} reaches {}", pod.name, node.name()), || reach(&kubectl, pod, node))?;
    }
    step("their traffic leaves the cluster under the address of their node", || {
        let _mirror = Mirror::start(cluster.underlay(), cluster.families())?;
        cluster.nodes().iter().zip(&pods).try_for_each(|(node, pod)| is_masqueraded(cluster, pod, node))
    })?;
    step("they are deleted", || pods.iter().try_for_each(|pod| kubectl.delete_pod(&pod.name)))
}

/// Gives every node the reference plugins, unless it has them, and waits until it is Ready.
pub(super) fn install_network(cluster: &Cluster, kubectl: &Kubectl<'_>) -> anyhow::Result<()> {
    for node in cluster.nodes() {
        install_plugins(cluster, node)?;
        install_conflist(kubectl, node)?;
    }
    cluster.nodes().iter().try_for_each(|node| kubectl.wait_for_condition(node.name(), "Ready", "True"))
}

fn install_plugins(cluster: &Cluster, node: &Node) -> anyhow::Result<()> {
    let programs = cluster.programs();
    node.within(|| {
        let folder = Path::new("/opt/cni/bin");
        fs::create_dir_all(folder)?;
        for plugin in PLUGINS.iter().filter(|plugin| !folder.join(plugin).exists()) {
            fs::copy(programs.built(plugin), folder.join(plugin))?;
        }
        Ok(())
    })
}

fn install_conflist(kubectl: &Kubectl<'_>, node: &Node) -> anyhow::Result<()> {
    let conflist = render_conflist(&kubectl.pod_ranges(node.name())?);
    node.within(|| {
        let folder = Path::new("/etc/cni/net.d");
        fs::create_dir_all(folder)?;
        // The runtime reads whatever ends in `.conflist`, also when it is half written.
        fs::write(folder.join("new"), conflist)?;
        Ok(fs::rename(folder.join("new"), folder.join("10-reference.conflist"))?)
    })
}

/// Over both families, from addresses of the node's ranges.
fn reach(kubectl: &Kubectl<'_>, pod: &Pod, node: &Node) -> anyhow::Result<()> {
    let addresses = kubectl.pod_addresses(&pod.name)?;
    anyhow::ensure!(addresses.len() == 2, "{} has {addresses:?}, not one address per family", pod.name);
    for address in node.addresses() {
        // A new IPv6 address is not used before it is known to be the only one.
        eventually(&format!("{address} answers"), Duration::from_secs(10), || {
            kubectl.exec(&pod.name, &["ping", "-c1", "-W1", &address])
        })?;
    }
    Ok(())
}

fn is_masqueraded(cluster: &Cluster, pod: &Pod, node: &Node) -> anyhow::Result<()> {
    let seen = seen_from_outside(&cluster.kubectl()?, &pod.name, cluster.families())?;
    let own = node.addresses();
    anyhow::ensure!(seen == own, "{} is seen as {seen:?}, not as {own:?}", pod.name);
    Ok(())
}

fn render_conflist(ranges: &[String]) -> String {
    let ranges: Vec<_> = ranges.iter().map(|range| json!([{ "subnet": range }])).collect();
    json!({
        "cniVersion": "1.0.0",
        "name": "reference",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": ranges,
                    "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
    .to_string()
}
