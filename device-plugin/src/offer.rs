//! One resource on offer: its inventory over time, and its registration.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::naming::Naming;
use crate::config::resource_name::ResourceName;
use crate::device::{Device, Health};
use crate::discovery::Listed;
use crate::inventory::{self, Change, Snapshot};
use crate::registration::Registration;
use crate::socket::PluginDir;
use crate::stock::Stock;
use crate::telemetry::Agent;

/// A name under which devices are offered.
#[derive(Debug)]
pub(crate) struct Offer {
    naming: Naming,
    agent: Agent,
    snapshots: watch::Sender<Arc<Snapshot>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Offer {
    /// Starts to offer `stock`.
    pub(crate) fn start(
        stock: &Stock,
        dir: PluginDir,
        directory: watch::Receiver<u64>,
        agent: Agent,
    ) -> Offer {
        tracing::info!(resource = %stock.name, devices = stock.devices.len(), "offering");
        tell_changes(&stock.name, &[], &stock.devices, &agent);
        log_withheld(&stock.name, None, stock.withheld.as_deref());
        let (snapshots, receiver) = watch::channel(Arc::new(stock.snapshot()));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(Registration::new(dir, receiver, directory, stopped).run());
        Offer { naming: stock.rule.naming.clone(), agent, snapshots, stop, task }
    }

    /// The devices as they are known now.
    pub(crate) fn devices(&self) -> Vec<Device> {
        self.snapshots.borrow().devices().to_vec()
    }

    /// When the first of its devices' probations ends.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.snapshots.borrow().devices().iter().filter_map(|device| device.standing.due()).min()
    }

    /// What a survey needs to know of what is listed.
    pub(crate) fn listed(&self) -> Listed {
        let keys = self.snapshots.borrow().devices().iter().map(|device| device.found.key.clone()).collect();
        Listed { naming: self.naming.clone(), keys }
    }

    /// Tells the kubelet of `stock`, if that is news.
    pub(crate) fn update(&mut self, stock: &Stock) {
        let new = stock.snapshot();
        self.snapshots.send_if_modified(|snapshot| {
            let changed = **snapshot != new;
            if changed {
                tell_changes(&stock.name, snapshot.devices(), new.devices(), &self.agent);
                log_withheld(&stock.name, snapshot.why_withheld(), new.why_withheld());
                *snapshot = Arc::new(new);
            }
            changed
        });
        self.naming = stock.rule.naming.clone();
    }

    /// Ends the offer; its socket is gone afterwards.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the registration ended badly");
        }
    }
}

fn tell_changes(resource: &ResourceName, old: &[Device], new: &[Device], agent: &Agent) {
    for change in inventory::changes(old, new) {
        agent.tell(resource, &change);
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

fn log_withheld(resource: &ResourceName, before: Option<&str>, now: Option<&str>) {
    match now {
        Some(reason) if before != now => {
            tracing::error!(%resource, "nothing can be given to containers: {reason}")
        }
        None if before.is_some() => tracing::info!(%resource, "devices can be given to containers again"),
        _ => {}
    }
}

/// Why `device` cannot be handed out.
pub(crate) fn reason(device: &Device) -> &str {
    match &device.found.health {
        Health::Healthy => "",
        Health::Unhealthy { reason } => reason,
    }
}
