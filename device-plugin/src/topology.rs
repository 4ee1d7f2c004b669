//! How the cards of a resource lie to one another. A card is a physical device: a listed device is one,
//! or a part of one. Links join cards, and each card hangs on a NUMA node.
//!
//! Made once for each state of a resource, so that no question of the kubelet has to look at a device.

use std::collections::{BTreeMap, HashMap};

mod links;
mod table;

pub use links::Links;
pub use table::{CardSet, MAX_CARDS, Table};

/// A listed device, as far as its place goes.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// What names the device in links and as a parent.
    pub key: &'a str,
    /// The key of the card it is a part of; `None` when it is one itself.
    pub parent: Option<&'a str>,
    /// The NUMA node it hangs on, when known.
    pub numa: Option<u32>,
    /// Keys of other devices or cards with the weight of the link to them, a larger one being better.
    pub links: &'a BTreeMap<String, u32>,
}

/// The cards of a resource, each by its number: in the order in which the devices first name them.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    card_of: Vec<usize>,
    parts: Vec<Vec<usize>>,
    numa: Vec<Option<u32>>,
    links: Links,
    table: Option<Table>,
}

impl Topology {
    /// The topology of the devices `parts`.
    pub fn new(parts: &[Part<'_>]) -> Topology {
        let mut topology = Topology::default();
        let mut numbers = HashMap::with_capacity(parts.len());
        for (device, part) in parts.iter().enumerate() {
            let card = *numbers.entry(part.parent.unwrap_or(part.key)).or_insert(topology.parts.len());
            topology.add(card, device, part.numa);
        }
        for (part, card) in parts.iter().zip(&topology.card_of) {
            numbers.entry(part.key).or_insert(*card);
        }
        topology.links = Links::new(topology.parts.len(), told(parts, &topology.card_of, &numbers));
        topology.table = Table::new((0..topology.parts.len()).collect(), &topology.links, &topology.numa);
        topology
    }

    fn add(&mut self, card: usize, device: usize, numa: Option<u32>) {
        self.card_of.push(card);
        if card == self.parts.len() {
            self.parts.push(Vec::new());
            self.numa.push(None);
        }
        if let (Some(parts), Some(known)) = (self.parts.get_mut(card), self.numa.get_mut(card)) {
            parts.push(device);
            *known = known.or(numa);
        }
    }

    /// How many devices there are.
    pub fn devices(&self) -> usize {
        self.card_of.len()
    }

    /// How many cards there are.
    pub fn cards(&self) -> usize {
        self.parts.len()
    }

    /// The card that device number `device` is or is a part of.
    pub fn card_of(&self, device: usize) -> Option<usize> {
        self.card_of.get(device).copied()
    }

    /// The devices that `card` is listed as.
    pub fn parts(&self, card: usize) -> &[usize] {
        self.parts.get(card).map_or(&[], Vec::as_slice)
    }

    /// Whether some card is listed as several devices.
    pub fn is_partitioned(&self) -> bool {
        self.parts.len() < self.card_of.len()
    }

    /// The NUMA node of `card`, when known.
    pub fn numa(&self, card: usize) -> Option<u32> {
        self.numa.get(card).copied().flatten()
    }

    /// The links between cards.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// What all sets of all cards weigh, where the cards are few enough.
    pub fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// What all sets of `cards` weigh, if these are few enough.
    pub fn table_of(&self, cards: Vec<usize>) -> Option<Table> {
        Table::new(cards, &self.links, &self.numa)
    }
}

/// The links as the devices tell them: from card, to card, weight.
fn told<'a>(
    parts: &'a [Part<'_>],
    card_of: &'a [usize],
    numbers: &'a HashMap<&str, usize>,
) -> impl Iterator<Item = (usize, usize, u32)> + 'a {
    parts.iter().zip(card_of).flat_map(move |(part, from)| {
        let known = |(key, weight): (&String, &u32)| Some((*from, *numbers.get(key.as_str())?, *weight));
        part.links.iter().filter_map(known)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Devices named by their numbers, with the links `told` by each.
    pub(crate) fn topology(numa: &[Option<u32>], told: &[(usize, usize, u32)]) -> Topology {
        let keys: Vec<_> = (0..numa.len()).map(|key| key.to_string()).collect();
        let mut links = vec![BTreeMap::new(); numa.len()];
        for (from, to, weight) in told {
            links[*from].insert(to.to_string(), *weight);
        }
        let part =
            |index: usize| Part { key: &keys[index], parent: None, numa: numa[index], links: &links[index] };
        Topology::new(&(0..numa.len()).map(part).collect::<Vec<_>>())
    }

    #[test]
    fn parts_of_one_parent_are_one_card_with_the_best_link_any_of_them_tells() {
        let none = BTreeMap::new();
        let to = |key: &str, weight| BTreeMap::from([(key.to_owned(), weight)]);
        let (to_other, to_part, back) = (to("B", 3), to("b0", 7), to("a1", 5));
        let part = |key, parent, numa, links| Part { key, parent, numa, links };
        let topology = Topology::new(&[
            part("a0", Some("A"), None, &to_other),
            part("b0", Some("B"), Some(1), &back),
            part("a1", Some("A"), Some(0), &to_part),
            part("A", None, None, &none),
            part("c", None, None, &none),
        ]);
        assert_eq!((topology.cards(), topology.is_partitioned()), (3, true));
        assert_eq!(topology.parts(0), [0, 2, 3]);
        assert_eq!((topology.numa(0), topology.numa(1), topology.numa(2)), (Some(0), Some(1), None));
        assert_eq!(topology.links().weight(0, 1), 5);
        assert_eq!(topology.links().weight(0, 2), 0);
    }

    #[test]
    fn no_devices_are_no_cards() {
        let topology = Topology::new(&[]);
        assert_eq!((topology.cards(), topology.card_of(0), topology.is_partitioned()), (0, None, false));
        assert!(topology.parts(3).is_empty());
    }
}
