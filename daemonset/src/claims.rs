//! Which of the nodes' claims are believed. Pure.
//!
//! A node that was taken over, or that came back with an old disk, may claim prefixes that are others'. A
//! claim is used only if it lies in `clusterCIDRs`, is as long as our own prefix of its family (the cluster
//! gives every node the same), holds neither a Service nor an address of a node, and overlaps nobody's. Where
//! two overlap, their Node objects decide: no node may write `spec.podCIDRs`, but each may write its own
//! `status.addresses`, so an address never takes a prefix that is another's by its Node object. Until they have
//! decided, who was believed stays, and a newcomer waits. Of two with one key of WireGuard, of which no Node object
//! tells, who was believed with it stays for good: public keys can be copied, and whoever had another's would be
//! sent nothing, but could keep the other from it. Without `clusterCIDRs` they decide about every claim.

mod dispute;
mod refusal;
mod subject;

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;

use crate::config::NodeConfig;
use crate::node_facts::NodeFacts;
use crate::prefix;
use crate::tripod_node::{Claim, ClaimError};
use crate::wireguard_key::PublicKey;
use dispute::Outcome;
pub use refusal::Refusal;

/// What every node says, by its name.
pub type Claims = BTreeMap<String, Result<Claim, ClaimError>>;

/// Claims of which Node objects decide, by name of the node.
pub type Disputed = BTreeMap<String, Claim>;

/// What a Node object says of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The claim that it is about; of a later one it says nothing.
    pub claim: Claim,
    /// Whether the Node has what the claim says.
    pub is_right: bool,
}

impl Verdict {
    /// What `node` says of `claim`; none where there is no such Node.
    pub fn new(claim: Claim, node: Option<&NodeFacts>) -> Self {
        let is_right = node.is_some_and(|NodeFacts { uid, pod_cidrs, node_ips }| {
            claim.node_uid == *uid && claim.pod_cidrs == *pod_cidrs && claim.addresses == *node_ips
        });
        Self { claim, is_right }
    }
}

/// The verdicts that are known, by name of the node.
pub type Verdicts = BTreeMap<String, Verdict>;

/// A node whose claim is used.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Peer {
    /// The node's name.
    pub name: String,
    /// What it says.
    #[serde(flatten)]
    pub claim: Claim,
}

/// What became of the claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Those that are used, by name.
    pub peers: Vec<Peer>,
    /// Those that are not.
    pub refused: Vec<(String, Refusal)>,
    /// Those that need a Node object's verdict, also where it is known by now.
    pub disputed: Disputed,
    /// How many of these Node objects have not been read.
    pub unread: usize,
}

/// Where this node stands.
#[derive(Clone, Copy, Debug)]
pub struct Standpoint<'a> {
    /// Name of this node.
    pub name: &'a str,
    /// The admin's word.
    pub config: &'a NodeConfig,
    /// What is ours.
    pub facts: &'a NodeFacts,
    /// Our own key of WireGuard, if we have one.
    pub key: Option<PublicKey>,
    /// What we know of the addresses of Services.
    pub services: &'a [IpNetwork],
    /// Those whom we believed until now.
    pub peers: &'a [Peer],
}

/// Judges all claims but our own.
pub fn judge(claims: &Claims, verdicts: &Verdicts, us: Standpoint<'_>) -> Judged {
    let mut judged = Judged::default();
    let mut sound = BTreeMap::new();
    for (name, claim) in claims.iter().filter(|(name, _)| *name != us.name) {
        match claim.clone().map_err(Refusal::from).and_then(|claim| us.hear(claim)) {
            Ok(claim) => drop(sound.insert(name.as_str(), claim)),
            Err(refusal) => judged.refused.push((name.clone(), refusal)),
        }
    }
    let Outcome { disputed, losers } = dispute::settle(claims, &sound, verdicts, us);
    for (name, refusal) in losers {
        sound.remove(name.as_str());
        judged.refused.push((name, refusal));
    }
    let is_read = |name: &String, claim: &Claim| verdicts.get(name).is_some_and(|it| it.claim == *claim);
    judged.unread = disputed.iter().filter(|(name, claim)| !is_read(name, claim)).count();
    judged.disputed = disputed;
    judged.peers = sound.into_iter().map(|(name, claim)| Peer { name: name.to_owned(), claim }).collect();
    judged
}

impl Standpoint<'_> {
    fn hear(self, claim: Claim) -> Result<Claim, Refusal> {
        let Self { config, facts, services, .. } = self;
        if let Some(address) = claim.addresses.iter().find(|ip| facts.node_ips.contains(ip)) {
            return Err(Refusal::Us(*address));
        }
        // Packets of our pods for it would leave the node, and somebody else would answer for the pod.
        let inside =
            |ours: &IpNetwork| Some((*ours, *claim.addresses.iter().find(|ip| ours.contains(**ip))?));
        if let Some((ours, address)) = facts.pod_cidrs.iter().find_map(inside) {
            return Err(Refusal::Ours { claimed: address.into(), ours });
        }
        if self.key.is_some() && self.key == claim.wireguard_key {
            return Err(Refusal::OurKey);
        }
        for claimed in &claim.pod_cidrs {
            let claimed = *claimed;
            let is_inside = config.cluster_cidrs.iter().any(|all| prefix::contains(all, &claimed));
            if !is_inside && !config.cluster_cidrs.is_empty() {
                return Err(Refusal::Outside(claimed));
            }
            let same_family = facts.pod_cidrs.iter().find(|ours| ours.is_ipv4() == claimed.is_ipv4());
            match same_family {
                Some(ours) if prefix::overlap(ours, &claimed) => {
                    return Err(Refusal::Ours { claimed, ours: *ours });
                }
                Some(ours) if ours.prefix() != claimed.prefix() => {
                    return Err(Refusal::Mask { claimed, ours: ours.prefix() });
                }
                Some(_) => {}
                None => return Err(Refusal::Family(claimed)),
            }
            if let Some(services) = services.iter().find(|services| prefix::overlap(services, &claimed)) {
                return Err(Refusal::Services { claimed, services: *services });
            }
            let mut nodes = facts.node_ips.iter().chain(&claim.addresses);
            if let Some(address) = nodes.find(|ip| claimed.contains(**ip)) {
                return Err(Refusal::Node { claimed, address: *address });
            }
        }
        Ok(claim)
    }
}

#[cfg(test)]
mod tests;
