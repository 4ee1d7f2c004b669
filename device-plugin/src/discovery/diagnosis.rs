//! What keeps a device from being handed out.

use crate::device::{DeviceNode, Health};
use crate::hostroot::{HostRoot, Inode};

/// Reasons, each for a person.
#[derive(Clone, Debug, Default)]
pub(super) struct Diagnosis(Vec<String>);

impl Diagnosis {
    pub(super) fn add(&mut self, reason: impl Into<String>) {
        self.0.push(reason.into());
    }

    /// The node at `path`, which the device cannot do without.
    pub(super) fn node(&mut self, path: &str, root: &HostRoot) -> Option<DeviceNode> {
        let node = node(path, root);
        if node.is_none() {
            self.add(format!("its node {path} is not there"));
        }
        node
    }

    pub(super) fn health(self) -> Health {
        match self.0.as_slice() {
            [] => Health::Healthy,
            reasons => Health::Unhealthy { reason: reasons.join("; ") },
        }
    }
}

/// The node at `path`, if there is one.
pub(super) fn node(path: &str, root: &HostRoot) -> Option<DeviceNode> {
    match root.inspect(path) {
        Ok(Some(Inode::Device(number))) => Some(DeviceNode { path: path.to_owned(), number }),
        _ => None,
    }
}
