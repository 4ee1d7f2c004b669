//! The gRPC face of one resource: translate, delegate, nothing else. No call touches a device but
//! PreStartContainer, which may reset it.

use std::sync::Arc;
use std::time::Instant;

use prost::bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};
use tripod_proto::deviceplugin::v1beta1::{
    AllocateRequest, AllocateResponse, DevicePluginOptions, PreStartContainerRequest,
    PreStartContainerResponse, PreferredAllocationRequest, PreferredAllocationResponse,
};

use crate::allocation::{self, AllocationError};
use crate::board::Tally;
use crate::inventory::Snapshot;
use crate::preferred;
use crate::reset::Resets;

mod calls;
mod lists;

pub use calls::Calls;

/// What a plugin of `snapshot` wants to be asked. The kubelet reads it in Register, or asks.
pub(crate) fn options(snapshot: &Snapshot) -> DevicePluginOptions {
    let pre_start_required = snapshot.reset().is_some();
    DevicePluginOptions { pre_start_required, get_preferred_allocation_available: true }
}

/// The ListAndWatch streams of one socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// How many are open.
    pub open: u64,
    /// How many were ever opened.
    pub opened: u64,
    /// Whether the first one is over. It is the kubelet's: of a new socket nobody else knows the name.
    pub first_is_over: bool,
}

/// Serves one resource on one socket.
#[derive(Clone, Debug)]
pub struct Service {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    streams: watch::Sender<Streams>,
    stop: watch::Receiver<bool>,
    tally: Tally,
    resets: Resets,
}

impl Service {
    /// The service that tells what `snapshots` hold, counts its `streams`, and ends them at `stop`. Calls
    /// are counted in `tally`, and `resets` told who gets what.
    pub fn server(
        snapshots: watch::Receiver<Arc<Snapshot>>,
        streams: watch::Sender<Streams>,
        stop: watch::Receiver<bool>,
        tally: Tally,
        resets: Resets,
    ) -> Calls {
        Calls(Service { snapshots, streams, stop, tally, resets })
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }
}

impl Service {
    /// Each list as bytes: see [`Snapshot::list`].
    fn list_and_watch(&self) -> Response<ReceiverStream<Result<Bytes, Status>>> {
        let (lists, stream) = mpsc::channel(1);
        let open = OpenStream::count(self.streams.clone());
        let (snapshots, mut stop) = (self.snapshots.clone(), self.stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = lists::feed(snapshots, &lists) => {}
                () = lists.closed() => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            drop(open);
        });
        Response::new(ReceiverStream::new(stream))
    }

    fn preferred_allocation(&self, request: &PreferredAllocationRequest) -> PreferredAllocationResponse {
        let began = Instant::now();
        let answer = preferred::preferred(&self.snapshot(), request);
        self.tally.note(|row| row.preferred.add(began.elapsed()));
        answer
    }

    fn allocate(&self, request: &AllocateRequest) -> Result<AllocateResponse, Status> {
        let began = Instant::now();
        let snapshot = self.snapshot();
        let answer = allocation::allocate(&snapshot, request)
            .and_then(|answer| self.resets.hand_out(&snapshot, request).map(|()| answer));
        self.tally.allocated(began.elapsed(), answer.as_ref().err().map(ToString::to_string));
        answer.map_err(|error| refusal(&error))
    }

    async fn pre_start_container(
        &self,
        request: PreStartContainerRequest,
    ) -> Result<PreStartContainerResponse, Status> {
        let prepared = self.resets.prepare(&self.snapshot(), &request.devices_ids).await;
        prepared.map_err(|error| {
            tracing::warn!(%error, "a container cannot start");
            Status::unavailable(error.to_string())
        })?;
        Ok(PreStartContainerResponse {})
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
struct OpenStream {
    streams: watch::Sender<Streams>,
    is_first: bool,
}

impl OpenStream {
    fn count(streams: watch::Sender<Streams>) -> OpenStream {
        let mut is_first = false;
        streams.send_modify(|streams| {
            is_first = streams.opened == 0;
            streams.open += 1;
            streams.opened += 1;
        });
        OpenStream { streams, is_first }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.send_modify(|streams| {
            streams.open -= 1;
            streams.first_is_over |= self.is_first;
        });
    }
}
