//! `/metrics` on the node's address, for a bounded number of readers at once and for a bounded time each.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::observer::Observer;
use crate::report;

/// The port on the node's address.
pub const PORT: u16 = 9675;

const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Connections at once; more wait in the kernel's queue.
const MOST: usize = 8;
/// How long a connection may take in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an address that cannot be listened on rests.
const AGAIN: Duration = Duration::from_secs(5);
/// Longest head of a request.
const LONGEST_HEAD: usize = 16 << 10;

/// Serves for ever, on `fixed` or on the first of the node's addresses once it is known. An address that
/// cannot be listened on is told once and tried again.
pub async fn serve(
    fixed: Option<SocketAddr>,
    mut known: watch::Receiver<Option<IpAddr>>,
    observer: Arc<Observer>,
) {
    let mut complaint = None;
    loop {
        let found = known.borrow_and_update().map(|ip| SocketAddr::new(ip, PORT));
        let listener = match fixed.or(found) {
            Some(address) => listen(address, &mut complaint).await,
            None => None,
        };
        let work = async {
            match listener {
                Some(listener) => answer(listener, &observer).await,
                None => sleep(AGAIN).await,
            }
        };
        tokio::select! {
            () = work => {}
            Ok(()) = known.changed() => {}
        }
    }
}

async fn listen(address: SocketAddr, complaint: &mut Option<String>) -> Option<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => {
            tracing::info!(%address, "serving /metrics");
            *complaint = None;
            Some(listener)
        }
        Err(error) => {
            let error = format!("{address}: {error}");
            if complaint.as_ref() != Some(&error) {
                tracing::warn!(error, "cannot serve /metrics; trying again");
            }
            *complaint = Some(error);
            None
        }
    }
}

/// Answers until the listener fails.
async fn answer(listener: TcpListener, observer: &Arc<Observer>) {
    let router = Router::new().route("/metrics", get(scrape)).with_state(Arc::clone(observer));
    let seats = Arc::new(Semaphore::new(MOST));
    let mut readers = JoinSet::new();
    loop {
        while readers.try_join_next().is_some() {}
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "no connection for /metrics");
                return sleep(AGAIN).await;
            }
        };
        let router = router.clone();
        readers.spawn(async move {
            if let Ok(Err(error)) = timeout(PATIENCE, talk(stream, router)).await {
                tracing::debug!(error = report::chain(&error), "a reader of /metrics was lost");
            }
            drop(seat);
        });
    }
}

async fn talk(stream: TcpStream, router: Router) -> Result<(), hyper::Error> {
    let service = TowerToHyperService::new(router);
    let mut connection = http1::Builder::new();
    connection.keep_alive(false).max_buf_size(LONGEST_HEAD);
    connection.serve_connection(TokioIo::new(stream), service).await
}

async fn scrape(State(observer): State<Arc<Observer>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, TEXT)], observer.scrape())
}

/// Fetches `path` from a server on this machine.
pub(crate) async fn fetch(address: SocketAddr, path: &str, most: usize) -> io::Result<(u16, Vec<u8>)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = axum::http::Request::get(path).header("host", address.to_string());
    let request = request.body(axum::body::Body::empty()).map_err(io::Error::other)?;
    let asked = async {
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let code = answer.status().as_u16();
        let body = axum::body::to_bytes(axum::body::Body::new(answer.into_body()), most).await;
        Ok((code, body.map_err(io::Error::other)?.to_vec()))
    };
    tokio::pin!(asked);
    tokio::select! {
        answer = &mut asked => answer,
        // The connection ends when its last answer has been read.
        _ended = connection => asked.await,
    }
}
