//! The Kubernetes API as this agent sees it: one Node object, followed and patched.

mod events;
mod peers;
mod taint;

use std::convert::Infallible;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use axum::http::Uri;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::agent::Phase;
use crate::node_facts::{self, NodeFacts};
use crate::report;
pub use peers::{Neighbourhood, Peers, Posts};
use taint::StartupTaint;

/// How to sign in, and where when no address is configured.
#[derive(Clone, Debug)]
pub struct Access {
    /// The address that the cluster gives to pods, which needs kube-proxy or its like.
    pub in_cluster: Option<String>,
    /// Folder of `token` and `ca.crt`.
    pub service_account: PathBuf,
}

impl Access {
    /// The address of the cluster's own Service: one of those that no pod has, also where nothing else says
    /// which they are.
    fn service(&self) -> Option<IpAddr> {
        let uri = self.in_cluster.as_ref()?.parse::<Uri>().ok()?;
        uri.host()?.trim_matches(['[', ']']).parse().ok()
    }
}

/// Why an API server is of no use now.
#[derive(Debug, thiserror::Error)]
enum ApiError {
    #[error("{0:?} is no address")]
    Address(String, #[source] axum::http::uri::InvalidUri),
    #[error("cannot set up a client")]
    Client(#[source] kube::Error),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("cannot follow the Node object")]
    Watch(#[source] watcher::Error),
    #[error("cannot patch the Node's status")]
    Patch(#[source] kube::Error),
    #[error("cannot follow TripodNode objects (resource tripodnodes.tripod.dev)")]
    WatchPeers(#[source] watcher::Error),
    #[error("cannot read a Node object")]
    Read(#[source] kube::Error),
    #[error("cannot list ServiceCIDR objects (resource servicecidrs.networking.k8s.io)")]
    Services(#[source] kube::Error),
    #[error("cannot write this node's TripodNode object")]
    Write(#[source] kube::Error),
    #[error("the watch ended")]
    Ended,
}

/// An API server that is up answers a request for one object at once.
const ANSWER: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(3);
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a refused patch of the Node's condition rests.
const PATCH_AGAIN: Duration = Duration::from_secs(30);

/// Follows Node `name` for ever. Each look begins with the first of `servers` and ends with the
/// in-cluster address. `posts` always hold the latest; while the agent is ready, the Node's condition
/// `NetworkUnavailable` is made false, and the taint `startup_taint` is removed.
pub async fn follow(
    access: Access,
    name: String,
    mut servers: watch::Receiver<Vec<String>>,
    posts: Posts,
    startup_taint: Option<String>,
) {
    let mut follower = Follower { access, name, posts, startup_taint };
    let mut pause = SHORTEST_PAUSE;
    loop {
        let addresses = follower.addresses(&servers.borrow_and_update().clone());
        if addresses.is_empty() {
            tracing::error!("no API server is known: set apiServers in node.yaml or run in a cluster");
        }
        for address in &addresses {
            let mut was_heard = false;
            tokio::select! {
                Err(error) = follower.follow(address, &mut was_heard) => {
                    tracing::warn!(address, error = report::chain(&error), "lost this API server");
                }
                Ok(()) = servers.changed() => break,
            }
            if was_heard {
                pause = SHORTEST_PAUSE;
                break;
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            Ok(()) = servers.changed() => {}
        }
        pause = follower.longer(pause);
    }
}

struct Follower {
    access: Access,
    name: String,
    posts: Posts,
    startup_taint: Option<String>,
}

impl Follower {
    fn addresses(&self, servers: &[String]) -> Vec<String> {
        servers.iter().chain(&self.access.in_cluster).cloned().collect()
    }

    /// Twice as long, and a little more or less on each node, so that a thousand agents that lost their
    /// API server at once do not come back at once.
    fn longer(&self, pause: Duration) -> Duration {
        let spread =
            self.name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 500;
        (pause * (1750 + spread) / 1000).min(LONGEST_PAUSE)
    }

    /// Follows at one address. Returns only when it is of no more use.
    async fn follow(&mut self, address: &str, was_heard: &mut bool) -> Result<Infallible, ApiError> {
        let client = self.client(address)?;
        let known_service = self.access.service();
        let (name, mut posts, events) = (self.name.clone(), self.posts.clone(), self.posts.clone());
        tokio::select! {
            ended = self.follow_own(address, client.clone(), was_heard) => ended,
            error = events::write(client.clone(), &name, &events) => Err(error),
            error = peers::follow(client, &name, &mut posts, known_service) => Err(error),
        }
    }

    async fn follow_own(
        &mut self,
        address: &str,
        client: Client,
        was_heard: &mut bool,
    ) -> Result<Infallible, ApiError> {
        let nodes = Api::<Node>::all(client);
        let mut stream = pin!(watcher::watch_object(nodes.clone(), &self.name));
        let first = timeout(ANSWER, stream.next()).await;
        let mut item = first.map_err(|_elapsed| ApiError::Silent(ANSWER))?;
        let mut condition = Condition::default();
        let mut taint = StartupTaint::new(self.startup_taint.clone());
        loop {
            if let Some(item) = item.take() {
                let node = item.map_err(ApiError::Watch)?;
                if !*was_heard {
                    tracing::info!(address, node = self.name, "following the Node object");
                }
                *was_heard = true;
                condition.observe(node.as_ref());
                taint.observe(node.as_ref());
                self.tell(node.as_ref());
            }
            let is_ready = *self.posts.phase.borrow_and_update() == Phase::Ready;
            if is_ready && condition.wants_patch() {
                condition.rest(self.patch(&nodes).await);
            }
            if is_ready {
                taint.remove(&nodes, &self.name, ANSWER).await;
            }
            tokio::select! {
                next = stream.next() => item = Some(next.ok_or(ApiError::Ended)?),
                Ok(()) = self.posts.phase.changed() => {}
                () = sleep(PATCH_AGAIN), if condition.is_resting() || taint.is_resting() => {
                    condition.wake();
                    taint.wake();
                }
            }
        }
    }

    fn client(&self, address: &str) -> Result<Client, ApiError> {
        let uri = address.parse::<Uri>().map_err(|source| ApiError::Address(address.to_owned(), source))?;
        let mut config = kube::Config::new(uri);
        config.connect_timeout = Some(CONNECT);
        config.root_cert_file = Some(self.access.service_account.join("ca.crt"));
        // Verification is by the file, which rotates; the list only keeps the client from looking for
        // the system's certificates, of which a node's image has none.
        config.root_cert = Some(Vec::new());
        config.auth_info.token_file = Some(self.access.service_account.join("token").display().to_string());
        Client::try_from(config).map_err(ApiError::Client)
    }

    fn tell(&self, node: Option<&Node>) {
        let Some(node) = node else {
            tracing::warn!(node = self.name, "there is no such Node; the kubelet makes it when it registers");
            return;
        };
        let news = NodeFacts::inspect(node);
        self.posts.seen.send_if_modified(|seen| {
            let is_new = seen.as_ref() != Some(&news);
            *seen = Some(news);
            is_new
        });
    }

    /// Returns whether the API server took it.
    async fn patch(&self, nodes: &Api<Node>) -> bool {
        let patch = Patch::Strategic(network_available(Timestamp::now()));
        let parameters = PatchParams::default();
        let answer = timeout(ANSWER, nodes.patch_status(&self.name, &parameters, &patch)).await;
        let answer = answer
            .map_err(|_elapsed| ApiError::Silent(ANSWER))
            .and_then(|answer| answer.map_err(ApiError::Patch));
        match answer {
            Ok(_node) => {
                tracing::info!(node = self.name, "set condition NetworkUnavailable=False");
                true
            }
            Err(error) => {
                tracing::warn!(
                    node = self.name,
                    error = report::chain(&error),
                    "cannot set condition NetworkUnavailable=False; trying again"
                );
                false
            }
        }
    }
}

/// The Node's condition `NetworkUnavailable` as last seen.
#[derive(Debug, Default)]
struct Condition {
    is_false: bool,
    exists: bool,
    resting: bool,
}

impl Condition {
    fn observe(&mut self, node: Option<&Node>) {
        self.exists = node.is_some();
        // A Node that is made anew deserves a new attempt.
        self.resting &= self.exists;
        self.is_false = node.and_then(node_facts::network_unavailable) == Some("False");
    }

    fn wants_patch(&self) -> bool {
        self.exists && !self.is_false && !self.resting
    }

    fn rest(&mut self, was_patched: bool) {
        self.is_false = was_patched;
        self.resting = !was_patched;
    }

    fn is_resting(&self) -> bool {
        self.resting
    }

    fn wake(&mut self) {
        self.resting = false;
    }
}

/// A patch that makes the condition false.
fn network_available(now: Timestamp) -> Value {
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
    fn the_clusters_own_service_is_known_by_its_address() {
        for (in_cluster, expected) in [
            ("https://10.96.0.1:443", Some("10.96.0.1")),
            ("https://[fd00:96::1]:443", Some("fd00:96::1")),
            ("https://kubernetes.default.svc:443", None),
        ] {
            let access = Access { in_cluster: Some(in_cluster.into()), service_account: PathBuf::new() };
            assert_eq!(access.service(), expected.map(|address| address.parse().unwrap()));
        }
    }

    #[test]
    fn times_have_whole_seconds() {
        let patch = network_available("2026-01-02T03:04:05.678Z".parse().unwrap());
        assert_eq!(patch["status"]["conditions"][0]["lastTransitionTime"], "2026-01-02T03:04:05Z");
    }
}
