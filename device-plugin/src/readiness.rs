//! `/livez` and `/readyz` for probes on the node itself.
//!
//! Ready means that the kubelet has each resource as this process offers it, so that a rollout which breaks
//! that stops at the first node. It is live without: restarting would help nobody. Lines below the first
//! say of each resource how it stands, and what went wrong last.

use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::board::Board;
use crate::error::RunError;

/// Answers on `address` from now on, `/readyz` with 503 until the node has been `looked` at; returns the
/// address bound.
pub async fn listen(
    address: SocketAddr,
    looked: watch::Receiver<bool>,
    board: Board,
) -> Result<SocketAddr, RunError> {
    let failed = |source| RunError::Health { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let readyz = move || async move {
        if *looked.borrow() {
            details(&board)
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned())
        }
    };
    let router = Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(readyz));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "probes are no longer answered");
        }
    });
    Ok(bound)
}

fn details(board: &Board) -> (StatusCode, String) {
    let rows = board.rows();
    let (status, first) = match rows.values().filter(|row| !row.is_in_order()).count() {
        0 => (StatusCode::OK, "ok".to_owned()),
        count => (StatusCode::SERVICE_UNAVAILABLE, format!("the kubelet does not have {count} as offered")),
    };
    let mut text = format!("{first}\n");
    for row in rows.into_values() {
        text.push_str(&row.summary());
        text.push('\n');
        if let Some((error, at)) = row.last_error {
            // A clock that was set back makes it new again.
            let ago = at.elapsed().unwrap_or_default().as_secs();
            text.push_str(&format!("  last error, {ago} s ago: {error}\n"));
        }
    }
    (status, text)
}
