//! How a device is shared among containers.

use crate::device::Found;
use crate::inventory::limits;

/// The terms on which containers get devices of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// What one entry of the device list stands for.
    pub mode: Mode,
    /// Whether a container that asks for more than one is refused.
    pub one_each: bool,
    /// Which shares are preferred when several are free.
    pub placement: Placement,
}

/// What one entry of the device list stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A device.
    Exclusive,
    /// The right to use a device beside others, in turn with them.
    TimeSlicing {
        /// How many containers may hold one device at the same time; at least 1.
        replicas: u32,
    },
    /// So many bytes of a device's memory. Nothing but the count keeps containers within it.
    Memory {
        /// Bytes of one entry; at least 1.
        unit: u64,
    },
    /// A share of a GPU through NVIDIA's Multi-Process Service, which keeps containers within it.
    Mps {
        /// How many shares a GPU is cut into; at least 1.
        replicas: u32,
    },
}

/// Which shares are preferred when several are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Those of the least used devices.
    Distributed,
    /// Those of the most used devices that still suffice.
    Packed,
    /// Those of the least used NUMA nodes, there of the least used devices.
    SpreadNuma,
}

impl Sharing {
    /// One container has a device to itself.
    pub const EXCLUSIVE: Sharing =
        Sharing { mode: Mode::Exclusive, one_each: false, placement: Placement::Distributed };

    /// So many containers may hold one device, each as many shares as it asks for.
    pub const fn among(replicas: u32) -> Sharing {
        Sharing { mode: Mode::TimeSlicing { replicas }, ..Sharing::EXCLUSIVE }
    }

    /// How often `found` is listed. Of a device whose memory is not known no memory can be offered.
    pub fn replicas(&self, found: &Found) -> u32 {
        match self.mode {
            Mode::Exclusive => 1,
            Mode::TimeSlicing { replicas } | Mode::Mps { replicas } => replicas,
            Mode::Memory { unit } => {
                let units = found.memory.unwrap_or(0) / unit.max(1);
                u32::try_from(units).unwrap_or(u32::MAX).min(limits::MAX_COUNT)
            }
        }
    }

    /// How often any device is listed at least.
    pub fn least_replicas(&self) -> u32 {
        match self.mode {
            Mode::Exclusive | Mode::Memory { .. } => 1,
            Mode::TimeSlicing { replicas } | Mode::Mps { replicas } => replicas,
        }
    }

    /// Whether several containers can hold one device at the same time.
    pub fn is_shared(&self) -> bool {
        !matches!(self.mode, Mode::Exclusive | Mode::TimeSlicing { replicas: 1 })
    }
}
