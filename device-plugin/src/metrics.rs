//! `/metrics`, in the text form that Prometheus reads.
//!
//! | metric | labels | what it is |
//! |---|---|---|
//! | `tripod_device_plugin_build_info` | `version` | always 1 |
//! | `tripod_device_plugin_registrations_total` | `resource` | successful registrations |
//! | `tripod_device_plugin_registration_state` | `resource`, `state` | 1 for the state it is in |
//! | `tripod_device_plugin_streams` | `resource` | open ListAndWatch streams |
//! | `tripod_device_plugin_devices` | `resource`, `state` | list entries, `healthy` and `unhealthy` |
//! | `tripod_device_plugin_snapshot_bytes` | `resource` | size of the list as the kubelet gets it |
//! | `tripod_device_plugin_snapshot_age_seconds` | `resource` | time since the list changed |
//! | `tripod_device_plugin_kubelet_devices` | `resource`, `state` | the kubelet's healthy devices beside ours: `common`, `missing`, `surplus`; absent until it has been asked |
//! | `tripod_device_plugin_allocate_seconds` | `resource` | histogram of Allocate |
//! | `tripod_device_plugin_preferred_seconds` | `resource` | histogram of GetPreferredAllocation |
//! | `tripod_device_plugin_health_changes_total` | `resource`, `state` | devices that became `unhealthy` or `healthy`; the log has the causes |
//! | `tripod_device_plugin_resets_total` | `resource`, `result` | runs of the reset hook, `success` and `failure`; absent without one |
//! | `tripod_device_plugin_scan_seconds` | | histogram of looks at the node |
//! | `tripod_device_plugin_last_error_timestamp_seconds` | `resource` | when something went wrong last; the text is in the log and on `/readyz` |

use std::net::SocketAddr;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::board::Board;
use crate::error::RunError;

mod exposition;
pub mod histogram;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers on `address` from now on with what `board` shows; returns the address bound.
pub async fn listen(address: SocketAddr, board: Board) -> Result<SocketAddr, RunError> {
    let failed = |source| RunError::Metrics { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let metrics = move || async move { ([(CONTENT_TYPE, TEXT)], exposition::render(&board)) };
    let router = Router::new().route("/metrics", get(metrics));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics are no longer answered");
        }
    });
    Ok(bound)
}
