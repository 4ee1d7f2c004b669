//! A host or a pod that answers whoever speaks to it with the address it was spoken to from, which tells
//! whether traffic was masqueraded.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;

use super::addresses::{Families, OUTSIDE};
use super::kubectl::Kubectl;
use super::machine::Machine;
use super::sandbox::SandboxNetwork;

const PORT: u16 = 7007;
const PAUSE: Duration = Duration::from_millis(20);
/// What an answer may take on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Answers until it is dropped. Its sockets keep the network alive, so drop it first.
#[derive(Debug)]
pub struct Mirror {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// How to speak to a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A connection.
    Tcp,
    /// A packet each way.
    Udp,
}

impl Mirror {
    /// Listens on `machine` at the outside addresses of these families.
    pub fn start(machine: &Machine, families: Families) -> anyhow::Result<Self> {
        let mut mirror = Self { stop: Arc::default(), threads: Vec::new() };
        for address in families.addresses(OUTSIDE) {
            // A socket belongs to the network it was made in, whoever uses it.
            let place = SocketAddr::new(address, PORT);
            let listener = machine.within_network(|| Ok(TcpListener::bind(place)?))?;
            mirror.serve(move |stop| answer_connections(&listener, stop));
        }
        Ok(mirror)
    }

    /// Listens in a pod at `port` of all its addresses, over TCP and UDP.
    pub fn in_pod(pod: &SandboxNetwork, port: u16) -> anyhow::Result<Self> {
        let mut mirror = Self { stop: Arc::default(), threads: Vec::new() };
        let place = (Ipv6Addr::UNSPECIFIED, port);
        let (listener, socket) = pod.within(|| Ok((TcpListener::bind(place)?, UdpSocket::bind(place)?)))?;
        mirror.serve(move |stop| answer_connections(&listener, stop));
        mirror.serve(move |stop| answer_packets(&socket, stop));
        Ok(mirror)
    }

    fn serve(&mut self, work: impl FnOnce(&AtomicBool) + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        self.threads.push(std::thread::spawn(move || work(&stop)));
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

fn answer_connections(listener: &TcpListener, stop: &AtomicBool) {
    listener.set_nonblocking(true).expect("a socket can be told not to wait");
    while !stop.load(Ordering::SeqCst) {
        match listener.accept() {
            // Whoever does not wait for the answer does not get one.
            Ok((mut peer, from)) => drop(writeln!(peer, "{}", from.ip().to_canonical())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) => eprintln!("mirror: {error}"),
        }
    }
}

fn answer_packets(socket: &UdpSocket, stop: &AtomicBool) {
    socket.set_read_timeout(Some(PAUSE)).expect("a socket can be told how long to wait");
    while !stop.load(Ordering::SeqCst) {
        match socket.recv_from(&mut [0; 16]) {
            Ok((_, from)) => drop(socket.send_to(from.ip().to_canonical().to_string().as_bytes(), from)),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
            Err(error) => eprintln!("mirror: {error}"),
        }
    }
}

/// As whom a mirror at `place` sees the calling thread's network.
pub fn ask(place: SocketAddr, protocol: Protocol) -> anyhow::Result<String> {
    let asked = match protocol {
        Protocol::Tcp => ask_by_connection(place),
        Protocol::Udp => ask_by_packet(place),
    };
    asked.with_context(|| format!("{protocol:?} to {place}"))
}

fn ask_by_connection(place: SocketAddr) -> anyhow::Result<String> {
    let mut peer = TcpStream::connect_timeout(&place, ANSWER_LIMIT)?;
    peer.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut answer = String::new();
    peer.read_to_string(&mut answer)?;
    Ok(answer.trim().to_owned())
}

fn ask_by_packet(place: SocketAddr) -> anyhow::Result<String> {
    let socket = match place {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    socket.set_read_timeout(Some(ANSWER_LIMIT))?;
    socket.connect(place)?;
    socket.send(b"?")?;
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// As whom the outside sees `pod`, over each of these families.
pub fn seen_from_outside(
    kubectl: &Kubectl<'_>,
    pod: &str,
    families: Families,
) -> anyhow::Result<Vec<String>> {
    let ask = |address: String| {
        let answer = kubectl.exec(pod, &["nc", "-w", "5", &address, &PORT.to_string()])?;
        anyhow::Ok(answer.trim().to_owned())
    };
    families.addresses(OUTSIDE).into_iter().map(|address| ask(address.to_string())).collect()
}
