//! A stand-in for the Kubernetes API server: Node and TripodNode objects over TLS with a certificate
//! authority of its own; get, list, watch and patch as far as a node agent may, and the ways in which a real
//! one fails.

mod tls;

use std::collections::BTreeMap;
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
use axum::routing::{get, patch, post};
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

/// The cluster's objects and what was done to them; outlives the API servers that show it.
#[derive(Clone, Debug, Default)]
pub struct Cluster(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<Stored>,
    version: watch::Sender<u64>,
}

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Node,
    TripodNode,
}

impl Kind {
    fn words(self) -> [&'static str; 2] {
        match self {
            Self::Node => ["v1", "Node"],
            Self::TripodNode => ["tripod.dev/v1alpha1", "TripodNode"],
        }
    }
}

/// A change of an object.
#[derive(Debug)]
struct Event {
    version: u64,
    kind: Kind,
    name: String,
    document: Value,
}

#[derive(Debug, Default)]
struct Stored {
    objects: BTreeMap<(Kind, String), Value>,
    events: Vec<Event>,
    /// Whether the cluster knows no TripodNodes.
    lacks_tripod_nodes: bool,
    patches: Vec<Value>,
    node_patches: Vec<Value>,
    refuse_patches: bool,
    written_events: Vec<Value>,
    compacted: u64,
}

impl Default for Shared {
    fn default() -> Self {
        Self { state: Mutex::default(), version: watch::channel(1).0 }
    }
}

impl Cluster {
    /// Makes a Node or replaces it, or deletes every one.
    pub fn set_node(&self, node: Option<Value>) {
        let mut state = self.state();
        match node {
            Some(node) => self.store(&mut state, Kind::Node, &name_of(&node), Some(node)),
            None => {
                let names: Vec<_> =
                    state.objects.keys().filter(|(kind, _)| *kind == Kind::Node).cloned().collect();
                names.iter().for_each(|(_, name)| self.store(&mut state, Kind::Node, name, None));
            }
        }
    }

    /// Makes a TripodNode or replaces it.
    pub fn set_tripod_node(&self, object: Value) {
        self.store(&mut self.state(), Kind::TripodNode, &name_of(&object), Some(object));
    }

    /// Deletes a TripodNode.
    pub fn delete_tripod_node(&self, name: &str) {
        self.store(&mut self.state(), Kind::TripodNode, name, None);
    }

    /// The TripodNode of this name.
    pub fn tripod_node(&self, name: &str) -> Option<Value> {
        self.state().objects.get(&(Kind::TripodNode, name.to_owned())).cloned()
    }

    /// Whether the definition of TripodNodes is missing, from now on.
    pub fn lack_tripod_nodes(&self, lacks: bool) {
        self.state().lacks_tripod_nodes = lacks;
    }

    fn store(&self, state: &mut Stored, kind: Kind, name: &str, object: Option<Value>) {
        let version = *self.0.version.borrow() + 1;
        let key = (kind, name.to_owned());
        let (event, object) = match (state.objects.get(&key), object) {
            (None, None) => return,
            (Some(old), None) => ("DELETED", old.clone()),
            (None, Some(object)) => ("ADDED", object),
            (Some(_), Some(object)) => ("MODIFIED", object),
        };
        let object = versioned(kind, object, version);
        match event {
            "DELETED" => drop(state.objects.remove(&key)),
            _ => drop(state.objects.insert(key, object.clone())),
        }
        let document = json!({"type": event, "object": object});
        state.events.push(Event { version, kind, name: name.to_owned(), document });
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

    /// The events that were written so far, of `events.k8s.io/v1`.
    pub fn written_events(&self) -> Vec<Value> {
        self.state().written_events.clone()
    }

    /// The bodies of the patches so far.
    pub fn patches(&self) -> Vec<Value> {
        self.state().patches.clone()
    }

    /// The bodies of the JSON patches of Nodes that were taken so far.
    pub fn node_patches(&self) -> Vec<Value> {
        self.state().node_patches.clone()
    }

    /// The Node of this name.
    pub fn node(&self, name: &str) -> Option<Value> {
        self.state().objects.get(&(Kind::Node, name.to_owned())).cloned()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Stored> {
        self.0.state.lock().expect("no request panics")
    }

    /// Events after `version` of the objects that `shown` names, once there are any of whatever kind.
    async fn events_after(&self, version: u64, shown: &Shown) -> (Vec<Value>, u64) {
        let mut versions = self.0.version.subscribe();
        let latest = *versions.wait_for(|latest| *latest > version).await.expect("the cluster lives");
        let state = self.state();
        if state.compacted > version {
            let gone = status(410, "Expired", "too old resource version");
            return (vec![json!({"type": "ERROR", "object": gone})], latest);
        }
        let later = state.events.iter().filter(|event| event.version > version);
        let shown = later.filter(|event| shown.has(event.kind, &event.name));
        (shown.map(|event| event.document.clone()).collect(), latest)
    }
}

/// What a list or watch is about.
#[derive(Clone, Debug)]
struct Shown {
    kind: Kind,
    /// One object alone.
    name: Option<String>,
}

impl Shown {
    fn has(&self, kind: Kind, name: &str) -> bool {
        self.kind == kind && self.name.as_ref().is_none_or(|only| only == name)
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
        .route("/api/v1/nodes", get(list_nodes))
        .route("/api/v1/nodes/{name}", get(read_node).patch(patch_node))
        .route("/api/v1/nodes/{name}/status", patch(patch_status))
        .route("/apis/events.k8s.io/v1/namespaces/{namespace}/events", post(write_event))
        .route("/apis/tripod.dev/v1alpha1/tripodnodes", get(list_tripod_nodes))
        .route("/apis/tripod.dev/v1alpha1/tripodnodes/{name}", patch(apply_tripod_node))
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

type Asked = Query<std::collections::HashMap<String, String>>;

async fn list_nodes(State(cluster): State<Cluster>, Query(query): Asked) -> Response {
    let selected = query.get("fieldSelector").and_then(|selector| selector.strip_prefix("metadata.name="));
    let Some(name) = selected else {
        return failure(StatusCode::FORBIDDEN, "Forbidden", "only a Node by name may be read");
    };
    let shown = Shown { kind: Kind::Node, name: Some(name.to_owned()) };
    list_or_watch(cluster, &query, shown)
}

async fn list_tripod_nodes(State(cluster): State<Cluster>, Query(query): Asked) -> Response {
    if cluster.state().lacks_tripod_nodes {
        return failure(
            StatusCode::NOT_FOUND,
            "NotFound",
            "the server could not find the requested resource",
        );
    }
    list_or_watch(cluster, &query, Shown { kind: Kind::TripodNode, name: None })
}

async fn read_node(
    State(cluster): State<Cluster>,
    axum::extract::Path(name): axum::extract::Path<String>,
) -> Response {
    match cluster.state().objects.get(&(Kind::Node, name)) {
        Some(node) => Json(node.clone()).into_response(),
        None => failure(StatusCode::NOT_FOUND, "NotFound", "no such Node"),
    }
}

fn list_or_watch(
    cluster: Cluster,
    query: &std::collections::HashMap<String, String>,
    shown: Shown,
) -> Response {
    let asked = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    if query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") {
        return watch_from(cluster, asked, shown);
    }
    let state = cluster.state();
    let version = cluster.0.version.borrow().to_string();
    let items = state.objects.iter().filter(|((kind, name), _)| shown.has(*kind, name));
    let items: Vec<_> = items.map(|(_, object)| object.clone()).collect();
    let [api_version, kind] = shown.kind.words();
    Json(json!({"kind": format!("{kind}List"), "apiVersion": api_version,
        "metadata": {"resourceVersion": version}, "items": items}))
    .into_response()
}

fn watch_from(cluster: Cluster, version: u64, shown: Shown) -> Response {
    let lines = stream::unfold((cluster, version, shown), |(cluster, version, shown)| async move {
        let (events, latest) = cluster.events_after(version, &shown).await;
        let text = events.iter().map(|event| format!("{event}\n")).collect::<String>();
        Some((Ok::<_, Infallible>(text), (cluster, latest, shown)))
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response()
}

/// Server-side apply by the only manager there is: the object becomes what was sent.
async fn apply_tripod_node(
    State(cluster): State<Cluster>,
    axum::extract::Path(name): axum::extract::Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let Ok(object) = serde_json::from_str::<Value>(&body) else {
        return failure(StatusCode::BAD_REQUEST, "BadRequest", "no JSON");
    };
    if kind != "application/apply-patch+yaml" || name_of(&object) != name {
        return failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", kind);
    }
    let mut state = cluster.state();
    if state.refuse_patches {
        return failure(StatusCode::FORBIDDEN, "Forbidden", "tripodnodes is forbidden");
    }
    cluster.store(&mut state, Kind::TripodNode, &name, Some(object.clone()));
    Json(object).into_response()
}

/// Takes what a real one takes: an event about an object without a namespace is in namespace `default`.
async fn write_event(
    State(cluster): State<Cluster>,
    axum::extract::Path(namespace): axum::extract::Path<String>,
    Json(event): Json<Value>,
) -> Response {
    let has = |field: &str, longest: usize| {
        event[field].as_str().is_some_and(|text| !text.is_empty() && text.len() <= longest)
    };
    let fields = [("reason", 128), ("action", 128), ("note", 1024), ("reportingController", 128)];
    let is_whole = fields.iter().all(|(field, longest)| has(field, *longest))
        && has("reportingInstance", 128)
        && has("eventTime", 64)
        && event["metadata"]["namespace"] == namespace
        && (event["regarding"]["namespace"].is_string() || namespace == "default");
    if !is_whole {
        return failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", "no whole event");
    }
    cluster.state().written_events.push(event.clone());
    (StatusCode::CREATED, Json(event)).into_response()
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
    let node = state.objects.get(&(Kind::Node, name.clone())).cloned();
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
    cluster.store(&mut state, Kind::Node, &name, Some(node.clone()));
    Json(node).into_response()
}

/// A JSON patch of a Node, of operations `test` and `remove`: all of them or none.
async fn patch_node(
    State(cluster): State<Cluster>,
    axum::extract::Path(name): axum::extract::Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let mut state = cluster.state();
    let node = state.objects.get(&(Kind::Node, name.clone())).cloned();
    let (Some(mut node), Ok(patch)) = (node, serde_json::from_str::<Value>(&body)) else {
        return failure(StatusCode::NOT_FOUND, "NotFound", "no such Node, or no JSON");
    };
    if kind != "application/json-patch+json" {
        return failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", kind);
    }
    if state.refuse_patches {
        return failure(StatusCode::FORBIDDEN, "Forbidden", "nodes is forbidden");
    }
    for operation in patch.as_array().into_iter().flatten() {
        if !operate(&mut node, operation) {
            return failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", "a test failed");
        }
    }
    state.node_patches.push(patch);
    cluster.store(&mut state, Kind::Node, &name, Some(node.clone()));
    Json(node).into_response()
}

fn operate(node: &mut Value, operation: &Value) -> bool {
    let path = operation["path"].as_str().unwrap_or_default();
    match operation["op"].as_str() {
        Some("test") => node.pointer(path) == Some(&operation["value"]),
        Some("remove") => {
            let Some((parent, index)) = path.rsplit_once('/') else { return false };
            let list = node.pointer_mut(parent).and_then(Value::as_array_mut);
            let index = index.parse::<usize>().ok();
            list.zip(index).is_some_and(|(list, at)| at < list.len() && !list.remove(at).is_null())
        }
        _ => false,
    }
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

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

fn versioned(kind: Kind, mut object: Value, version: u64) -> Value {
    let [api_version, kind] = kind.words();
    object["kind"] = kind.into();
    object["apiVersion"] = api_version.into();
    object["metadata"]["resourceVersion"] = version.to_string().into();
    object
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code})
}

fn failure(code: StatusCode, reason: &str, message: &str) -> Response {
    (code, Json(status(code.as_u16(), reason, message))).into_response()
}
