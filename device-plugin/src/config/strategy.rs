//! How a device reaches its container.

use std::fmt;

use crate::device::{Found, Kind};

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

/// How one device reaches a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By nodes and mounts.
    Nodes,
    /// By its CDI name.
    Cdi,
    /// By its CDI name in an annotation.
    CdiAnnotation,
    /// By its id in a variable.
    Envvar,
    /// By its id in the path of a mount.
    VolumeMounts,
}

impl Way {
    /// Whether the runtime must find a CDI spec.
    pub fn needs_spec(self) -> bool {
        matches!(self, Way::Cdi | Way::CdiAnnotation)
    }
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

    /// How `found`, of a resource that is (or is not) a CDI kind, reaches a container.
    pub fn way(self, found: &Found, is_cdi_kind: bool) -> Way {
        match self {
            Strategy::DeviceSpecs => Way::Nodes,
            Strategy::Envvar => Way::Envvar,
            Strategy::VolumeMounts => Way::VolumeMounts,
            Strategy::Auto if !needs_cdi(found) => Way::Nodes,
            _ if !is_cdi_kind && found.cdi.is_none() => Way::Nodes,
            Strategy::Auto | Strategy::CdiCri => Way::Cdi,
            Strategy::CdiAnnotations => Way::CdiAnnotation,
        }
    }
}

/// What is mounted for a device is of the version of its driver: the kubelet would replay it as it was.
fn needs_cdi(found: &Found) -> bool {
    found.cdi.is_some() || !found.edits.mounts.is_empty() || !found.edits.hooks.is_empty()
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
