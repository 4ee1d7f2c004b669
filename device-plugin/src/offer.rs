//! One resource on offer: its inventory over time, and its registration.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Resource;
use crate::device::{Device, Found, Health};
use crate::discovery::{self, Scan};
use crate::inventory::{self, Change, Fitted, Snapshot, limits};
use crate::registration::Registration;
use crate::socket::PluginDir;

/// The running side of a config's resource.
#[derive(Debug)]
pub(crate) struct Offer {
    resource: Resource,
    faults: BTreeSet<String>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Offer {
    /// Starts to offer `devices`.
    pub(crate) fn start(
        resource: Resource,
        devices: Vec<Device>,
        dir: PluginDir,
        directory: watch::Receiver<u64>,
    ) -> Offer {
        tracing::info!(resource = %resource.name, devices = devices.len(), "offering");
        log_changes(&resource, &[], &devices);
        let snapshot = Snapshot::new(resource.name.clone(), devices, resource.sharing);
        let (snapshots, receiver) = watch::channel(Arc::new(snapshot));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(Registration::new(dir, receiver, directory, stopped).run());
        Offer { resource, faults: BTreeSet::new(), snapshots, stop, task }
    }

    /// The devices as they are known now.
    pub(crate) fn devices(&self) -> Vec<Device> {
        self.snapshots.borrow().devices().to_vec()
    }

    /// Tells the kubelet of `devices` under the terms of `resource`, if that is news.
    pub(crate) fn update(&mut self, resource: Resource, devices: Vec<Device>) {
        let new = Snapshot::new(resource.name.clone(), devices, resource.sharing);
        self.snapshots.send_if_modified(|snapshot| {
            let changed = **snapshot != new;
            if changed {
                log_changes(&resource, snapshot.devices(), new.devices());
                *snapshot = Arc::new(new);
            }
            changed
        });
        self.resource = resource;
    }

    /// Reports faults of a scan that the one before did not have.
    pub(crate) fn report(&mut self, faults: BTreeSet<String>, left_out: usize) {
        let mut faults = faults;
        if left_out > 0 {
            faults.insert(format!(
                "{left_out} devices are left out: the list would be too long for the kubelet; \
                 lower `count` or `replicas`, or match fewer"
            ));
        }
        for fault in faults.difference(&self.faults) {
            tracing::warn!(resource = %self.resource.name, "{fault}");
        }
        self.faults = faults;
    }

    /// Ends the offer; its socket is gone afterwards.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(resource = %self.resource.name, %error, "the registration ended badly");
        }
    }
}

/// What `resource` has to offer after `scan`, given the devices it had.
pub(crate) fn take_stock(resource: &Resource, previous: &[Device], scan: &mut Scan, number: u64) -> Fitted {
    let backend = discovery::backend(&resource.selector);
    let kept: Vec<_> = previous.iter().filter(|device| backend.selects(&device.found)).cloned().collect();
    let mut found = std::mem::take(&mut scan.found);
    scan.faults.extend(found.iter().filter(|found| resource.sharing.replicas(found) == 0).map(too_small));
    if resource.exclude_topology {
        found.iter_mut().for_each(|found| found.numa = None);
    }
    let merged = inventory::merge(&kept, found, number);
    inventory::fit(merged, &kept, resource.sharing, limits::MAX_LIST_BYTES)
}

fn too_small(found: &Found) -> String {
    match found.memory {
        Some(bytes) => {
            format!("{}: has {bytes} bytes of memory, less than one unit: make `unit` smaller", found.id)
        }
        None => format!("{}: its memory is not known, so none of it can be offered", found.id),
    }
}

fn log_changes(resource: &Resource, old: &[Device], new: &[Device]) {
    let resource = &resource.name;
    for change in inventory::changes(old, new) {
        match change {
            Change::Appeared(device) => tracing::info!(%resource, device_id = device.id, "device appeared"),
            Change::Recovered(device) => tracing::info!(%resource, device_id = device.id, "device recovered"),
            Change::Forgotten(device) => tracing::info!(%resource, device_id = device.id, "device forgotten"),
            Change::Failed(device) => {
                let reason = reason(device);
                tracing::warn!(%resource, device_id = device.id, reason, "device failed");
            }
        }
    }
}

fn reason(device: &Device) -> &str {
    match &device.found.health {
        Health::Healthy => "",
        Health::Unhealthy { reason } => reason,
    }
}
