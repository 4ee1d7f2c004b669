//! `/livez` and `/readyz` for the kubelet's probes, and `/status` for `tripod-node status`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::agent::Phase;
use crate::observer::Observer;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for health probes")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// Listens on `address`.
pub async fn open(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

/// The probes. Live is who answers at all: everything runs on one thread. Whether an API server can be
/// reached is no part of either answer, since pods have their network without it.
pub fn probes(phase: watch::Receiver<Phase>) -> Router {
    Router::new().route("/livez", get(async || "ok\n")).route("/readyz", get(ready)).with_state(phase)
}

/// What an agent tells of itself.
pub fn status_of(observer: Arc<Observer>) -> Router {
    Router::new().route("/status", get(status)).with_state(observer)
}

/// Answers what `router` knows until dropped.
pub async fn run(listener: TcpListener, router: Router) -> io::Result<()> {
    axum::serve(listener, router).await
}

async fn status(State(observer): State<Arc<Observer>>) -> (HeaderMap, String) {
    let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (json.into_iter().collect(), serde_json::to_string(&observer.status()).unwrap_or_default())
}

async fn ready(State(phase): State<watch::Receiver<Phase>>) -> (StatusCode, String) {
    let phase = phase.borrow().clone();
    let code = if phase == Phase::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{phase}\n"))
}
