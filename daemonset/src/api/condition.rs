//! The Node's condition that keeps pods away until a network is there.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::node_facts;

/// The Node's condition `NetworkUnavailable` as last seen.
#[derive(Debug, Default)]
pub(super) struct Condition {
    is_false: bool,
    exists: bool,
    resting: bool,
}

impl Condition {
    pub(super) fn observe(&mut self, node: Option<&Node>) {
        self.exists = node.is_some();
        // A Node that is made anew deserves a new attempt.
        self.resting &= self.exists;
        self.is_false = node.and_then(node_facts::network_unavailable) == Some("False");
    }

    pub(super) fn wants_patch(&self) -> bool {
        self.exists && !self.is_false && !self.resting
    }

    pub(super) fn rest(&mut self, was_patched: bool) {
        self.is_false = was_patched;
        self.resting = !was_patched;
    }

    pub(super) fn is_resting(&self) -> bool {
        self.resting
    }

    pub(super) fn wake(&mut self) {
        self.resting = false;
    }
}

/// A patch that makes the condition false.
pub(super) fn network_available(now: Timestamp) -> Value {
    // Kubernetes times have whole seconds.
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({"status": {"conditions": [{
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": "TripodIsReady",
        "message": "Tripod has made this node's pod network",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_is_patched_until_it_is_false() {
        let node = |status: &str| -> Node {
            let conditions = json!([{"type": "NetworkUnavailable", "status": status}]);
            serde_json::from_value(json!({"metadata": {}, "status": {"conditions": conditions}})).unwrap()
        };
        let mut condition = Condition::default();
        assert!(!condition.wants_patch());
        condition.observe(Some(&node("True")));
        assert!(condition.wants_patch());
        condition.rest(false);
        assert!(!condition.wants_patch() && condition.is_resting());
        condition.wake();
        condition.rest(true);
        assert!(!condition.wants_patch());
        // A cloud provider's route controller takes it back.
        condition.observe(Some(&node("True")));
        assert!(condition.wants_patch());
        condition.observe(Some(&node("False")));
        assert!(!condition.wants_patch());
    }

    #[test]
    fn times_have_whole_seconds() {
        let patch = network_available("2026-01-02T03:04:05.678Z".parse().unwrap());
        assert_eq!(patch["status"]["conditions"][0]["lastTransitionTime"], "2026-01-02T03:04:05Z");
    }
}
