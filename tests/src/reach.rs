//! Whether traffic arrives: servers and clients whose sockets are born in a [`Namespace`] and stay
//! there, so that no program must be started or ended.

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::namespace::Namespace;

/// Far beyond what any machine needs for an answer that comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer that does not come is waited for. A test that expects none cannot fail by it.
const IMPATIENCE: Duration = Duration::from_millis(300);

/// A server of both families that has answered nobody yet.
#[derive(Debug)]
pub enum Server {
    /// Over TCP.
    Tcp(TcpListener),
    /// Over UDP.
    Udp(UdpSocket),
}

impl Server {
    /// Listens in `place` over `protocol`, `tcp` or `udp`.
    pub fn listen(place: &Namespace, protocol: &str, port: u16) -> Self {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        if protocol == "tcp" {
            let listener = place.run(move || TcpListener::bind(any)).expect("a free port");
            listener.set_nonblocking(true).expect("a socket");
            Self::Tcp(listener)
        } else {
            let socket = place.run(move || UdpSocket::bind(any)).expect("a free port");
            socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
            Self::Udp(socket)
        }
    }

    /// Sends a question from `place` to `target` and answers it. The client's address as this server
    /// sees it; the client's error when nothing arrives.
    pub fn asked_from(&self, place: &Namespace, target: &str) -> io::Result<SocketAddr> {
        let target: SocketAddr = target.parse().expect("an address with a port");
        match self {
            Self::Tcp(listener) => over_tcp(listener, place, target),
            Self::Udp(socket) => over_udp(socket, place, target),
        }
    }

    /// Whether a question from `place` to `target` stays without an answer from here.
    pub fn is_hidden_from(&self, place: &Namespace, target: &str) -> bool {
        let target: SocketAddr = target.parse().expect("an address with a port");
        match self {
            Self::Tcp(listener) => {
                let connected = place.run(move || TcpStream::connect_timeout(&target, IMPATIENCE));
                connected.is_err() || listener.accept().is_err()
            }
            Self::Udp(socket) => {
                let client = client(place, target);
                drop(client.send(b"question"));
                socket.set_read_timeout(Some(IMPATIENCE)).expect("a socket");
                let arrived = socket.recv_from(&mut [0; 16]).is_ok();
                socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
                !arrived
            }
        }
    }
}

fn over_tcp(listener: &TcpListener, place: &Namespace, target: SocketAddr) -> io::Result<SocketAddr> {
    let mut client = place.run(move || TcpStream::connect_timeout(&target, PATIENCE))?;
    client.set_read_timeout(Some(PATIENCE))?;
    let (mut served, peer) = accept(listener)?;
    served.write_all(b"answer")?;
    client.read_exact(&mut [0; 6])?;
    Ok(unmapped(peer))
}

/// Who has connected is known to the server once the last part of its greeting is there, which a network that
/// works in the background may still carry.
fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(1));
            }
            accepted => return accepted,
        }
    }
}

/// A socket of `place` that talks to `target` alone, so that an answer from elsewhere does not count.
pub fn client(place: &Namespace, target: SocketAddr) -> UdpSocket {
    let own: SocketAddr = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().expect("an address");
    let socket = place.run(move || {
        let socket = UdpSocket::bind(own)?;
        socket.connect(target).map(|()| socket)
    });
    socket.expect("a socket")
}

fn over_udp(server: &UdpSocket, place: &Namespace, target: SocketAddr) -> io::Result<SocketAddr> {
    let client = client(place, target);
    client.set_read_timeout(Some(PATIENCE))?;
    client.send(b"question")?;
    let lost = |what: &'static str| move |error| io::Error::other(format!("{what} was lost: {error}"));
    let (_, peer) = server.recv_from(&mut [0; 16]).map_err(lost("the question"))?;
    server.send_to(b"answer", peer)?;
    client.recv(&mut [0; 16]).map_err(lost("the answer"))?;
    Ok(unmapped(peer))
}

/// As a person writes it.
fn unmapped(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}
