//! An answer in words.

use serde::Serialize;

use crate::config::sharing::{Placement, Sharing};
use crate::topology::MAX_CARDS;

/// An answer by what decides among answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Judged {
    /// The ids.
    pub(super) devices: Vec<String>,
    /// What the links inside weigh together.
    pub(super) inside: u64,
    /// What the links to available devices weigh that stay behind.
    pub(super) cut: u64,
    /// On how many NUMA nodes it lies; an unknown one counts for each device.
    pub(super) numa_nodes: usize,
}

/// An answer with all that is known of it.
#[derive(Clone, Debug)]
pub(super) struct Explained {
    pub(super) resource: String,
    pub(super) size: usize,
    pub(super) available: usize,
    pub(super) sharing: Sharing,
    /// Whether what is listed are shares or parts of devices.
    pub(super) shares: bool,
    /// Whether every set was looked at.
    pub(super) exact: bool,
    pub(super) chosen: Judged,
    pub(super) others: Vec<Judged>,
    /// Links that only one end tells of.
    pub(super) one_sided: Vec<(String, String)>,
}

impl Explained {
    /// Why this answer, sentence by sentence.
    pub(super) fn why(&self) -> Vec<String> {
        let mut why = vec![self.looked_at()];
        why.extend(self.others.first().map(|next| self.against(next)));
        if let Some((from, to)) = self.one_sided.first() {
            why.push(format!(
                "{} links weigh nothing since only one end tells of them, such as the one from {from} to {to}.",
                self.one_sided.len()
            ));
        }
        why
    }

    fn looked_at(&self) -> String {
        let Explained { size, available, .. } = self;
        if self.chosen.devices.len() > *size {
            return format!("More must be included than the {size} wanted.");
        }
        if available < size {
            return format!("{size} are wanted and {available} are available: the answer is all of them.");
        }
        if available == size {
            return format!("There is no choice: {size} are wanted and {available} are available.");
        }
        if self.exact {
            return format!("Of {available} available devices every set of {size} was looked at.");
        }
        self.by_counting().to_owned()
    }

    fn by_counting(&self) -> &'static str {
        match self.sharing.placement {
            Placement::SpreadNuma => "The least used NUMA nodes come first, on each the least used devices.",
            Placement::Distributed if !self.shares => {
                const { assert!(MAX_CARDS == 16, "the sentence says so") };
                "More than 16 devices are available, too many to look at every set: the answer was put \
                 together one device after the other, each the best linked to those before it, or, without \
                 any links, from as few NUMA nodes as suffice."
            }
            Placement::Distributed if self.sharing.is_shared() => {
                "Another device comes before another share of one, and of devices the least used; of those \
                 that are used alike the best linked."
            }
            Placement::Distributed | Placement::Packed => {
                "What is taken lies on as few cards as suffice; of as many cards the best linked ones, and of \
                 those the ones with the least to spare."
            }
        }
    }

    fn against(&self, next: &Judged) -> String {
        let ours = &self.chosen;
        if ours.inside != next.inside {
            return format!(
                "The links inside it weigh {}, more than those of any other set: the next best has {}.",
                ours.inside, next.inside
            );
        }
        let same = format!("The next best set has links of the same weight inside, {}", ours.inside);
        if ours.cut != next.cut {
            return format!(
                "{same}, but would cut off links of weight {} to the devices left behind, this one only {}.",
                next.cut, ours.cut
            );
        }
        if ours.numa_nodes != next.numa_nodes {
            return format!(
                "{same}, and cuts off as much, but lies on {} NUMA nodes, this one on {}.",
                next.numa_nodes, ours.numa_nodes
            );
        }
        format!(
            "{same}, cuts off as much and lies on as many NUMA nodes: of equals the one whose last device comes first in the list is taken."
        )
    }
}
