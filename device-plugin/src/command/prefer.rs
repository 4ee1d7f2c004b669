//! `prefer`: what the kubelet would be answered about a saved inventory, and why.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;

use crate::cli::PreferArgs;
use crate::config::sharing::Sharing;
use crate::error::RunError;
use crate::preferred::{Demand, Units};

pub(crate) mod inventory;

mod explain;
mod print;

use explain::{Explained, Judged};
use inventory::{Inventory, InventoryError, Unit};

/// How many other answers are told of.
const OTHERS: usize = 3;

/// Prints on `stdout`.
pub(crate) fn run(args: &PreferArgs, stdout: &mut dyn Write) -> Result<(), RunError> {
    let inventory = Inventory::load(&args.inventory, &args.resource)?;
    let explained = Question::new(&inventory, args)?.answer();
    print::print(args.output, &explained, stdout)
        .map_err(|source| RunError::System { act: "write to standard output", source })
}

/// What is asked, in the positions of the inventory.
#[derive(Debug)]
struct Question<'a> {
    inventory: &'a Inventory,
    sharing: Sharing,
    size: usize,
    must: Vec<usize>,
    free: Vec<usize>,
}

impl<'a> Question<'a> {
    fn new(inventory: &'a Inventory, args: &PreferArgs) -> Result<Question<'a>, InventoryError> {
        let must = inventory.positions("--must", &args.must)?;
        let free = match &args.available {
            Some(ids) => inventory.positions("--available", ids)?,
            None => (0..inventory.units.len()).collect(),
        };
        let healthy = |position: &usize| inventory.unit(*position).is_some_and(|unit| unit.healthy);
        let terms = if inventory.is_shared() { Sharing::among(2) } else { Sharing::EXCLUSIVE };
        Ok(Question {
            inventory,
            sharing: Sharing { placement: args.placement.into(), ..terms },
            size: usize::try_from(args.size).unwrap_or(usize::MAX),
            free: free.into_iter().filter(healthy).filter(|position| !must.contains(position)).collect(),
            must,
        })
    }

    fn answer(&self) -> Explained {
        let demand = self.demand();
        let missing = self.size.saturating_sub(self.must.len());
        let sets = demand.ranked(missing, OTHERS + 1);
        let mut chosen = self.must.clone();
        chosen.extend(demand.place(missing));
        let units =
            |cards: &Vec<usize>| self.judged(cards.iter().filter_map(|card| self.unit_of(*card)).collect());
        let others = sets.iter().flatten().skip(1).map(units).collect();
        Explained {
            resource: self.inventory.resource.clone(),
            size: self.size,
            available: self.free.len() + self.must.len(),
            sharing: self.sharing,
            shares: self.has_shares(),
            exact: sets.is_some(),
            chosen: self.judged(chosen),
            others,
            one_sided: self.inventory.one_sided(),
        }
    }

    fn demand(&self) -> Demand<'a> {
        let mut units = Units::new(self.inventory.units.len());
        let device = |position: usize| self.inventory.unit(position).map(|unit| unit.device);
        for position in &self.must {
            device(*position).into_iter().for_each(|device| units.hold(*position, device));
        }
        for position in &self.free {
            device(*position).into_iter().for_each(|device| units.free(*position, device));
        }
        Demand::new(&self.inventory.topology, self.sharing, units)
    }

    fn has_shares(&self) -> bool {
        self.inventory.is_shared() || self.inventory.topology.is_partitioned()
    }

    /// What is available, by position.
    fn available(&self) -> impl Iterator<Item = usize> + '_ {
        self.must.iter().chain(&self.free).copied()
    }

    fn card(&self, unit: &Unit) -> Option<usize> {
        self.inventory.topology.card_of(unit.device)
    }

    /// The available unit of a card that is one.
    fn unit_of(&self, card: usize) -> Option<usize> {
        self.available()
            .find(|position| self.inventory.unit(*position).and_then(|unit| self.card(unit)) == Some(card))
    }

    fn cards(&self, positions: impl Iterator<Item = usize>) -> BTreeSet<usize> {
        positions.filter_map(|position| self.card(self.inventory.unit(position)?)).collect()
    }

    fn judged(&self, positions: Vec<usize>) -> Judged {
        let topology = &self.inventory.topology;
        let (chosen, all) = (self.cards(positions.iter().copied()), self.cards(self.available()));
        let links =
            || chosen.iter().flat_map(|card| topology.links().of(*card).iter().map(move |link| (card, link)));
        let weight = |(_, (_, weight)): (&usize, &(usize, u32))| u64::from(*weight);
        let inside = links().filter(|(card, (other, _))| other > card && chosen.contains(other));
        let cut = links().filter(|(_, (other, _))| !chosen.contains(other) && all.contains(other));
        let known: HashSet<u32> = chosen.iter().filter_map(|card| topology.numa(*card)).collect();
        let unknown = chosen.iter().filter(|card| topology.numa(**card).is_none()).count();
        Judged {
            inside: inside.map(weight).sum(),
            cut: cut.map(weight).sum(),
            numa_nodes: known.len() + unknown,
            devices: positions
                .iter()
                .filter_map(|position| Some(self.inventory.unit(*position)?.id.clone()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
