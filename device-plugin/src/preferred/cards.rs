//! Which cards, where counting units leaves a choice.

use super::exact::{Choice, Load, Question};
use super::greedy;
use super::slots::Slots;
use crate::topology::{Table, Topology};

/// The cards that are free or held, `all` of them, and how much of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cards<'a> {
    pub(super) topology: &'a Topology,
    pub(super) slots: &'a Slots,
    pub(super) all: &'a [usize],
}

impl Cards<'_> {
    /// The `count` cards of `open` that go best with those that are held.
    pub(super) fn best_linked(&self, open: &[usize], count: usize) -> Vec<usize> {
        let exactly = self.with_table(|table| {
            let question = self.question(table, open, count, None);
            Some(table.members(question.best()?.set & !question.fixed).collect())
        });
        exactly.unwrap_or_else(|| {
            let held: Vec<_> = self.all.iter().copied().filter(|card| self.slots.held(*card) > 0).collect();
            greedy::pick(self.topology, &held, open, count)
        })
    }

    /// The `limit` best answers with `count` cards of `open`, best first, all cards of an answer with it;
    /// `None` when not every set was looked at.
    pub(super) fn ranked(&self, open: &[usize], count: usize, limit: usize) -> Option<Vec<Vec<usize>>> {
        self.with_table(|table| {
            let ranked = self.question(table, open, count, None).ranked(limit);
            let cards = |choice: Choice| table.members(choice.set).collect();
            Some(ranked.into_iter().map(cards).collect())
        })
    }

    /// As few of the cards `open` as have room for `units`.
    pub(super) fn tightest(&self, open: &[usize], units: u64) -> Vec<usize> {
        let room = |card: &usize| u64::from(self.slots.free(*card));
        let count = fewest(open.iter().map(room).collect(), units);
        let exactly = self.with_table(|table| {
            let rooms: Vec<u64> = table.cards().iter().map(room).collect();
            let question = self.question(table, open, count, Some(Load { units, rooms: &rooms }));
            Some(table.members(question.best()?.set & !question.fixed).collect())
        });
        exactly.unwrap_or_else(|| best_fit(open, room, units))
    }

    /// Looks at the table of all cards there are, or at one of these, if they are few enough.
    fn with_table<T>(&self, look: impl Fn(&Table) -> Option<T>) -> Option<T> {
        match self.topology.table() {
            Some(table) => look(table),
            None => look(&self.topology.table_of(self.all.to_vec())?),
        }
    }

    fn question<'t>(
        &self,
        table: &'t Table,
        open: &[usize],
        count: usize,
        load: Option<Load<'t>>,
    ) -> Question<'t> {
        Question {
            table,
            available: table.set(|card| self.slots.is_available(card)),
            fixed: table.set(|card| self.slots.held(card) > 0),
            open: table.set(|card| open.contains(&card)),
            count: u32::try_from(count).unwrap_or(u32::MAX),
            load,
        }
    }
}

/// How many rooms it takes at least; all of them when even they do not suffice.
fn fewest(mut rooms: Vec<u64>, units: u64) -> usize {
    rooms.sort_unstable_by(|one, other| other.cmp(one));
    let mut missing = units;
    let mut count = 0;
    for room in rooms {
        if missing == 0 {
            break;
        }
        missing = missing.saturating_sub(room);
        count += 1;
    }
    count
}

/// The roomiest cards until one more is enough, and of those that are, the one with the least room.
fn best_fit(open: &[usize], room: impl Fn(&usize) -> u64, units: u64) -> Vec<usize> {
    let mut cards = open.to_vec();
    cards.sort_by_key(&room);
    let mut missing = units;
    let mut chosen = Vec::new();
    while missing > 0 {
        let enough = cards.partition_point(|card| room(card) < missing);
        let Some(card) = (if enough < cards.len() { Some(cards.remove(enough)) } else { cards.pop() }) else {
            break;
        };
        missing = missing.saturating_sub(room(&card));
        chosen.push(card);
    }
    chosen
}
