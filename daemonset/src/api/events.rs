//! Events about our Node object, written as they come. One that the API server refuses is forgotten, one
//! that does not reach it is tried again.

use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{ANSWER, ApiError, Posts, SHORTEST_PAUSE};
use crate::events::Occurrence;
use crate::report;

/// Where events about objects without a namespace are.
const NAMESPACE: &str = "default";
/// Longest `reportingInstance`, in bytes.
const LONGEST_INSTANCE: usize = 128;

/// Writes for ever what `posts` have to be told of Node `name`.
pub(super) async fn write(client: Client, name: &str, posts: &Posts) -> ApiError {
    let queue = &posts.observer.events;
    let uid = || posts.observer.status().facts.map(|facts| facts.uid).unwrap_or_default();
    let events = Api::<k8s_openapi::api::events::v1::Event>::namespaced(client, NAMESPACE);
    loop {
        let occurrence = queue.next().await;
        let event = match serde_json::from_value(event(&occurrence, name, &uid(), Timestamp::now())) {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(%error, "no event can be made of this");
                queue.done();
                continue;
            }
        };
        match timeout(ANSWER, events.create(&PostParams::default(), &event)).await {
            Ok(Ok(_event)) => queue.done(),
            Ok(Err(kube::Error::Api(refusal))) => {
                let reason = occurrence.reason.word();
                tracing::debug!(reason, error = report::chain(&refusal), "an event was refused");
                queue.done();
            }
            Ok(Err(_)) | Err(_) => sleep(SHORTEST_PAUSE * 10).await,
        }
    }
}

/// An event of `events.k8s.io/v1` about Node `name`.
fn event(occurrence: &Occurrence, name: &str, uid: &str, now: Timestamp) -> Value {
    let instance: String = name.chars().take(LONGEST_INSTANCE).collect();
    json!({
        "metadata": {"name": format!("{name}.{:x}", now.as_nanosecond()), "namespace": NAMESPACE},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        "type": "Warning",
        "reason": occurrence.reason.word(),
        "action": "Reconcile",
        "note": occurrence.note,
        "regarding": {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid},
        "reportingController": "tripod.dev/node",
        "reportingInstance": instance,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Reason;

    #[test]
    fn an_event_is_one_that_the_api_takes() {
        let occurrence = Occurrence { reason: Reason::PodCidrMissing, note: "none".into() };
        let event = event(&occurrence, "n1", "u1", "2026-01-02T03:04:05.678Z".parse().unwrap());
        let read: k8s_openapi::api::events::v1::Event = serde_json::from_value(event.clone()).unwrap();
        assert_eq!(read.reason.as_deref(), Some("PodCIDRMissing"));
        assert_eq!(event["eventTime"], "2026-01-02T03:04:05.678000Z");
        let name = event["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with("n1.") && name.len() < 64, "{name}");
    }
}
