//! Installing by `kubectl apply -k`, with the configuration an admin would edit.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cluster::addresses::Families;
use crate::cluster::eventually::eventually;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl, registry};
use crate::programs;

/// Resource of the test's device.
pub(super) const RESOURCE: &str = "tripod.test/clock";
/// Resource whose devices reach containers by CDI.
pub(super) const BY_CDI: &str = "tripod.test/card";
/// Resource of virtual functions, on a tree that a test makes in the place of the node's `/sys`.
pub(super) const FUNCTION: &str = "tripod.test/function";
/// Where that tree is.
pub(super) const MADE_SYS: &str = "/var/lib/tripod-test/sys";

/// Also leaves the cluster with Tripod, for the cases after it.
pub(in crate::e2e) fn apply_makes_nodes_ready(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl()?;
    step("no node is Ready without a network", || {
        cluster.nodes().iter().try_for_each(|node| kubectl.wait_for_condition(node.name(), "Ready", "False"))
    })?;
    install(cluster)?;
    step("the network is said to be available", || {
        let available = |node: &str| kubectl.wait_for_condition(node, "NetworkUnavailable", "False");
        cluster.nodes().iter().try_for_each(|node| available(node.name()))
    })
}

/// Applies the manifests, unless they are, and waits until every node is Ready.
pub(in crate::e2e) fn install(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl()?;
    if kubectl.get(&["daemonset", "tripod", "--namespace=tripod-system"]).is_ok() {
        return Ok(());
    }
    let manifests = edited_manifests(cluster)?;
    let begin = Instant::now();
    step("kubectl apply -k daemonset/manifests", || {
        kubectl.run(&["apply", "--kustomize", &manifests.to_string_lossy()])
    })?;
    step("every node is Ready", || {
        cluster.nodes().iter().try_for_each(|node| kubectl.wait_for_condition(node.name(), "Ready", "True"))
    })?;
    println!("  from apply to Ready: {:.1} s", begin.elapsed().as_secs_f32());
    step("every container of Tripod is ready", || rolled_out(&kubectl))
}

/// Waits until the DaemonSet is complete.
pub(super) fn rolled_out(kubectl: &Kubectl<'_>) -> anyhow::Result<()> {
    eventually("the DaemonSet is complete", std::time::Duration::from_secs(90), || {
        let status = kubectl.get(&["daemonset", "tripod", "--namespace=tripod-system"])?["status"].take();
        let number = |key: &str| status[key].as_u64().unwrap_or_default();
        let wanted = number("desiredNumberScheduled");
        anyhow::ensure!(wanted > 0 && number("numberReady") == wanted, "it is {status}");
        Ok(())
    })
}

/// A copy of the manifests with this cluster's settings, edited where an admin edits.
pub(super) fn edited_manifests(cluster: &Cluster) -> anyhow::Result<PathBuf> {
    let folder = cluster.folder().join("manifests");
    copy_tree(&programs::workspace().join("daemonset/manifests"), &folder)?;
    let config = folder.join("config");
    fs::write(config.join("node.yaml"), node_yaml(cluster.families()))?;
    fs::write(config.join("device-plugin.yaml"), device_plugin_yaml())?;
    fs::write(config.join("credential-provider.yaml"), credential_provider_yaml())?;
    replace_sys(&folder.join("daemonset.yaml"))?;
    Ok(folder)
}

/// The machine's own `/sys` has no network card that could be given away.
fn replace_sys(manifest: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(manifest)?;
    let (real, made) =
        ("{path: /sys, type: Directory}", format!("{{path: {MADE_SYS}, type: DirectoryOrCreate}}"));
    anyhow::ensure!(text.matches(real).count() == 1, "{} mounts no /sys", manifest.display());
    Ok(fs::write(manifest, text.replace(real, &made))?)
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), &place)?;
        }
    }
    Ok(())
}

/// There is no kube-proxy, and so no way to the in-cluster address.
fn node_yaml(families: Families) -> String {
    let (server, cidrs) = (families.api_server(), families.cluster_cidrs());
    format!("version: v1\napiServers: [\"https://{server}\"]\nclusterCIDRs: {cidrs:?}\n")
}

fn device_plugin_yaml() -> String {
    format!(
        "version: v1\nresources:\n\
         - {{name: {RESOURCE}, match: {{paths: [/dev/tripod-clock*]}}}}\n\
         - {{name: {BY_CDI}, match: {{paths: [/dev/tripod-card*]}}, strategy: cdi-cri}}\n\
         - {{name: {FUNCTION}, match: {{kind: pci, pfName: card0}}}}\n"
    )
}

fn credential_provider_yaml() -> String {
    format!(
        "version: v1\nregistries:\n- match: [{:?}]\n  provider: docker-config\n  file: /etc/tripod/registry-auth.json\n",
        registry::reference("").trim_end_matches('/')
    )
}
