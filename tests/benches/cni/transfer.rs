//! Pod to pod on one node: what Tripod made against the same made by hand with `ip`, in turn.

use std::net::Ipv4Addr;

use tripod_tests::namespace::Namespace;

use crate::contender::Contender;
use crate::throughput::{self, Path};

/// Ratios of throughput, ours to the hand-made pods', one per pair of transfers, and the latter in Gbit/s.
pub(crate) fn ratios(tripod: &Contender) -> (Vec<f64>, Vec<f64>) {
    let ours = [Namespace::sandbox(), Namespace::sandbox()];
    for (number, pod) in ours.iter().enumerate() {
        tripod.call("ADD", number, &pod.path());
    }
    tripod.node.sh("sysctl -qw net.ipv4.ip_forward=1");
    let by_hand = [Namespace::sandbox(), Namespace::sandbox()];
    let addresses = [Ipv4Addr::new(10, 9, 0, 2), Ipv4Addr::new(10, 9, 0, 3)];
    for (number, (pod, address)) in by_hand.iter().zip(addresses).enumerate() {
        throughput::make_by_hand(&tripod.node, pod, number, address, 1500);
    }
    throughput::ratios(
        &Path { from: &ours[0], to: &ours[1], address: throughput::address(&ours[1]) },
        &Path { from: &by_hand[0], to: &by_hand[1], address: addresses[1] },
    )
}
