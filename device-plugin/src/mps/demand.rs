//! Which GPUs are shared by MPS, and in how many parts: pure.

use std::collections::BTreeMap;

use crate::config::sharing::Mode;
use crate::device::Found;
use crate::stock::Stock;

const MEBIBYTE: u64 = 1024 * 1024;

/// By the UUIDs of GPUs, what a share of each is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand(BTreeMap<String, Share>);

/// One of several equal parts of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    replicas: u32,
    /// Bytes of the whole GPU, when known.
    memory: Option<u64>,
}

impl Share {
    /// One of `replicas` of `found`.
    pub(super) fn of(found: &Found, replicas: u32) -> Share {
        Share { replicas: replicas.max(1), memory: found.memory }
    }

    /// The part of a GPU's threads, in per cent. MPS takes whole numbers above zero.
    pub(super) fn threads(self) -> u32 {
        (100 / self.replicas).max(1)
    }

    fn mebibytes(self) -> Option<u64> {
        Some(self.memory? / u64::from(self.replicas) / MEBIBYTE)
    }
}

/// Whether `id` is one that CUDA knows a GPU by.
pub(super) fn is_uuid(id: &str) -> bool {
    id.starts_with("GPU-")
}

impl Demand {
    /// What `stocks` ask for. CUDA sees no GPU after one that is not there, so those that vanished are left out.
    pub(super) fn of(stocks: &[Stock]) -> Demand {
        let mut demand = BTreeMap::new();
        for stock in stocks {
            let Mode::Mps { replicas } = stock.rule.sharing.mode else { continue };
            let present = stock.devices.iter().filter(|device| device.vanished.is_none());
            let cards = present.map(|device| &device.found).filter(|found| is_uuid(&found.id));
            demand.extend(cards.map(|found| (found.id.clone(), Share::of(found, replicas))));
        }
        Demand(demand)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is asked for of the GPU `uuid`.
    pub(super) fn share(&self, uuid: &str) -> Option<Share> {
        self.0.get(uuid).copied()
    }

    /// Whether a daemon that was started for this sees every GPU of `other`.
    pub(super) fn covers(&self, other: &Demand) -> bool {
        other.0.keys().all(|uuid| self.0.contains_key(uuid))
    }

    /// For `CUDA_VISIBLE_DEVICES`.
    pub(super) fn uuids(&self) -> String {
        self.0.keys().map(String::as_str).collect::<Vec<_>>().join(",")
    }

    /// What the daemon is to be told. Its default of threads is one for all GPUs.
    pub(super) fn commands(&self) -> Vec<String> {
        let memory = self.0.iter().filter_map(|(uuid, share)| {
            Some(format!("set_default_device_pinned_mem_limit {uuid} {}M", share.mebibytes()?))
        });
        let threads = self.0.values().map(|share| share.threads()).max();
        let threads = threads.map(|percent| format!("set_default_active_thread_percentage {percent}"));
        memory.chain(threads).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(cards: &[(&str, u32, Option<u64>)]) -> Demand {
        let share = |replicas, memory| Share { replicas, memory };
        Demand(
            cards
                .iter()
                .map(|(uuid, replicas, memory)| ((*uuid).to_owned(), share(*replicas, *memory)))
                .collect(),
        )
    }

    #[test]
    fn each_gpu_has_a_limit_of_memory_and_all_of_them_the_largest_of_threads() {
        let cards = [("GPU-b", 3, Some(150_754_820_096)), ("GPU-a", 4, Some(8 << 30)), ("GPU-c", 8, None)];
        let expected = [
            "set_default_device_pinned_mem_limit GPU-a 2048M",
            "set_default_device_pinned_mem_limit GPU-b 47923M",
            "set_default_active_thread_percentage 33",
        ];
        assert_eq!(demand(&cards).commands(), expected);
        assert_eq!(demand(&cards).uuids(), "GPU-a,GPU-b,GPU-c");
        assert!(Demand::default().commands().is_empty());
    }

    #[test]
    fn a_share_is_never_without_threads() {
        let threads = |replicas| Share { replicas, memory: None }.threads();
        assert_eq!([1, 2, 3, 48, 100, 1000].map(threads), [100, 50, 33, 2, 1, 1]);
    }

    #[test]
    fn a_daemon_that_sees_more_gpus_than_are_wanted_is_left_alone() {
        let (one, two) = (demand(&[("GPU-a", 4, None)]), demand(&[("GPU-a", 2, None), ("GPU-b", 2, None)]));
        assert!(two.covers(&one) && !one.covers(&two) && one.covers(&Demand::default()));
    }
}
