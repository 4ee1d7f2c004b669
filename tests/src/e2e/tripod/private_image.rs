//! An image behind a password: refused before the kubelet is wired for credentials, running after.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::install;
use crate::cluster::eventually::eventually;
use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Kubectl, images, registry};

/// Where the DaemonSet puts the provider.
const BIN_DIR: &str = "/opt/tripod/credential-provider";
/// Where the test, as an admin would, puts what the provider prints for the kubelet.
const KUBELET_CONFIG: &str = "/etc/kubernetes/credential-provider.yaml";
/// The passwords an admin gives a node.
const AUTH: &str = "/etc/tripod/registry-auth.json";

pub(super) fn the_provider_opens_the_registry(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let reference = registry::reference("team/secret:1");
    step("an image is in a registry with a password", || publish(cluster, &reference))?;
    let node = &cluster.nodes()[1];
    let pod = |name: &str| Pod { image: reference.clone(), ..Pod::on(node.name(), name) };
    let (before, after) = (pod("before-wiring"), pod("after-wiring"));
    step("without the kubelet wired for it, no pod gets it", || is_refused(&kubectl, &before))?;
    kubectl.delete_pod(&before.name)?;
    step("the kubelet is wired as the README tells", || wire(node, registry::PASSWORD))?;
    step("its node is Ready again", || kubectl.wait_for_heartbeat(node.name()))?;
    step("a pod with the image runs", || kubectl.run_pods(std::slice::from_ref(&after)))?;
    kubectl.delete_pod(&after.name)
}

fn publish(cluster: &Cluster, reference: &str) -> anyhow::Result<()> {
    cluster.start_registry()?;
    let image = images::busybox(cluster.programs(), reference)?;
    registry::push(&cluster.nodes()[0], &cluster.write_image("secret", &image)?, reference)
}

fn is_refused(kubectl: &Kubectl<'_>, pod: &Pod) -> anyhow::Result<()> {
    kubectl.apply(&pod.manifest())?;
    eventually("an event tells of the refusal", Duration::from_secs(60), || {
        let events = kubectl.events(&pod.name)?;
        let refused = |message: &str| message.contains("401") || message.contains("authorization failed");
        anyhow::ensure!(events.iter().any(|(_, message)| refused(message)), "there are {events:?}");
        Ok(())
    })
}

/// The password file, the kubelet's provider configuration as the program prints it, two flags, restart.
fn wire(node: &Node, password: &str) -> anyhow::Result<()> {
    let server = registry::reference("");
    let auths = serde_json::json!({"auths": {server.trim_end_matches('/'): {"username": registry::USER, "password": password}}});
    node.within(|| {
        fs::write(AUTH, auths.to_string())?;
        Ok(fs::set_permissions(AUTH, fs::Permissions::from_mode(0o600))?)
    })?;
    let provider = format!("{BIN_DIR}/tripod-credential-provider");
    node.exec(&["sh", "-c", &format!("{provider} kubelet-config --bin-dir {BIN_DIR} > {KUBELET_CONFIG}")])?;
    node.restart_kubelet(&[
        format!("--image-credential-provider-config={KUBELET_CONFIG}"),
        format!("--image-credential-provider-bin-dir={BIN_DIR}"),
    ])
}
