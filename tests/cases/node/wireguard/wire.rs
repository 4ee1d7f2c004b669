//! What can be read between nodes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};
use tripod_tests::namespace::Namespace;

/// What pods send over and over.
const PAYLOAD: &[u8] = b"nobody else shall read this text";

/// Hears every frame that passes the links of a namespace, and counts what it forwards.
pub(super) struct Tap {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What a tap has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) frames: usize,
    /// Whether a frame holds what pods send.
    pub(super) payload: bool,
}

impl Tap {
    pub(super) fn new(router: &Namespace) -> Self {
        // Routers and nodes look for each other; what is between nodes is forwarded.
        router.sh(
            "nft 'add table inet tap; add chain inet tap forward { type filter hook forward priority -1; }; \
             add counter inet tap encrypted; add counter inet tap plain; \
             add rule inet tap forward udp dport 51820 counter name encrypted accept; \
             add rule inet tap forward counter name plain'",
        );
        let ends = Arc::<AtomicBool>::default();
        let until = ends.clone();
        let listener = router.run(|| {
            let all = SockProtocol::EthAll;
            let listener = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, all);
            let listener = listener.expect("root may listen");
            setsockopt(&listener, sockopt::RcvBufForce, &(16 << 20)).expect("root may have a large queue");
            listener
        });
        let thread = thread::spawn(move || {
            let (mut seen, mut frame) = (Seen::default(), vec![0; 1 << 16]);
            loop {
                match recv(listener.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
                    Ok(length) => {
                        seen.frames += 1;
                        seen.payload |= frame[..length].windows(PAYLOAD.len()).any(|part| part == PAYLOAD);
                    }
                    Err(_) if until.load(Ordering::Relaxed) => return seen,
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Self { ends, thread }
    }

    /// What was seen by now.
    pub(super) fn seen(self) -> Seen {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().expect("it only listens")
    }
}

/// How many packets of WireGuard a router with a tap has forwarded.
pub(super) fn encrypted(router: &Namespace) -> u64 {
    counted(router, "encrypted")
}

/// How many others.
pub(super) fn plain(router: &Namespace) -> u64 {
    counted(router, "plain")
}

fn counted(router: &Namespace, name: &str) -> u64 {
    let listed = router.json(&format!("nft -j list counter inet tap {name}"));
    let entries = listed["nftables"].as_array().expect("a list");
    entries.iter().find_map(|one| one["counter"]["packets"].as_u64()).expect("a counter")
}

/// Sends a megabyte from one pod to another over TCP; each byte must arrive.
pub(super) fn send_a_megabyte(from: &Namespace, to: &Namespace, address: &str) {
    let text = PAYLOAD.repeat((1 << 20) / PAYLOAD.len());
    let target = SocketAddr::new(address.parse().expect("an address"), 5001);
    let listener = to.run(move || TcpListener::bind(target)).expect("a free port");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).map(|_| all)
    });
    let limit = Duration::from_secs(30);
    let mut client = from.run(move || TcpStream::connect_timeout(&target, limit)).expect("a connection");
    client.write_all(&text).expect("it is sent");
    drop(client);
    assert!(
        server.join().expect("it only reads").expect("it arrives") == text,
        "what arrived is another text"
    );
}
