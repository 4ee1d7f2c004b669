//! Which slots of a range set not to try, one bit each. It is a hint: whether an address is free is
//! decided by its lease alone. Pure.

/// One bit per slot; set where a lease, a gateway or a cool-down is known of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    slots: usize,
    bits: Vec<u8>,
    changed: Vec<usize>,
}

impl Taken {
    /// Nothing taken.
    pub(crate) fn none(slots: usize) -> Self {
        Self { slots, bits: vec![0; slots.div_ceil(8)], changed: Vec::new() }
    }

    /// As it was saved; none where the length is not that of `slots`.
    pub(crate) fn from_bytes(slots: usize, bits: Vec<u8>) -> Option<Self> {
        (bits.len() == slots.div_ceil(8)).then_some(Self { slots, bits, changed: Vec::new() })
    }

    /// To save all of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bits
    }

    /// To save what changed since it was read: indexes and bytes.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (usize, u8)> + '_ {
        self.changed.iter().filter_map(|index| Some((*index, *self.bits.get(*index)?)))
    }

    /// Marks `slot` as one not to try.
    pub(crate) fn set(&mut self, slot: usize) {
        self.change(slot, |byte, bit| byte | bit);
    }

    /// Marks `slot` as one to try.
    pub(crate) fn clear(&mut self, slot: usize) {
        self.change(slot, |byte, bit| byte & !bit);
    }

    fn change(&mut self, slot: usize, change: impl FnOnce(u8, u8) -> u8) {
        let index = slot / 8;
        let Some(byte) = self.bits.get_mut(index) else { return };
        let changed = change(*byte, 1 << (slot % 8));
        if changed != *byte {
            *byte = changed;
            self.changed.push(index);
        }
    }

    /// The next slot to try from `from` on, wrapping round.
    pub(crate) fn next_free(&self, from: usize) -> Option<usize> {
        let from = if from < self.slots { from } else { 0 };
        self.free_between(from, self.slots).or_else(|| self.free_between(0, from))
    }

    fn free_between(&self, from: usize, to: usize) -> Option<usize> {
        let first = from / 8;
        let below = !(u8::MAX << (from % 8));
        let mut bytes = self.bits.get(first..)?.iter().copied();
        let bytes = [bytes.next()? | below].into_iter().chain(bytes);
        let (index, byte) = bytes.enumerate().find(|(_, byte)| *byte != u8::MAX)?;
        let bit = usize::try_from(byte.trailing_ones()).ok()?;
        let slot = (first + index) * 8 + bit;
        (slot < to).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_next_free_slot_is_that_of_a_plain_search(
            slots in 1usize..70,
            taken in proptest::collection::btree_set(0usize..70, 0..70),
            cleared in proptest::collection::btree_set(0usize..70, 0..20),
            from in 0usize..80,
        ) {
            let mut bits = Taken::none(slots);
            taken.iter().for_each(|slot| bits.set(*slot));
            cleared.iter().for_each(|slot| bits.clear(*slot));
            let taken: BTreeSet<_> = taken.difference(&cleared).copied().collect();
            let start = if from < slots { from } else { 0 };
            let plain = (start..slots).chain(0..start).find(|slot| !taken.contains(slot));
            prop_assert_eq!(bits.next_free(from), plain);
            let saved = Taken::from_bytes(slots, bits.bytes().to_vec()).unwrap();
            prop_assert_eq!(saved.next_free(from), plain);
        }
    }

    #[test]
    fn only_what_changed_is_saved_again() {
        let mut bits = Taken::from_bytes(20, vec![0xff, 0, 0]).unwrap();
        bits.set(3);
        bits.set(9);
        bits.clear(0);
        assert_eq!(bits.changes().collect::<Vec<_>>(), [(1, 2), (0, 0xfe)]);
        assert_eq!(Taken::from_bytes(20, vec![0; 4]), None);
    }
}
