//! More cards than every set of them can be looked at: one after the other.
//!
//! What holds of the answer all the same: with links, that one card is the one with the least links to
//! the others, that two are the best linked pair and of such pairs the one with the least other links,
//! and that each further card is the best one for those before it, or, where none is linked to them, the
//! next pair is the best one. Without links, that the answer lies on as few NUMA nodes as it can.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use foldhash::fast::RandomState;

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
    let used: HashSet<u32, RandomState> = fixed.iter().filter_map(|card| topology.numa(*card)).collect();
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
    let mut number: HashMap<u32, usize, RandomState> = HashMap::default();
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
    /// By card, of those that are open: what its links to the set weigh, and those to all other available
    /// cards.
    open: Vec<Option<Pull>>,
    /// Open cards by how good the next one would be; what is said of a card last is true.
    next: BinaryHeap<(u64, Reverse<u64>, Reverse<usize>)>,
    picked: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Pull {
    gain: u64,
    rest: u64,
}

/// Weight, other links, and the two cards.
type Pair = (u32, Reverse<u64>, Reverse<(usize, usize)>);

impl<'a> Growth<'a> {
    fn new(topology: &'a Topology, fixed: &[usize], open: &[usize]) -> Growth<'a> {
        let mut available = vec![false; topology.cards()];
        for card in fixed.iter().chain(open) {
            available.get_mut(*card).into_iter().for_each(|known| *known = true);
        }
        let mut pulls = vec![None; topology.cards()];
        let mut next = Vec::with_capacity(open.len());
        for card in open {
            let linked = topology.links().of(*card).iter();
            let linked = linked.filter(|(other, _)| available.get(*other).is_some_and(|known| *known));
            let rest = linked.map(|(_, weight)| u64::from(*weight)).sum();
            pulls.get_mut(*card).into_iter().for_each(|pull| *pull = Some(Pull { gain: 0, rest }));
            next.push((0, Reverse(rest), Reverse(*card)));
        }
        let mut growth = Growth { topology, open: pulls, next: next.into(), picked: Vec::new() };
        fixed.iter().for_each(|card| growth.attract(*card));
        growth
    }

    fn grow(mut self, count: usize) -> Vec<usize> {
        let mut pairs = None;
        while self.picked.len() < count {
            let Some((gain, card)) = self.nearest() else { break };
            // Nothing is linked to the set: the next two may still be linked to each other.
            let mut pair = None;
            if gain == 0 && count - self.picked.len() > 1 {
                pair = self.best_open(pairs.get_or_insert_with(|| self.pairs()));
            }
            match pair {
                Some((one, other)) => [one, other].into_iter().for_each(|card| self.take(card)),
                None => self.take(card),
            }
        }
        self.picked
    }

    fn pull(&self, card: usize) -> Option<Pull> {
        self.open.get(card).copied().flatten()
    }

    /// The open card that is best linked to the set, of such cards the one with the least other links.
    fn nearest(&mut self) -> Option<(u64, usize)> {
        while let Some((gain, _, Reverse(card))) = self.next.peek().copied() {
            if self.pull(card).is_some_and(|now| now.gain == gain) {
                return Some((gain, card));
            }
            self.next.pop();
        }
        None
    }

    fn take(&mut self, card: usize) {
        self.open.get_mut(card).into_iter().for_each(|pull| *pull = None);
        self.picked.push(card);
        self.attract(card);
    }

    /// `card` is in the set: what is linked to it comes nearer.
    fn attract(&mut self, card: usize) {
        for (other, weight) in self.topology.links().of(card) {
            if let Some(Some(pull)) = self.open.get_mut(*other) {
                pull.gain += u64::from(*weight);
                pull.rest = pull.rest.saturating_sub(u64::from(*weight));
                self.next.push((pull.gain, Reverse(pull.rest), Reverse(*other)));
            }
        }
    }

    fn best_open(&self, pairs: &mut BinaryHeap<Pair>) -> Option<(usize, usize)> {
        while let Some((_, _, Reverse((other, one)))) = pairs.pop() {
            if self.pull(one).is_some() && self.pull(other).is_some() {
                return Some((one, other));
            }
        }
        None
    }

    /// The linked pairs of open cards, best first; of those as good, the one with the least other links.
    fn pairs(&self) -> BinaryHeap<Pair> {
        let mut pairs = Vec::new();
        for (one, pull) in self.open.iter().enumerate() {
            let Some(pull) = pull else { continue };
            for (other, weight) in self.topology.links().of(one).iter().filter(|(other, _)| *other > one) {
                if let Some(there) = self.pull(*other) {
                    pairs.push((*weight, Reverse(pull.rest + there.rest), Reverse((*other, one))));
                }
            }
        }
        pairs.into()
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
