//! More cards than every set of them can be looked at: one after the other.
//!
//! What holds of the answer all the same: with links, that one card is the one with the least links to
//! the others, that two are the best linked pair and of such pairs the one with the least other links,
//! and that each further card is the best one for those before it. Without links, that the answer lies
//! on as few NUMA nodes as it can.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::topology::Topology;

/// `count` of the cards `open`, to go with those that are `fixed`.
pub(super) fn pick(topology: &Topology, fixed: &[usize], open: &[usize], count: usize) -> Vec<usize> {
    if topology.links().is_empty() {
        fewest_nodes(topology, fixed, open, count)
    } else {
        Growth::new(topology, fixed, open).grow(count)
    }
}

/// First what lies on the nodes of the fixed cards, then node after node: one that holds the rest, or
/// else the one that holds most.
fn fewest_nodes(topology: &Topology, fixed: &[usize], open: &[usize], count: usize) -> Vec<usize> {
    let used: HashSet<u32> = fixed.iter().filter_map(|card| topology.numa(*card)).collect();
    let (mut picked, rest): (Vec<usize>, Vec<usize>) =
        open.iter().partition(|card| topology.numa(**card).is_some_and(|node| used.contains(&node)));
    let mut nodes = by_node(topology, &rest);
    // The longest first; of two that are as long, the first by its first card.
    nodes.sort_by_key(|node| Reverse(node.len()));
    let mut nodes = nodes.into_iter();
    while picked.len() < count {
        let missing = count - picked.len();
        let enough = nodes.as_slice().iter().filter(|node| node.len() >= missing);
        match enough.min_by_key(|node| node.first().copied()) {
            Some(node) => picked.extend(node.iter().take(missing)),
            None => match nodes.next() {
                Some(node) => picked.extend(node),
                None => break,
            },
        }
    }
    picked.truncate(count);
    picked
}

/// A card whose node is not known is on one of its own.
fn by_node(topology: &Topology, cards: &[usize]) -> Vec<Vec<usize>> {
    let mut number: HashMap<u32, usize> = HashMap::new();
    let mut nodes: Vec<Vec<usize>> = Vec::new();
    for card in cards {
        let place =
            topology.numa(*card).map_or(nodes.len(), |node| *number.entry(node).or_insert(nodes.len()));
        match nodes.get_mut(place) {
            Some(node) => node.push(*card),
            None => nodes.push(vec![*card]),
        }
    }
    nodes
}

/// A set that grows along links.
struct Growth<'a> {
    topology: &'a Topology,
    /// Of each open card, what its links to the set weigh, and those to all other available cards.
    open: HashMap<usize, (u64, u64)>,
    /// Open cards by how good the next one would be; what is said of a card last is true.
    next: BinaryHeap<(u64, Reverse<u64>, Reverse<usize>)>,
    picked: Vec<usize>,
}

impl<'a> Growth<'a> {
    fn new(topology: &'a Topology, fixed: &[usize], open: &[usize]) -> Growth<'a> {
        let available: HashSet<usize> = fixed.iter().chain(open).copied().collect();
        let all = |card: usize| {
            let links = topology.links().of(card).iter().filter(|(other, _)| available.contains(other));
            links.map(|(_, weight)| u64::from(*weight)).sum::<u64>()
        };
        let open: HashMap<usize, (u64, u64)> = open.iter().map(|card| (*card, (0, all(*card)))).collect();
        let next = open.iter().map(|(card, (_, rest))| (0, Reverse(*rest), Reverse(*card))).collect();
        let mut growth = Growth { topology, open, next, picked: Vec::new() };
        fixed.iter().for_each(|card| growth.attract(*card));
        growth
    }

    fn grow(mut self, count: usize) -> Vec<usize> {
        let mut pairs = self.pairs().into_iter();
        while self.picked.len() < count {
            let Some((gain, card)) = self.nearest() else { break };
            let missing = count - self.picked.len();
            // Nothing is linked to the set: the next two may still be linked to each other.
            let pair = if gain == 0 && missing > 1 { pairs.find(|pair| self.is_open(*pair)) } else { None };
            match pair {
                Some((one, other)) => [one, other].into_iter().for_each(|card| self.take(card)),
                None => self.take(card),
            }
        }
        self.picked
    }

    /// The open card that is best linked to the set, of such cards the one with the least other links.
    fn nearest(&mut self) -> Option<(u64, usize)> {
        while let Some((gain, _, Reverse(card))) = self.next.peek().copied() {
            if self.open.get(&card).is_some_and(|(now, _)| *now == gain) {
                return Some((gain, card));
            }
            self.next.pop();
        }
        None
    }

    fn take(&mut self, card: usize) {
        self.open.remove(&card);
        self.picked.push(card);
        self.attract(card);
    }

    /// `card` is in the set: what is linked to it comes nearer.
    fn attract(&mut self, card: usize) {
        for (other, weight) in self.topology.links().of(card) {
            if let Some((gain, rest)) = self.open.get_mut(other) {
                *gain += u64::from(*weight);
                *rest = rest.saturating_sub(u64::from(*weight));
                self.next.push((*gain, Reverse(*rest), Reverse(*other)));
            }
        }
    }

    fn is_open(&self, pair: (usize, usize)) -> bool {
        self.open.contains_key(&pair.0) && self.open.contains_key(&pair.1)
    }

    /// The linked pairs of open cards, best first; of those as good, the one with the least other links.
    fn pairs(&self) -> Vec<(usize, usize)> {
        let rest = |card: &usize| self.open.get(card).map_or(0, |(_, rest)| *rest);
        let mut pairs = Vec::new();
        for one in self.open.keys() {
            for (other, weight) in self.topology.links().of(*one) {
                if one < other && self.open.contains_key(other) {
                    pairs.push((Reverse(*weight), rest(one) + rest(other), *other, *one));
                }
            }
        }
        pairs.sort_unstable();
        pairs.into_iter().map(|(_, _, other, one)| (one, other)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::tests::topology;

    fn both(told: &[(usize, usize, u32)]) -> Vec<(usize, usize, u32)> {
        told.iter()
            .flat_map(|(one, other, weight)| [(*one, *other, *weight), (*other, *one, *weight)])
            .collect()
    }

    fn picked(topology: &Topology, fixed: &[usize], count: usize) -> Vec<usize> {
        let open: Vec<_> = (0..topology.cards()).filter(|card| !fixed.contains(card)).collect();
        let mut picked = pick(topology, fixed, &open, count);
        picked.sort_unstable();
        picked
    }

    #[test]
    fn without_links_the_answer_lies_on_few_nodes() {
        let numa: Vec<_> = [0, 1, 0, 1, 1, 2, 2, 2, 2].map(Some).to_vec();
        let topology = topology(&numa, &[]);
        assert_eq!(picked(&topology, &[], 2), [0, 2]);
        assert_eq!(picked(&topology, &[], 3), [1, 3, 4]);
        assert_eq!(picked(&topology, &[], 4), [5, 6, 7, 8]);
        assert_eq!(picked(&topology, &[], 6), [0, 2, 5, 6, 7, 8]);
        assert_eq!(picked(&topology, &[7], 3), [5, 6, 8]);
        assert_eq!(picked(&topology, &[], 99), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn cards_of_no_known_node_are_the_last_resort() {
        let topology = topology(&[None, None, Some(0), Some(0), None], &[]);
        assert_eq!(picked(&topology, &[], 2), [2, 3]);
        assert_eq!(picked(&topology, &[], 3), [0, 2, 3]);
    }

    #[test]
    fn one_card_is_the_least_linked_and_two_are_the_best_pair() {
        let told = both(&[(0, 1, 9), (2, 3, 9), (3, 4, 1), (4, 5, 2)]);
        let topology = topology(&[None; 6], &told);
        assert_eq!(picked(&topology, &[], 1), [5]);
        assert_eq!(picked(&topology, &[], 2), [0, 1]);
        assert_eq!(picked(&topology, &[], 4), [0, 1, 2, 3]);
        assert_eq!(picked(&topology, &[4], 1), [5]);
        assert_eq!(picked(&topology, &[4], 2), [3, 5]);
    }
}
