//! A slow search, written another way, agrees.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A machine and a question about it.
#[derive(Clone, Debug)]
struct Case {
    told: Vec<Vec<Option<u32>>>,
    /// Whether two cards may tell different things of their link.
    one_sided: bool,
    numa: Vec<Option<u32>>,
    available: Vec<usize>,
    must: Vec<usize>,
    size: usize,
}

fn case() -> impl Strategy<Value = Case> {
    (1_usize..=10).prop_flat_map(|cards| {
        let weight = prop_oneof![2 => Just(None), 3 => (0_u32..4).prop_map(Some)];
        let told = prop::collection::vec(prop::collection::vec(weight, cards), cards);
        let numa = prop::collection::vec(prop_oneof![Just(None), (0_u32..3).prop_map(Some)], cards);
        let available = prop::sample::subsequence((0..cards).collect::<Vec<_>>(), 0..=cards);
        (told, any::<bool>(), numa, available).prop_flat_map(|(told, one_sided, numa, available)| {
            let must = prop::sample::subsequence(available.clone(), 0..=available.len().min(3));
            (must, 0..=available.len() + 1).prop_map(move |(must, size)| Case {
                told: told.clone(),
                one_sided,
                numa: numa.clone(),
                available: available.clone(),
                must,
                size,
            })
        })
    })
}

impl Case {
    fn snapshot(&self) -> Snapshot {
        let found = |one: usize| {
            let told = (0..self.told.len()).filter_map(|other| Some((other, self.told(one, other)?)));
            let links = told.map(|(other, weight)| (format!("g{other:02}"), weight)).collect();
            Found { links, numa: self.numa[one], ..card(one) }
        };
        snapshot((0..self.told.len()).map(found).collect(), Sharing::EXCLUSIVE)
    }

    fn told(&self, one: usize, other: usize) -> Option<u32> {
        if self.one_sided { self.told[one][other] } else { self.told[one.min(other)][one.max(other)] }
    }

    fn weight(&self, one: usize, other: usize) -> u32 {
        self.told(one, other).unwrap_or(0).min(self.told(other, one).unwrap_or(0))
    }

    /// What is to be least, then least, and so on.
    fn objective(&self, set: &BTreeSet<usize>) -> (i64, i64, usize, Vec<usize>) {
        let (mut inside, mut cut) = (0, 0);
        for one in set {
            for other in &self.available {
                let weight = i64::from(self.weight(*one, *other));
                match set.contains(other) {
                    true if one < other => inside += weight,
                    true => {}
                    false => cut += weight,
                }
            }
        }
        let known: BTreeSet<u32> = set.iter().filter_map(|card| self.numa[*card]).collect();
        let unknown = set.iter().filter(|card| self.numa[**card].is_none()).count();
        (-inside, cut, known.len() + unknown, set.iter().rev().copied().collect())
    }

    /// Takes or leaves each available card in turn.
    fn search(&self, rest: &[usize], set: &mut BTreeSet<usize>, best: &mut Option<BTreeSet<usize>>) {
        if set.len() == self.size.min(self.available.len()).max(self.must.len()) {
            if best.as_ref().is_none_or(|best| self.objective(set) < self.objective(best)) {
                *best = Some(set.clone());
            }
            return;
        }
        let Some((card, rest)) = rest.split_first() else { return };
        if set.insert(*card) {
            self.search(rest, set, best);
            set.remove(card);
        }
        self.search(rest, set, best);
    }
}

fn names(cards: &[usize]) -> Vec<String> {
    cards.iter().map(|card| format!("g{card:02}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_set_is_better_than_the_answer(case in case()) {
        let mut best = None;
        case.search(&case.available, &mut case.must.iter().copied().collect(), &mut best);
        let best: Vec<_> = best.unwrap().into_iter().collect();
        let size = i32::try_from(case.size).unwrap();
        let mut answer = asked(&case.snapshot(), &names(&case.available), &names(&case.must), size);
        prop_assert_eq!(&answer[..case.must.len()], &names(&case.must)[..]);
        answer.sort();
        prop_assert_eq!(answer, names(&best));
    }

    /// Memory, or any shares that are packed: no fewer cards suffice, and no others of that number are
    /// better linked, or fit more tightly.
    #[test]
    fn packed_shares_lie_on_the_fewest_cards(
        rooms in prop::collection::vec(0_u64..5, 1..8),
        weights in prop::collection::vec(0_u32..3, 64),
        size in 1_usize..20,
    ) {
        let weight = |one: usize, other: usize| weights[one.min(other) * 8 + one.max(other)];
        let found = |one: usize| Found {
            memory: Some(rooms[one]),
            links: (0..rooms.len()).map(|other| (format!("g{other:02}"), weight(one, other))).collect(),
            ..card(one)
        };
        let sharing =
            Sharing { mode: Mode::Memory { unit: 1 }, placement: Placement::Packed, ..Sharing::EXCLUSIVE };
        let snapshot = snapshot((0..rooms.len()).map(found).collect(), sharing);
        let answer = of_all(&snapshot, i32::try_from(size).unwrap());
        let total = usize::try_from(rooms.iter().sum::<u64>()).unwrap();
        prop_assert_eq!(answer.len(), size.min(total));
        let judged = |set: &BTreeSet<usize>| {
            let pairs = set.iter().flat_map(|one| set.iter().map(move |other| (*one, *other)));
            let inside: u32 = pairs.filter(|(one, other)| one < other).map(|(one, other)| weight(one, other)).sum();
            let room: u64 = set.iter().map(|card| rooms[*card]).sum();
            (set.len(), -i64::from(inside), room)
        };
        let used: BTreeSet<usize> = answer.iter().map(|id| id[1..3].parse().unwrap()).collect();
        for mask in 0..1_usize << rooms.len() {
            let set: BTreeSet<usize> = (0..rooms.len()).filter(|card| mask >> card & 1 == 1).collect();
            let room: u64 = set.iter().map(|card| rooms[*card]).sum();
            if usize::try_from(room).unwrap() >= answer.len() && set.iter().all(|card| rooms[*card] > 0) {
                prop_assert!(judged(&used) <= judged(&set), "{set:?} is better than {used:?}");
            }
        }
    }

    #[test]
    fn any_request_gets_an_answer_without_duplicates(
        cards in 0_usize..40,
        told in prop::collection::vec((0_usize..40, 0_usize..40, any::<u32>()), 0..60),
        replicas in 1_u32..4,
        placement in prop::sample::select(vec![Placement::Distributed, Placement::Packed, Placement::SpreadNuma]),
        asked_for in (prop::collection::vec("g[0-3][0-9](::[0-3])?", 0..60), prop::collection::vec("g[0-3][0-9](::[0-3])?", 0..6), -2_i32..70),
    ) {
        let found = |one: usize| {
            let links = told.iter().filter(|(from, ..)| *from == one);
            let links = links.map(|(_, to, weight)| (format!("g{to:02}"), *weight)).collect();
            let parent = one.is_multiple_of(3).then(|| format!("g{:02}", one / 2));
            Found { links, parent, numa: u32::try_from(one % 4).ok().filter(|node| *node < 3), ..card(one) }
        };
        let snapshot =
            snapshot((0..cards).map(found).collect(), Sharing { placement, ..Sharing::among(replicas) });
        let (available, must, size) = asked_for;
        let answer = asked(&snapshot, &available, &must, size);
        let different: HashSet<&String> = answer.iter().collect();
        prop_assert_eq!(different.len(), answer.len());
        let must: HashSet<&String> = must.iter().collect();
        prop_assert_eq!(&answer[..must.len()].iter().collect::<HashSet<_>>(), &must);
        let usable: HashSet<_> = available.iter().filter(|id| snapshot.find(id).is_some()).chain(must.iter().copied()).collect();
        let wanted = usize::try_from(size).unwrap_or(0).min(usable.len()).max(must.len());
        prop_assert_eq!(answer.len(), wanted);
        prop_assert!(answer.iter().all(|id| usable.contains(id)));
    }
}
