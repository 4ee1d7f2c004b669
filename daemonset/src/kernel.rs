//! The kernel's links, addresses, routes, neighbours and rules of this node, by rtnetlink.
//!
//! Everything that is ours carries routing protocol 84, or lies on a device of ours; only that is told here,
//! and nothing else is ever changed.

mod links;
mod monitor;
mod neighbours;
mod routes;
mod rules;
mod ruleset;

use std::fmt;
use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use rtnetlink::Handle;
use tokio::task::JoinSet;

pub use links::{Link, VxlanLink};
pub use monitor::{Changes, Monitor};
pub use neighbours::{Fdb, Permanent};
pub use routes::HostRoute;

/// Marks our routes and rules; the same number as the plugin's.
pub const PROTOCOL: u8 = 84;

/// Something the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {object}")]
pub struct KernelError {
    act: &'static str,
    object: String,
    #[source]
    source: Refused,
}

/// The reason.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// An answer to a request.
    #[error("{0}")]
    Answer(rtnetlink::Error),
    /// No socket.
    #[error(transparent)]
    Socket(#[from] std::io::Error),
}

impl KernelError {
    fn refused(act: &'static str, object: impl fmt::Display) -> impl FnOnce(rtnetlink::Error) -> Self {
        move |source| {
            let source = match source {
                rtnetlink::Error::NetlinkError(message) => Refused::Socket(message.to_io()),
                other => Refused::Answer(other),
            };
            Self { act, object: object.to_string(), source }
        }
    }

    fn socket(source: std::io::Error) -> Self {
        Self { act: "open", object: "a netlink socket".to_owned(), source: Refused::Socket(source) }
    }

    /// Whether the kernel said `errno`.
    pub fn is(&self, errno: nix::errno::Errno) -> bool {
        matches!(&self.source, Refused::Socket(error) if error.raw_os_error() == Some(errno as i32))
    }
}

/// A connection to the kernel. It lives on the runtime that it was made on.
#[derive(Debug)]
pub struct Kernel {
    handle: Handle,
    /// Its dumps hold only what was asked for, so that a table of a million foreign routes costs nothing.
    strict: Handle,
    _connections: JoinSet<()>,
}

impl Kernel {
    /// Connects.
    pub fn open() -> Result<Self, KernelError> {
        let mut connections = JoinSet::new();
        let (connection, handle, _) = rtnetlink::new_connection().map_err(KernelError::socket)?;
        connections.spawn(connection);
        let (connection, strict, _) =
            rtnetlink::new_connection_with_strict_check().map_err(KernelError::socket)?;
        connections.spawn(connection);
        Ok(Self { handle, strict, _connections: connections })
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
