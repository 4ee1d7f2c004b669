//! How many units of each device a container had best be given.
//!
//! Two levels: first the cards, then the devices that are parts of a card, of which nothing tells one
//! from another but how much of them is used.

use super::exact::{Load, Question};
use super::greedy;
use super::slots::Slots;
use crate::config::sharing::{Placement, Sharing};
use crate::topology::{Table, Topology};

/// What a container asks for, in numbers: units by their positions in the device list, devices and cards
/// by those of a topology.
#[derive(Clone, Debug)]
pub(crate) struct Demand<'a> {
    topology: &'a Topology,
    placement: Placement,
    units: Vec<Unit>,
    devices: Slots,
    cards: Slots,
}

/// One entry of the device list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Unavailable,
    Held,
    /// It may be taken, and is of this device.
    Free(usize),
}

impl<'a> Demand<'a> {
    /// A demand that finds nothing free yet among `units` units. Where devices are handed out whole and
    /// some are parts of one card, they are packed all the same: a container's parts then lie together,
    /// and other cards stay whole for those who need more of one.
    pub(crate) fn new(topology: &'a Topology, sharing: Sharing, units: usize) -> Demand<'a> {
        let parts = !sharing.is_shared() && topology.is_partitioned();
        let packs = parts && sharing.placement == Placement::Distributed;
        Demand {
            topology,
            placement: if packs { Placement::Packed } else { sharing.placement },
            units: vec![Unit::Unavailable; units],
            devices: Slots::new(topology.devices()),
            cards: Slots::new(topology.cards()),
        }
    }

    /// The unit at `position`, of `device`, is free.
    pub(crate) fn free(&mut self, position: usize, device: usize) {
        if self.enter(position, Unit::Free(device)) {
            self.devices.add_free(device, 1);
            self.topology.card_of(device).into_iter().for_each(|card| self.cards.add_free(card, 1));
        }
    }

    /// The container has the unit at `position`, of `device`, in any case. Said before what is free.
    pub(crate) fn hold(&mut self, position: usize, device: usize) {
        if self.enter(position, Unit::Held) {
            self.devices.add_held(device, 1);
            self.topology.card_of(device).into_iter().for_each(|card| self.cards.add_held(card, 1));
        }
    }

    /// Whether nothing was said of the unit before.
    fn enter(&mut self, position: usize, said: Unit) -> bool {
        let unit = self.units.get_mut(position).filter(|unit| **unit == Unit::Unavailable);
        unit.map(|unit| *unit = said).is_some()
    }

    /// The positions of the free units that are to be taken, `count` or all there are, in ascending order.
    pub(crate) fn place(mut self, count: usize) -> Vec<usize> {
        let all: Vec<_> = (0..self.topology.cards()).filter(|card| self.cards.is_available(*card)).collect();
        let free: u32 = all.iter().map(|card| self.cards.free(*card)).sum();
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(free);
        match self.placement {
            Placement::Distributed => self.distribute(&all, &all, count),
            Placement::Packed => self.pack(&all, count),
            Placement::SpreadNuma => self.spread(&all, count),
        }
        all.iter().for_each(|card| self.deal(*card));
        self.taken()
    }

    fn taken(self) -> Vec<usize> {
        let mut left = self.devices.into_taken();
        let mut positions = Vec::new();
        for (position, unit) in self.units.iter().enumerate() {
            let Unit::Free(device) = unit else { continue };
            if let Some(left) = left.get_mut(*device).filter(|left| **left > 0) {
                *left -= 1;
                positions.push(position);
            }
        }
        positions
    }

    /// Evenly over the cards `among`. What is not decided by how much of a card is used, its links decide.
    fn distribute(&mut self, all: &[usize], among: &[usize], units: u32) {
        let topology = self.topology;
        self.cards.distribute(among, units, |cards, equals, count| {
            let fresh = equals.first().is_some_and(|card| cards.held(*card) == 0);
            if fresh { best_linked(topology, cards, all, equals, count) } else { first(equals, count) }
        });
    }

    /// On as few cards as can be, those that are held anyway first.
    fn pack(&mut self, all: &[usize], units: u32) {
        let (held, open): (Vec<_>, Vec<_>) = all.iter().partition(|card| self.cards.held(**card) > 0);
        let before: u64 = held.iter().map(|card| u64::from(self.cards.free(*card))).sum();
        self.cards.pack(&held, units);
        let missing = u64::from(units).saturating_sub(before);
        if missing > 0 {
            let chosen = tightest(self.topology, &self.cards, all, &open, missing);
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

/// `count` of the cards `open`, of which the container has nothing yet.
fn best_linked(
    topology: &Topology,
    cards: &Slots,
    all: &[usize],
    open: &[usize],
    count: usize,
) -> Vec<usize> {
    let held = |card: &usize| cards.held(*card) > 0;
    with_table(topology, all, |table| {
        let question = Question {
            table,
            available: table.set(|card| cards.is_available(card)),
            fixed: table.set(|card| held(&card)),
            open: table.set(|card| open.contains(&card)),
            count: u32::try_from(count).unwrap_or(u32::MAX),
            load: None,
        };
        let best = question.best()?;
        Some(table.members(best.set & !question.fixed).collect())
    })
    .unwrap_or_else(|| {
        let fixed: Vec<_> = all.iter().copied().filter(held).collect();
        greedy::pick(topology, &fixed, open, count)
    })
}

/// As few of the cards `open` as have room for `units`.
fn tightest(topology: &Topology, cards: &Slots, all: &[usize], open: &[usize], units: u64) -> Vec<usize> {
    let room = |card: &usize| u64::from(cards.free(*card));
    let count = fewest(open.iter().map(room).collect(), units);
    with_table(topology, all, |table| {
        let rooms: Vec<u64> = table.cards().iter().map(room).collect();
        let question = Question {
            table,
            available: table.set(|card| cards.is_available(card)),
            fixed: table.set(|card| cards.held(card) > 0),
            open: table.set(|card| open.contains(&card)),
            count: u32::try_from(count).unwrap_or(u32::MAX),
            load: Some(Load { units, rooms: &rooms }),
        };
        let best = question.best()?;
        Some(table.members(best.set & !question.fixed).collect())
    })
    .unwrap_or_else(|| best_fit(open, room, units))
}

/// Looks at the table of all cards, or at one of those that are available, if there are few enough.
fn with_table<T>(topology: &Topology, all: &[usize], look: impl Fn(&Table) -> Option<T>) -> Option<T> {
    match topology.table() {
        Some(table) => look(table),
        None => look(&topology.table_of(all.to_vec())?),
    }
}

/// How many rooms it takes at least; all of them when even they do not suffice.
fn fewest(mut rooms: Vec<u64>, units: u64) -> usize {
    rooms.sort_unstable_by(|one, other| other.cmp(one));
    let mut missing = units;
    let mut count = 0;
    for room in rooms {
        if missing == 0 {
            break;
        }
        missing = missing.saturating_sub(room);
        count += 1;
    }
    count
}

/// The roomiest cards until one more is enough, and of those that are, the one with the least room.
fn best_fit(open: &[usize], room: impl Fn(&usize) -> u64, units: u64) -> Vec<usize> {
    let mut cards = open.to_vec();
    cards.sort_by_key(&room);
    let mut missing = units;
    let mut chosen = Vec::new();
    while missing > 0 {
        let enough = cards.partition_point(|card| room(card) < missing);
        let Some(card) = (if enough < cards.len() { Some(cards.remove(enough)) } else { cards.pop() }) else {
            break;
        };
        missing = missing.saturating_sub(room(&card));
        chosen.push(card);
    }
    chosen
}
