//! Connections that the kernel remembers, as far as host ports over UDP need them.
//!
//! UDP has no end: while a client keeps sending, its packets follow the path of the first one, even if
//! that was before the host port existed or when it led to another pod. Asking costs a walk over the
//! kernel's whole table, milliseconds even when that is empty, and so is only for attachments that have
//! such ports.

use std::io;
use std::net::IpAddr;

use nix::errno::Errno;

use crate::netlink::{Attributes, Message, Protocol, Reader, Socket};
use crate::nft::{Family, NFGENMSG};
use crate::{error, failpoint};

/// `IPPROTO_UDP`.
const UDP: u8 = 17;

/// A connection over UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    /// Where the first packet was sent.
    pub destination: IpAddr,
    /// To which port.
    pub port: u16,
    /// Who answers.
    pub answerer: IpAddr,
    family: Family,
    /// By which the kernel finds it again: its first packet's addresses, its number, its zone.
    identity: Attributes,
}

/// A connection to the kernel's connection tracking.
#[derive(Debug)]
pub(crate) struct Conntrack {
    socket: Socket,
}

impl Conntrack {
    /// Connects to the namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(Protocol::Netfilter)? })
    }

    /// Connections over UDP whose first packet was sent to one of `ports`: one walk, of which the kernel
    /// tells those of the protocol, and of the port when it is one.
    pub(crate) fn udp_to(&self, family: Family, ports: &[u16]) -> io::Result<Vec<Connection>> {
        let of_message = |message: &Message<'_>| read(family, message.attributes(NFGENMSG));
        // The filter knows one port, and a kernel before 5.9 has none: a busy node's other flows are many.
        let wanted = |message: &Message<'_>| of_message(message).is_some_and(|one| ports.contains(&one.port));
        let answers = self.socket.select(&message::dump_udp(family, ports), &wanted)?;
        Ok(answers.messages().filter_map(|message| of_message(&message)).collect())
    }

    /// Forgets `connection`; that it has ended meanwhile is no failure.
    pub(crate) fn forget(&self, connection: &Connection) -> io::Result<()> {
        failpoint::step("delete a tracked connection")?;
        match self.socket.exchange(&message::delete(connection)) {
            Err(error) if !error::is(&error, Errno::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }
}

fn read(family: Family, connection: Reader<'_>) -> Option<Connection> {
    let (original, reply) = (connection.nested(1)?, connection.nested(2)?);
    let protocol = original.nested(2)?;
    let port = protocol.find(3)?.first_chunk().map(|port| u16::from_be_bytes(*port))?;
    if protocol.find(1)? != [UDP] {
        return None;
    }
    let mut identity = Attributes::new().nested(1, &Attributes::behind(connection.find(1)?));
    for kind in [message::ID, message::ZONE] {
        identity = connection.find(kind).into_iter().fold(identity, |all, value| all.bytes(kind, value));
    }
    let destination = message::address(family, original.nested(1)?, message::DESTINATION)?;
    let answerer = message::address(family, reply.nested(1)?, message::SOURCE)?;
    Some(Connection { destination, port, answerer, family, identity })
}

/// The messages of `NFNL_SUBSYS_CTNETLINK`. Pure.
mod message {
    use std::net::IpAddr;

    use super::{Connection, UDP};
    use crate::netlink::{Attributes, NLM_F_ACK, NLM_F_DUMP, Reader, Request};
    use crate::nft::{Family, question};

    const SUBSYSTEM: u16 = 1 << 8;

    pub(super) const ID: u16 = 12;
    pub(super) const ZONE: u16 = 18;
    /// `CTA_IP_V4_SRC`; the number for IPv6 is higher by two.
    pub(super) const SOURCE: u16 = 1;
    pub(super) const DESTINATION: u16 = 2;

    /// `IPCTNL_MSG_CT_GET` of all whose original direction has the protocol and, when it is one, the port.
    pub(super) fn dump_udp(family: Family, ports: &[u16]) -> Request {
        const PROTOCOL: u32 = 1 << 3;
        const DESTINATION_PORT: u32 = 1 << 5;
        let mut protocol = Attributes::new().bytes(1, &[UDP]);
        let mut flags = PROTOCOL;
        if let [port] = ports {
            protocol = protocol.bytes(3, &port.to_be_bytes());
            flags |= DESTINATION_PORT;
        }
        let tuple = Attributes::new().nested(2, &protocol);
        // These flags alone are in host order.
        let filter = Attributes::new().bytes(1, &flags.to_ne_bytes());
        let attributes = Attributes::new().nested(1, &tuple).nested(25, &filter);
        question(SUBSYSTEM | 1, family.number(), NLM_F_DUMP, &attributes)
    }

    /// `IPCTNL_MSG_CT_DELETE`.
    pub(super) fn delete(connection: &Connection) -> Request {
        question(SUBSYSTEM | 2, connection.family.number(), NLM_F_ACK, &connection.identity)
    }

    pub(super) fn address(family: Family, addresses: Reader<'_>, side: u16) -> Option<IpAddr> {
        match family {
            Family::V4 => addresses.find(side)?.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
            Family::V6 => addresses.find(side + 2)?.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        }
    }
}
