//! A node's kubelet, at its usual places.

use std::process::Command;

use super::cgroups::Cgroup;
use super::controlplane::kube;
use super::filesystem::NodeFiles;
use super::identity::Identities;
use super::machine::Machine;
use super::programs::Programs;

const CONFIG: &str = "/etc/kubernetes/kubelet.yaml";
const KUBECONFIG: &str = "/etc/kubernetes/kubelet.conf";

/// Writes its configuration, and its identity as the Node `name`.
pub fn configure(
    files: &NodeFiles,
    name: &str,
    cgroup: &Cgroup,
    identities: &Identities,
) -> anyhow::Result<()> {
    files.write(CONFIG, &render_config(&cgroup.root()))?;
    files.write(KUBECONFIG, &identities.kubeconfig(&format!("system:node:{name}"))?)
}

/// Starts it with the node's addresses, as Kubernetes' flags take them, and further flags. It registers its Node by itself.
pub fn start(node: &Machine, programs: &Programs, addresses: &str, flags: &[String]) -> anyhow::Result<()> {
    let mut kubelet = command(programs, node.name(), addresses);
    node.start("kubelet", kubelet.args(flags))
}

fn command(programs: &Programs, name: &str, addresses: &str) -> Command {
    let mut kubelet = kube(programs, "kubelet");
    kubelet.arg(format!("--config={CONFIG}")).arg(format!("--kubeconfig={KUBECONFIG}"));
    kubelet.arg(format!("--hostname-override={name}")).arg(format!("--node-ip={addresses}")).arg("-v=2");
    kubelet
}

/// Works on both cgroup versions, on small and nearly full disks, and with a resolver configuration of
/// the node's own.
fn render_config(cgroup_root: &str) -> String {
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: "::"
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: {cgroup_root}
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
evictionHard: {{nodefs.available: "1%", imagefs.available: "1%", nodefs.inodesFree: "1%"}}
imageGCHighThresholdPercent: 100
resolvConf: /etc/resolv.conf
serializeImagePulls: false
shutdownGracePeriod: 0s
volumePluginDir: /var/lib/kubelet/volume-plugins
"#
    )
}
