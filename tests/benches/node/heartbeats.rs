//! What kubelets tell the API server of nodes on which nothing happens.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tripod_tests::apiserver::Cluster;

/// A kubelet writes its Node's status so often when nothing changed (nodeStatusReportFrequency).
pub(crate) const PERIOD: Duration = Duration::from_secs(300);
/// And names so many images in it (nodeStatusMaxImages).
const IMAGES: usize = 50;
const CONDITIONS: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

/// A Node as a kubelet makes it, of the size it has where the usual number of images is.
pub(crate) fn node(name: &str, address: &str, cidr: &str) -> Value {
    let image = |number: usize| {
        let name = format!("registry.example.com/team-{}/service-{number}", number % 7);
        json!({"names": [format!("{name}@sha256:{number:064x}"), format!("{name}:v1.{number}.0")], "sizeBytes": 123_456_789})
    };
    let condition = |kind: &str| {
        json!({"type": kind, "status": "False", "lastHeartbeatTime": "2024-01-01T00:00:00Z",
            "lastTransitionTime": "2024-01-01T00:00:00Z", "reason": "KubeletHasSufficientResources",
            "message": "kubelet has sufficient resources available"})
    };
    json!({
        "metadata": {"name": name, "uid": format!("uid-{name}")},
        "spec": {"podCIDRs": [cidr]},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "conditions": CONDITIONS.map(condition),
            "images": (0..IMAGES).map(image).collect::<Vec<_>>(),
        },
    })
}

/// Kubelets of `nodes` nodes, called by their numbers, report at their pace for `window`.
pub(crate) fn report(cluster: &Cluster, nodes: usize, window: Duration) {
    let begin = Instant::now();
    let pause = PERIOD.div_f64(nodes as f64);
    for number in 0.. {
        let due = pause.mul_f64(f64::from(number));
        if due >= window {
            break;
        }
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        cluster.set_node(Some(node(&format!("p{number}"), "10.192.0.2", "10.0.0.0/24")));
    }
    std::thread::sleep(window.saturating_sub(begin.elapsed()));
}

/// The kubelet of this Node reports.
pub(crate) fn report_one(cluster: &Cluster, name: &str) {
    let mut node = cluster.node(name).expect("a Node");
    node["status"]["conditions"][0]["lastHeartbeatTime"] = "2024-01-01T00:05:00Z".into();
    cluster.set_node(Some(node));
}
