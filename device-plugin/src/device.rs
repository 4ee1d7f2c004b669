//! What is known about one device.

mod edits;
mod kind;

use std::collections::BTreeMap;
use std::fmt;

use crate::config::criteria::Properties;
use crate::health::Standing;
use crate::hostroot::DeviceNumber;
pub use edits::{Edits, Hook, Mount};
pub use kind::Kind;

/// Whether a device can be handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Healthy,
    /// It cannot.
    Unhealthy {
        /// Why, for a person.
        reason: String,
    },
}

/// A node through which a device is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// Absolute path on the host, not below any mount of this container. It may be a link such as
    /// `/dev/serial/by-id/…`: the runtime follows it when the container starts, so an answer the
    /// kubelet has stored stays right when the device comes back under another number.
    pub path: String,
    /// What the path led to when it was last looked at.
    pub number: DeviceNumber,
}

/// A device as a scan found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What stays the same when the device goes and comes back: of a path device its path.
    pub key: String,
    /// The id it would like to be listed under.
    pub id: String,
    /// Its backend.
    pub kind: Kind,
    /// Vendor, when known.
    pub vendor: Option<String>,
    /// Model, when known.
    pub model: Option<String>,
    /// The NUMA node it hangs on, when known.
    pub numa: Option<u32>,
    /// Its memory in bytes, when it has its own.
    pub memory: Option<u64>,
    /// The key of the device it is a part of.
    pub parent: Option<String>,
    /// Links to other devices, by their keys: the more, the better connected.
    pub links: BTreeMap<String, u32>,
    /// Its own nodes. A device without any is a network interface, or nothing at all.
    pub nodes: Vec<DeviceNode>,
    /// What a container needs beside them.
    pub edits: Edits,
    /// The full name under which somebody else's CDI spec describes it.
    pub cdi: Option<String>,
    /// Its health: of a fresh scan what that could observe, of an [`inventory`](crate::inventory) the verdict.
    pub health: Health,
    /// What tells of trouble by how it changes.
    pub vitals: Vitals,
    /// What criteria can look at.
    pub properties: Properties,
}

/// What tells of trouble by how it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Lanes of its PCIe link. Fewer than there were is a fault; what a slot offers from the start is not.
    pub lanes: Option<u32>,
    /// Counts of errors, by what they are called; a rise is a fault.
    pub errors: BTreeMap<&'static str, u64>,
}

/// A device of an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its id, unique within the resource, without replica suffix.
    pub id: String,
    /// What the last scan that saw it found, but for its health, which is the verdict of its standing.
    pub found: Found,
    /// What its past says of it.
    pub standing: Standing,
    /// The first scan that did not see it any more, by its number.
    pub vanished: Option<u64>,
}

impl Found {
    /// A healthy device of which nothing is known but its names.
    pub fn new(kind: Kind, key: impl Into<String>, id: impl Into<String>) -> Found {
        Found {
            key: key.into(),
            id: id.into(),
            kind,
            vendor: None,
            model: None,
            numa: None,
            memory: None,
            parent: None,
            links: BTreeMap::new(),
            nodes: Vec::new(),
            edits: Edits::default(),
            cdi: None,
            health: Health::Healthy,
            vitals: Vitals::default(),
            properties: Properties::new(),
        }
    }
}

impl Health {
    /// Whether the device can be handed out.
    pub fn is_healthy(&self) -> bool {
        *self == Health::Healthy
    }
}

impl fmt::Display for Health {
    /// The words of the device plugin API.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_healthy() { "Healthy" } else { "Unhealthy" })
    }
}
