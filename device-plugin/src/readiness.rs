//! `/livez` and `/readyz` for probes on the node itself.
//!
//! Ready means that this process serves its resources. Whether a kubelet has registered them is no part
//! of it: without one, restarting this process would help nobody. Lines below the first say so of each
//! resource, and what went wrong last.

use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::board::Board;
use crate::error::RunError;

/// Answers on `address` from now on, `/readyz` with 503 until `ready` is true; returns the address bound.
pub async fn listen(
    address: SocketAddr,
    ready: watch::Receiver<bool>,
    board: Board,
) -> Result<SocketAddr, RunError> {
    let failed = |source| RunError::Health { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let readyz = move || async move {
        if *ready.borrow() {
            (StatusCode::OK, details(&board))
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

fn details(board: &Board) -> String {
    let mut text = "ok\n".to_owned();
    for row in board.rows().into_values() {
        text.push_str(&row.summary());
        text.push('\n');
        if let Some((error, at)) = row.last_error {
            // A clock that was set back makes it new again.
            let ago = at.elapsed().unwrap_or_default().as_secs();
            text.push_str(&format!("  last error, {ago} s ago: {error}\n"));
        }
    }
    text
}
