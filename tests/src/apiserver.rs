//! A stand-in for the Kubernetes API server: one Node object over TLS with a certificate authority of
//! its own; get, list, watch and patch of its status, and the ways in which a real one fails.

mod tls;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch};
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use crate::namespace::Namespace;
pub use tls::Authority;

/// What the ServiceAccount's `token` holds.
const TOKEN: &str = "a-token-of-the-node-agent";

/// A running API server. Dropping it is an outage: every connection ends.
#[derive(Debug)]
pub struct ApiServer {
    cluster: Cluster,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The cluster's one Node and what was done to it; outlives the API servers that show it.
#[derive(Clone, Debug, Default)]
pub struct Cluster(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<Stored>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Stored {
    node: Option<Value>,
    events: Vec<(u64, Value)>,
    patches: Vec<Value>,
    refuse_patches: bool,
    compacted: u64,
}

impl Default for Shared {
    fn default() -> Self {
        Self { state: Mutex::default(), version: watch::channel(1).0 }
    }
}

impl Cluster {
    /// Replaces the Node, or deletes it.
    pub fn set_node(&self, node: Option<Value>) {
        self.store(&mut self.state(), node);
    }

    fn store(&self, state: &mut Stored, node: Option<Value>) {
        let version = *self.0.version.borrow() + 1;
        let (kind, object) = match (&state.node, node) {
            (None, None) => return,
            (Some(old), None) => ("DELETED", old.clone()),
            (None, Some(node)) => ("ADDED", node),
            (Some(_), Some(node)) => ("MODIFIED", node),
        };
        let object = versioned(object, version);
        state.node = (kind != "DELETED").then(|| object.clone());
        state.events.push((version, json!({"type": kind, "object": object})));
        self.0.version.send_replace(version);
    }

    /// Forgets the history, so that every watch that goes on from it is answered 410.
    pub fn compact(&self) {
        let version = *self.0.version.borrow() + 1;
        self.state().compacted = version;
        self.0.version.send_replace(version);
    }

    /// Refuses patches from now on, as RBAC does, or stops refusing.
    pub fn refuse_patches(&self, refuse: bool) {
        self.state().refuse_patches = refuse;
    }

    /// The bodies of the patches so far.
    pub fn patches(&self) -> Vec<Value> {
        self.state().patches.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Stored> {
        self.0.state.lock().expect("no request panics")
    }

    /// Events after `version`, once there are any.
    async fn events_after(&self, version: u64) -> (Vec<Value>, u64) {
        let mut versions = self.0.version.subscribe();
        let latest = *versions.wait_for(|latest| *latest > version).await.expect("the cluster lives");
        let state = self.state();
        if state.compacted > version {
            let gone = status(410, "Expired", "too old resource version");
            return (vec![json!({"type": "ERROR", "object": gone})], latest);
        }
        let later = state.events.iter().filter(|(at, _)| *at > version);
        (later.map(|(_, event)| event.clone()).collect(), latest)
    }
}

impl ApiServer {
    /// Serves `cluster` on `address` of `node`'s network, with a certificate of `authority`.
    pub fn start(node: &Namespace, address: SocketAddr, authority: &Authority, cluster: &Cluster) -> Self {
        // A socket stays in the namespace in which it was made.
        let listener = node.run(move || TcpListener::bind(address).expect("a free address"));
        let (stop, stopped) = oneshot::channel();
        let (acceptor, router) = (authority.acceptor(address.ip()), router(cluster.clone()));
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tls::Listener::new(listener, acceptor);
                tokio::select! {
                    _ = stopped => {}
                    ended = axum::serve(listener, router) => ended.expect("serving does not end"),
                }
            });
        });
        Self { cluster: cluster.clone(), stop: Some(stop), thread: Some(thread) }
    }

    /// What it serves.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Writes `token` and `ca.crt` as the kubelet mounts them.
pub fn write_service_account(folder: &Path, authority: &Authority) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join("token"), TOKEN).expect("a token");
    std::fs::write(folder.join("ca.crt"), authority.certificate()).expect("a certificate");
}

fn router(cluster: Cluster) -> Router {
    Router::new()
        .route("/api/v1/nodes", get(list_or_watch))
        .route("/api/v1/nodes/{name}/status", patch(patch_status))
        .layer(middleware::from_fn(authenticate))
        .with_state(cluster)
}

async fn authenticate(request: Request, next: Next) -> Response {
    let expected = format!("Bearer {TOKEN}");
    if request
        .headers()
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value.as_bytes() == expected.as_bytes())
    {
        return next.run(request).await;
    }
    failure(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
}

async fn list_or_watch(
    State(cluster): State<Cluster>,
    Query(query): Query<std::collections::HashMap<String, String>>,
) -> Response {
    let selected = query.get("fieldSelector").and_then(|selector| selector.strip_prefix("metadata.name="));
    let Some(name) = selected else {
        return failure(StatusCode::FORBIDDEN, "Forbidden", "only a Node by name may be read");
    };
    let asked = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    if query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") {
        return watch_from(cluster, asked);
    }
    let version = *cluster.0.version.borrow();
    let items: Vec<_> =
        cluster.state().node.iter().filter(|node| node["metadata"]["name"] == name).cloned().collect();
    let version = version.to_string();
    Json(json!({"kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}))
        .into_response()
}

fn watch_from(cluster: Cluster, version: u64) -> Response {
    let lines = stream::unfold((cluster, version), |(cluster, version)| async move {
        let (events, latest) = cluster.events_after(version).await;
        let text = events.iter().map(|event| format!("{event}\n")).collect::<String>();
        Some((Ok::<_, Infallible>(text), (cluster, latest)))
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response()
}

async fn patch_status(
    State(cluster): State<Cluster>,
    axum::extract::Path(name): axum::extract::Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // Held from the reading to the writing: a change between the two would be lost.
    let mut state = cluster.state();
    let node = state.node.clone().filter(|node| node["metadata"]["name"] == name.as_str());
    let (Some(mut node), Ok(patch)) = (node, serde_json::from_str::<Value>(&body)) else {
        return failure(StatusCode::NOT_FOUND, "NotFound", "no such Node, or no JSON");
    };
    if kind != "application/strategic-merge-patch+json" {
        return failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", kind);
    }
    if state.refuse_patches {
        return failure(StatusCode::FORBIDDEN, "Forbidden", "nodes/status is forbidden");
    }
    merge_conditions(&mut node, &patch);
    state.patches.push(patch);
    cluster.store(&mut state, Some(node.clone()));
    Json(node).into_response()
}

/// The one strategic merge that is asked for: `status.conditions` by `type`.
fn merge_conditions(node: &mut Value, patch: &Value) {
    let mut conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    for condition in patch["status"]["conditions"].as_array().into_iter().flatten() {
        conditions.retain(|known| known["type"] != condition["type"]);
        conditions.push(condition.clone());
    }
    node["status"]["conditions"] = Value::Array(conditions);
}

fn versioned(mut node: Value, version: u64) -> Value {
    node["kind"] = "Node".into();
    node["apiVersion"] = "v1".into();
    node["metadata"]["resourceVersion"] = version.to_string().into();
    node
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code})
}

fn failure(code: StatusCode, reason: &str, message: &str) -> Response {
    (code, Json(status(code.as_u16(), reason, message))).into_response()
}
