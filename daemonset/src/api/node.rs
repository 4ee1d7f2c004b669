//! Our own Node object, followed and patched.

use std::pin::pin;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::condition::{Condition, network_available};
use super::outage::Outage;
use super::taint::StartupTaint;
use super::{ANSWER, ApiError, PATCH_AGAIN, Posts};
use crate::agent::Phase;
use crate::node_facts::{self, NodeFacts};
use crate::report;

/// Our Node as one API server shows it.
pub(super) struct OwnNode {
    pub(super) name: String,
    /// Where the API server is.
    pub(super) address: String,
    pub(super) posts: Posts,
    pub(super) startup_taint: Option<String>,
    /// UID of the Node, as long as it exists.
    pub(super) uid: watch::Sender<Option<String>>,
}

impl OwnNode {
    /// Follows it until the API server is of no more use.
    pub(super) async fn follow(mut self, client: Client, was_heard: &mut bool) -> ApiError {
        let nodes = Api::<Node>::all(client);
        let mut stream = pin!(watcher::watch_object(nodes.clone(), &self.name).default_backoff());
        let Ok(mut item) = timeout(ANSWER, stream.next()).await else { return ApiError::Silent(ANSWER) };
        let mut condition = Condition::default();
        let mut taint = StartupTaint::new(self.startup_taint.clone());
        let mut outage = Outage::default();
        loop {
            match item.take() {
                Some(Ok(node)) => {
                    if !*was_heard {
                        tracing::info!(address = self.address, node = self.name, "following the Node object");
                    }
                    *was_heard = true;
                    outage.ends();
                    condition.observe(node.as_ref());
                    taint.observe(node.as_ref());
                    self.tell(node.as_ref());
                }
                Some(Err(error)) if !*was_heard || outage.is_lasting(&error, Instant::now()) => {
                    return ApiError::Watch(error);
                }
                Some(Err(_)) => {}
                None => {}
            }
            let is_ready = *self.posts.phase.borrow_and_update() == Phase::Ready;
            if is_ready && condition.wants_patch() {
                condition.rest(self.patch(&nodes).await);
            }
            if is_ready {
                taint.remove(&nodes, &self.name, ANSWER).await;
            }
            tokio::select! {
                next = stream.next() => match next {
                    Some(next) => item = Some(next),
                    None => return ApiError::Ended,
                },
                Ok(()) = self.posts.phase.changed() => {}
                () = sleep(PATCH_AGAIN), if condition.is_resting() || taint.is_resting() => {
                    condition.wake();
                    taint.wake();
                }
            }
        }
    }

    fn tell(&self, node: Option<&Node>) {
        self.uid.send_replace(node.and_then(|node| node.metadata.uid.clone()));
        let Some(node) = node else {
            tracing::warn!(node = self.name, "there is no such Node; the kubelet makes it when it registers");
            return;
        };
        let condition = node_facts::ready(node);
        self.posts.observer.heard(|status| status.node_ready = condition);
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
