//! All sets of so many cards out of some.

use crate::topology::CardSet;

/// The sets of `count` out of the cards of `open`, in ascending order of their numbers: of two sets the
/// first is the one without the highest card that only one of them has.
#[derive(Clone, Debug)]
pub(super) struct Subsets {
    spread: Spread,
    next: Option<u32>,
    end: u32,
}

impl Subsets {
    pub(super) fn new(open: CardSet, count: u32) -> Subsets {
        let first = (count <= open.count_ones()).then(|| (1_u32 << count) - 1);
        Subsets { spread: Spread::over(open), next: first, end: 1 << open.count_ones() }
    }
}

impl Iterator for Subsets {
    type Item = CardSet;

    fn next(&mut self) -> Option<CardSet> {
        let dense = self.next?;
        self.next = following(dense).filter(|dense| *dense < self.end);
        Some(self.spread.of(dense))
    }
}

/// The next larger number with as many ones (Gosper's hack): the lowest run of ones gives its highest one
/// to the zero above it, and the others fall to the bottom.
fn following(ones: u32) -> Option<u32> {
    let lowest = ones & ones.wrapping_neg();
    let ripple = ones.checked_add(lowest)?;
    let fallen = ((ones ^ ripple) >> 2).checked_shr(lowest.trailing_zeros())?;
    Some(fallen | ripple)
}

/// Lays the bits of a dense number onto the set bits of another, a byte at a time.
#[derive(Clone, Debug)]
struct Spread {
    low: Vec<CardSet>,
    high: Vec<CardSet>,
}

impl Spread {
    fn over(open: CardSet) -> Spread {
        let bits: Vec<CardSet> =
            (0..CardSet::BITS).map(|bit| 1 << bit).filter(|bit| open & bit != 0).collect();
        let (low, high) = bits.split_at(bits.len().min(8));
        Spread { low: unions(low), high: unions(high) }
    }

    fn of(&self, dense: u32) -> CardSet {
        let at = |table: &[CardSet], shift: u32| {
            let byte = usize::try_from(dense >> shift & 0xff).unwrap_or(0);
            table.get(byte).copied().unwrap_or(0)
        };
        at(&self.low, 0) | at(&self.high, 8)
    }
}

fn unions(bits: &[CardSet]) -> Vec<CardSet> {
    let mut unions = vec![0];
    for bit in bits {
        unions.extend_from_within(..);
        let half = unions.len() / 2;
        unions.iter_mut().skip(half).for_each(|union| *union |= bit);
    }
    unions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sets_come_once_in_order() {
        assert_eq!(Subsets::new(0b1011, 2).collect::<Vec<_>>(), [0b0011, 0b1001, 0b1010]);
        assert_eq!(Subsets::new(0b1011, 3).collect::<Vec<_>>(), [0b1011]);
        assert_eq!(Subsets::new(0b1011, 0).collect::<Vec<_>>(), [0]);
        assert_eq!(Subsets::new(0, 0).collect::<Vec<_>>(), [0]);
        assert_eq!(Subsets::new(0b1011, 4).count(), 0);
    }

    #[test]
    fn sixteen_cards_have_as_many_sets_as_they_should() {
        for count in 0..=16 {
            let wanted = (0..=u16::MAX).filter(|set| set.count_ones() == count);
            assert!(Subsets::new(u16::MAX, count).eq(wanted), "{count}");
        }
    }

    #[test]
    fn sets_lie_within_what_is_open() {
        let open = 0b1010_0110_1100_1001;
        let wanted = (0..=u16::MAX).filter(|set| set.count_ones() == 5 && set & !open == 0);
        assert!(Subsets::new(open, 5).eq(wanted));
    }
}
