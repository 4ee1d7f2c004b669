//! The same choice by looking at every set, one pair of cards at a time.

/// The best set and what is to be least of it, part by part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    objective: (i64, i64, usize),
    /// The highest card first: of equal sets the one whose last card comes first.
    pub(crate) set: Vec<usize>,
}

/// The best `size` of `cards` cards, half of which are on each of two NUMA nodes.
pub(crate) fn best(cards: usize, size: usize, weight: &impl Fn(usize, usize) -> u32) -> Found {
    let mut best = None;
    search(cards, size, &mut Vec::new(), &mut |set| {
        let found = Found { objective: objective(cards, set, weight), set: set.to_vec() };
        if best.as_ref().is_none_or(|best| found < *best) {
            best = Some(found);
        }
    });
    best.expect("a set")
}

fn search(below: usize, missing: usize, set: &mut Vec<usize>, judge: &mut impl FnMut(&[usize])) {
    if missing == 0 {
        return judge(set);
    }
    for card in (0..below).rev() {
        set.push(card);
        search(card, missing - 1, set, judge);
        set.pop();
    }
}

fn objective(cards: usize, set: &[usize], weight: &impl Fn(usize, usize) -> u32) -> (i64, i64, usize) {
    let (mut inside, mut cut) = (0, 0);
    for one in set {
        for other in 0..cards {
            match (set.contains(&other), *one < other) {
                (true, true) => inside += i64::from(weight(*one, other)),
                (true, false) => {}
                (false, _) => cut += i64::from(weight(*one, other)),
            }
        }
    }
    let nodes = [true, false].map(|high| usize::from(set.iter().any(|card| (*card >= cards / 2) == high)));
    (-inside, cut, nodes[0] + nodes[1])
}
