//! Nodes of the kernel's graphics subsystem (Documentation/gpu/drm-uapi.rst): of a device one for its displays,
//! `card0`, and one for computing, `renderD128`, both named by folders in its `drm`.

use super::sysfs::Folder;

/// Where they appear.
pub(super) const NODES: &str = "/dev/dri";

/// The names of one device's nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Drm {
    pub(super) card: Option<String>,
    pub(super) render: Option<String>,
}

impl Drm {
    /// Those of the device at `folder`.
    pub(super) fn of(folder: &Folder<'_>) -> Drm {
        let drm = folder.below("drm");
        let first = |prefix: &str| drm.names(prefix).into_iter().next();
        Drm { card: first("card"), render: first("renderD") }
    }

    /// Their paths.
    pub(super) fn paths(&self) -> Vec<String> {
        self.card.iter().chain(&self.render).map(|name| format!("{NODES}/{name}")).collect()
    }
}
