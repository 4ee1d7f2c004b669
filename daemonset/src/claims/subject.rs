//! What claims are about: what only one node can have, and addresses of nodes among those of pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::{Claims, Refusal};
use crate::tripod_node::Claim;
use crate::wireguard_key::PublicKey;

/// What only one node can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Property<'a> {
    /// All sound prefixes of a family are of one length, so that two overlap only if they are the same.
    Prefix(IpNetwork),
    Address(IpAddr),
    Uid(&'a str),
}

impl Property<'_> {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Prefix(cidr) => cidr.to_string(),
            Self::Address(address) => address.to_string(),
            Self::Uid(uid) => format!("UID {uid}"),
        }
    }

    pub(super) fn refusal(&self, other: &str) -> Refusal {
        let other = other.to_owned();
        match self {
            Self::Prefix(claimed) => Refusal::Overlap { claimed: *claimed, other },
            _ => Refusal::Twin { what: self.name(), other },
        }
    }
}

/// Who claims what only one can have.
pub(super) fn owners<'a>(sound: &'a BTreeMap<&str, Claim>) -> BTreeMap<Property<'a>, Vec<&'a str>> {
    let mut owners = BTreeMap::<_, Vec<_>>::new();
    for (name, claim) in sound {
        let prefixes = claim.pod_cidrs.iter().map(|cidr| Property::Prefix(*cidr));
        let addresses = claim.addresses.iter().map(|address| Property::Address(*address));
        for property in prefixes.chain(addresses).chain([Property::Uid(&claim.node_uid)]) {
            owners.entry(property).or_default().push(*name);
        }
    }
    owners
}

/// Who claims which key of WireGuard.
pub(super) fn key_owners<'a>(sound: &BTreeMap<&'a str, Claim>) -> BTreeMap<PublicKey, Vec<&'a str>> {
    let mut owners = BTreeMap::<_, Vec<_>>::new();
    for (name, key) in sound.iter().filter_map(|(name, claim)| Some((*name, claim.wireguard_key?))) {
        owners.entry(key).or_default().push(name);
    }
    owners
}

/// A node whose address lies in what another claims for its pods.
pub(super) struct Guest<'a> {
    pub(super) name: &'a str,
    pub(super) address: IpAddr,
    pub(super) host: &'a str,
    pub(super) claimed: IpNetwork,
}

/// All nodes count, whatever their own claims are worth, but for ours, whose address no sound claim holds.
pub(super) fn guests<'a>(claims: &'a Claims, sound: &BTreeMap<&'a str, Claim>, us: &str) -> Vec<Guest<'a>> {
    let all = claims.iter().filter(|(name, _)| *name != us);
    let all = all.filter_map(|(name, claim)| Some((name.as_str(), claim.as_ref().ok()?)));
    let addresses: BTreeSet<_> =
        all.flat_map(|(name, claim)| claim.addresses.iter().map(move |address| (*address, name))).collect();
    let mut guests = Vec::new();
    for (host, claim) in sound {
        for claimed in &claim.pod_cidrs {
            let inside = addresses.range((claimed.network(), "")..);
            let inside = inside.take_while(|(address, _)| claimed.contains(*address));
            let guest = |(address, name): &(IpAddr, &'a str)| Guest {
                name,
                address: *address,
                host,
                claimed: *claimed,
            };
            guests.extend(inside.map(guest));
        }
    }
    guests
}
