//! How much two pods send each other, and pods made by hand with `ip` to compare with.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Instant;

use tripod_tests::namespace::Namespace;

/// Pairs of transfers.
const PAIRS: usize = 31;

/// Bytes of one: a tenth of a second or so.
const LENGTH: usize = 192 << 20;

const PORT: u16 = 5001;

/// A pod that sends, one that receives, and the latter's address.
pub(crate) struct Path<'a> {
    pub(crate) from: &'a Namespace,
    pub(crate) to: &'a Namespace,
    pub(crate) address: Ipv4Addr,
}

/// Ratios of throughput, ours to the hand-made pods', one per pair of transfers, and the latter in Gbit/s.
pub(crate) fn ratios(ours: &Path<'_>, by_hand: &Path<'_>) -> (Vec<f64>, Vec<f64>) {
    let (mut ratios, mut by_hand_rates) = (Vec::new(), Vec::new());
    // Once for neighbours, routes and the clock of the processor.
    rate(ours);
    for pair in 0..PAIRS {
        let mut both = [0.0; 2];
        for turn in 0..2 {
            let which = (turn + pair) % 2;
            both[which] = rate(if which == 0 { ours } else { by_hand });
        }
        ratios.push(both[0] / both[1]);
        by_hand_rates.push(both[1]);
    }
    (ratios, by_hand_rates)
}

/// A pod with the same links, routes and neighbours as ours, in Tripod's group, so that its guard rules apply.
/// `number` is the pod's own on its node.
pub(crate) fn make_by_hand(node: &Namespace, pod: &Namespace, number: usize, address: Ipv4Addr, mtu: u32) {
    let group = tripod_cni::nft::base::LINK_GROUP;
    let netns = pod.path();
    let netns = netns.display();
    // `ip` takes a namespace by a process's number or by a name below /run/netns.
    node.sh(&format!(
        "mkdir -p /run/netns; ln -s {netns} /run/netns/hand{number}; \
         ip link add hand{number} address ee:ee:ee:ee:ee:ee mtu {mtu} group {group} type veth \
           peer name eth0 address 02:00:00:00:00:0{number} mtu {mtu} netns hand{number}; \
         ip link set hand{number} up; sysctl -qw net.ipv6.conf.hand{number}.accept_ra=0"
    ));
    pod.sh(&format!(
        "ip address add {address}/32 dev eth0; ip link set eth0 up; \
         ip neighbour add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee nud permanent dev eth0; \
         ip route add default via 169.254.1.1 dev eth0 onlink"
    ));
    node.sh(&format!(
        "ip neighbour add {address} lladdr 02:00:00:00:00:0{number} nud permanent dev hand{number}; \
         ip route add {address} dev hand{number}"
    ));
}

/// The address of a pod of ours.
pub(crate) fn address(pod: &Namespace) -> Ipv4Addr {
    let addresses = pod.json("ip -j -4 address show dev eth0");
    addresses[0]["addr_info"][0]["local"].as_str().and_then(|text| text.parse().ok()).expect("an address")
}

/// Gbit/s along `path`.
fn rate(path: &Path<'_>) -> f64 {
    let (listening, ready) = mpsc::channel();
    let Path { from, to, address } = *path;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            to.run(move || {
                let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).expect("a free port");
                listening.send(()).expect("the sender waits");
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut buffer = vec![0; 256 << 10];
                while stream.read(&mut buffer).expect("bytes") > 0 {}
                stream.write_all(b".").expect("the sender waits for the end");
            });
        });
        ready.recv().expect("the receiver listens");
        from.run(move || send(SocketAddr::from((address, PORT))))
    })
}

fn send(to: SocketAddr) -> f64 {
    let mut stream = TcpStream::connect(to).expect("a connection");
    let buffer = vec![0; 256 << 10];
    let begin = Instant::now();
    for _ in 0..LENGTH / buffer.len() {
        stream.write_all(&buffer).expect("it is read");
    }
    stream.shutdown(std::net::Shutdown::Write).expect("the end");
    stream.read_exact(&mut [0]).expect("everything arrived");
    LENGTH as f64 * 8.0 / begin.elapsed().as_secs_f64() / 1e9
}
