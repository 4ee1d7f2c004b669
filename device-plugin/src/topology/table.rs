//! What every set of a few cards weighs, computed ahead: 256 KiB for 16 cards, read once per set.

use super::Links;

/// Most cards of which every set is looked at.
pub const MAX_CARDS: usize = 16;

/// A set of the cards of a [`Table`]: bit `n` stands for its card `n`.
pub type CardSet = u16;

/// Up to [`MAX_CARDS`] cards.
#[derive(Clone, Debug)]
pub struct Table {
    cards: Vec<usize>,
    /// By set, what the links inside it weigh together; empty when no two cards are linked.
    inside: Vec<u32>,
    /// The cards of each NUMA node.
    nodes: Vec<CardSet>,
    level: bool,
}

impl Table {
    /// The table of `cards`, in ascending order; `None` when they are too many.
    pub(super) fn new(cards: Vec<usize>, links: &Links, numa: &[Option<u32>]) -> Option<Table> {
        if cards.len() > MAX_CARDS {
            return None;
        }
        let weights = pair_weights(&cards, links);
        let inside = if weights.iter().flatten().any(|weight| *weight > 0) {
            inside_weights(&weights)
        } else {
            Vec::new()
        };
        let nodes = nodes(&cards, numa);
        let level = same_for_all_pairs(&weights) && (nodes.len() <= 1 || nodes.len() == cards.len());
        Some(Table { cards, inside, nodes, level })
    }

    /// The cards, by their bits.
    pub fn cards(&self) -> &[usize] {
        &self.cards
    }

    /// Whether no set is better than another of its size: all pairs are linked alike, and either one
    /// NUMA node has all cards or each has one.
    pub fn is_level(&self) -> bool {
        self.level
    }

    /// What the links inside `set` weigh together.
    pub fn inside(&self, set: CardSet) -> u32 {
        self.inside.get(usize::from(set)).copied().unwrap_or(0)
    }

    /// What the links weigh that join `set` to the rest of `available`, which holds it.
    pub fn cut(&self, set: CardSet, available: CardSet) -> u32 {
        let kept = self.inside(set).saturating_add(self.inside(available & !set));
        self.inside(available).saturating_sub(kept)
    }

    /// On how many NUMA nodes the cards of `set` hang. One whose node is not known counts as on one of
    /// its own.
    pub fn span(&self, set: CardSet) -> u32 {
        self.nodes.iter().map(|node| u32::from(node & set != 0)).sum()
    }

    /// The cards of `set`.
    pub fn members(&self, set: CardSet) -> impl Iterator<Item = usize> + '_ {
        self.cards.iter().enumerate().filter(move |(bit, _)| set >> bit & 1 == 1).map(|(_, card)| *card)
    }

    /// The set of the cards that are `wanted`.
    pub fn set(&self, wanted: impl Fn(usize) -> bool) -> CardSet {
        let bit = |(bit, card): (usize, &usize)| CardSet::from(wanted(*card)) << bit;
        self.cards.iter().enumerate().map(bit).fold(0, |set, bit| set | bit)
    }
}

fn pair_weights(cards: &[usize], links: &Links) -> Vec<Vec<u32>> {
    let row = |one: &usize| cards.iter().map(|other| links.weight(*one, *other)).collect();
    cards.iter().map(row).collect()
}

fn same_for_all_pairs(weights: &[Vec<u32>]) -> bool {
    let off_diagonal = |(one, row): (usize, &Vec<u32>)| {
        row.iter()
            .enumerate()
            .filter(|(other, _)| *other != one)
            .map(|(_, weight)| *weight)
            .collect::<Vec<_>>()
    };
    let mut pairs = weights.iter().enumerate().flat_map(off_diagonal);
    let first = pairs.next();
    pairs.all(|weight| Some(weight) == first)
}

/// With `top` and `low` the highest and the lowest card of a set, and R the rest: the pairs in the set
/// are those in R and `low`, those in R and `top`, less those in R, which are in both, and the pair of
/// the two. All three sets are smaller numbers.
fn inside_weights(weights: &[Vec<u32>]) -> Vec<u32> {
    let mut inside = vec![0_u32];
    for (top, row) in weights.iter().enumerate() {
        for without_top in 0..1_usize << top {
            let mut weight = 0_u32;
            if without_top != 0 {
                let low = without_top.trailing_zeros() as usize;
                let rest = without_top & (without_top - 1);
                let of = |set: usize| inside.get(set).copied().unwrap_or(0);
                let pair = row.get(low).copied().unwrap_or(0);
                weight = of(without_top) + (of(rest | 1 << top) - of(rest)) + pair;
            }
            inside.push(weight);
        }
    }
    inside
}

fn nodes(cards: &[usize], numa: &[Option<u32>]) -> Vec<CardSet> {
    let mut nodes: Vec<(Option<u32>, CardSet)> = Vec::new();
    for (bit, card) in cards.iter().enumerate() {
        let node = numa.get(*card).copied().flatten();
        match nodes.iter_mut().find(|(known, _)| node.is_some() && *known == node) {
            Some((_, set)) => *set |= 1 << bit,
            None => nodes.push((node, 1 << bit)),
        }
    }
    nodes.into_iter().map(|(_, set)| set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(cards: usize, weight: impl Fn(usize, usize) -> u32, numa: &[Option<u32>]) -> Table {
        let pairs = (0..cards).flat_map(|one| (0..cards).map(move |other| (one, other)));
        let links = Links::new(cards, pairs.map(|(one, other)| (one, other, weight(one, other))));
        Table::new((0..cards).collect(), &links, numa).unwrap()
    }

    #[test]
    fn every_set_of_sixteen_weighs_what_its_pairs_weigh() {
        let weight = |one: usize, other: usize| u32::try_from((one + 1) * (other + 1) % 7).unwrap();
        let table = table(16, weight, &[]);
        for set in (0..=u16::MAX).step_by(7) {
            let members: Vec<_> = table.members(set).collect();
            let pairs = members.iter().flat_map(|one| members.iter().map(move |other| (*one, *other)));
            let sum: u32 =
                pairs.filter(|(one, other)| one < other).map(|(one, other)| weight(one, other)).sum();
            assert_eq!(table.inside(set), sum, "{set:b}");
        }
    }

    #[test]
    fn the_cut_is_what_joins_a_set_to_the_rest() {
        let table = table(3, |one, other| [[0, 1, 2], [1, 0, 4], [2, 4, 0]][one][other], &[]);
        assert_eq!((table.cut(0b001, 0b111), table.cut(0b110, 0b111), table.cut(0b001, 0b101)), (3, 3, 2));
    }

    #[test]
    fn the_largest_weights_do_not_overflow() {
        let table = table(16, |_, _| u32::MAX, &[]);
        assert_eq!(table.inside(u16::MAX), 120 << 25);
        assert_eq!(table.cut(1, u16::MAX), 15 << 25);
    }

    #[test]
    fn a_card_of_no_known_numa_node_is_on_one_of_its_own() {
        let table = table(5, |_, _| 0, &[Some(0), Some(1), None, None, Some(0)]);
        let spans = [0b10001, 0b00011, 0b01100, 0b11111].map(|set| table.span(set));
        assert_eq!(spans, [1, 2, 2, 4]);
    }

    #[test]
    fn a_level_table_prefers_nothing() {
        let same = |_, _| 5;
        assert!(table(3, same, &[Some(0); 3]).is_level());
        assert!(table(3, same, &[None; 3]).is_level());
        assert!(!table(3, same, &[None, Some(0), Some(0)]).is_level());
        assert!(!table(3, |one, other| u32::from(one + other == 1), &[None; 3]).is_level());
        assert!(table(0, same, &[]).is_level());
    }

    #[test]
    fn seventeen_cards_are_too_many() {
        assert!(Table::new((0..17).collect(), &Links::default(), &[]).is_none());
    }
}
