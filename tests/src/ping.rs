//! An ICMP echo without any program: the kernel's ping sockets.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

/// Round-trip time of one echo from the calling thread's network to `target`.
pub fn ping(target: IpAddr) -> io::Result<Duration> {
    // Which groups may open such sockets is a setting of each network namespace, by default none.
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0")?;
    let (family, protocol, request, reply) = match target {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8, 0),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128, 129),
    };
    let socket = UdpSocket::from(socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?);
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect(SocketAddr::new(target, 0))?;
    let begin = Instant::now();
    socket.send(&[request, 0, 0, 0, 0, 0, 0, 1])?;
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer)?;
    if length < 8 || answer[0] != reply {
        return Err(io::Error::other(format!("{target} answered with ICMP type {}", answer[0])));
    }
    Ok(begin.elapsed())
}
