//! Errors of the verbs, and how a chain of causes becomes one line.

use std::error::Error;
use std::net::SocketAddr;

use crate::command::prefer::inventory::InventoryError;
use crate::config::ConfigError;
use crate::config::resource_name::ResourceName;
use crate::inventory::limits::MAX_LIST_BYTES;
use crate::socket::PluginDirError;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no usable config.
    #[error("the config cannot be used")]
    Config(#[from] ConfigError),
    /// A saved inventory cannot be asked.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The device plugin directory cannot hold our sockets.
    #[error("the device plugin directory cannot be used")]
    PluginDir(#[from] PluginDirError),
    /// More devices than the kubelet can be told of.
    #[error(
        "{resource} would list more devices than fit in the {MAX_LIST_BYTES} bytes the kubelet reads: \
         {left_out} too many; lower its `count` or match fewer"
    )]
    TooManyDevices {
        /// The resource.
        resource: ResourceName,
        /// How many devices do not fit.
        left_out: usize,
    },
    /// The probes' address is taken or not ours.
    #[error("cannot listen for probes on {address}: choose another --health-addr, or an empty one for none")]
    Health {
        /// The address.
        address: SocketAddr,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The metrics' address is taken or not ours.
    #[error(
        "cannot listen for metrics on {address}: choose another --metrics-addr, or an empty one for none"
    )]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The process's own surroundings failed.
    #[error("cannot {act}")]
    System {
        /// What was attempted.
        act: &'static str,
        /// What the system answered.
        source: std::io::Error,
    },
}

/// `error` and its causes in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
