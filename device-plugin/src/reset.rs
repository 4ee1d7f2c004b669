//! Resets between holders: an optional program per resource brings a device back into a state in which
//! somebody else may have it.
//!
//! - A device is used once Allocate has handed it out. When the kubelet says that it was released, and keeps
//!   saying so, the program runs for it, in this program's own container, with `TRIPOD_RESOURCE`,
//!   `TRIPOD_DEVICE_ID` and `TRIPOD_DEVICE_NODES` (paths on the host, separated by spaces). While it runs,
//!   and until it has succeeded, the device is unhealthy; failures are tried again, up to ten minutes apart.
//! - No call tells of a release: a device may be given away again before it is noticed, or held for so short
//!   a time that no answer shows it, and some kubelets cannot be asked. The kubelet therefore calls PreStartContainer for such resources: a device that was used and not reset since is
//!   reset there for its new holder, and a failure fails the start of the container. Each Allocate makes a
//!   new holder and nothing else does, so the restart of a container resets nothing.
//! - What the kubelet says is held by somebody is never reset but for its new holder.
//! - A start of this program knows nothing of the past: what the kubelet says is held counts as used, all
//!   else as clean.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tripod_proto::deviceplugin::v1beta1::AllocateRequest;

use crate::allocation::AllocationError;
use crate::board::Board;
use crate::device::{Device, Health};
use crate::inventory::Snapshot;
use crate::stock::Stock;

mod attendance;
mod hook;
mod tenancy;

use hook::{Errand, HookError};
pub use tenancy::DeviceRef;
use tenancy::{Start, Tenancies};

/// Why a device cannot be had while its hook runs.
const BEING_RESET: &str = "being reset";

/// `devices` without what is no news of their health: that one is made ready for its next holder.
pub(crate) fn without_resets(devices: &[Device]) -> Cow<'_, [Device]> {
    let is_reset = |device: &Device| matches!(&device.found.health, Health::Unhealthy { reason } if reason == BEING_RESET);
    if !devices.iter().any(is_reset) {
        return Cow::Borrowed(devices);
    }
    let mut devices = devices.to_vec();
    for device in devices.iter_mut().filter(|device| is_reset(device)) {
        device.found.health = Health::Healthy;
    }
    Cow::Owned(devices)
}

/// Who has had which device, and the resets that follow from it. Shared by all who know of holders.
#[derive(Clone, Debug)]
pub struct Resets(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    tenancies: Mutex<Tenancies>,
    board: Board,
    /// The health of a device has changed.
    news: Notify,
    /// A reset has ended.
    ended: Notify,
}

/// Why a container cannot start.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Its device was used before, and could not be reset.
    #[error("device {} of {} was used before, and its reset failed: {reason}; see the hook {program}", .device.id, .device.resource)]
    Failed {
        /// The device.
        device: DeviceRef,
        /// What the hook said.
        reason: String,
        /// The hook.
        program: String,
    },
    /// A reset is under way.
    #[error("device {} of {} is being reset; the container can be started when that has ended", .0.id, .0.resource)]
    UnderWay(DeviceRef),
    /// It has not been reset, and cannot be.
    #[error("device {} of {} was used before, and cannot be reset: it is gone", .0.id, .0.resource)]
    Gone(DeviceRef),
}

impl Resets {
    /// Nothing was used; how resets end is told on `board`.
    pub fn new(board: Board) -> Resets {
        let (tenancies, news, ended) = (Mutex::default(), Notify::new(), Notify::new());
        Resets(Arc::new(Shared { tenancies, board, news, ended }))
    }

    fn tenancies(&self) -> MutexGuard<'_, Tenancies> {
        self.0.tenancies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the health of a device has changed; a change since the last wait counts.
    pub(crate) async fn changed(&self) {
        self.0.news.notified().await;
    }

    /// Makes those of `stocks` unhealthy that are to be reset.
    pub(crate) fn judge(&self, stocks: &mut [Stock]) {
        let tenancies = self.tenancies();
        for stock in stocks.iter_mut().filter(|stock| stock.rule.reset.is_some()) {
            let resource = stock.name.to_string();
            for device in &mut stock.devices {
                let which = DeviceRef { resource: resource.clone(), id: device.id.clone() };
                if let Some(reason) = tenancies.ailment(&which).filter(|_| device.found.health.is_healthy()) {
                    device.found.health = Health::Unhealthy { reason };
                }
            }
        }
    }

    /// Gives what `request` asks of `snapshot` to new holders, or says why one of it cannot be had: this may
    /// have changed since the snapshot was made.
    pub(crate) fn hand_out(
        &self,
        snapshot: &Snapshot,
        request: &AllocateRequest,
    ) -> Result<(), AllocationError> {
        if snapshot.reset().is_none() {
            return Ok(());
        }
        let ids = request.container_requests.iter().flat_map(|container| &container.devices_ids);
        let devices = ids.map(|id| device_of(snapshot, id)).collect();
        self.tenancies().hand_out(devices, Instant::now()).map_err(|(device, reason)| {
            AllocationError::Unhealthy { id: device.id, resource: snapshot.resource().clone(), reason }
        })
    }

    /// Resets those devices `ids` of `snapshot` for the container about to start that another one has used.
    /// All hooks run at the same time, and to their end even when nobody waits for it.
    pub(crate) async fn prepare(&self, snapshot: &Snapshot, ids: &[String]) -> Result<(), PrepareError> {
        if snapshot.reset().is_none() {
            return Ok(());
        }
        let mut running = Vec::new();
        for id in ids {
            let device = device_of(snapshot, id);
            let start = self.tenancies().start(&device, Instant::now());
            match (start, Errand::of(snapshot, id)) {
                (Start::Go, _) => {}
                (Start::Wait, _) => return Err(PrepareError::UnderWay(device)),
                (Start::Prepare, None) => {
                    self.tenancies().prepared(&device, false);
                    return Err(PrepareError::Gone(device));
                }
                (Start::Prepare, Some(errand)) => {
                    running.push(tokio::spawn(self.clone().prepare_one(device, errand)));
                }
            }
        }
        for run in running {
            match run.await {
                Ok(outcome) => outcome?,
                Err(error) => tracing::error!(%error, "a reset ended badly"),
            }
        }
        Ok(())
    }

    async fn prepare_one(self, device: DeviceRef, errand: Errand) -> Result<(), PrepareError> {
        let outcome = self.run(&device, &errand).await;
        self.tenancies().prepared(&device, outcome.is_ok());
        let program = errand.program().to_owned();
        outcome.map_err(|error| PrepareError::Failed { device, reason: error.to_string(), program })
    }

    async fn run(&self, device: &DeviceRef, errand: &Errand) -> Result<(), HookError> {
        let began = Instant::now();
        let outcome = errand.run().await;
        let DeviceRef { resource, id } = device;
        self.0.board.reset_ended(resource, outcome.is_ok());
        match &outcome {
            Ok(()) => tracing::info!(resource, device_id = id, took = ?began.elapsed(), "reset"),
            Err(error) => tracing::warn!(resource, device_id = id, %error, "a reset failed"),
        }
        outcome
    }
}

fn device_of(snapshot: &Snapshot, id: &str) -> DeviceRef {
    DeviceRef { resource: snapshot.resource().to_string(), id: id.to_owned() }
}
