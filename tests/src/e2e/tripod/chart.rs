//! The chart's other renderings, judged by the API server without being kept.

use std::process::Command;

use super::install::install;
use crate::cluster::progress::step;
use crate::cluster::{Cluster, Programs};
use crate::programs;

/// What is off by default. The kinds of OpenShift and of Prometheus's operator are not on this cluster.
const SETTINGS: [&str; 6] = [
    "split=true,startupTaint=true,image.pullSecrets={registry}",
    "platform=gke,image.digest=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "platform=bottlerocket,split=true,devicePlugin.nodeSelector.disks=many",
    "nvidia.enabled=true,nvidia.mps=true",
    "nvidia.enabled=true,nvidia.privileged=true,nvidia.nodeSelector.rack=a",
    "uninstall.enabled=true",
];

pub(super) fn the_server_takes_every_rendering(cluster: &Cluster) -> anyhow::Result<()> {
    install(cluster)?;
    let (kubectl, helm) = (cluster.kubectl()?, Programs::helm()?);
    for settings in SETTINGS {
        step(settings, || {
            let mut command = Command::new(&helm);
            command.args(["template", "--namespace=tripod-system", "--set", settings, "tripod"]);
            let output = command.arg(programs::workspace().join("daemonset/chart")).output()?;
            anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let file = cluster.folder().join("rendered.yaml");
            std::fs::write(&file, &output.stdout)?;
            let file = file.to_string_lossy();
            kubectl.run(&["apply", "--dry-run=server", "--validate=strict", "--filename", &file]).map(drop)
        })?;
    }
    Ok(())
}
