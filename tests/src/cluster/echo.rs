//! A pod or a node that says who it is and as whom it sees its visitor, and gives back what it was told.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::machine::Machine;
use super::mirror::Protocol;
use super::sandbox::SandboxNetwork;

const PAUSE: Duration = Duration::from_millis(20);
/// A visitor that says no more is not waited for.
const VISIT_LIMIT: Duration = Duration::from_secs(5);

/// Answers until it is dropped. Its sockets keep the network alive, so drop it first.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What an echo answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who it is.
    pub name: String,
    /// As whom it sees its visitor.
    pub seen: String,
    /// What it was told.
    pub body: Vec<u8>,
}

impl Echo {
    /// Listens in a pod at `port` of all its addresses, over TCP and UDP.
    pub fn in_pod(pod: &SandboxNetwork, name: &str, port: u16) -> anyhow::Result<Self> {
        Ok(Self::serve(name, pod.within(|| bind(port))?))
    }

    /// The same on a machine.
    pub fn on_machine(machine: &Machine, port: u16) -> anyhow::Result<Self> {
        Ok(Self::serve(machine.name(), machine.within_network(|| bind(port))?))
    }

    fn serve(name: &str, (listener, socket): (TcpListener, UdpSocket)) -> Self {
        let stop: Arc<AtomicBool> = Arc::default();
        let (until, who) = (Arc::clone(&stop), name.to_owned());
        let connections = std::thread::spawn(move || answer_connections(&listener, &who, &until));
        let (until, who) = (Arc::clone(&stop), name.to_owned());
        let packets = std::thread::spawn(move || answer_packets(&socket, &who, &until));
        Self { stop, threads: vec![connections, packets] }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

/// A socket belongs to the network it was made in, whoever uses it.
fn bind(port: u16) -> anyhow::Result<(TcpListener, UdpSocket)> {
    let place = (Ipv6Addr::UNSPECIFIED, port);
    let (listener, socket) = (TcpListener::bind(place)?, UdpSocket::bind(place)?);
    listener.set_nonblocking(true)?;
    socket.set_read_timeout(Some(PAUSE))?;
    Ok((listener, socket))
}

fn answer_connections(listener: &TcpListener, name: &str, stop: &AtomicBool) {
    // One that hangs must not keep the others waiting.
    std::thread::scope(|scope| {
        while !stop.load(Ordering::SeqCst) {
            match listener.accept() {
                // Whoever does not wait for the answer does not get one.
                Ok((peer, from)) => drop(scope.spawn(move || answer(peer, name, from).ok())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Err(error) => eprintln!("echo: {error}"),
            }
        }
    });
}

fn answer(mut peer: TcpStream, name: &str, from: SocketAddr) -> std::io::Result<()> {
    peer.set_nonblocking(false)?;
    peer.set_read_timeout(Some(VISIT_LIMIT))?;
    peer.set_write_timeout(Some(VISIT_LIMIT))?;
    let mut body = Vec::new();
    peer.read_to_end(&mut body)?;
    peer.write_all(&render(name, from, &body))
}

fn answer_packets(socket: &UdpSocket, name: &str, stop: &AtomicBool) {
    let mut packet = [0; 2048];
    while !stop.load(Ordering::SeqCst) {
        match socket.recv_from(&mut packet) {
            Ok((length, from)) => drop(socket.send_to(&render(name, from, &packet[..length]), from)),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
            // An answer found nobody; the next visitor is not to blame.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => eprintln!("echo: {error}"),
        }
    }
}

fn render(name: &str, from: SocketAddr, body: &[u8]) -> Vec<u8> {
    [format!("{name} {}\n", from.ip().to_canonical()).as_bytes(), body].concat()
}

fn parse(answer: &[u8]) -> anyhow::Result<Answer> {
    let end = answer.iter().position(|byte| *byte == b'\n').context("an answer without a first line")?;
    let line = String::from_utf8_lossy(&answer[..end]);
    let (name, seen) = line.split_once(' ').with_context(|| format!("the answer begins with {line:?}"))?;
    Ok(Answer { name: name.to_owned(), seen: seen.to_owned(), body: answer[end + 1..].to_owned() })
}

/// Tells `body` to the echo at `place`, from the calling thread's network. Each step may take `limit`.
pub fn tell(place: SocketAddr, protocol: Protocol, body: &[u8], limit: Duration) -> anyhow::Result<Answer> {
    let answer = match protocol {
        Protocol::Tcp => tell_by_connection(place, body, limit),
        Protocol::Udp => tell_by_packet(place, body, limit),
    };
    let answer =
        answer.and_then(|answer| parse(&answer)).with_context(|| format!("{protocol:?} to {place}"))?;
    let same = answer.body == body;
    anyhow::ensure!(same, "{protocol:?} to {place}: {} bytes came back changed", body.len());
    Ok(answer)
}

fn tell_by_connection(place: SocketAddr, body: &[u8], limit: Duration) -> anyhow::Result<Vec<u8>> {
    let mut peer = TcpStream::connect_timeout(&place, limit)?;
    peer.set_read_timeout(Some(limit))?;
    peer.set_write_timeout(Some(limit))?;
    peer.write_all(body)?;
    peer.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer)?;
    Ok(answer)
}

fn tell_by_packet(place: SocketAddr, body: &[u8], limit: Duration) -> anyhow::Result<Vec<u8>> {
    let socket = client(place)?;
    socket.set_read_timeout(Some(limit))?;
    socket.send(body)?;
    let mut answer = [0; 4096];
    let length = socket.recv(&mut answer)?;
    Ok(answer[..length].to_owned())
}

fn client(place: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = match place {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    socket.connect(place)?;
    Ok(socket)
}

/// A flow of packets to one echo, from the network it was opened in.
#[derive(Debug)]
pub struct Dialogue {
    socket: UdpSocket,
    number: u64,
}

impl Dialogue {
    /// Begins it.
    pub fn open(place: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self { socket: client(place)?, number: 0 })
    }

    /// Says something new, and waits for the answer to that.
    pub fn say(&mut self, limit: Duration) -> anyhow::Result<()> {
        self.number += 1;
        let body = self.number.to_be_bytes();
        self.socket.send(&body).context("Udp")?;
        let (begin, mut packet) = (Instant::now(), [0; 128]);
        loop {
            let left = limit.checked_sub(begin.elapsed()).context("Udp: no answer")?;
            self.socket.set_read_timeout(Some(left.max(PAUSE)))?;
            let length = self.socket.recv(&mut packet).context("Udp: no answer")?;
            // Answers to earlier questions may still come.
            if parse(&packet[..length])?.body == body {
                return Ok(());
            }
        }
    }
}
