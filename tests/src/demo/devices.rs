//! Second act: the device plugin registers with the kubelet's stand-in, and a pod gets a device.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Stage;
use crate::kubelet::Kubelet;

const RESOURCE: &str = "tripod.demo/sample";
/// Devices that every Linux machine has.
const CONFIG: &str = "\
version: v1
resources:
- name: tripod.demo/sample
  match: {paths: [/dev/null, /dev/zero]}
";

pub(super) fn show(stage: &Stage<'_>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(act(stage))
}

async fn act(stage: &Stage<'_>) -> anyhow::Result<()> {
    let folder = stage.path("device-plugins");
    std::fs::create_dir_all(&folder)?;
    let kubelet = Kubelet::start(&folder).await?;
    let begin = Instant::now();
    let _plugin = Plugin::start(stage, &folder)?;
    let devices = kubelet.until_allocatable(RESOURCE, 2).await?;
    let ids: Vec<&str> = devices.iter().map(|device| device.id.as_str()).collect();
    stage.table.line(
        "device plugin",
        format!("{RESOURCE} is registered with {}", ids.join(" and ")),
        begin.elapsed(),
    );
    let begin = Instant::now();
    let given = kubelet.admit(RESOURCE, 1).await?;
    let nodes: Vec<&str> = given.response.devices.iter().map(|device| device.host_path.as_str()).collect();
    anyhow::ensure!(!nodes.is_empty(), "Allocate of {:?} named no device node", given.ids);
    stage.table.line("Allocate for web", format!("the pod gets {}", nodes.join(" ")), begin.elapsed());
    Ok(())
}

/// The running device plugin, which ends with this value.
struct Plugin(Child);

impl Plugin {
    fn start(stage: &Stage<'_>, folder: &std::path::Path) -> anyhow::Result<Self> {
        let mut plugin = Command::new(stage.program("tripod-device-plugin"));
        plugin.arg("run").arg("--config").arg(stage.write("device-plugin.yaml", CONFIG)?);
        plugin.arg("--cdi-dir").arg(folder.join("cdi")).arg("--plugin-dir").arg(folder).args([
            "--health-addr",
            "",
            "--metrics-addr",
            "",
        ]);
        plugin.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = stage.node.run(move || plugin.spawn());
        Ok(Self(child.context("tripod-device-plugin does not start")?))
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            // It may have ended by itself.
            kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
        }
        self.0.wait().ok();
    }
}
