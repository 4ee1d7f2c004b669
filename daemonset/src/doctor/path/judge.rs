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

    /// Whether `heard` shows that a packet got there. Only who was asked says that its port is closed. A router and
    /// a firewall say it, too, of what they do not let through; and of a packet with one hop the first router says
    /// that it was the last, where no route of ours leads elsewhere.
    fn is_arrival(&self, heard: &Heard) -> bool {
        match heard {
            Heard::PortClosed { from } => *from == self.target.to.ip(),
            // The peer may answer from any address that it has, and through our device comes nobody else's answer.
            Heard::LastHop { from } => {
                self.target.is_for_pods() && (self.target.is_of_peer(*from) || self.target.is_through_device)
            }
            Heard::Refused { from, .. } => self.target.is_of_peer(*from),
            Heard::TooBig { .. } | Heard::Unsent(_) | Heard::Silence => false,
        }
    }

    /// What it means that somebody else answers in place of the peer.
    fn stranger(&self, heard: &Heard) -> Option<Finding> {
        let Target { peer, to, .. } = &self.target;
        let to = to.ip();
        match heard {
            _ if self.is_arrival(heard) => None,
            Heard::LastHop { .. } | Heard::Refused { .. } if !self.target.is_for_pods() => None,
            Heard::PortClosed { from } => self.warn(
                format!("{from} rejects it in place of {to}, as a firewall does (\"port unreachable\")"),
                format!("let UDP to {to} pass at {from}: it may be this node, a router on the way, or {peer} itself"),
            ),
            // So does a router that knows no way there, of which IPv4 and IPv6 tell in these words.
            Heard::LastHop { from } | Heard::Refused { from, kind: (3 | 1, 0) } => self.warn(
                format!("{from} answers, which is no address of {peer}: no route of ours leads there"),
                format!(
                    "see on this node where \"ip route get {to}\" leads. The agent puts its route back with its next \
                     look; check network-program names who removes it. If {from} is {peer}, packets do get \
                     there, and its Node object lacks that address"
                ),
            ),
            _ => None,
        }
    }

    /// Why this node itself does not send it.
    fn unsent(&self, heard: &Heard) -> Option<Finding> {
        let Heard::Unsent(_) = heard else { return None };
        let fix = format!(
            "see on this node where \"ip route get {}\" leads, and whether its own firewall forbids it: nft list \
             ruleset, chains of hook output",
            self.target.to.ip()
        );
        self.warn(said(heard).unwrap_or_default(), fix)
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
    match backend {
        "direct" => "by a route",
        "wireguard" => "through WireGuard",
        _ => "through the overlay",
    }
}

/// What was found about one peer.
pub(super) fn findings(tried: &[&Tried]) -> Vec<Finding> {
    let is_there = |one: &&&Tried| one.most().is_some();
    if tried.iter().any(|one| is_there(&one)) {
        return tried.iter().filter_map(|one| of_target(one, tried)).collect();
    }
    let Some(first) = tried.first() else { return Vec::new() };
    // Whoever says anything says more than that nothing came back.
    let heard = || tried.iter().flat_map(|one| one.heard.iter().map(move |(_, heard)| (one, heard)));
    let is_unsent = heard().all(|(_, heard)| matches!(heard, Heard::Unsent(_)));
    let unsent = |one: &Tried, heard| one.unsent(heard).filter(|_| is_unsent);
    if let Some(found) = heard().find_map(|(one, heard)| one.stranger(heard).or_else(|| unsent(one, heard))) {
        let text = format!("no packet gets to the node or its pods; {}: {}", found.object, found.evidence);
        return vec![Finding::warn(CHECK, &first.target.peer, text).fix(found.fix)];
    }
    let why = heard().find_map(|(_, heard)| said(heard)).map(|said| format!("; {said}")).unwrap_or_default();
    let text = format!("no packet to the node or its pods was answered by it{why}");
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
        fits; pods take it over when they start. Where that cannot be, set mtu in node.yaml, so small that pods' packets \
        fit with what the backend adds to them";
    if let Some(found) = one.stranger(heard) {
        return Some(Finding { evidence: format!("{length} bytes: {}", found.evidence), ..found });
    }
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
    let heard = || one.heard.iter().map(|(_, heard)| heard);
    let named = heard().find_map(|heard| one.stranger(heard).or_else(|| one.unsent(heard)));
    let said = heard().find_map(said).unwrap_or("nothing comes back".to_owned());
    match (one.target.aim, one.target.backend.as_str()) {
        // A firewall of the node's own that says nothing is no harm to pods.
        (Aim::Node, _) => None,
        (Aim::Pods(_), _) if named.is_some() => named,
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
