//! What a container needs beside a device's own nodes.

use std::collections::BTreeMap;

use super::DeviceNode;

/// In the words of the Container Device Interface: changes to a container before it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Nodes that belong to no device alone, such as `/dev/kfd`.
    pub nodes: Vec<DeviceNode>,
    /// Files and folders of the host.
    pub mounts: Vec<Mount>,
    /// More of those, which are the same after any reboot: they are in the kubelet's answer whichever way the
    /// rest goes.
    pub answered: Vec<Mount>,
    /// Variables. Several devices of a container that set the same one get their values joined by commas.
    pub env: BTreeMap<String, String>,
    /// Programs of the host that the runtime starts while it makes the container.
    pub hooks: Vec<Hook>,
}

/// A file or folder of the host in the container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// Absolute path on the host.
    pub host_path: String,
    /// Absolute path in the container.
    pub container_path: String,
    /// Whether the container may not write to it.
    pub read_only: bool,
}

/// A program that the runtime starts, as an OCI hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// When: `createContainer`, `startContainer`, … by the OCI runtime specification.
    pub moment: &'static str,
    /// Absolute path on the host.
    pub path: String,
    /// Arguments, the program's name first.
    pub args: Vec<String>,
}

impl Edits {
    /// Whether nothing is needed.
    pub fn is_empty(&self) -> bool {
        *self == Edits::default()
    }
}
