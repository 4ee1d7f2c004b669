//! `/livez` and `/readyz` for the kubelet's probes.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::agent::Phase;

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

/// Answers probes until dropped. Live is who answers at all: everything runs on one thread. Whether an
/// API server can be reached is no part of either answer, since pods have their network without it.
pub async fn run(listener: TcpListener, phase: watch::Receiver<Phase>) -> io::Result<()> {
    let router =
        Router::new().route("/livez", get(async || "ok\n")).route("/readyz", get(ready)).with_state(phase);
    axum::serve(listener, router).await
}

async fn ready(State(phase): State<watch::Receiver<Phase>>) -> (StatusCode, String) {
    let phase = phase.borrow().clone();
    let code = if phase == Phase::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{phase}\n"))
}
