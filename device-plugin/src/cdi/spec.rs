//! The document itself, by the specification at <https://github.com/cncf-tags/container-device-interface>.
//!
//! Only what Tripod says is here. Variables are not: those of several devices are joined in the kubelet's
//! answer, while of two specs that set one the last would win.

use serde::Serialize;

use super::name;
use crate::config::resource_name::ResourceName;
use crate::device::{self, Device, DeviceNode, Found};

/// Nodes for reading and writing; the runtime makes them, so a container needs no right to.
const PERMISSIONS: &str = "rw";

/// What a file holds: `{"cdiVersion": …, "kind": …, "devices": […]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    cdi_version: &'static str,
    kind: String,
    devices: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    container_edits: ContainerEdits,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerEdits {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    device_nodes: Vec<Node>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hooks: Vec<Hook>,
}

/// Type and numbers are said, since runtimes refuse to look through a link such as `/dev/serial/by-id/…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    path: String,
    #[serde(rename = "type")]
    kind: &'static str,
    major: u64,
    minor: u64,
    permissions: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    host_path: String,
    container_path: String,
    options: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Hook {
    hook_name: &'static str,
    path: String,
    args: Vec<String>,
}

/// Whether a spec of ours can say anything of `found` that none of others does; edits without content are
/// invalid.
pub fn describes(found: &Found) -> bool {
    found.cdi.is_none()
        && !(found.nodes.is_empty()
            && found.edits.nodes.is_empty()
            && found.edits.mounts.is_empty()
            && found.edits.hooks.is_empty())
}

impl Spec {
    /// The spec of those of `devices` that are present; `None` when there is nothing to describe.
    pub fn of<'a>(resource: &ResourceName, devices: impl IntoIterator<Item = &'a Device>) -> Option<Spec> {
        let kind = name::kind(resource)?;
        let present = devices.into_iter().filter(|device| device.vanished.is_none());
        let devices: Vec<_> = present.filter(|device| describes(&device.found)).map(entry).collect();
        (!devices.is_empty()).then(|| Spec { cdi_version: version(kind), kind: kind.to_owned(), devices })
    }

    /// The kind it describes.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

/// The lowest version that knows what is used: a device name may begin with a digit since 0.5.0, a class
/// contain a dot since 0.6.0. Older runtimes refuse a file of a higher version than they know.
fn version(kind: &str) -> &'static str {
    let dotted = kind.split_once('/').is_some_and(|(_, class)| class.contains('.'));
    if dotted { "0.6.0" } else { "0.5.0" }
}

fn entry(device: &Device) -> Entry {
    let Found { nodes, edits, .. } = &device.found;
    let container_edits = ContainerEdits {
        device_nodes: nodes.iter().chain(&edits.nodes).map(node).collect(),
        mounts: edits.mounts.iter().map(mount).collect(),
        hooks: edits.hooks.iter().map(hook).collect(),
    };
    Entry { name: name::device(&device.id), container_edits }
}

fn node(node: &DeviceNode) -> Node {
    Node {
        path: node.path.clone(),
        kind: if node.number.block { "b" } else { "c" },
        major: node.number.major,
        minor: node.number.minor,
        permissions: PERMISSIONS,
    }
}

/// Nothing of what is mounted for a device needs rights of its own.
fn mount(mount: &device::Mount) -> Mount {
    let mut options = vec!["bind", "nosuid", "nodev"];
    options.extend(mount.read_only.then_some("ro"));
    Mount { host_path: mount.host_path.clone(), container_path: mount.container_path.clone(), options }
}

fn hook(hook: &device::Hook) -> Hook {
    Hook { hook_name: hook.moment, path: hook.path.clone(), args: hook.args.clone() }
}
