//! How many units are free in each of several places, and how many this container holds: the places are
//! cards, or the devices of one card.

use std::cmp::Reverse;

/// Counts by place.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    free: Vec<u32>,
    held: Vec<u32>,
    taken: Vec<u32>,
}

impl Slots {
    pub(super) fn new(places: usize) -> Slots {
        Slots { free: vec![0; places], held: vec![0; places], taken: vec![0; places] }
    }

    pub(super) fn add_free(&mut self, place: usize, units: u32) {
        add(&mut self.free, place, units);
    }

    pub(super) fn add_held(&mut self, place: usize, units: u32) {
        add(&mut self.held, place, units);
    }

    pub(super) fn free(&self, place: usize) -> u32 {
        of(&self.free, place)
    }

    /// What it held before, and what it took.
    pub(super) fn held(&self, place: usize) -> u32 {
        of(&self.held, place)
    }

    pub(super) fn taken(&self, place: usize) -> u32 {
        of(&self.taken, place)
    }

    /// What it took, by place.
    pub(super) fn into_taken(self) -> Vec<u32> {
        self.taken
    }

    /// Whether it has, or had, anything to do with this container.
    pub(super) fn is_available(&self, place: usize) -> bool {
        self.free(place) > 0 || self.held(place) > 0
    }

    /// Takes up to `units`, and says how many.
    pub(super) fn take(&mut self, place: usize, units: u32) -> u32 {
        let taken = self.free(place).min(units);
        if let Some(free) = self.free.get_mut(place) {
            *free -= taken;
        }
        add(&mut self.held, place, taken);
        add(&mut self.taken, place, taken);
        taken
    }

    /// Takes `units` round by round: one of each place, those first that hold the least, of them those
    /// that have most free. When the rest does not suffice for all equals, `pick` says which of them,
    /// so many of the places given.
    pub(super) fn distribute(
        &mut self,
        among: &[usize],
        units: u32,
        mut pick: impl FnMut(&Slots, &[usize], usize) -> Vec<usize>,
    ) {
        let mut missing = units;
        while missing > 0 {
            let round = self.least_held(among);
            let before = missing;
            for equals in round.chunk_by(|one, other| one.0 == other.0) {
                let mut chosen: Vec<usize> = equals.iter().map(|(_, place)| *place).collect();
                let wanted = usize::try_from(missing).unwrap_or(usize::MAX);
                if wanted < chosen.len() {
                    chosen = pick(self, &chosen, wanted);
                }
                missing -= chosen.iter().map(|place| self.take(*place, 1)).sum::<u32>();
                if missing == 0 {
                    return;
                }
            }
            if missing == before {
                return;
            }
        }
    }

    /// Takes `units` place after place, the one with the least free first: what is broken into is used
    /// up, and what is left over stays together.
    pub(super) fn pack(&mut self, among: &[usize], units: u32) {
        let mut missing = units;
        let mut places = among.to_vec();
        places.sort_by_key(|place| self.free(*place));
        for place in places {
            missing -= self.take(place, missing);
        }
    }

    /// Of the places that have something free those that hold the least, each with what it has free,
    /// most first.
    fn least_held(&self, among: &[usize]) -> Vec<(u32, usize)> {
        let open = || among.iter().copied().filter(|place| self.free(*place) > 0);
        let Some(least) = open().map(|place| self.held(place)).min() else { return Vec::new() };
        let held_least = open().filter(|place| self.held(*place) == least);
        let mut places: Vec<_> = held_least.map(|place| (self.free(place), place)).collect();
        places.sort_by_key(|(free, _)| Reverse(*free));
        places
    }
}

fn of(counts: &[u32], place: usize) -> u32 {
    counts.get(place).copied().unwrap_or(0)
}

fn add(counts: &mut [u32], place: usize, units: u32) {
    if let Some(count) = counts.get_mut(place) {
        *count = count.saturating_add(units);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(free: &[u32], held: &[u32]) -> Slots {
        let mut slots = Slots::new(free.len());
        for place in 0..free.len() {
            slots.add_free(place, free[place]);
            slots.add_held(place, held[place]);
        }
        slots
    }

    fn first(_: &Slots, equals: &[usize], count: usize) -> Vec<usize> {
        equals[..count].to_vec()
    }

    fn distributed(free: &[u32], held: &[u32], units: u32) -> Vec<u32> {
        let mut slots = slots(free, held);
        slots.distribute(&(0..free.len()).collect::<Vec<_>>(), units, first);
        slots.taken
    }

    fn packed(free: &[u32], units: u32) -> Vec<u32> {
        let mut slots = slots(free, &vec![0; free.len()]);
        slots.pack(&(0..free.len()).collect::<Vec<_>>(), units);
        slots.taken
    }

    #[test]
    fn the_least_used_places_come_first() {
        assert_eq!(distributed(&[1, 3, 2], &[0, 0, 0], 1), [0, 1, 0]);
        assert_eq!(distributed(&[1, 3, 2], &[0, 0, 0], 2), [0, 1, 1]);
        assert_eq!(distributed(&[1, 3, 2], &[0, 0, 0], 4), [1, 2, 1]);
        assert_eq!(distributed(&[4, 4], &[0, 0], 5), [3, 2]);
    }

    #[test]
    fn another_place_comes_before_one_that_is_held() {
        assert_eq!(distributed(&[9, 1], &[1, 0], 1), [0, 1]);
        assert_eq!(distributed(&[9, 1], &[2, 0], 3), [2, 1]);
    }

    #[test]
    fn more_than_there_is_takes_all() {
        assert_eq!(distributed(&[1, 0, 2], &[0, 0, 0], 99), [1, 0, 2]);
        assert_eq!(distributed(&[], &[], 5), [0; 0]);
        assert_eq!(packed(&[1, 0, 2], 99), [1, 0, 2]);
    }

    #[test]
    fn packing_uses_up_what_is_broken_into() {
        assert_eq!(packed(&[4, 1, 3], 2), [0, 1, 1]);
        assert_eq!(packed(&[4, 1, 3], 5), [1, 1, 3]);
    }
}
