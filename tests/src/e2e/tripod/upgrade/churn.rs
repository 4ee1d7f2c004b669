//! Pods that come and go without end, and what the node's programs said about it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::cluster::node::Node;
use crate::cluster::pods::Pod;
use crate::cluster::{Cluster, Kubectl};

/// Made at once, and deleted at once.
const PODS: usize = 2;
const PREFIX: &str = "churn-";

/// What the runtime may answer at any time: the kubelet asks again a moment later.
const HARMLESS: &str = "try again later";

/// What the kubelet reports where a sandbox does not begin or end.
const REASONS: [&str; 2] = ["FailedCreatePodSandBox", "FailedKillPod"];

/// What containerd writes of it, in small letters.
const COMPLAINTS: [&str; 3] = ["network for sandbox", "runpodsandbox", "stoppodsandbox"];

/// Makes pods on `node` and deletes them, until `stop`. Returns how many.
pub(super) fn run(
    kubectl: &Kubectl<'_>,
    node: &Node,
    file: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<usize> {
    let pod = |number| Pod::on(node.name(), &format!("{PREFIX}{number}-{}", node.name())).manifest();
    fs::write(file, (0..PODS).map(pod).collect::<Vec<_>>().join("---\n"))?;
    let (file, mut made) = (format!("--filename={}", file.display()), 0);
    while !stop.load(Ordering::SeqCst) {
        kubectl.run(&["create", &file])?;
        kubectl.run(&["wait", "--for=condition=Ready", "--timeout=90s", &file])?;
        kubectl.run(&["delete", "--wait", "--timeout=90s", &file])?;
        made += PODS;
    }
    Ok(made)
}

/// Fails for a pod whose sandbox did not begin or end for another reason than that it was not the time.
pub(super) fn events_are_harmless(kubectl: &Kubectl<'_>) -> anyhow::Result<()> {
    for reason in REASONS {
        let events = kubectl.get(&["events", &format!("--field-selector=reason={reason}")])?;
        let text = |event: &Value| event["message"].as_str().unwrap_or_default().to_owned();
        let is_ours = |event: &&Value| {
            event["involvedObject"]["name"].as_str().is_some_and(|name| name.starts_with(PREFIX))
        };
        let events = events["items"].as_array().into_iter().flatten().filter(is_ours).map(text);
        let (harmless, bad): (Vec<_>, Vec<_>) = events.partition(|message| message.contains(HARMLESS));
        println!("  {} pods had to wait: {reason}", harmless.len());
        anyhow::ensure!(bad.is_empty(), "{reason}: {}", bad.join("\n"));
    }
    Ok(())
}

/// The container runtimes' logs, from a moment on.
#[derive(Debug)]
pub(super) struct Logs(Vec<u64>);

impl Logs {
    /// From now on.
    pub(super) fn begin(cluster: &Cluster) -> anyhow::Result<Self> {
        let length = |node| Ok(fs::metadata(log(cluster, node))?.len());
        Ok(Self(cluster.nodes().iter().map(length).collect::<anyhow::Result<_>>()?))
    }

    /// Fails for a network that could not be made or taken away.
    pub(super) fn judge(&self, cluster: &Cluster) -> anyhow::Result<()> {
        for (node, begin) in cluster.nodes().iter().zip(&self.0) {
            let text = fs::read(log(cluster, node))?;
            let text = String::from_utf8_lossy(&text[usize::try_from(*begin)?..]).into_owned();
            anyhow::ensure!(
                text.contains("StopPodSandbox"),
                "the log of {} tells nothing of pods",
                node.name()
            );
            let bad: Vec<_> = text.lines().filter(|line| is_complaint(line)).collect();
            anyhow::ensure!(bad.is_empty(), "containerd of {}:\n{}", node.name(), bad.join("\n"));
        }
        Ok(())
    }
}

fn log(cluster: &Cluster, node: &Node) -> PathBuf {
    cluster.logs().join(format!("{}-containerd.log", node.name()))
}

fn is_complaint(line: &str) -> bool {
    let small = line.to_lowercase();
    line.contains("level=error")
        && COMPLAINTS.iter().any(|complaint| small.contains(complaint))
        && !line.contains(HARMLESS)
}
