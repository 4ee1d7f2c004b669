//! One socket for all of netlink. The kernel works while a request is being sent, so the answer is there
//! when sending returns and nothing here waits; an event loop between the two costs 48 system calls an ADD.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use super::message::{Collected, Message, Messages, Request};

/// No answer is longer: dumps come in pieces of at most 32 KiB (`netlink_recvmsg` in the kernel's
/// `net/netlink/af_netlink.c`), and other answers describe one thing.
const LONGEST: usize = 64 << 10;

/// How often a list is asked for that changes while it is being told.
const PATIENCE: usize = 8;

/// Where answers arrive: memory that is not in the program's file, and of which no page is touched that no
/// answer reaches. Nobody holds it for longer than it takes to copy from it.
static ARRIVAL: Mutex<[u8; LONGEST]> = Mutex::new([0; LONGEST]);

/// Who is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Links, addresses, routes, traffic control.
    Route,
    /// nf_tables and connection tracking.
    Netfilter,
}

/// One socket and what is needed to tell its answers apart.
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: OwnedFd,
    sequence: AtomicU32,
}

/// All that the kernel sent in answer to one request, without netlink's own messages.
#[derive(Debug)]
pub(crate) struct Answers(Vec<u8>);

impl Answers {
    pub(crate) fn messages(&self) -> Messages<'_> {
        Messages(&self.0)
    }
}

impl Socket {
    /// Connects to the namespace of the calling thread. The kernel gives the socket its address when it
    /// first sends; nothing has to be bound.
    pub(crate) fn open(protocol: Protocol) -> io::Result<Self> {
        let protocol = match protocol {
            Protocol::Route => SockProtocol::NetlinkRoute,
            Protocol::Netfilter => SockProtocol::NetlinkNetFilter,
        };
        let descriptor =
            socket(AddressFamily::Netlink, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?;
        Ok(Self { descriptor, sequence: AtomicU32::new(0) })
    }

    /// Sends `request` and reads all of its answer. A refusal is the error.
    pub(crate) fn exchange(&self, request: &Request) -> io::Result<Answers> {
        self.select(request, &|_| true)
    }

    /// The same, keeping only what is `wanted` of a list that may be long.
    pub(crate) fn select(
        &self,
        request: &Request,
        wanted: &dyn Fn(&Message<'_>) -> bool,
    ) -> io::Result<Answers> {
        for _ in 0..PATIENCE {
            let collected = self.ask(request, wanted)?;
            if !collected.interrupted {
                return Ok(Answers(collected.answers));
            }
        }
        Err(io::Error::other("what the kernel was asked to list changed each time while it did"))
    }

    fn ask(&self, request: &Request, wanted: &dyn Fn(&Message<'_>) -> bool) -> io::Result<Collected> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut datagram = Vec::new();
        request.frame(sequence, &mut datagram);
        self.send(&datagram)?;
        let mut collected = Collected::default();
        loop {
            let add = |datagram: &[u8]| collected.add(datagram, sequence, wanted);
            if let ControlFlow::Break(end) = self.receive(add)? {
                return end.map(|()| collected);
            }
        }
    }

    /// Sends a transaction of several messages; the first refusal among the answers is the error. All of
    /// them are read, lest they be taken for those to what is sent next.
    pub(crate) fn transact(&self, datagram: &[u8]) -> io::Result<()> {
        self.send(datagram)?;
        let mut refusal = None;
        loop {
            let first = |datagram: &[u8]| Messages(datagram).find_map(|message| message.refusal());
            match self.receive(first) {
                Ok(found) => refusal = refusal.or(found),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        send(self.descriptor.as_raw_fd(), datagram, MsgFlags::empty())?;
        Ok(())
    }

    /// The next datagram. To a request that it has worked through, the kernel owes no second answer: never
    /// wait for one.
    fn receive<T>(&self, read: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let mut arrival = ARRIVAL.lock().unwrap_or_else(PoisonError::into_inner);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let length = recv(self.descriptor.as_raw_fd(), arrival.as_mut_slice(), flags)?;
        match arrival.get(..length) {
            Some(datagram) => Ok(read(datagram)),
            None => Err(io::Error::other("the kernel's answer is longer than the buffer for it")),
        }
    }
}
