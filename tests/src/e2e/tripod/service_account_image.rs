//! An image for the pods of one ServiceAccount: their own token is the password.

mod door;

use std::fs;
use std::time::Duration;

use super::install;
use crate::cluster::addresses::REGISTRY_NAME;
use crate::cluster::eventually::eventually;
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl, images, registry};
use door::Door;

const BIN_DIR: &str = "/opt/tripod/credential-provider";
/// Not the one that the DaemonSet keeps.
const OUR_CONFIG: &str = "/etc/kubernetes/tripod-tokens.yaml";
const KUBELET_CONFIG: &str = "/etc/kubernetes/credential-providers.yaml";
const IMAGE: &str = "team/accounted:1";
const AUDIENCE: &str = "registry";
const PULLER: &str = "puller";
const STRANGER: &str = "stranger";

pub(super) fn the_account_decides(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let node = &cluster.nodes()[0];
    step("an image is in a registry", || publish(cluster, &registry::reference(IMAGE)))?;
    step("kubelet and cluster are wired as kubelet-config prints", || wire(node, &kubectl))?;
    step("its node is Ready again", || kubectl.wait_for_heartbeat(node.name()))?;
    let door = Door { cluster, kubectl: &kubectl, account: PULLER, audience: AUDIENCE };
    door.open(|| judge(node, &kubectl))?;
    // What an admin made by hand goes by hand.
    let permission = ["clusterrole/tripod-image-tokens", "clusterrolebinding/tripod-image-tokens"];
    kubectl.run(&[&["delete"][..], &permission].concat()).map(drop)
}

fn judge(node: &Node, kubectl: &Kubectl<'_>) -> anyhow::Result<()> {
    let pod = |name: &str, account: &str| Pod {
        image: format!("{}/{IMAGE}", door::name()),
        account: account.to_owned(),
        ..Pod::on(node.name(), name)
    };
    let ours = pod("ours", PULLER);
    step("a pod of another account does not get it", || is_refused(kubectl, &pod("not-ours", STRANGER)))?;
    step("a pod of the account runs", || kubectl.run_pods(std::slice::from_ref(&ours)))?;
    step("nor does the other one get it now that the node has it", || {
        is_refused(kubectl, &pod("still-not-ours", STRANGER))
    })?;
    kubectl.delete_pod(&ours.name)
}

fn publish(cluster: &Cluster, reference: &str) -> anyhow::Result<()> {
    cluster.start_registry()?;
    // The kubelet remembers by content who has pulled an image: with that of all other pods' it would ask for
    // credentials for theirs from then on.
    let image = images::busybox(cluster.programs(), reference)?.marked("accounted");
    registry::push(&cluster.nodes()[0], &cluster.write_image("accounted", &image)?, reference)
}

/// Does what `kubelet-config` prints: the links, the permission, the file, the flags.
fn wire(node: &Node, kubectl: &Kubectl<'_>) -> anyhow::Result<()> {
    node.within(|| write_files().map_err(Into::into))?;
    let provider = format!("{BIN_DIR}/tripod-credential-provider");
    let options =
        ["kubelet-config", "--config", OUR_CONFIG, "--bin-dir", BIN_DIR, "--kubelet-version", "1.37"];
    let printed = node.exec(&[&[provider.as_str()], &options[..]].concat())?;
    for link in printed.lines().filter_map(|line| line.strip_prefix("#   ln -sfn ")) {
        node.exec(&["sh", "-c", &format!("ln -sfn {link}")])?;
    }
    let manifest: Vec<_> = printed.lines().filter_map(|line| line.strip_prefix("#> ")).collect();
    kubectl.apply(&manifest.join("\n"))?;
    kubectl.apply(&[PULLER, STRANGER].map(account).join("---\n"))?;
    node.within(|| Ok(fs::write(KUBELET_CONFIG, printed)?))?;
    let options = ["--json", "--kubelet-config", KUBELET_CONFIG, "--bin-dir", BIN_DIR];
    node.exec(&[&[provider.as_str(), "check-config", "--config", OUR_CONFIG], &options[..]].concat())?;
    node.restart_kubelet(&[
        format!("--image-credential-provider-config={KUBELET_CONFIG}"),
        format!("--image-credential-provider-bin-dir={BIN_DIR}"),
    ])
}

/// Our configuration, and the runtime's for a registry without a certificate.
fn write_files() -> std::io::Result<()> {
    let door = door::name();
    let entry = format!("- {{match: [\"{door}\"], provider: harbor, tokenAudience: {AUDIENCE}}}\n");
    fs::write(OUR_CONFIG, format!("version: v1\nregistries:\n{entry}"))?;
    let folder = format!("/etc/containerd/certs.d/{door}");
    fs::create_dir_all(&folder)?;
    let hosts = format!(
        "server = \"http://{door}\"\n[host.\"http://{door}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    );
    fs::write(format!("{folder}/hosts.toml"), hosts)
}

fn account(name: &str) -> String {
    format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: default}}\n")
}

fn is_refused(kubectl: &Kubectl<'_>, pod: &Pod) -> anyhow::Result<()> {
    kubectl.apply(&pod.manifest())?;
    eventually("an event tells of the refusal", Duration::from_secs(60), || {
        let events = kubectl.events(&pod.name)?;
        let refused = |message: &str| {
            message.contains(REGISTRY_NAME)
                && (message.contains("401") || message.contains("authorization failed"))
        };
        anyhow::ensure!(events.iter().any(|(_, message)| refused(message)), "there are {events:?}");
        Ok(())
    })?;
    kubectl.delete_pod(&pod.name)
}
