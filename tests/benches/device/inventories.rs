//! Machines to choose on.

use std::collections::BTreeMap;
use std::time::Instant;

use tripod_device_plugin::config::resource_name::ResourceName;
use tripod_device_plugin::config::sharing::Sharing;
use tripod_device_plugin::device::{Found, Kind};
use tripod_device_plugin::inventory::{self, Moment, Snapshot};
use tripod_proto::deviceplugin::v1beta1::{ContainerPreferredAllocationRequest, PreferredAllocationRequest};

/// Links of 16 cards as no switch would have them, so that hardly any two sets weigh the same.
pub(crate) fn uneven(one: usize, other: usize) -> u32 {
    let (low, high) = (one.min(other), one.max(other));
    u32::try_from((low * 31 + high * 17 + low * high * 7) % 25).expect("less than 25")
}

/// `cards` cards with `weight` between each two, on two NUMA nodes.
pub(crate) fn machine(cards: usize, weight: impl Fn(usize, usize) -> u32, sharing: Sharing) -> Snapshot {
    let links = |card: usize| {
        let others = (0..cards).filter(|other| *other != card);
        others.map(|other| (key(other), weight(card, other))).filter(|(_, weight)| *weight > 0).collect()
    };
    snapshot(cards, links, sharing)
}

/// As many cards, none of which is linked.
pub(crate) fn unlinked(cards: usize) -> Snapshot {
    snapshot(cards, |_| BTreeMap::new(), Sharing::EXCLUSIVE)
}

/// `cards` cards in groups of four, each linked to the three others of its group.
pub(crate) fn in_fours(cards: usize) -> Snapshot {
    let links = |card: usize| {
        let group = card / 4 * 4..(card / 4 * 4 + 4).min(cards);
        group.filter(|other| *other != card).map(|other| (key(other), 1)).collect()
    };
    snapshot(cards, links, Sharing::EXCLUSIVE)
}

/// `cards` cards of `parts` parts each, every part linked to every other, as AMD's driver tells of them.
pub(crate) fn in_parts(cards: usize, parts: usize) -> Snapshot {
    let found = |part: usize| {
        let weight = |other: usize| if other / parts == part / parts { 1000 } else { 600 };
        let others = (0..cards * parts).filter(|other| *other != part);
        Found {
            links: others.map(|other| (key(other), weight(other))).collect(),
            parent: Some(format!("card-{}", part / parts)),
            numa: Some(u32::from(part >= cards * parts / 2)),
            ..Found::new(Kind::Amd, key(part), key(part))
        }
    };
    of((0..cards * parts).map(found).collect(), Sharing::EXCLUSIVE)
}

fn snapshot(cards: usize, links: impl Fn(usize) -> BTreeMap<String, u32>, sharing: Sharing) -> Snapshot {
    let found = |card: usize| Found {
        links: links(card),
        numa: Some(u32::from(card >= cards / 2)),
        ..Found::new(Kind::Nvidia, key(card), key(card))
    };
    of((0..cards).map(found).collect(), sharing)
}

fn of(found: Vec<Found>, sharing: Sharing) -> Snapshot {
    let moment = Moment { scan: 1, at: Instant::now() };
    let devices = inventory::merge(&[], found, moment);
    Snapshot::new(ResourceName::parse("example.com/gpu").expect("a name"), devices, sharing)
}

/// As long as the ids of GPUs are.
fn key(card: usize) -> String {
    format!("GPU-{card:08x}-5c3a-4f0e-9d1b-0123456789ab")
}

/// One container that wants `size` of all that is listed. As the kubelet does, it names them in no order.
pub(crate) fn request(snapshot: &Snapshot, size: usize) -> PreferredAllocationRequest {
    let mut ids: Vec<_> = snapshot.ids().map(|(id, _)| id.to_owned()).collect();
    let mut chance = tripod_tests::chance::Chance::new(1);
    for place in (1..ids.len()).rev() {
        ids.swap(place, chance.below(place + 1));
    }
    let container = ContainerPreferredAllocationRequest {
        available_device_i_ds: ids,
        must_include_device_i_ds: Vec::new(),
        allocation_size: i32::try_from(size).expect("a small number"),
    };
    PreferredAllocationRequest { container_requests: vec![container] }
}
