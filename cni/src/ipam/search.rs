//! The search for an address to give: by the hint first, by what is there when the hint misleads, and
//! among those that are cooling down only when nothing else is left. Pure over [`Shelf`].

use std::net::IpAddr;

use crate::ipam::range::RangeSet;
use crate::ipam::taken::Taken;

/// Addresses found taken that the hint called free, before the hint is thrown away.
const PATIENCE: usize = 16;

/// What the search needs of the lease folder.
pub(super) trait Shelf {
    /// Why the folder could not be used.
    type Error;

    /// Takes `address`; false where somebody has it.
    fn claim(&mut self, address: IpAddr) -> Result<bool, Self::Error>;

    /// Every address that somebody has. It reads the whole folder.
    fn taken(&mut self) -> Result<Vec<IpAddr>, Self::Error>;

    /// Addresses that are cooling down, the one released first in front.
    fn cooling(&mut self) -> Vec<IpAddr>;
}

/// Takes the next address of `set` after `after`, wrapping round; none when every one is taken. The hint
/// is replaced where it is missing or wrong; the result tells whether it was.
pub(super) fn take_next<S: Shelf>(
    shelf: &mut S,
    set: &RangeSet,
    hint: &mut Option<Taken>,
    after: Option<IpAddr>,
) -> Result<(Option<IpAddr>, bool), S::Error> {
    let from = after.and_then(|after| set.slot_of(after)).map_or(0, |slot| slot + 1);
    if let Some(hint) = hint
        && let Some(address) = claim_free(shelf, set, hint, from, PATIENCE)?
    {
        return Ok((Some(address), false));
    }
    let hint = hint.insert(look(shelf, set)?);
    if let Some(address) = claim_free(shelf, set, hint, from, set.slots())? {
        return Ok((Some(address), true));
    }
    for address in shelf.cooling() {
        if set.slot_of(address).is_some() && set.gives(address) && shelf.claim(address)? {
            return Ok((Some(address), true));
        }
    }
    Ok((None, true))
}

fn claim_free<S: Shelf>(
    shelf: &mut S,
    set: &RangeSet,
    hint: &mut Taken,
    from: usize,
    tries: usize,
) -> Result<Option<IpAddr>, S::Error> {
    let mut from = from;
    for _ in 0..tries {
        let Some((slot, address)) = hint.next_free(from).and_then(|slot| Some((slot, set.address_at(slot)?)))
        else {
            break;
        };
        // Taken by us now, or by somebody before.
        hint.set(slot);
        // A damaged hint may call a gateway free.
        if set.gives(address) && shelf.claim(address)? {
            return Ok(Some(address));
        }
        from = slot + 1;
    }
    Ok(None)
}

/// A new hint, by what is there.
fn look<S: Shelf>(shelf: &mut S, set: &RangeSet) -> Result<Taken, S::Error> {
    let mut hint = Taken::none(set.slots());
    let known = shelf.taken()?.into_iter().chain(shelf.cooling());
    let slots = known.filter_map(|address| set.slot_of(address)).chain(set.gateway_slots());
    slots.for_each(|slot| hint.set(slot));
    Ok(hint)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use super::*;
    use crate::ipam::range::Range;

    #[derive(Default)]
    struct Counting {
        taken: BTreeSet<IpAddr>,
        cooling: Vec<IpAddr>,
        claims: usize,
        looks: usize,
    }

    impl Shelf for Counting {
        type Error = Infallible;

        fn claim(&mut self, address: IpAddr) -> Result<bool, Infallible> {
            self.claims += 1;
            Ok(self.taken.insert(address))
        }

        fn taken(&mut self) -> Result<Vec<IpAddr>, Infallible> {
            self.looks += 1;
            Ok(self.taken.iter().copied().collect())
        }

        fn cooling(&mut self) -> Vec<IpAddr> {
            self.cooling.clone()
        }
    }

    fn set(subnet: &str) -> RangeSet {
        RangeSet::new(vec![Range::new(subnet.parse().unwrap(), None, None, None).unwrap()]).unwrap()
    }

    fn next(shelf: &mut Counting, set: &RangeSet, hint: &mut Option<Taken>, after: &str) -> Option<String> {
        let Ok((address, _)) = take_next(shelf, set, hint, after.parse().ok());
        address.map(|address| address.to_string())
    }

    #[test]
    fn sixty_thousand_taken_names_cost_what_none_cost() {
        let set = set("10.1.0.0/16");
        for taken in [0, 60_000] {
            let mut shelf = Counting::default();
            shelf.taken.extend((1..=taken).map(|slot| set.address_at(slot).unwrap()));
            let mut hint = Some(look(&mut shelf, &set).unwrap());
            shelf.looks = 0;
            let free = set.address_at(taken + 1).unwrap().to_string();
            // From the worst place: before the whole run of them.
            assert_eq!(next(&mut shelf, &set, &mut hint, "10.1.0.1").unwrap(), free);
            assert_eq!((shelf.claims, shelf.looks), (1, 0), "{taken} taken");
        }
    }

    #[test]
    fn a_hint_that_misleads_is_replaced_after_a_few_tries() {
        let set = set("10.1.0.0/16");
        let mut shelf = Counting::default();
        shelf.taken.extend((1..=60_000).map(|slot| set.address_at(slot).unwrap()));
        for hint in [None, Some(Taken::none(set.slots()))] {
            let (mut hint, before) = (hint, shelf.claims);
            assert!(next(&mut shelf, &set, &mut hint, "").is_some());
            assert!(shelf.claims - before <= PATIENCE + 1);
        }
        assert_eq!(shelf.looks, 2);
    }

    #[test]
    fn a_hint_that_calls_everything_taken_does_not_exhaust_the_range() {
        let set = set("10.0.0.0/29");
        let mut shelf = Counting::default();
        let mut hint = Taken::from_bytes(set.slots(), vec![0xff]);
        assert_eq!(next(&mut shelf, &set, &mut hint, "10.0.0.3").unwrap(), "10.0.0.4");
        assert_eq!(shelf.looks, 1);
    }

    #[test]
    fn cooling_addresses_come_last_and_the_oldest_of_them_first() {
        let set = set("10.0.0.0/29");
        let cooling = ["192.0.2.1", "10.0.0.5", "10.0.0.3"].map(|ip| ip.parse().unwrap()).to_vec();
        let mut shelf = Counting { cooling, ..Counting::default() };
        let mut hint = None;
        let given: Vec<String> =
            std::iter::from_fn(|| next(&mut shelf, &set, &mut hint, "10.0.0.1")).collect();
        assert_eq!(given, [2, 4, 6, 5, 3].map(|n| format!("10.0.0.{n}")));
    }
}
