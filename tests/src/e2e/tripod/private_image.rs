//! An image behind a password: refused before the kubelet is wired for credentials, running after.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
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
const KUBELET_CONFIG: &str = "/etc/kubernetes/credential-providers.yaml";
/// The passwords an admin gives a node.
const AUTH: &str = "/etc/tripod/registry-auth.json";

pub(super) fn the_provider_opens_the_registry(cluster: &Cluster) -> anyhow::Result<()> {
    install::install(cluster)?;
    let kubectl = cluster.kubectl()?;
    let reference = registry::reference("team/secret:1");
    step("an image is in a registry with a password", || publish(cluster, &reference))?;
    let node = &cluster.nodes()[1];
    let pod = |name: &str| Pod { image: reference.clone(), ..Pod::on(node.name(), name) };
    step("without the kubelet wired for it, no pod gets it", || is_refused(&kubectl, &pod("before-wiring")))?;
    step("the kubelet is wired as the README tells", || wire(node))?;
    step("its node is Ready again", || kubectl.wait_for_heartbeat(node.name()))?;
    step("with a wrong password the event names registry and status", || {
        write_password(node, &server(), "not the password")?;
        is_refused(&kubectl, &pod("wrong-password"))
    })?;
    step("without a password the kubelet's log names file and registry", || {
        write_password(node, "elsewhere.tripod.test", registry::PASSWORD)?;
        is_refused(&kubectl, &pod("no-password"))?;
        says_what_is_missing(&cluster.logs().join(format!("{}-kubelet.log", node.name())))
    })?;
    let after = pod("after-wiring");
    step("with the password, and no further restart, a pod runs", || {
        write_password(node, &server(), registry::PASSWORD)?;
        kubectl.run_pods(std::slice::from_ref(&after))
    })?;
    kubectl.delete_pod(&after.name)
}

/// Host and port of the registry, as images name it.
fn server() -> String {
    registry::reference("").trim_end_matches('/').to_owned()
}

fn publish(cluster: &Cluster, reference: &str) -> anyhow::Result<()> {
    cluster.start_registry()?;
    let image = images::busybox(cluster.programs(), reference)?.marked("private");
    registry::push(&cluster.nodes()[0], &cluster.write_image("secret", &image)?, reference)
}

fn is_refused(kubectl: &Kubectl<'_>, pod: &Pod) -> anyhow::Result<()> {
    kubectl.apply(&pod.manifest())?;
    eventually("an event tells of the refusal", Duration::from_secs(60), || {
        let events = kubectl.events(&pod.name)?;
        let refused = |message: &str| {
            message.contains(&server())
                && (message.contains("401") || message.contains("authorization failed"))
        };
        anyhow::ensure!(events.iter().any(|(_, message)| refused(message)), "there are {events:?}");
        Ok(())
    })?;
    kubectl.delete_pod(&pod.name)
}

/// The kubelet logs what the provider wrote on standard error.
fn says_what_is_missing(log: &Path) -> anyhow::Result<()> {
    eventually("the kubelet's log has the provider's line", Duration::from_secs(30), || {
        let log = fs::read_to_string(log)?;
        let told = log.lines().any(|line| line.contains(AUTH) && line.contains(&server()));
        anyhow::ensure!(told, "no line names {AUTH} and {}", server());
        Ok(())
    })
}

fn write_password(node: &Node, server: &str, password: &str) -> anyhow::Result<()> {
    let auths = serde_json::json!({"auths": {server: {"username": registry::USER, "password": password}}});
    node.within(|| {
        fs::write(AUTH, auths.to_string())?;
        Ok(fs::set_permissions(AUTH, fs::Permissions::from_mode(0o600))?)
    })
}

/// The kubelet's provider configuration as the program prints it, two flags, restart.
fn wire(node: &Node) -> anyhow::Result<()> {
    let provider = format!("{BIN_DIR}/tripod-credential-provider");
    node.exec(&["sh", "-c", &format!("{provider} kubelet-config --bin-dir {BIN_DIR} > {KUBELET_CONFIG}")])?;
    node.restart_kubelet(&[
        format!("--image-credential-provider-config={KUBELET_CONFIG}"),
        format!("--image-credential-provider-bin-dir={BIN_DIR}"),
    ])
}
