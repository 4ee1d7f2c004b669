//! The kinds of devices: which backend finds them.

use std::fmt;

use crate::config::criteria::Property;

/// Which backend finds a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A device node named by its path.
    Path,
    /// A USB device, by its node below `/dev/bus/usb`.
    Usb,
    /// A PCI function: a network card's virtual or physical one, or one bound to `vfio-pci`.
    Pci,
    /// A GPU of NVIDIA, or a part of one.
    Nvidia,
    /// A GPU of AMD, or a part of one.
    Amd,
    /// A GPU of Intel.
    IntelGpu,
    /// An FPGA of Intel by the kernel's device feature lists.
    Dfl,
    /// An FPGA of AMD (Xilinx) by its runtime's driver.
    Xrt,
    /// An FPGA that the kernel's `fpga_manager` programs.
    FpgaManager,
    /// What the upstream sample device plugin offers: two devices that are nothing.
    Sample,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 10] = [
        Kind::Path,
        Kind::Usb,
        Kind::Pci,
        Kind::Nvidia,
        Kind::Amd,
        Kind::IntelGpu,
        Kind::Dfl,
        Kind::Xrt,
        Kind::FpgaManager,
        Kind::Sample,
    ];

    /// Its word in a config.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Path => "path",
            Kind::Usb => "usb",
            Kind::Pci => "pci",
            Kind::Nvidia => "nvidia",
            Kind::Amd => "amd",
            Kind::IntelGpu => "intel-gpu",
            Kind::Dfl => "dfl",
            Kind::Xrt => "xrt",
            Kind::FpgaManager => "fpga-manager",
            Kind::Sample => "sample",
        }
    }

    /// Whether its devices hang on NUMA nodes.
    pub fn has_topology(self) -> bool {
        !matches!(self, Kind::Path | Kind::Usb | Kind::Sample)
    }

    /// Whether its devices have a memory of their own.
    pub fn has_memory(self) -> bool {
        matches!(self, Kind::Nvidia | Kind::Amd | Kind::IntelGpu)
    }

    /// What its devices can be selected by.
    pub fn properties(self) -> &'static [Property] {
        use Property::{
            Address, Device, Driver, LinkType, Mode, Model, PfName, Product, Profile, Rdma, Serial, Uuid,
            Vendor,
        };
        match self {
            Kind::Path | Kind::Sample => &[],
            Kind::Usb => &[Vendor, Product, Serial],
            Kind::Pci => &[Vendor, Device, Driver, Address, PfName, LinkType, Rdma],
            Kind::Nvidia | Kind::Amd => &[Model, Uuid, Address, Device, Profile],
            Kind::IntelGpu => &[Model, Driver, Address, Device],
            Kind::Dfl => &[Vendor, Device, Address, Uuid, Mode],
            Kind::Xrt => &[Vendor, Device, Address, Model, Uuid],
            Kind::FpgaManager => &[Model],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
