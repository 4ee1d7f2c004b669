//! What the stand-in has seen, in order, and what it believes now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tripod_proto::deviceplugin::v1beta1::{Device, DevicePluginOptions};

use super::Admission;

/// Something that happened, as the kubelet's log would tell it.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// Of which resource.
    pub resource: String,
    /// On which socket, by file name.
    pub endpoint: String,
    /// What.
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// A registration succeeded, its back-dial included.
    Registered,
    /// A registration was refused.
    Refused(String),
    /// A device list arrived.
    Listed(Vec<Device>),
    /// The ListAndWatch stream ended.
    StreamEnded,
}

/// One registered resource.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// File name of its socket.
    pub endpoint: String,
    /// What it answered when asked for its options.
    pub options: DevicePluginOptions,
    /// The last list; `None` before the first one and after the stream has ended.
    pub devices: Option<Vec<Device>>,
    /// Closed when the stream is over.
    pub(super) channel: Option<Channel>,
    /// Ends the stream from this side.
    pub(super) hangup: watch::Sender<bool>,
}

/// By what a kubelet tells one registration of a resource from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracking {
    /// By the resource's name alone, as kubelets up to 1.35: the end of an old stream disconnects the
    /// newest registration.
    ByName,
    /// By the socket too, as kubelets from 1.36.
    #[default]
    BySocket,
}

/// What the node's status shows of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Devices, healthy or not.
    pub capacity: usize,
    /// Healthy devices.
    pub allocatable: usize,
}

impl Plugin {
    /// How many devices a pod could be given if none were in use.
    pub fn allocatable(&self) -> usize {
        self.devices.iter().flatten().filter(|device| device.health == "Healthy").count()
    }
}

/// What the stand-in believes.
#[derive(Debug, Default)]
pub struct View {
    /// Everything that happened, oldest first; a restart does not clear it.
    pub events: Vec<Event>,
    /// Registered resources by name. A later registration replaces an earlier one.
    pub plugins: BTreeMap<String, Plugin>,
    /// What containers hold, as the checkpoint has it.
    pub admissions: Vec<Admission>,
    /// How often somebody asked what containers hold.
    pub inquiries: usize,
    /// How many connections were [severed](super::Kubelet::sever_after).
    pub severed: usize,
    /// The device manager's own list of each resource.
    pub(super) known: BTreeMap<String, Vec<Device>>,
    /// Resources whose plugin is gone, and since when.
    pub(super) stopped: BTreeMap<String, Instant>,
    pub(super) tracking: Tracking,
    pub(super) refusal: Option<String>,
    pub(super) sever_after: Option<usize>,
    pub(super) streams: Vec<JoinHandle<()>>,
}

impl View {
    /// The last device list of `resource` while its stream is open.
    pub fn devices(&self, resource: &str) -> Option<&[Device]> {
        self.plugins.get(resource)?.devices.as_deref()
    }

    /// What the node's status shows of `resource`; `None` for a resource it does not name.
    pub fn shown(&self, resource: &str, grace: Duration) -> Option<Shown> {
        let devices = self.known.get(resource)?;
        if self.stopped.get(resource).is_some_and(|since| since.elapsed() > grace) {
            return None;
        }
        let allocatable = devices.iter().filter(|device| device.health == "Healthy").count();
        Some(Shown { capacity: devices.len(), allocatable })
    }

    /// The ids of `resource` that containers hold.
    pub fn in_use(&self, resource: &str) -> BTreeSet<&str> {
        let of_it = self.admissions.iter().filter(|admission| admission.resource == resource);
        of_it.flat_map(|admission| &admission.ids).map(String::as_str).collect()
    }

    /// The events of `resource` of which `wanted` is true.
    pub fn count(&self, resource: &str, wanted: impl Fn(&Happening) -> bool) -> usize {
        self.events.iter().filter(|event| event.resource == resource && wanted(&event.what)).count()
    }
}

/// Shared between the stand-in and its tasks.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    view: Arc<Mutex<View>>,
    changes: watch::Sender<()>,
    reading: watch::Sender<bool>,
}

impl Ledger {
    pub(super) fn new() -> Ledger {
        Ledger { view: Arc::default(), changes: watch::channel(()).0, reading: watch::channel(true).0 }
    }

    /// Looks at the view, or changes it.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut View) -> T) -> T {
        let result = act(&mut self.view.lock().unwrap());
        self.changes.send_replace(());
        result
    }

    pub(super) fn peek<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.view.lock().unwrap())
    }

    /// Stops to read device lists, or goes on.
    pub(super) fn read(&self, reading: bool) {
        self.reading.send_replace(reading);
    }

    pub(super) async fn until_reading(&self) {
        let _ = self.reading.subscribe().wait_for(|reading| *reading).await;
    }

    pub(super) fn note(&self, resource: &str, endpoint: &str, what: Happening) {
        let event =
            Event { at: Instant::now(), resource: resource.to_owned(), endpoint: endpoint.to_owned(), what };
        self.with(|view| view.events.push(event));
    }

    /// Waits until `probe` finds what it looks for.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut probe: impl FnMut(&View) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = self.peek(&mut probe) {
                    return found;
                }
                let _ = changes.changed().await;
            }
        };
        let waited = tokio::time::timeout(deadline, found).await;
        waited.map_err(|_| {
            anyhow::anyhow!("{what}: not within {deadline:?}; seen: {:#?}", self.peek(|v| v.events.clone()))
        })
    }
}
