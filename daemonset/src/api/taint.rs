//! The taint with which an admin keeps pods from a node until its network is there: taken from our own Node
//! once that is so.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::report;

/// The taint as last seen.
#[derive(Debug, Default)]
pub(super) struct StartupTaint {
    key: Option<String>,
    /// All taints of the Node.
    taints: Vec<Taint>,
    resting: bool,
}

impl StartupTaint {
    /// The taint of this key, whatever its effect; without one nothing is ever done.
    pub(super) fn new(key: Option<String>) -> Self {
        Self { key, ..Self::default() }
    }

    /// Takes over what the Node says.
    pub(super) fn observe(&mut self, node: Option<&Node>) {
        let taints = node.and_then(|node| node.spec.as_ref()?.taints.clone()).unwrap_or_default();
        // Somebody changed another taint at the same moment, and so ours was left: look again.
        self.resting &= taints == self.taints;
        self.taints = taints;
    }

    /// Takes it from Node `name`, if it is there. A refused patch rests.
    pub(super) async fn remove(&mut self, nodes: &Api<Node>, name: &str, patience: Duration) {
        let Some(operations) = self.operations().filter(|_| !self.resting) else { return };
        let failure = match serde_json::from_value(operations) {
            Ok(patch) => {
                let patch = Patch::Json::<()>(patch);
                let answer = timeout(patience, nodes.patch(name, &PatchParams::default(), &patch)).await;
                match answer {
                    Ok(Ok(node)) => return self.removed(&node),
                    Ok(Err(error)) => report::chain(&error),
                    Err(_elapsed) => format!("no answer within {patience:?}"),
                }
            }
            Err(error) => report::chain(&error),
        };
        tracing::warn!(
            node = name,
            taint = self.key,
            error = failure,
            "cannot remove the taint; trying again"
        );
        self.resting = true;
    }

    fn removed(&mut self, node: &Node) {
        tracing::info!(taint = self.key, "removed the taint from this node");
        self.observe(Some(node));
    }

    /// Whether a patch was refused.
    pub(super) fn is_resting(&self) -> bool {
        self.resting
    }

    /// Allows another attempt.
    pub(super) fn wake(&mut self) {
        self.resting = false;
    }

    /// A JSON patch that removes each such taint from where it was seen, and nothing should it be elsewhere by
    /// now: a list that was written whole would bring back what others removed meanwhile. From the end, so that
    /// no removal moves the next.
    fn operations(&self) -> Option<Value> {
        let key = self.key.as_ref()?;
        let ours = self.taints.iter().enumerate().rev().filter(|(_, taint)| taint.key == *key);
        let operations: Vec<Value> = ours.flat_map(|(index, taint)| take(index, taint)).collect();
        (!operations.is_empty()).then_some(Value::Array(operations))
    }
}

fn take(index: usize, taint: &Taint) -> [Value; 2] {
    let path = format!("/spec/taints/{index}");
    [json!({"op": "test", "path": path, "value": taint}), json!({"op": "remove", "path": path})]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "tripod.dev/agent-not-ready";

    fn node(taints: &Value) -> Node {
        serde_json::from_value(json!({"metadata": {}, "spec": {"taints": taints}})).unwrap()
    }

    #[test]
    fn each_is_tested_before_it_is_removed_from_the_end() {
        let mut taint = StartupTaint::new(Some(KEY.to_owned()));
        let of = |key: &str, effect: &str| json!({"key": key, "effect": effect});
        let [first, other, last] =
            [of(KEY, "NoSchedule"), of("dedicated", "NoSchedule"), of(KEY, "NoExecute")];
        taint.observe(Some(&node(&json!([first, other, last]))));
        let expected = json!([
            {"op": "test", "path": "/spec/taints/2", "value": last},
            {"op": "remove", "path": "/spec/taints/2"},
            {"op": "test", "path": "/spec/taints/0", "value": first},
            {"op": "remove", "path": "/spec/taints/0"},
        ]);
        assert_eq!(taint.operations(), Some(expected));
        taint.observe(Some(&node(&json!([other]))));
        assert_eq!(taint.operations(), None);
    }

    #[test]
    fn nothing_is_done_without_a_key() {
        let mut taint = StartupTaint::new(None);
        taint.observe(Some(&node(&json!([{"key": KEY, "effect": "NoSchedule"}]))));
        assert_eq!(taint.operations(), None);
    }
}
