//! The state of one resource at one moment, made for answering the kubelet quickly.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use prost::Message;
use prost::bytes::Bytes;
use tripod_proto::deviceplugin::v1beta1::ListAndWatchResponse;

use super::id::replica_id;
use crate::cdi;
use crate::config::reset::Reset;
use crate::config::resource_name::ResourceName;
use crate::config::sharing::Sharing;
use crate::config::strategy::{Strategy, Way};
use crate::device::{Device, Found};
use crate::topology::{Part, Topology};

/// Immutable; shared by all calls and streams that see this moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    resource: ResourceName,
    sharing: Sharing,
    strategy: Strategy,
    withheld: Option<String>,
    reset: Option<Reset>,
    devices: Vec<Device>,
    topology: Topology,
    ids: Vec<Arc<str>>,
    list: Bytes,
    entries: HashMap<Arc<str>, Entry, RandomState>,
}

/// Where an advertised id leads.
#[derive(Clone, Copy, Debug)]
struct Entry {
    device: usize,
    position: usize,
    healthy: bool,
}

/// An advertised id that was looked up.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// The device behind the id.
    pub device: &'a Device,
    /// Its number among the devices.
    pub index: usize,
    /// Position of the id in the list.
    pub position: usize,
    /// Whether the device can be handed out, told without a look at it.
    pub healthy: bool,
}

impl Snapshot {
    /// The snapshot in which each of `devices` is listed as often as it may be held.
    pub fn new(resource: ResourceName, devices: Vec<Device>, sharing: Sharing) -> Snapshot {
        let (mut list, mut ids) = (ListAndWatchResponse::default(), Vec::new());
        let mut entries = HashMap::default();
        for (index, device) in devices.iter().enumerate() {
            let count = sharing.replicas(&device.found);
            for replica in 0..count {
                let id: Arc<str> = replica_id(&device.id, replica, count).into();
                let healthy = device.found.health.is_healthy();
                entries.insert(id.clone(), Entry { device: index, position: ids.len(), healthy });
                list.devices.push(super::wire_device(&id, healthy, device.found.numa));
                ids.push(id);
            }
        }
        let topology = Topology::new(&devices.iter().map(part).collect::<Vec<_>>());
        let (strategy, withheld, reset) = (Strategy::Auto, None, None);
        let list = list.encode_to_vec().into();
        Snapshot { resource, sharing, strategy, withheld, reset, devices, topology, ids, list, entries }
    }

    /// The same, with the devices reaching containers by `strategy`.
    pub fn by(self, strategy: Strategy) -> Snapshot {
        Snapshot { strategy, ..self }
    }

    /// The same, with nothing to be had of it, for this `reason`, if there is one.
    pub fn withheld(self, reason: Option<String>) -> Snapshot {
        Snapshot { withheld: reason, ..self }
    }

    /// The same, with its devices made ready for their next holders by `reset`.
    pub fn resetting(self, reset: Option<Reset>) -> Snapshot {
        Snapshot { reset, ..self }
    }

    /// What makes its devices ready for their next holders.
    pub fn reset(&self) -> Option<&Reset> {
        self.reset.as_ref()
    }

    /// Why nothing can be had of it.
    pub fn why_withheld(&self) -> Option<&str> {
        self.withheld.as_deref()
    }

    /// How `found` reaches a container.
    pub fn way(&self, found: &Found) -> Way {
        self.strategy.way(found, cdi::name::kind(&self.resource).is_some())
    }

    /// The resource this is the state of.
    pub fn resource(&self) -> &ResourceName {
        &self.resource
    }

    /// How its devices are shared.
    pub fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// The devices, each once, ordered by key.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// How its devices lie to one another.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// What the kubelet is to be told: a `ListAndWatchResponse` as it is sent, encoded once for all streams.
    pub fn list(&self) -> &Bytes {
        &self.list
    }

    /// How many ids are listed.
    pub fn listed(&self) -> usize {
        self.ids.len()
    }

    /// The id at `position` of the list.
    pub fn id(&self, position: usize) -> Option<&str> {
        self.ids.get(position).map(AsRef::as_ref)
    }

    /// The ids that the kubelet may hand out.
    pub fn healthy(&self) -> impl Iterator<Item = &str> {
        let healthy = |id: &&Arc<str>| self.entries.get(&***id).is_some_and(|entry| entry.healthy);
        self.ids.iter().filter(healthy).map(AsRef::as_ref)
    }

    /// The device that is listed under `id`.
    pub fn find(&self, id: &str) -> Option<Listed<'_>> {
        let entry = self.entries.get(id)?;
        let device = self.devices.get(entry.device)?;
        let Entry { device: index, position, healthy } = *entry;
        Some(Listed { device, index, position, healthy })
    }

    /// The ids under which the devices are listed, each with its device, in the order of the list.
    pub fn ids(&self) -> impl Iterator<Item = (&str, &Device)> {
        self.ids.iter().filter_map(|id| Some((&**id, self.find(id)?.device)))
    }
}

fn part(device: &Device) -> Part<'_> {
    let found = &device.found;
    Part { key: &found.key, parent: found.parent.as_deref(), numa: found.numa, links: &found.links }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Snapshot) -> bool {
        self.resource == other.resource
            && self.sharing == other.sharing
            && self.strategy == other.strategy
            && self.withheld == other.withheld
            && self.reset == other.reset
            && self.devices == other.devices
    }
}
