//! The kernel's links, addresses, routes, neighbours and rules of this node, by rtnetlink.
//!
//! Everything that is ours carries routing protocol 84, or lies on a device of ours; only that is told here,
//! and nothing else is ever changed.

mod links;
mod monitor;
mod neighbours;
mod offload;
mod routes;
mod rules;
mod ruleset;
mod wireguard;

use std::fmt;
use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use nix::errno::Errno;
use rtnetlink::Handle;
use tokio::task::JoinSet;

pub use links::{Link, VxlanLink};
pub use monitor::{Changes, Monitor};
pub use neighbours::{Fdb, Permanent};
pub use routes::HostRoute;
pub use wireguard::{Found, Wireguard, WireguardDevice};

/// Marks our routes and rules; the same number as the plugin's.
pub const PROTOCOL: u8 = 84;

/// What was attempted, where a person can do something about a refusal.
const ADD_ROUTE: &str = "add route";
const MAKE_OVERLAY: &str = "make overlay device";
const MAKE_WIREGUARD: &str = "make WireGuard device";
const CONFIGURE_WIREGUARD: &str = "configure WireGuard device";
const SET_UP: &str = "set up";

/// Something the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {object}{}", self.remedy())]
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
    /// A system call, or an error that an answer holds.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

impl KernelError {
    fn refused(act: &'static str, object: impl fmt::Display) -> impl FnOnce(rtnetlink::Error) -> Self {
        move |source| {
            let source = match source {
                rtnetlink::Error::NetlinkError(message) => Refused::System(message.to_io()),
                other => Refused::Answer(other),
            };
            Self { act, object: object.to_string(), source }
        }
    }

    fn socket(source: std::io::Error) -> Self {
        Self::system("open", "a netlink socket")(source)
    }

    fn system(act: &'static str, object: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self { act, object: object.to_string(), source: Refused::System(source) }
    }

    /// What a person can do about it, where that is known.
    fn remedy(&self) -> &'static str {
        let says = |errno| self.is(errno);
        match self.act {
            ADD_ROUTE if says(Errno::EEXIST) => {
                " (a route of somebody else leads there already, see `ip route`; remove it)"
            }
            MAKE_OVERLAY if says(Errno::EEXIST) => {
                " (see `ip -d link`: another link has its name, or another VXLAN device its identifier and port; \
                 remove it, or set vxlan.vni or vxlan.port in node.yaml)"
            }
            MAKE_OVERLAY if says(Errno::EOPNOTSUPP) => {
                " (this kernel knows no VXLAN; load its module vxlan, or set backend to \"direct\" in node.yaml)"
            }
            MAKE_WIREGUARD if says(Errno::EEXIST) => {
                " (see `ip -d link`: another link has its name; remove or rename it)"
            }
            MAKE_WIREGUARD if says(Errno::EOPNOTSUPP) => {
                " (this kernel has no WireGuard, CONFIG_WIREGUARD, since Linux 5.6; load its module wireguard, or set \
                 backend to \"vxlan\", which does not encrypt, in node.yaml of all nodes)"
            }
            CONFIGURE_WIREGUARD | SET_UP if says(Errno::EADDRINUSE) => {
                " (another socket has its UDP port, see `ss -unlp`; end that program, or set wireguard.port in \
                 node.yaml of all nodes)"
            }
            _ if says(Errno::EPERM) => " (the capability NET_ADMIN is needed)",
            _ => "",
        }
    }

    /// Whether the kernel said `errno`.
    pub fn is(&self, errno: Errno) -> bool {
        matches!(&self.source, Refused::System(error) if error.raw_os_error() == Some(errno as i32))
    }
}

/// How many sockets there are to it.
const CONNECTIONS: usize = 2;

/// A connection to the kernel. It lives on the runtime that it was made on.
#[derive(Debug)]
pub struct Kernel {
    handle: Handle,
    /// Its dumps hold only what was asked for, so that a table of a million foreign routes costs nothing.
    strict: Handle,
    connections: JoinSet<()>,
}

impl Kernel {
    /// Whether both connections live. One whose socket fails ends, and answers nothing any more.
    pub fn is_connected(&mut self) -> bool {
        self.connections.try_join_next().is_none() && self.connections.len() == CONNECTIONS
    }

    /// Connects.
    pub fn open() -> Result<Self, KernelError> {
        let mut connections = JoinSet::new();
        let (connection, handle, _) = rtnetlink::new_connection().map_err(KernelError::socket)?;
        connections.spawn(connection);
        let (connection, strict, _) =
            rtnetlink::new_connection_with_strict_check().map_err(KernelError::socket)?;
        connections.spawn(connection);
        Ok(Self { handle, strict, connections })
    }
}

/// Version and patch level of the running kernel.
pub fn release() -> Option<(u32, u32)> {
    let text = nix::sys::utsname::uname().ok()?.release().to_str()?.to_owned();
    parse_release(&text)
}

fn parse_release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_however_they_go_on() {
        for (text, release) in [
            ("6.18.44-cloud", Some((6, 18))),
            ("5.6", Some((5, 6))),
            ("4.18.0-553.el8_10.x86_64", Some((4, 18))),
            ("5", None),
            ("linux-6.1", None),
            ("", None),
        ] {
            assert_eq!(parse_release(text), release, "{text:?}");
        }
        assert!(release().is_some_and(|release| release > (3, 0)));
    }
}
