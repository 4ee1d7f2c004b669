//! The agents of the nodes as processes: killed, started twice.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::cluster::crictl::Cri;
use crate::cluster::eventually::eventually;
use crate::cluster::machine::command_line;
use crate::cluster::node::Node;

const LIMIT: Duration = Duration::from_secs(60);
const SECOND: &str = "second-agent";
const KUBELET_FOLDER: &str = "/etc/kubernetes/kubelet.d";

/// Has kubelets wait a second, not minutes, before they start again what ends again and again.
pub(super) fn restart_quickly(cluster: &Cluster) -> anyhow::Result<()> {
    let settings = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n\
                    featureGates: {KubeletCrashLoopBackOffMax: true}\n\
                    crashLoopBackOff: {maxContainerRestartPeriod: 1s}\n";
    let kubectl = cluster.kubectl()?;
    for node in cluster.nodes() {
        node.within(|| {
            std::fs::create_dir_all(KUBELET_FOLDER)?;
            Ok(std::fs::write(format!("{KUBELET_FOLDER}/10-quick.conf"), settings)?)
        })?;
        node.restart_kubelet(&[format!("--config-dir={KUBELET_FOLDER}")])?;
    }
    cluster.nodes().iter().try_for_each(|node| kubectl.wait_for_heartbeat(node.name()))
}

/// Ends the agent of `node` as the kernel does when memory is short. One that has not started yet is waited
/// for.
pub(super) fn kill(node: &Node) -> anyhow::Result<()> {
    signal(node, "KILL")
}

/// Sends a signal to the agent of `node`.
pub(super) fn signal(node: &Node, signal: &str) -> anyhow::Result<()> {
    let signal = format!("-{signal}");
    eventually("the agent runs", LIMIT, || node.exec(&["kill", &signal, &process(node)?]).map(drop))
}

/// Starts another one in the container of the first, with all it has but its port for probes.
pub(super) fn start_second(node: &Node) -> anyhow::Result<()> {
    let agent = process(node)?;
    let script = format!(
        "nsenter=$(command -v nsenter); \
         exec env -i $(tr '\\0' '\\n' </proc/{agent}/environ) $nsenter --target {agent} --mount -- \
         $(tr '\\0' ' ' </proc/{agent}/cmdline) --health-addr=127.0.0.1:9684"
    );
    node.machine().start(SECOND, &mut command_line(&["sh", "-c", &script]))
}

/// Ends that one as a kubelet does.
pub(super) fn stop_second(node: &Node) -> anyhow::Result<()> {
    node.machine().stop(SECOND)
}

/// The process id of the agent of `node`, there.
pub(super) fn process(node: &Node) -> anyhow::Result<String> {
    let cri = Cri::on(node.machine());
    cri.process_of(&cri.running_container("net")?)
}
