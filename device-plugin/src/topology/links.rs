//! The weights of the links between cards.

use std::collections::BTreeMap;

/// Largest weight of one link, larger ones being taken for it: what all links of the cards in one
/// [`Table`](super::Table) weigh together then fits in 32 bits.
const MAX_WEIGHT: u32 = 1 << 25;

/// Symmetric: a link weighs what both its ends tell of it, which is the less of the two, and nothing
/// when one end does not tell of it. So what is not known is never better than what is.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// For each card its links by the other's number, in ascending order; empty when there are no links.
    of: Vec<Vec<(usize, u32)>>,
}

impl Links {
    /// The links of `cards` cards as they are `told`: from, to, weight. Of several from one card to
    /// another, between different parts of them, the best counts.
    pub fn new(cards: usize, told: impl Iterator<Item = (usize, usize, u32)>) -> Links {
        let mut best: BTreeMap<(usize, usize), u32> = BTreeMap::new();
        for (from, to, weight) in told.filter(|(from, to, _)| from != to) {
            let known = best.entry((from, to)).or_default();
            *known = weight.min(MAX_WEIGHT).max(*known);
        }
        if best.is_empty() {
            return Links::default();
        }
        let mut of = vec![Vec::new(); cards];
        for ((from, to), weight) in &best {
            let back = best.get(&(*to, *from)).copied().unwrap_or(0);
            let both = back.min(*weight);
            if let Some(links) = of.get_mut(*from).filter(|_| both > 0) {
                links.push((*to, both));
            }
        }
        Links { of }
    }

    /// The links of `card`: the card at the other end, and the weight, which is not 0.
    pub fn of(&self, card: usize) -> &[(usize, u32)] {
        self.of.get(card).map_or(&[], Vec::as_slice)
    }

    /// The weight between two cards.
    pub fn weight(&self, one: usize, other: usize) -> u32 {
        let links = self.of(one);
        let at = links.binary_search_by_key(&other, |(card, _)| *card);
        at.ok().and_then(|at| links.get(at)).map_or(0, |(_, weight)| *weight)
    }

    /// Whether no two cards are linked.
    pub fn is_empty(&self) -> bool {
        self.of.iter().all(Vec::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(told: &[(usize, usize, u32)]) -> Links {
        Links::new(3, told.iter().copied())
    }

    #[test]
    fn a_link_weighs_what_both_ends_tell() {
        let links = links(&[(0, 1, 9), (1, 0, 4)]);
        assert_eq!((links.weight(0, 1), links.weight(1, 0)), (4, 4));
    }

    #[test]
    fn a_link_that_one_end_does_not_tell_of_weighs_nothing() {
        let links = links(&[(0, 1, 9), (2, 1, 3)]);
        assert!(links.is_empty());
        assert_eq!((links.weight(0, 1), links.weight(1, 2), links.weight(0, 2)), (0, 0, 0));
    }

    #[test]
    fn a_link_to_itself_or_to_nobody_is_none() {
        let links = links(&[(0, 0, 9), (0, 7, 9), (7, 0, 9)]);
        assert_eq!((links.weight(0, 0), links.weight(0, 8), links.weight(8, 0)), (0, 0, 0));
    }

    #[test]
    fn weights_are_bounded() {
        let links = links(&[(0, 1, u32::MAX), (1, 0, u32::MAX)]);
        assert_eq!(links.weight(0, 1), MAX_WEIGHT);
        assert!(120 * u64::from(MAX_WEIGHT) <= u64::from(u32::MAX), "16 cards have 120 pairs");
    }
}
