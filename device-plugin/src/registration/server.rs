//! A resource being served on a socket of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::Router;

use super::line::{Line, Lines};
use super::watcher::{Introduction, Verdict};
use super::{Means, Way};
use crate::board::Tally;
use crate::inventory::Snapshot;
use crate::service::{Service, Streams};
use crate::socket::Endpoint;

/// How long calls that are being answered may take to finish.
const DRAIN: Duration = Duration::from_secs(1);

/// Bound and serving until stopped.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) endpoint: Endpoint,
    pub(super) streams: watch::Receiver<Streams>,
    /// What a plugin watcher makes of it.
    pub(super) verdict: watch::Receiver<Verdict>,
    lines: Lines,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds a new socket by `means` and serves what `snapshots` hold; calls are counted in `tally`.
    pub(super) fn start(
        means: &Means,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        tally: Tally,
    ) -> io::Result<Server> {
        let resource = snapshots.borrow().resource().clone();
        let (endpoint, listener) = Endpoint::bind(&means.dir, &resource, means.way)?;
        let (stop, stopped) = watch::channel(false);
        let (opened, streams) = watch::channel(Streams::default());
        let lines = Lines::new(means.way == Way::Watcher);
        let accepted = lines.clone();
        let incoming = UnixListenerStream::new(listener)
            .map(move |stream| stream.and_then(|stream| accepted.add(stream)));
        let service = Service::server(snapshots, opened, stopped.clone(), tally, means.resets.clone());
        let (sender, verdict) = watch::channel(None);
        let introduction = (means.way == Way::Watcher)
            .then(|| Introduction::server(resource, endpoint.path().display().to_string(), sender));
        let router =
            tonic::transport::Server::builder().add_service(service).add_optional_service(introduction);
        let task = tokio::spawn(serve(router, incoming, stopped));
        Ok(Server { endpoint, streams, verdict, lines, stop, task })
    }

    /// Ends all streams, lets other calls finish, and removes the socket.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(DRAIN, self.task).await.is_err() {
            abort.abort();
            let cut = self.lines.cut();
            tracing::info!(socket = self.endpoint.name(), cut, "the peer does not read: connections cut");
        }
        if let Err(error) = self.endpoint.remove() {
            tracing::warn!(socket = self.endpoint.name(), %error, "cannot remove the socket");
        }
    }
}

async fn serve(
    router: Router,
    incoming: impl Stream<Item = io::Result<Line>>,
    mut stop: watch::Receiver<bool>,
) {
    let stopped = async move {
        // An error means that the server itself is gone, which is a stop as well.
        drop(stop.wait_for(|stop| *stop).await);
    };
    if let Err(error) = router.serve_with_incoming_shutdown(incoming, stopped).await {
        tracing::error!(%error, "serving ended");
    }
}
