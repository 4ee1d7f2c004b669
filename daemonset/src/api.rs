//! The Kubernetes API as this agent sees it: our Node object, followed and patched, and the other nodes.

mod clock;
mod condition;
mod events;
mod node;
mod outage;
mod peers;
mod taint;

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::{Response, Uri};
use kube::Client;
use kube::client::ClientBuilder;
use kube::runtime::watcher;
use tokio::sync::watch;
use tokio::time::sleep;
use tower::util::MapResponseLayer;

use crate::report;
use node::OwnNode;
use peers::Place;
pub use peers::{Neighbourhood, Peers, Posts};

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
/// How long an agent that lost its API server waits before it lists the nodes anew: all of them lost it.
const LONGEST_REST: Duration = Duration::from_secs(10);
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
        (pause * (1750 + spread(&self.name) / 2) / 1000).min(LONGEST_PAUSE)
    }

    /// How long to wait before all nodes are listed. An agent that knows them already has time.
    fn rest(&self) -> Duration {
        match *self.posts.peers.borrow() {
            Peers::Unknown(_) => Duration::ZERO,
            Peers::Known(_) => LONGEST_REST * spread(&self.name) / 1000,
        }
    }

    /// Follows at one address. Returns only when it is of no more use.
    async fn follow(&mut self, address: &str, was_heard: &mut bool) -> Result<Infallible, ApiError> {
        let client = self.client(address)?;
        let (name, mut posts, events) = (self.name.clone(), self.posts.clone(), self.posts.clone());
        let (uid, node_uid) = watch::channel(None);
        let own = OwnNode {
            name: name.clone(),
            address: address.to_owned(),
            posts: self.posts.clone(),
            startup_taint: self.startup_taint.clone(),
            uid,
        };
        let (service, rest) = (self.access.service(), self.rest());
        let place = Place { name: &name, node_uid, service, rest };
        tokio::select! {
            error = own.follow(client.clone(), was_heard) => Err(error),
            error = events::write(client.clone(), &name, &events) => Err(error),
            error = peers::follow(client, place, &mut posts) => Err(error),
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
        let builder = ClientBuilder::try_from(config).map_err(ApiError::Client)?;
        let (observer, address) = (self.posts.observer.clone(), address.to_owned());
        let noted = move |response: Response<_>| {
            clock::note(&observer, &address, response.headers());
            response
        };
        Ok(builder.with_layer(&MapResponseLayer::new(noted)).build())
    }
}

/// In thousandths: another for each name, and always the same for one.
fn spread(name: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    u32::try_from(hasher.finish() % 1000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_nodes_are_spread_evenly() {
        let mut tenths = [0; 10];
        for index in 0..1000 {
            tenths[usize::try_from(spread(&format!("node-{index}")) / 100).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (50..200).contains(count)), "{tenths:?}");
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
}
