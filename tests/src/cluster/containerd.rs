//! A node's container runtime: containerd at its usual places.

use std::path::Path;
use std::time::Duration;

use super::addresses::{REGISTRY_NAME, REGISTRY_PORT};
use super::eventually::eventually_while;
use super::filesystem::NodeFiles;
use super::images::PAUSE;
use super::machine::{Machine, command_line};

/// Namespace in which the kubelet's images and containers live.
const KUBERNETES: &str = "k8s.io";
const CONFIG: &str = "/etc/containerd/config.toml";
const REGISTRIES: &str = "/etc/containerd/certs.d";

/// Writes its configuration.
pub fn configure(files: &NodeFiles) -> anyhow::Result<()> {
    files.write(CONFIG, &render_config())?;
    let registry = format!("{REGISTRY_NAME}:{REGISTRY_PORT}");
    // The test registry has a password but no certificate.
    let hosts = format!(
        "server = \"http://{registry}\"\n\
         [host.\"http://{registry}\"]\n\
         \x20 capabilities = [\"pull\", \"resolve\"]\n"
    );
    files.write(&format!("{REGISTRIES}/{registry}/hosts.toml"), &hosts)
}

/// Starts it and waits until it answers.
pub fn start(node: &Machine) -> anyhow::Result<()> {
    node.start("containerd", &mut command_line(&["containerd", "--config", CONFIG]))?;
    let alive = || node.alive();
    eventually_while("containerd answers", Duration::from_secs(60), alive, || node.exec(&["ctr", "version"]))
        .map(drop)
}

/// Loads the docker archive `archive`, named by a path that is the same on the node, for the kubelet.
pub fn import(node: &Machine, archive: &Path) -> anyhow::Result<()> {
    let archive = archive.to_string_lossy();
    node.exec(&["ctr", "--namespace", KUBERNETES, "images", "import", &archive]).map(drop)
}

fn render_config() -> String {
    format!(
        r#"version = 3

[plugins.'io.containerd.cri.v1.runtime']
  enable_cdi = true
  cdi_spec_dirs = ["/etc/cdi", "/var/run/cdi"]
  # A machine without CAP_SYS_RESOURCE cannot lower a score, and runc fails on the attempt.
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/opt/cni/bin"]
    conf_dir = "/etc/cni/net.d"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.images']
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{PAUSE}"
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = "{REGISTRIES}"
"#
    )
}
