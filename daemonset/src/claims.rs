//! Which of the nodes' claims are believed. Pure.
//!
//! A node that was taken over, or that came back with an old disk, may claim prefixes that are others'. A
//! claim is used only if it lies in `clusterCIDRs`, is as long as our own prefix of its family (the cluster
//! gives every node the same), holds neither a Service nor an address of a node, and overlaps nobody's. Where
//! two overlap, their Node objects decide, which no node may write.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::config::NodeConfig;
use crate::node_facts::NodeFacts;
use crate::prefix;
use crate::tripod_node::{Claim, ClaimError};

/// What every node says, by its name.
pub type Claims = BTreeMap<String, Result<Claim, ClaimError>>;

/// What a Node object says of a node whose claim overlaps another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// UID of the Node.
    pub uid: String,
    /// Its `spec.podCIDRs`.
    pub pod_cidrs: Vec<IpNetwork>,
    /// Its InternalIPs.
    pub addresses: Vec<IpAddr>,
}

/// What Node objects say, by name; none where there is no such Node.
pub type Verdicts = BTreeMap<String, Option<Verdict>>;

/// Why a claim is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It makes no sense.
    #[error(transparent)]
    Nonsense(#[from] ClaimError),
    /// It claims what is not the cluster's.
    #[error("{0} is in none of clusterCIDRs of node.yaml")]
    Outside(IpNetwork),
    /// It claims more or less than a node gets.
    #[error("{claimed} is no /{ours}, which is what this cluster's nodes get: this node has one")]
    Mask {
        /// What it claims.
        claimed: IpNetwork,
        /// Length of our own prefix.
        ours: u8,
    },
    /// It claims what is ours.
    #[error("{claimed} overlaps {ours} of this node")]
    Ours {
        /// What it claims.
        claimed: IpNetwork,
        /// What is ours.
        ours: IpNetwork,
    },
    /// It claims what Services have.
    #[error("{claimed} overlaps {services}, which Services have")]
    Services {
        /// What it claims.
        claimed: IpNetwork,
        /// What Services have.
        services: IpNetwork,
    },
    /// It claims a family that this cluster's pods do not have.
    #[error("{0} is of a family of which this node has no pods")]
    Family(IpNetwork),
    /// It says that it is at an address of ours.
    #[error("it claims {0}, the address of this node")]
    Us(IpAddr),
    /// It claims what another node is, too, and its Node object does not agree.
    #[error("it claims {what}, as node {other} does, and its Node object does not have it")]
    Twin {
        /// An address, or a UID.
        what: String,
        /// Who else claims it.
        other: String,
    },
    /// It claims the address of a node.
    #[error("{claimed} holds {address}, the address of a node")]
    Node {
        /// What it claims.
        claimed: IpNetwork,
        /// The node's address.
        address: IpAddr,
    },
    /// It overlaps the claim of another, and Node objects say that it is wrong, or there is no such Node.
    #[error("{claimed} overlaps the claim of node {other}, and its Node object does not have it")]
    Overlap {
        /// What it claims.
        claimed: IpNetwork,
        /// Who else claims it.
        other: String,
    },
}

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
    /// What we know of the addresses of Services.
    pub services: &'a [IpNetwork],
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
    for (name, refusal) in losers(&sound, verdicts) {
        sound.remove(name.as_str());
        judged.refused.push((name, refusal));
    }
    judged.peers = sound.into_iter().map(|(name, claim)| Peer { name: name.to_owned(), claim }).collect();
    judged
}

/// The nodes whose claims overlap another's and of whose Node objects nothing is known.
pub fn undecided(claims: &Claims, verdicts: &Verdicts) -> BTreeSet<String> {
    let sound =
        claims.iter().filter_map(|(name, claim)| Some((name.as_str(), claim.clone().ok()?))).collect();
    let overlapping = overlaps(&sound).into_iter().map(|(one, other, _)| [one, other]);
    let twins = twins(&sound).into_iter().map(|(one, other, _)| [one, other]);
    let overlapping = overlapping.chain(twins).flatten();
    overlapping.filter(|name| !verdicts.contains_key(*name)).map(str::to_owned).collect()
}

impl Standpoint<'_> {
    fn hear(self, claim: Claim) -> Result<Claim, Refusal> {
        let Self { config, facts, services, .. } = self;
        if let Some(address) = claim.addresses.iter().find(|ip| facts.node_ips.contains(ip)) {
            return Err(Refusal::Us(*address));
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

/// Who of those that overlap has it from nobody.
fn losers(sound: &BTreeMap<&str, Claim>, verdicts: &Verdicts) -> BTreeMap<String, Refusal> {
    let is_wrong = |name: &str| !is_right(name, sound, verdicts);
    let both = |one, other| {
        [(one, other), (other, one)].into_iter().filter(|(name, _): &(&str, &str)| is_wrong(name))
    };
    let mut losers = BTreeMap::new();
    for (one, other, claimed) in overlaps(sound) {
        for (name, other) in both(one, other) {
            losers.insert(name.to_owned(), Refusal::Overlap { claimed, other: other.to_owned() });
        }
    }
    for (one, other, what) in twins(sound) {
        for (name, other) in both(one, other) {
            losers.insert(name.to_owned(), Refusal::Twin { what: what.clone(), other: other.to_owned() });
        }
    }
    losers
}

/// Pairs of nodes that claim the same address or UID.
fn twins<'a>(claims: &BTreeMap<&'a str, Claim>) -> Vec<(&'a str, &'a str, String)> {
    let (mut owners, mut found) = (BTreeMap::new(), Vec::new());
    for (name, claim) in claims {
        let uid = format!("UID {}", claim.node_uid);
        for what in claim.addresses.iter().map(ToString::to_string).chain([uid]) {
            match owners.entry(what) {
                Entry::Vacant(free) => drop(free.insert(*name)),
                Entry::Occupied(taken) => found.push((*taken.get(), *name, taken.key().clone())),
            }
        }
    }
    found
}

fn is_right(name: &str, sound: &BTreeMap<&str, Claim>, verdicts: &Verdicts) -> bool {
    let (Some(claim), Some(Some(verdict))) = (sound.get(name), verdicts.get(name)) else { return false };
    let Verdict { uid, pod_cidrs, addresses } = verdict;
    claim.node_uid == *uid && claim.pod_cidrs == *pod_cidrs && claim.addresses == *addresses
}

/// Pairs of nodes of which one's prefix overlaps the other's. Prefixes nest or are apart, so those sorted
/// by their first address, the larger first, overlap only what is on top of a stack of open ones.
fn overlaps<'a>(claims: &BTreeMap<&'a str, Claim>) -> Vec<(&'a str, &'a str, IpNetwork)> {
    let each = |(name, claim): (&&'a str, &Claim)| {
        let name = *name;
        claim.pod_cidrs.clone().into_iter().map(move |cidr| (cidr.network(), cidr.prefix(), cidr, name))
    };
    let mut all: Vec<_> = claims.iter().flat_map(each).collect();
    all.sort_unstable();
    let (mut open, mut found) = (Vec::<(IpNetwork, &str)>::new(), Vec::new());
    for (_, _, cidr, name) in all {
        while open.pop_if(|(outer, _)| !prefix::overlap(outer, &cidr)).is_some() {}
        if let Some((_, outer)) = open.last().filter(|(_, outer)| *outer != name) {
            found.push((*outer, name, cidr));
        }
        open.push((cidr, name));
    }
    found
}

#[cfg(test)]
mod tests;
