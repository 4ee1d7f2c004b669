//! How many units of each device a container had best be given.
//!
//! Two levels: first the cards, then the devices that are parts of a card, of which nothing tells one
//! from another but how much of them is used.

use super::cards::Cards;
use super::slots::Slots;
use super::units::Units;
use crate::config::sharing::{Placement, Sharing};
use crate::topology::Topology;

/// What a container asks for, in numbers: units by their positions in the device list, devices and cards
/// by those of a topology.
#[derive(Clone, Debug)]
pub(crate) struct Demand<'a> {
    topology: &'a Topology,
    placement: Placement,
    units: Units,
    devices: Slots,
    cards: Slots,
}

impl<'a> Demand<'a> {
    /// Where devices are handed out whole and some are parts of one card, they are packed all the same: a
    /// container's parts then lie together, and other cards stay whole for those who need more of one.
    pub(crate) fn new(topology: &'a Topology, sharing: Sharing, units: Units) -> Demand<'a> {
        let parts = !sharing.is_shared() && topology.is_partitioned();
        let packs = parts && sharing.placement == Placement::Distributed;
        let (mut devices, mut cards) = (Slots::new(topology.devices()), Slots::new(topology.cards()));
        for (device, held) in units.known() {
            let Some(card) = topology.card_of(device) else { continue };
            for (slots, place) in [(&mut devices, device), (&mut cards, card)] {
                if held { slots.add_held(place, 1) } else { slots.add_free(place, 1) }
            }
        }
        let placement = if packs { Placement::Packed } else { sharing.placement };
        Demand { topology, placement, units, devices, cards }
    }

    /// The positions of the free units that are to be taken, `count` or all there are, in ascending order.
    pub(crate) fn place(mut self, count: usize) -> Vec<usize> {
        let all = self.available();
        let free: u32 = all.iter().map(|card| self.cards.free(*card)).sum();
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(free);
        match self.placement {
            Placement::Distributed => self.distribute(&all, &all, count),
            Placement::Packed => self.pack(&all, count),
            Placement::SpreadNuma => self.spread(&all, count),
        }
        all.iter().for_each(|card| self.deal(*card));
        self.units.first_free(self.devices.into_taken())
    }

    /// The cards that are free or held.
    pub(crate) fn available(&self) -> Vec<usize> {
        (0..self.topology.cards()).filter(|card| self.cards.is_available(*card)).collect()
    }

    /// The `limit` best sets of cards, those that are held and `count` free ones, best first: where each
    /// card is one unit, so that nothing but the links and NUMA nodes of the cards tells one answer from
    /// another, and where there are so few that every set is looked at.
    pub(crate) fn ranked(&self, count: usize, limit: usize) -> Option<Vec<Vec<usize>>> {
        let all = self.available();
        let whole = all.iter().all(|card| self.cards.free(*card) + self.cards.held(*card) == 1);
        if !whole || self.placement == Placement::SpreadNuma {
            return None;
        }
        let open: Vec<_> = all.iter().copied().filter(|card| self.cards.free(*card) > 0).collect();
        Cards { topology: self.topology, slots: &self.cards, all: &all }.ranked(
            &open,
            count.min(open.len()),
            limit,
        )
    }

    /// Evenly over the cards `among`. What is not decided by how much of a card is used, its links decide.
    fn distribute(&mut self, all: &[usize], among: &[usize], units: u32) {
        let topology = self.topology;
        self.cards.distribute(among, units, |slots, equals, count| {
            let fresh = equals.first().is_some_and(|card| slots.held(*card) == 0);
            if fresh {
                Cards { topology, slots, all }.best_linked(equals, count)
            } else {
                first(equals, count)
            }
        });
    }

    /// On as few cards as can be, those that are held anyway first.
    fn pack(&mut self, all: &[usize], units: u32) {
        let (held, open): (Vec<_>, Vec<_>) = all.iter().partition(|card| self.cards.held(**card) > 0);
        let before: u64 = held.iter().map(|card| u64::from(self.cards.free(*card))).sum();
        self.cards.pack(&held, units);
        let missing = u64::from(units).saturating_sub(before);
        if missing > 0 {
            let cards = Cards { topology: self.topology, slots: &self.cards, all };
            let chosen = cards.tightest(&open, missing);
            self.cards.pack(&chosen, u32::try_from(missing).unwrap_or(u32::MAX));
        }
    }

    /// Evenly over the NUMA nodes, then evenly over the cards of each.
    fn spread(&mut self, all: &[usize], units: u32) {
        let mut nodes = Vec::new();
        for card in all {
            let node = self.topology.numa(*card);
            match nodes.iter_mut().find(|(known, _)| *known == node) {
                None => nodes.push((node, vec![*card])),
                Some((_, cards)) => cards.push(*card),
            }
        }
        let mut quotas = Slots::new(nodes.len());
        for (place, (_, cards)) in nodes.iter().enumerate() {
            quotas.add_free(place, cards.iter().map(|card| self.cards.free(*card)).sum());
            quotas.add_held(place, cards.iter().map(|card| self.cards.held(*card)).sum());
        }
        let places: Vec<_> = (0..nodes.len()).collect();
        quotas.distribute(&places, units, |_, equals, count| first(equals, count));
        for (place, (_, cards)) in nodes.iter().enumerate() {
            self.distribute(all, cards, quotas.taken(place));
        }
    }

    /// Deals what was taken of `card` to the devices it is listed as.
    fn deal(&mut self, card: usize) {
        let (parts, units) = (self.topology.parts(card), self.cards.taken(card));
        match (parts, self.placement) {
            ([device], _) => {
                self.devices.take(*device, units);
            }
            (_, Placement::Packed) => self.devices.pack(parts, units),
            _ => self.devices.distribute(parts, units, |_, equals, count| first(equals, count)),
        }
    }
}

fn first(equals: &[usize], count: usize) -> Vec<usize> {
    equals.iter().take(count).copied().collect()
}
