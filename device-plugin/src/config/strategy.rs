//! How a device reaches its container.

use std::fmt;

use crate::device::Kind;

/// Which words of the kubelet's protocol name a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Nodes and mounts, which every runtime understands, unless a device needs what only CDI can say.
    #[default]
    Auto,
    /// Names of the Container Device Interface, in their own field.
    CdiCri,
    /// Names of the Container Device Interface as annotations, for runtimes that read no field of it.
    CdiAnnotations,
    /// Nodes and mounts.
    DeviceSpecs,
    /// A variable that NVIDIA's container runtime reads.
    Envvar,
    /// Mounts whose names NVIDIA's container runtime reads.
    VolumeMounts,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Strategy; 6] = [
        Strategy::Auto,
        Strategy::CdiCri,
        Strategy::CdiAnnotations,
        Strategy::DeviceSpecs,
        Strategy::Envvar,
        Strategy::VolumeMounts,
    ];

    /// Its word in a config.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Auto => "auto",
            Strategy::CdiCri => "cdi-cri",
            Strategy::CdiAnnotations => "cdi-annotations",
            Strategy::DeviceSpecs => "device-specs",
            Strategy::Envvar => "envvar",
            Strategy::VolumeMounts => "volume-mounts",
        }
    }

    /// Whether devices of `kind` can reach a container by it.
    pub fn suits(self, kind: Kind) -> bool {
        !matches!(self, Strategy::Envvar | Strategy::VolumeMounts) || kind == Kind::Nvidia
    }

    /// Whether this version knows how.
    pub fn is_available(self) -> bool {
        matches!(self, Strategy::Auto | Strategy::DeviceSpecs)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
