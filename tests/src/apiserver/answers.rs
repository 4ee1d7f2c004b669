//! What the API server answers to each request.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Value, json};

use super::TOKEN;
use super::cluster::{Cluster, Kind, Shown, name_of, status};

pub(super) fn router(cluster: Cluster) -> Router {
    Router::new()
        .route("/api/v1/nodes", get(list_nodes))
        .route("/api/v1/nodes/{name}", get(read_node).patch(patch_node))
        .route("/api/v1/nodes/{name}/status", patch(patch_status))
        .route("/apis/events.k8s.io/v1/namespaces/{namespace}/events", post(write_event))
        .route("/apis/networking.k8s.io/v1/servicecidrs", get(list_service_cidrs))
        .route("/apis/tripod.dev/v1alpha1/tripodnodes", get(list_tripod_nodes))
        .route("/apis/tripod.dev/v1alpha1/tripodnodes/{name}", patch(apply_tripod_node))
        .layer(middleware::from_fn_with_state(cluster.clone(), authenticate))
        .with_state(cluster)
}

async fn authenticate(State(cluster): State<Cluster>, request: Request, next: Next) -> Response {
    cluster.state().requests += 1;
    let expected = format!("Bearer {TOKEN}");
    if request
        .headers()
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value.as_bytes() == expected.as_bytes())
    {
        let mut answer = next.run(request).await;
        let now = SystemTime::now() + Duration::from_secs(cluster.state().clock_ahead);
        let now = HeaderValue::from_str(&httpdate::fmt_http_date(now)).expect("a header");
        answer.headers_mut().insert(header::DATE, now);
        return answer;
    }
    failure(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
}

type Asked = Query<std::collections::HashMap<String, String>>;

async fn list_nodes(State(cluster): State<Cluster>, Query(query): Asked) -> Response {
    let selected = query.get("fieldSelector").and_then(|selector| selector.strip_prefix("metadata.name="));
    if selected.is_none() && !cluster.state().shows_all_nodes {
        return failure(StatusCode::FORBIDDEN, "Forbidden", "only a Node by name may be read");
    }
    list_or_watch(cluster, &query, Shown { kind: Kind::Node, name: selected.map(str::to_owned) })
}

async fn list_tripod_nodes(State(cluster): State<Cluster>, Query(query): Asked) -> Response {
    if cluster.state().lacks_tripod_nodes {
        return no_such_resource();
    }
    list_or_watch(cluster, &query, Shown { kind: Kind::TripodNode, name: None })
}

async fn list_service_cidrs(State(cluster): State<Cluster>, Query(query): Asked) -> Response {
    if !cluster.state().objects.keys().any(|(kind, _)| *kind == Kind::ServiceCidr) {
        return no_such_resource();
    }
    list_or_watch(cluster, &query, Shown { kind: Kind::ServiceCidr, name: None })
}

fn no_such_resource() -> Response {
    failure(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
}

async fn read_node(
    State(cluster): State<Cluster>,
    axum::extract::Path(name): axum::extract::Path<String>,
) -> Response {
    let state = cluster.state();
    if state.fails_reads {
        return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "etcdserver: request timed out");
    }
    match state.objects.get(&(Kind::Node, name)) {
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
    let mut state = cluster.state();
    state.lists_of_tripod_nodes += usize::from(shown.kind == Kind::TripodNode);
    let version = cluster.version().to_string();
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
    change(&cluster, &name, &headers, &body, Form::Strategic)
}

async fn patch_node(
    State(cluster): State<Cluster>,
    axum::extract::Path(name): axum::extract::Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    change(&cluster, &name, &headers, &body, Form::Json)
}

/// What a patch of a Node is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A strategic merge, of conditions alone.
    Strategic,
    /// A JSON patch of operations `test` and `remove`: all of them or none.
    Json,
}

impl Form {
    fn media_type(self) -> &'static str {
        match self {
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Json => "application/json-patch+json",
        }
    }

    /// What of a Node is patched in it.
    fn resource(self) -> &'static str {
        match self {
            Self::Strategic => "nodes/status",
            Self::Json => "nodes",
        }
    }

    /// Whether the patch could be applied.
    fn apply(self, node: &mut Value, patch: &Value) -> bool {
        match self {
            Self::Strategic => {
                merge_conditions(node, patch);
                true
            }
            Self::Json => patch.as_array().into_iter().flatten().all(|operation| operate(node, operation)),
        }
    }
}

fn change(cluster: &Cluster, name: &str, headers: &HeaderMap, body: &str, form: Form) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // Held from the reading to the writing: a change between the two would be lost.
    let mut state = cluster.state();
    let node = state.objects.get(&(Kind::Node, name.to_owned())).cloned();
    let (Some(mut node), Ok(patch)) = (node, serde_json::from_str::<Value>(body)) else {
        return failure(StatusCode::NOT_FOUND, "NotFound", "no such Node, or no JSON");
    };
    if kind != form.media_type() {
        return failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", kind);
    }
    if state.refuse_patches {
        return failure(StatusCode::FORBIDDEN, "Forbidden", &format!("{} is forbidden", form.resource()));
    }
    if !form.apply(&mut node, &patch) {
        return failure(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", "a test failed");
    }
    match form {
        Form::Strategic => state.patches.push(patch),
        Form::Json => state.node_patches.push(patch),
    }
    cluster.store(&mut state, Kind::Node, name, Some(node.clone()));
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

fn failure(code: StatusCode, reason: &str, message: &str) -> Response {
    (code, Json(status(code.as_u16(), reason, message))).into_response()
}
