//! The gRPC face of one resource: translate, delegate, nothing else. No call touches a device.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tripod_proto::deviceplugin::v1beta1::device_plugin_server::{DevicePlugin, DevicePluginServer};
use tripod_proto::deviceplugin::v1beta1::{
    AllocateRequest, AllocateResponse, DevicePluginOptions, Empty, ListAndWatchResponse,
    PreStartContainerRequest, PreStartContainerResponse, PreferredAllocationRequest,
    PreferredAllocationResponse,
};

use crate::allocation::{self, AllocationError};
use crate::inventory::Snapshot;
use crate::preferred;

/// A request names every available device, so it can be as long as the largest device list, or longer.
const MAX_REQUEST: usize = 64 * 1024 * 1024;

/// What this plugin wants to be asked.
pub(crate) const OPTIONS: DevicePluginOptions =
    DevicePluginOptions { pre_start_required: false, get_preferred_allocation_available: true };

/// The ListAndWatch streams of one socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// How many are open.
    pub open: u64,
    /// How many were ever opened.
    pub opened: u64,
}

/// Serves one resource on one socket.
#[derive(Debug)]
pub struct Service {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    streams: watch::Sender<Streams>,
    stop: watch::Receiver<bool>,
}

impl Service {
    /// The service that tells what `snapshots` hold, counts its `streams`, and ends them at `stop`.
    pub fn server(
        snapshots: watch::Receiver<Arc<Snapshot>>,
        streams: watch::Sender<Streams>,
        stop: watch::Receiver<bool>,
    ) -> DevicePluginServer<Service> {
        DevicePluginServer::new(Service { snapshots, streams, stop }).max_decoding_message_size(MAX_REQUEST)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }
}

#[tonic::async_trait]
impl DevicePlugin for Service {
    type ListAndWatchStream = ReceiverStream<Result<ListAndWatchResponse, Status>>;

    async fn get_device_plugin_options(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<DevicePluginOptions>, Status> {
        Ok(Response::new(OPTIONS))
    }

    async fn list_and_watch(&self, _: Request<Empty>) -> Result<Response<Self::ListAndWatchStream>, Status> {
        let (lists, stream) = mpsc::channel(1);
        let open = OpenStream::count(self.streams.clone());
        let (snapshots, mut stop) = (self.snapshots.clone(), self.stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = feed(snapshots, &lists) => {}
                () = lists.closed() => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            drop(open);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_preferred_allocation(
        &self,
        request: Request<PreferredAllocationRequest>,
    ) -> Result<Response<PreferredAllocationResponse>, Status> {
        Ok(Response::new(preferred::preferred(&self.snapshot(), request.get_ref())))
    }

    async fn allocate(
        &self,
        request: Request<AllocateRequest>,
    ) -> Result<Response<AllocateResponse>, Status> {
        let answer = allocation::allocate(&self.snapshot(), request.get_ref());
        answer.map(Response::new).map_err(|error| refusal(&error))
    }

    async fn pre_start_container(
        &self,
        _: Request<PreStartContainerRequest>,
    ) -> Result<Response<PreStartContainerResponse>, Status> {
        Ok(Response::new(PreStartContainerResponse {}))
    }
}

/// Sends the present list and every later one that differs from the last one sent.
async fn feed(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    lists: &mpsc::Sender<Result<ListAndWatchResponse, Status>>,
) {
    let mut sent: Option<Arc<Snapshot>> = None;
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        if sent.as_ref().is_none_or(|sent| sent.list() != snapshot.list()) {
            if lists.send(Ok(snapshot.list().clone())).await.is_err() {
                return;
            }
            sent = Some(snapshot);
        }
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

fn refusal(error: &AllocationError) -> Status {
    tracing::warn!(%error, "allocation refused");
    match error {
        AllocationError::Unknown { .. } | AllocationError::MoreThanOne { .. } => {
            Status::invalid_argument(error.to_string())
        }
        AllocationError::Unhealthy { .. } | AllocationError::Withheld { .. } => {
            Status::unavailable(error.to_string())
        }
    }
}

/// Counts as an open stream while it lives.
struct OpenStream(watch::Sender<Streams>);

impl OpenStream {
    fn count(streams: watch::Sender<Streams>) -> OpenStream {
        streams.send_modify(|s| *s = Streams { open: s.open + 1, opened: s.opened + 1 });
        OpenStream(streams)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.send_modify(|streams| streams.open -= 1);
    }
}
