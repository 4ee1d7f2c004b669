//! A netlink socket without an event loop. The kernel works while a request is being sent, so the answer
//! is there when sending returns and nothing here waits; an event loop between the two costs 48 system calls
//! an ADD.

use std::cell::{Cell, RefCell};
use std::io;

use netlink_packet_core::{NLM_F_MULTIPART, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::socket::MsgFlags;

use super::Message;
use crate::failpoint;

/// The kernel's answers to a dump are at most this long (`NLMSG_GOODSIZE` and `SKB_WITH_OVERHEAD` keep
/// them below); a page that no answer reaches is never touched.
const LONGEST: usize = 64 << 10;

/// One socket and what is needed to tell its answers apart.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    sequence: Cell<u32>,
    buffer: RefCell<Vec<u8>>,
}

impl Connection {
    /// Connects to the namespace of the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        Ok(Self { socket, sequence: Cell::new(0), buffer: RefCell::new(Vec::with_capacity(LONGEST)) })
    }

    /// Sends `message` and reads all of its answer. A refusal is the error.
    pub(super) fn exchange(&self, mut message: Message) -> io::Result<Vec<RouteNetlinkMessage>> {
        let sequence = self.sequence.get().wrapping_add(1);
        self.sequence.set(sequence);
        message.header.sequence_number = sequence;
        message.finalize();
        let mut buffer = self.buffer.borrow_mut();
        buffer.clear();
        buffer.resize(message.buffer_len(), 0);
        message.serialize(&mut buffer);
        failpoint::request(message.header.message_type)?;
        self.socket.send_to(&buffer, &SocketAddr::new(0, 0), 0)?;
        let mut answers = Vec::new();
        loop {
            self.receive(&mut buffer)?;
            if collect(&buffer, sequence, &mut answers)? {
                return Ok(answers);
            }
        }
    }

    fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        // To a request that it has worked through, the kernel owes no second answer: never wait for one.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        buffer.clear();
        let (length, _) = self.socket.recv_from(buffer, flags.bits())?;
        if length > buffer.len() {
            return Err(io::Error::other("the kernel's answer is longer than the buffer for it"));
        }
        Ok(())
    }
}

/// Adds what `datagram` says to request number `sequence`; whether that was the last of it.
fn collect(mut datagram: &[u8], sequence: u32, answers: &mut Vec<RouteNetlinkMessage>) -> io::Result<bool> {
    let mut complete = false;
    while !datagram.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        if message.header.sequence_number != sequence {
            continue;
        }
        let more = message.header.flags & NLM_F_MULTIPART != 0;
        match message.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            NetlinkPayload::Done(done) if done.code != 0 => {
                return Err(io::Error::from_raw_os_error(done.code.saturating_abs()));
            }
            NetlinkPayload::InnerMessage(inner) => {
                answers.push(inner);
                complete |= !more;
            }
            _ => complete = true,
        }
    }
    Ok(complete)
}
