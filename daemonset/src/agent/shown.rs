//! What the agent shows of each of its looks: its status, its metrics, and events.

use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::node::{ApplyError, Node};
use super::phase::Phase;
use crate::claims::{Peer, Refusal};
use crate::config::NodeConfig;
use crate::events::Reason;
use crate::mesh::Mesh;
use crate::node_facts::NodeFacts;
use crate::observer::Observer;
use crate::status::{self, OverlayStatus, PeerStatus};

/// What was seen since the look began.
#[derive(Debug)]
pub(super) struct Shown {
    observer: Arc<Observer>,
    /// Claims that are not believed.
    pub(super) refused: Vec<(String, Refusal)>,
    /// How many versions of the configuration were taken over.
    pub(super) generation: u64,
    peers: Vec<PeerStatus>,
    overlays: Vec<OverlayStatus>,
    cluster_cidrs: Vec<IpNetwork>,
    failures: Vec<String>,
}

/// Most failures of single links that are shown: with thousands of peers there can be thousands.
const MOST_FAILURES: usize = 16;

impl Shown {
    /// Nothing was seen yet.
    pub(super) fn new(observer: Arc<Observer>) -> Self {
        Self {
            observer,
            refused: Vec::new(),
            generation: 1,
            peers: Vec::new(),
            overlays: Vec::new(),
            cluster_cidrs: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Something may have changed: the agent looks.
    pub(super) fn begin(&mut self, config: &NodeConfig) {
        self.cluster_cidrs.clone_from(&config.cluster_cidrs);
        self.observer.dirtied();
    }

    /// The links with other nodes were decided.
    pub(super) fn planned(&mut self, mesh: &Mesh, peers: &[Peer]) {
        self.peers = status::peers(mesh, peers, &self.refused);
        let encrypted = mesh.wireguard.iter().map(OverlayStatus::from);
        self.overlays = mesh.overlays.iter().map(OverlayStatus::from).chain(encrypted).collect();
    }

    /// The links were made, but for these.
    pub(super) fn applied(&mut self, failures: &[String]) {
        self.failures = failures.iter().take(MOST_FAILURES).cloned().collect();
        if !failures.is_empty() {
            self.observer.metrics.failed("link");
        }
        if let left_out @ 1.. = failures.len().saturating_sub(MOST_FAILURES) {
            self.failures.push(format!("{left_out} more"));
        }
    }

    /// A step failed.
    pub(super) fn failed(&self, error: &ApplyError) {
        self.observer.metrics.failed(error.kind());
    }

    /// The look is over; it took so long, and so often the kernel had too much to tell.
    pub(super) fn end(
        &self,
        phase: &Phase,
        facts: Option<&NodeFacts>,
        node: &Node,
        (spent, overruns): (Duration, u64),
    ) {
        self.observer.looked(phase, spent, overruns, |status| {
            status.facts = facts.cloned();
            status.peers.clone_from(&self.peers);
            status.overlays.clone_from(&self.overlays);
            status.cluster_cidrs.clone_from(&self.cluster_cidrs);
            status.failures.clone_from(&self.failures);
            if *phase == Phase::Ready {
                status.config_generation = self.generation;
            }
        });
        self.tell(phase, node);
    }

    /// What lasts is told at each look; who writes events knows what was told a moment ago.
    fn tell(&self, phase: &Phase, node: &Node) {
        let events = &self.observer.events;
        match phase {
            Phase::WaitingForPodCidrs => events.post(Reason::PodCidrMissing, "", &phase.to_string()),
            Phase::Failing(error) => events.post(Reason::ReconcileFailed, "", error),
            _ => {}
        }
        if let [first, ..] = &self.failures[..] {
            let text = format!("a part of the links with other nodes failed: {first}");
            events.post(Reason::ReconcileFailed, "links", &text);
        }
        if let [first, ..] = node.preempting() {
            let files = node.preempting().join(", ");
            let text =
                format!("the runtime takes {first} before Tripod's configuration; remove or rename {files}");
            events.post(Reason::ForeignCniPreempts, "", &text);
        }
        for drop in node.forward().drops() {
            let text =
                format!("packets to and from pods may be lost in {drop}; the agent's log has the remedy");
            events.post(Reason::ForwardDropDetected, drop, &text);
        }
        for peer in &self.peers {
            let text = format!("node {}: {}", peer.name, peer.why);
            match peer.state {
                "ignored" => events.post(Reason::PeerIgnored, &peer.name, &text),
                "unlinked" => events.post(Reason::PeerUnlinked, &peer.name, &text),
                _ => {}
            }
        }
    }
}
