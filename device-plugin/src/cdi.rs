//! Specs of the Container Device Interface (CDI): files in which a runtime looks up what a device's name
//! changes in a container.
//!
//! The kubelet stores what Allocate answered and replays it, perhaps after a reboot. A name stays right
//! then, where numbers of nodes would not: the spec is written anew from what is found.

pub(crate) mod leftover;
pub mod name;
pub mod spec;

mod file;
mod folder;

pub use folder::{Folder, WriteError};
