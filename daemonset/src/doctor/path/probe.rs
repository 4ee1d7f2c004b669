//! Datagrams that ask a far end for an ICMP error, and what came back. No right is needed for it: the kernel hands
//! errors about a socket's own packets to that socket.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use nix::{libc, setsockopt_impl, sockopt_impl};
use tokio::time::{Instant, sleep};

use super::target::Size;

sockopt_impl!(
    /// Whether packets of a socket may be cut on their way.
    MayCut4,
    SetOnly,
    libc::IPPROTO_IP,
    libc::IP_MTU_DISCOVER,
    libc::c_int
);
sockopt_impl!(
    /// The same with IPv6.
    MayCut6,
    SetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_MTU_DISCOVER,
    libc::c_int
);

/// A kernel answers about one error a second to the same asker, after a few at once.
const AGAIN: Duration = Duration::from_millis(1100);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_millis(4300);
/// How often it is looked for answers.
const LOOK: Duration = Duration::from_millis(5);
/// More than any link takes in one packet, with the heads of IP and UDP.
const TOO_LONG: usize = 65_535;

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing.
    #[default]
    Silence,
    /// The datagram's port is closed.
    PortClosed {
        /// Who says so.
        from: IpAddr,
    },
    /// It has made all the hops it may.
    LastHop {
        /// Who says so.
        from: IpAddr,
    },
    /// It is too long to pass.
    TooBig {
        /// Who says so.
        from: IpAddr,
        /// What would pass, in bytes.
        mtu: u32,
    },
    /// Another error.
    Refused {
        /// Who says so.
        from: IpAddr,
        /// ICMP's type and code.
        kind: (u8, u8),
    },
    /// It did not leave this node.
    Unsent(String),
}

/// A packet that is sent until something comes back.
#[derive(Debug)]
pub(super) struct Probe {
    socket: Option<UdpSocket>,
    is_ipv4: bool,
    /// Length with the heads of IP and UDP.
    length: usize,
    heard: Heard,
}

impl Probe {
    /// A packet to `to` of `size`, which may make so many hops. Nothing is sent yet.
    pub(super) fn open(to: SocketAddr, hops: Option<u8>, size: Size) -> Self {
        let (is_ipv4, heads) = (to.is_ipv4(), heads(to.is_ipv4()));
        match connect(to, hops) {
            Ok(socket) => {
                let length = match size {
                    Size::Payload(payload) => payload + heads,
                    Size::Full => longest(&socket, heads),
                };
                Self { socket: Some(socket), is_ipv4, length, heard: Heard::Silence }
            }
            Err(error) => Self { socket: None, is_ipv4, length: 0, heard: Heard::Unsent(error.to_string()) },
        }
    }

    /// Its length in bytes, and what came back.
    pub(super) fn told(self) -> (usize, Heard) {
        (self.length, self.heard)
    }

    fn is_open(&self) -> bool {
        self.heard == Heard::Silence
    }

    fn send(&mut self) {
        let payload = vec![0; self.length.saturating_sub(heads(self.is_ipv4))];
        let Some(socket) = &self.socket else { return };
        match socket.send(&payload) {
            Ok(_) => {}
            // What is pending is read from the queue of errors; a full queue is emptied meanwhile.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => {}
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {}
            Err(error) => {
                self.listen();
                if self.is_open() {
                    self.heard = Heard::Unsent(error.to_string());
                }
            }
        }
    }

    fn listen(&mut self) {
        if let Some(heard) = self.socket.as_ref().and_then(next_error) {
            self.heard = heard;
        }
    }
}

/// Sends all of them until each has an answer or the time is over.
pub(super) async fn run(probes: &mut [Probe]) {
    let begin = Instant::now();
    let mut send_at = begin;
    while probes.iter().any(Probe::is_open) && begin.elapsed() < PATIENCE {
        probes.iter_mut().filter(|probe| probe.is_open()).for_each(Probe::listen);
        if send_at <= Instant::now() {
            probes.iter_mut().filter(|probe| probe.is_open()).for_each(Probe::send);
            send_at += AGAIN;
        }
        sleep(LOOK).await;
    }
}

fn heads(is_ipv4: bool) -> usize {
    if is_ipv4 { 20 + 8 } else { 40 + 8 }
}

fn connect(to: SocketAddr, hops: Option<u8>) -> io::Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    if to.is_ipv4() {
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        setsockopt(&socket, MayCut4, &libc::IP_PMTUDISC_PROBE)?;
    } else {
        setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
        setsockopt(&socket, MayCut6, &libc::IPV6_PMTUDISC_PROBE)?;
    }
    if let Some(hops) = hops {
        match to.is_ipv4() {
            true => setsockopt(&socket, sockopt::Ipv4Ttl, &hops.into())?,
            false => setsockopt(&socket, sockopt::Ipv6Ttl, &hops.into())?,
        }
    }
    socket.connect(to)?;
    Ok(socket)
}

/// The longest packet that the link takes: the kernel says so of one that is longer than any.
fn longest(socket: &UdpSocket, heads: usize) -> usize {
    // That it fails is the question.
    drop(socket.send(&vec![0; TOO_LONG - heads]));
    match next_error(socket) {
        Some(Heard::TooBig { mtu, .. }) => usize::try_from(mtu).unwrap_or(TOO_LONG).min(TOO_LONG),
        _ => TOO_LONG,
    }
}

fn next_error(socket: &UdpSocket) -> Option<Heard> {
    let mut quoted = [0; 64];
    let mut quoted = [IoSliceMut::new(&mut quoted)];
    let mut space = vec![0; 512];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut quoted, Some(&mut space), flags).ok()?;
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4RecvErr(error, from) => {
            let from = from.map(|from| Ipv4Addr::from(from.sin_addr.s_addr.to_ne_bytes()));
            Some(of_error(&error, from.unwrap_or(Ipv4Addr::UNSPECIFIED).into()))
        }
        ControlMessageOwned::Ipv6RecvErr(error, from) => {
            let from = from.map(|from| Ipv6Addr::from(from.sin6_addr.s6_addr));
            Some(of_error(&error, from.unwrap_or(Ipv6Addr::UNSPECIFIED).into()))
        }
        _ => None,
    })
}

fn of_error(error: &libc::sock_extended_err, from: IpAddr) -> Heard {
    match (error.ee_origin, error.ee_type, error.ee_code) {
        (libc::SO_EE_ORIGIN_ICMP, 3, 3) | (libc::SO_EE_ORIGIN_ICMP6, 1, 4) => Heard::PortClosed { from },
        (libc::SO_EE_ORIGIN_ICMP, 11, _) | (libc::SO_EE_ORIGIN_ICMP6, 3, _) => Heard::LastHop { from },
        (libc::SO_EE_ORIGIN_ICMP, 3, 4) | (libc::SO_EE_ORIGIN_ICMP6, 2, _) => {
            Heard::TooBig { from, mtu: error.ee_info }
        }
        (libc::SO_EE_ORIGIN_LOCAL, ..) if error.ee_errno == Errno::EMSGSIZE as u32 => {
            Heard::TooBig { from, mtu: error.ee_info }
        }
        (libc::SO_EE_ORIGIN_LOCAL, ..) => {
            Heard::Unsent(io::Error::from_raw_os_error(error.ee_errno.cast_signed()).to_string())
        }
        (_, kind, code) => Heard::Refused { from, kind: (kind, code) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_port_of_this_machine_says_so_at_every_size() {
        let closed = UdpSocket::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let mut probes = [Size::Payload(100), Size::Full].map(|size| Probe::open(closed, None, size));
        run(&mut probes).await;
        let from = closed.ip();
        let [small, full] = probes.map(Probe::told);
        assert_eq!(small, (128, Heard::PortClosed { from }));
        assert_eq!(full.1, Heard::PortClosed { from }, "{} bytes", full.0);
    }
}
