//! What it means that some packets were answered and others were not. Pure.

use tripod_cni::finding::Finding;

use super::CHECK;
use super::probe::Heard;
use super::target::{Aim, Target};

/// A target, and for each packet its length and what came back.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) target: Target,
    pub(super) heard: Vec<(usize, Heard)>,
}

impl Tried {
    /// The longest packet that got there.
    pub(super) fn most(&self) -> Option<usize> {
        let arrived = self.heard.iter().filter(|(_, heard)| self.is_arrival(heard));
        arrived.map(|(length, _)| *length).max()
    }

    /// Whether `heard` shows that a packet got there. Only who is there says that a port is closed or, of a
    /// packet with one hop, that it was the last.
    fn is_arrival(&self, heard: &Heard) -> bool {
        match heard {
            Heard::PortClosed { .. } => true,
            Heard::LastHop { .. } => self.target.is_for_pods(),
            Heard::Refused { from, .. } => self.target.addresses.contains(from),
            Heard::TooBig { .. } | Heard::Unsent(_) | Heard::Silence => false,
        }
    }

    fn object(&self) -> String {
        let Target { peer, to, aim, backend, .. } = &self.target;
        match aim {
            Aim::Node => format!("{peer} at {}", to.ip()),
            Aim::Pods(cidr) => format!("pods of {peer} in {cidr}, {}", way(backend)),
            Aim::Checksum => format!("the overlay of {peer} at {}", to.ip()),
        }
    }

    fn warn(&self, text: impl Into<String>, fix: impl Into<String>) -> Option<Finding> {
        Some(Finding::warn(CHECK, self.object(), text).fix(fix))
    }
}

fn way(backend: &str) -> &str {
    if backend == "direct" { "by a route" } else { "through the overlay" }
}

/// What was found about one peer.
pub(super) fn findings(tried: &[&Tried]) -> Vec<Finding> {
    let is_there = |one: &&&Tried| one.most().is_some();
    if tried.iter().any(|one| is_there(&one)) {
        return tried.iter().filter_map(|one| of_target(one, tried)).collect();
    }
    let heard = |one: &&Tried| one.heard.iter().find_map(|(_, heard)| said(heard));
    let Some(first) = tried.first() else { return Vec::new() };
    let why = tried.iter().find_map(heard).map(|said| format!("; {said}")).unwrap_or_default();
    let text = format!("no packet to the node or its pods was answered{why}");
    let fix = "see whether the node is up; if it is, let UDP and ICMP errors between the nodes pass. A firewall that \
        swallows all of these packets and lets only pods' own pass cannot be told from a node that is gone";
    vec![Finding::warn(CHECK, &first.target.peer, text).fix(fix)]
}

fn of_target(one: &Tried, all: &[&Tried]) -> Option<Finding> {
    match (one.most(), one.heard.last()?) {
        (Some(_), (length, heard)) => of_length(one, *length, heard),
        (None, _) => lost(one, all),
    }
}

/// Some packets get there.
fn of_length(one: &Tried, length: usize, heard: &Heard) -> Option<Finding> {
    let fix = "let everything between the nodes carry packets of that size, or give the nodes' links the MTU that \
        fits; pods take it over when they start. Where that cannot be, set mtu in node.yaml, 70 less than what fits";
    match heard {
        heard if one.is_arrival(heard) => None,
        Heard::TooBig { from, mtu } => {
            one.warn(format!("{length} bytes do not get there: {from} passes {mtu} at most"), fix)
        }
        Heard::Silence => {
            let text = format!(
                "{length} bytes, which this node's link takes, are lost without a word, and small packets get there: \
                 connections begin, and hang with the first long packet"
            );
            one.warn(text, format!("{fix}; and let ICMP \"fragmentation needed\" pass"))
        }
        heard => one.warn(format!("{length} bytes: {}", said(heard).unwrap_or_default()), fix),
    }
}

/// No packet gets there, and another kind did.
fn lost(one: &Tried, all: &[&Tried]) -> Option<Finding> {
    let said = one.heard.iter().find_map(|(_, heard)| said(heard)).unwrap_or("nothing comes back".to_owned());
    match (one.target.aim, one.target.backend.as_str()) {
        // A firewall of the node's own that says nothing is no harm to pods.
        (Aim::Node, _) => None,
        (Aim::Pods(_), "direct") => one.warn(
            format!("{said}, and the node itself answers"),
            "let the network between the nodes carry packets with pods' addresses: clouds do not before their check of \
             sources and destinations is off (port security, IP forwarding). Or set backend: vxlan in node.yaml",
        ),
        (Aim::Pods(_), "wireguard") => one.warn(
            format!("{said}, and the node itself answers"),
            "open WireGuard's UDP port (51820, or wireguard.port of node.yaml) between the nodes, on the nodes and on \
             what is between them; the port must be the same on all nodes",
        ),
        (Aim::Pods(_), _) => one.warn(
            format!("{said}, and the node itself answers"),
            "open the overlay's UDP port (4789, or vxlan.port of node.yaml) between the nodes, on the nodes and on what is \
             between them; the port and vxlan.vni must be the same on all nodes",
        ),
        (Aim::Checksum, _) => {
            // Where the node's firewall says nothing of closed ports, silence is no sign.
            let answers = |is_pods| {
                let mut alike = all.iter().filter(|it| it.target.aim != Aim::Checksum && it.target.is_for_pods() == is_pods);
                alike.any(|it| it.most().is_some())
            };
            let text = "packets get through the overlay, and a datagram whose checksum is looked at does not";
            let fix = "set vxlan.checksumOffload: \"off\" in node.yaml, here and there: a network card may write wrong \
                checksums. If that changes nothing, a firewall of the node drops what is for its overlay's own address";
            (answers(true) && answers(false)).then(|| one.warn(text, fix)).flatten()
        }
    }
}

/// What came back, in words.
fn said(heard: &Heard) -> Option<String> {
    Some(match heard {
        Heard::Silence => return None,
        Heard::PortClosed { from } => format!("{from} says that the port is closed"),
        Heard::LastHop { from } => format!("{from} says that it was the last hop"),
        Heard::TooBig { from, mtu } => format!("{from} passes {mtu} bytes at most"),
        Heard::Refused { from, kind: (kind, code) } => {
            format!("{from} answers with ICMP type {kind}, code {code}")
        }
        Heard::Unsent(error) => format!("it does not leave this node: {error}"),
    })
}

#[cfg(test)]
mod tests;
