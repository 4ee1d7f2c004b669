//! What several devices need together, in the words of an answer to the kubelet.

use std::collections::{BTreeMap, BTreeSet};

use tripod_proto::deviceplugin::v1beta1::{CdiDevice, ContainerAllocateResponse, DeviceSpec, Mount};

use crate::cdi;
use crate::config::resource_name::ResourceName;
use crate::config::strategy::Way;
use crate::device::{self, Device, Found, Kind};
use crate::inventory::hash8;

/// Read and write, for block devices as for character devices. Not `m`: the runtime makes the node, so
/// a container needs no right to make others.
const PERMISSIONS: &str = "rw";
/// The variable and the folder in which NVIDIA's container runtime looks for ids.
const VISIBLE: &str = "NVIDIA_VISIBLE_DEVICES";
const VISIBLE_BY_MOUNT: &str = "/var/run/nvidia-container-devices";
/// Tells NVIDIA's container runtime to add nothing.
const VOID: &str = "void";
/// CDI's annotations: `cdi.k8s.io/<anything that is nobody else's>`.
const ANNOTATION: &str = "cdi.k8s.io/tripod_";

/// Gathered device by device. Replicas of one bring the same nodes, and parts of one card the same mounts,
/// which a container has once.
#[derive(Debug)]
pub(super) struct Needs<'a> {
    resource: &'a ResourceName,
    nodes: BTreeSet<&'a str>,
    mounts: BTreeSet<device::Mount>,
    env: BTreeMap<&'a str, Vec<String>>,
    names: BTreeSet<String>,
    annotated: BTreeSet<String>,
}

impl<'a> Needs<'a> {
    /// Nothing yet of `resource`.
    pub(super) fn of(resource: &'a ResourceName) -> Needs<'a> {
        let (nodes, mounts, env) = Default::default();
        Needs { resource, nodes, mounts, env, names: BTreeSet::new(), annotated: BTreeSet::new() }
    }

    /// And what `device` needs, which reaches the container by `way`.
    pub(super) fn add(&mut self, device: &'a Device, way: Way) {
        let found = &device.found;
        for (name, value) in &found.edits.env {
            self.join(name, value.clone());
        }
        self.mounts.extend(found.edits.answered.iter().cloned());
        if found.kind == Kind::Nvidia && !matches!(way, Way::Envvar | Way::VolumeMounts) {
            // An image may ask for all GPUs, which NVIDIA's runtime would then add to these.
            self.join(VISIBLE, VOID.to_owned());
        }
        match way {
            Way::Nodes => self.add_nodes(found),
            Way::Cdi => self.names.extend(self.cdi_name(device)),
            Way::CdiAnnotation => self.annotated.extend(self.cdi_name(device)),
            Way::Envvar => self.join(VISIBLE, device.id.clone()),
            Way::VolumeMounts => {
                self.join(VISIBLE, VISIBLE_BY_MOUNT.to_owned());
                let container_path = format!("{VISIBLE_BY_MOUNT}/{}", device.id);
                let host_path = "/dev/null".to_owned();
                self.mounts.insert(device::Mount { host_path, container_path, read_only: false });
            }
        }
    }

    fn add_nodes(&mut self, found: &'a Found) {
        self.nodes.extend(found.nodes.iter().chain(&found.edits.nodes).map(|node| node.path.as_str()));
        self.mounts.extend(found.edits.mounts.iter().cloned());
    }

    /// None of a device without nodes and mounts: no spec describes it.
    fn cdi_name(&self, device: &Device) -> Option<String> {
        if device.found.cdi.is_some() {
            return device.found.cdi.clone();
        }
        let kind = cdi::name::kind(self.resource).filter(|_| cdi::spec::describes(&device.found))?;
        Some(format!("{kind}={}", cdi::name::device(&device.id)))
    }

    fn join(&mut self, name: &'a str, value: String) {
        let values = self.env.entry(name).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }

    /// The answer for one container.
    pub(super) fn answer(self) -> ContainerAllocateResponse {
        let annotations = (!self.annotated.is_empty()).then(|| {
            let names: Vec<_> = self.annotated.into_iter().collect();
            (format!("{ANNOTATION}{}", hash8(self.resource.as_str())), names.join(","))
        });
        ContainerAllocateResponse {
            devices: self.nodes.into_iter().map(device_spec).collect(),
            mounts: self.mounts.into_iter().map(mount).collect(),
            envs: self.env.into_iter().map(|(name, values)| (name.to_owned(), values.join(","))).collect(),
            cdi_devices: self.names.into_iter().map(|name| CdiDevice { name }).collect(),
            annotations: annotations.into_iter().collect(),
        }
    }
}

fn device_spec(path: &str) -> DeviceSpec {
    DeviceSpec {
        container_path: path.to_owned(),
        host_path: path.to_owned(),
        permissions: PERMISSIONS.to_owned(),
    }
}

fn mount(mount: device::Mount) -> Mount {
    let device::Mount { host_path, container_path, read_only } = mount;
    Mount { container_path, host_path, read_only }
}
