//! Whether packets of every size get to other nodes and to their pods, by packets that nobody listens for: the
//! far end's kernel answers each with an ICMP error, and no pod has to be there.
//!
//! To a node goes a datagram for a closed port. What is for its pods goes to the first address of their prefix,
//! which no pod ever has, as routes of ours lead: directly or through the overlay. It may make one hop only, so
//! that the node on the other side is the one that refuses to pass it on. Who forwards looks at no checksum of a
//! datagram, so a third kind goes to the link-local address of the other node's overlay, where pods have IPv6.

mod judge;
mod probe;
mod target;

use nix::net::if_::if_nametoindex;
use serde_json::Value;
use tripod_cni::finding::Finding;

use crate::kernel::Kernel;
use crate::mesh::Reach;

use judge::Tried;
use probe::Probe;
use target::Target;

const CHECK: &str = "path";

/// Most peers that are tried.
const MOST: usize = 16;

/// Tries the peers of `status`, or those with these names.
pub(super) async fn findings(status: &Value, names: &[String]) -> Vec<Finding> {
    let (peers, left_out) = target::peers(status, names, MOST);
    let mut findings = unknown(status, names);
    let mut targets: Vec<Target> = peers.iter().flat_map(target::of_peer).collect();
    look_up(&mut targets).await;
    let mut probes = Vec::new();
    for target in &targets {
        for size in target.sizes() {
            probes.push(Probe::open(target.to, target.hops, size));
        }
    }
    probe::run(&mut probes).await;
    let mut probes = probes.into_iter();
    let mut tried: Vec<Tried> = Vec::new();
    for target in targets {
        let heard = target.sizes().into_iter().filter_map(|_| probes.next()).map(Probe::told).collect();
        tried.push(Tried { target, heard });
    }
    findings.extend(peers.iter().flat_map(|peer| {
        judge::findings(&tried.iter().filter(|one| one.target.peer == peer.name).collect::<Vec<_>>())
    }));
    let bad = findings.len();
    findings.push(summary(peers.len(), bad, left_out, &tried));
    findings
}

/// Notes what goes through the devices of ours. Without an answer of the kernel nothing does.
async fn look_up(targets: &mut [Target]) {
    let Ok(kernel) = Kernel::open() else { return };
    for target in targets.iter_mut() {
        let Some(device) = target.device.as_deref().and_then(|name| if_nametoindex(name).ok()) else {
            continue;
        };
        let reach = kernel.reach(target.to.ip()).await;
        target.is_through_device =
            matches!(reach, Reach::OnLink(index) | Reach::Routed(Some(index)) if index == device);
    }
}

fn unknown(status: &Value, names: &[String]) -> Vec<Finding> {
    let unknown = names.iter().filter(|name| !target::is_linked(status, name));
    let text = "is no peer that is linked, so that nothing can be tried";
    unknown
        .map(|name| Finding::warn(CHECK, name, text).fix("see tripod-node status for their names"))
        .collect()
}

fn summary(peers: usize, bad: usize, left_out: usize, tried: &[Tried]) -> Finding {
    let mut text = match peers {
        0 => "no peer to try".to_owned(),
        _ => format!("{peers} peers tried, {bad} findings"),
    };
    let largest =
        |is_pods| tried.iter().filter(|it| it.target.is_for_pods() == is_pods).filter_map(Tried::most).max();
    if let Some(size) = largest(false) {
        text.push_str(&format!("; {size} bytes get to a node"));
    }
    if let Some(size) = largest(true) {
        text.push_str(&format!("; {size} bytes get to where its pods are"));
    }
    let found = Finding::ok(CHECK, "peers", text);
    if left_out == 0 {
        return found;
    }
    let evidence = format!("{}; {left_out} more were not tried", found.evidence);
    Finding { evidence, ..found }.fix("name those that matter: --peer NAME")
}
