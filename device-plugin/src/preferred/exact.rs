//! The best of all sets of up to 16 cards, found by looking at each.

use std::cmp::Reverse;

use super::subsets::Subsets;
use crate::topology::{CardSet, Table};

/// Which cards to take, and out of which.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) table: &'a Table,
    /// All cards that are free or taken by this container.
    pub(crate) available: CardSet,
    /// Those of them that are taken in any case.
    pub(crate) fixed: CardSet,
    /// Those of which `count` are taken beside them.
    pub(crate) open: CardSet,
    pub(crate) count: u32,
    /// What the open cards have to hold together, where it matters how much one holds.
    pub(crate) load: Option<Load<'a>>,
}

/// So many units on cards that have room for so many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) units: u64,
    /// By card of the table.
    pub(crate) rooms: &'a [u64],
}

/// How good a set is: the less the better, and what comes first decides first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Score {
    /// What the links inside the set weigh together.
    pub(crate) inside: Reverse<u32>,
    /// Room that the load leaves on the cards of the set: cards that are whole stay whole.
    pub(crate) spare: u64,
    /// What the links weigh that are cut: those from the set to what stays behind.
    pub(crate) cut: u32,
    /// On how many NUMA nodes the set lies.
    pub(crate) span: u32,
}

/// A set and how good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) set: CardSet,
    pub(crate) score: Score,
}

impl Question<'_> {
    /// The best set. Among equals it is the first by the highest card that only one of two sets has.
    /// `None` when no set holds enough.
    pub(crate) fn best(&self) -> Option<Choice> {
        if self.table.is_level() && self.load.is_none() {
            let set = self.fixed | Subsets::new(self.open, self.count).next()?;
            return Some(Choice { set, score: self.score(set, 0) });
        }
        self.ranked(1).pop()
    }

    /// The `limit` best sets, best first.
    pub(crate) fn ranked(&self, limit: usize) -> Vec<Choice> {
        let mut kept: Vec<Choice> = Vec::with_capacity(limit.saturating_add(1));
        for open in Subsets::new(self.open, self.count) {
            let set = self.fixed | open;
            let Some(spare) = self.spare(open) else { continue };
            let worst = kept.last().filter(|_| kept.len() >= limit).map(|choice| choice.score);
            // Most sets fall out here, before the dearer parts of their score.
            if worst.is_some_and(|worst| Reverse(self.table.inside(set)) > worst.inside) {
                continue;
            }
            let score = self.score(set, spare);
            if worst.is_none_or(|worst| score < worst) {
                let place = kept.partition_point(|choice| choice.score <= score);
                kept.insert(place, Choice { set, score });
                kept.truncate(limit);
            }
        }
        kept
    }

    fn score(&self, set: CardSet, spare: u64) -> Score {
        Score {
            inside: Reverse(self.table.inside(set)),
            spare,
            cut: self.table.cut(set, self.available),
            span: self.table.span(set),
        }
    }

    /// The room that is left on the cards `open`; `None` when they have too little.
    fn spare(&self, open: CardSet) -> Option<u64> {
        let Some(load) = self.load else { return Some(0) };
        let (mut rest, mut room) = (open, 0_u64);
        while rest != 0 {
            let card = usize::try_from(rest.trailing_zeros()).unwrap_or(usize::MAX);
            room = room.saturating_add(load.rooms.get(card).copied().unwrap_or(0));
            rest &= rest - 1;
        }
        room.checked_sub(load.units)
    }
}
