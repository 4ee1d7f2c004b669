//! Nodes as the API server sees them.

use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::eventually::eventually;
use super::kubectl::Kubectl;

const NODE_LIMIT: Duration = Duration::from_secs(120);

impl Kubectl<'_> {
    /// Waits until the Node's condition `kind` (`Ready`, `NetworkUnavailable`) has this status.
    pub fn wait_for_condition(&self, node: &str, kind: &str, status: &str) -> anyhow::Result<()> {
        eventually(&format!("node {node} has {kind}={status}"), NODE_LIMIT, || {
            let conditions = self.get(&["node", node])?["status"]["conditions"].take();
            let conditions = conditions.as_array().cloned().unwrap_or_default();
            let found = conditions.into_iter().find(|condition| condition["type"] == kind);
            let found = found.unwrap_or(Value::Null);
            anyhow::ensure!(found["status"] == status, "it has {found}");
            Ok(())
        })
    }

    /// Waits until the Node's kubelet has reported once more than until now, and finds itself Ready.
    pub fn wait_for_heartbeat(&self, node: &str) -> anyhow::Result<()> {
        let renewed = || {
            let lease = self.get(&["lease", node, "--namespace=kube-node-lease"])?;
            lease["spec"]["renewTime"].as_str().map(str::to_owned).context("a lease that was never renewed")
        };
        // A kubelet that has just started has no lease yet.
        let before = renewed().ok();
        eventually(&format!("the kubelet of {node} renews its lease"), NODE_LIMIT, || {
            anyhow::ensure!(Some(renewed()?) != before, "its last time is still {before:?}");
            Ok(())
        })?;
        self.wait_for_condition(node, "Ready", "True")
    }

    /// Waits until the Node has registered and has its ranges, and returns them.
    pub fn pod_ranges(&self, node: &str) -> anyhow::Result<Vec<String>> {
        eventually(&format!("node {node} has pod ranges"), NODE_LIMIT, || {
            let ranges = self.get(&["node", node])?["spec"]["podCIDRs"].take();
            let ranges: Vec<String> = serde_json::from_value(ranges)?;
            anyhow::ensure!(!ranges.is_empty(), "it has none yet");
            Ok(ranges)
        })
    }
}
