//! The cluster itself, shown with the reference plugins: what fails here is not Tripod's fault.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::{Case, Suite};
use crate::cluster::eventually::eventually;
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl, Programs};

const PLUGINS: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];

pub(super) const SUITE: Suite = Suite {
    name: "reference",
    prepare,
    cases: &[Case {
        name: "reference",
        about: "two nodes come Ready with the reference bridge plugin, and a pod on each reaches its node",
        long: false,
        run: pods_reach_their_nodes,
    }],
};

fn prepare(programs: &Programs) -> anyhow::Result<Cluster> {
    Cluster::start("reference", programs, 2)
}

fn pods_reach_their_nodes(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl()?;
    for node in cluster.nodes() {
        step(&format!("{} is not Ready without a network", node.name()), || {
            kubectl.wait_for_condition(node.name(), "Ready", "False")
        })?;
        install_plugins(cluster, &kubectl, node)?;
    }
    for node in cluster.nodes() {
        step(&format!("{} is Ready", node.name()), || {
            kubectl.wait_for_condition(node.name(), "Ready", "True")
        })?;
    }
    let pods: Vec<Pod> =
        cluster.nodes().iter().map(|node| Pod::on(node.name(), &format!("on-{}", node.name()))).collect();
    step("a pod runs on each node", || kubectl.run_pods(&pods))?;
    for (node, pod) in cluster.nodes().iter().zip(&pods) {
        step(&format!("{} reaches {}", pod.name, node.name()), || reach(&kubectl, pod, node))?;
    }
    Ok(())
}

/// Over both families, from an address that lies in the node's range.
fn reach(kubectl: &Kubectl<'_>, pod: &Pod, node: &Node) -> anyhow::Result<()> {
    let addresses = kubectl.pod_addresses(&pod.name)?;
    anyhow::ensure!(
        addresses.len() == 2,
        "{} has the addresses {addresses:?}, not one of each family",
        pod.name
    );
    for address in [node.address().v4.to_string(), node.address().v6.to_string()] {
        // A new IPv6 address is not used before it is known to be the only one.
        eventually(&format!("{} answers", address), Duration::from_secs(10), || {
            kubectl.exec(&pod.name, &["ping", "-c1", "-W1", &address])
        })?;
    }
    Ok(())
}

fn install_plugins(cluster: &Cluster, kubectl: &Kubectl<'_>, node: &Node) -> anyhow::Result<()> {
    let (programs, configs) = (node.path("/opt/cni/bin"), node.path("/etc/cni/net.d"));
    fs::create_dir_all(&programs)?;
    fs::create_dir_all(&configs)?;
    for plugin in PLUGINS {
        fs::copy(cluster.programs().built(plugin), programs.join(plugin))?;
    }
    let conflist = render_conflist(&kubectl.pod_ranges(node.name())?);
    fs::write(configs.join("10-reference.conflist"), conflist)?;
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
