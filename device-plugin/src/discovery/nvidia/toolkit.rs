//! What NVIDIA's own toolkit has described already (`nvidia-ctk cdi generate`).

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::hostroot::HostRoot;

/// Where runtimes look for CDI specs.
const FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// The kind under which the toolkit describes GPUs.
const KIND: &str = "nvidia.com/gpu";
/// Most files of a folder that are read.
const MAX_FILES: usize = 64;

/// Names of the toolkit's devices.
#[derive(Debug, Default)]
pub(super) struct Toolkit(BTreeSet<String>);

/// As much of a spec as matters here.
#[derive(Debug, Deserialize)]
struct Spec {
    kind: String,
    devices: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

impl Toolkit {
    /// Reads every spec that is not ours; what cannot be read describes nothing.
    pub(super) fn read(root: &HostRoot) -> Toolkit {
        let mut names = BTreeSet::new();
        for folder in FOLDERS {
            let files = root.names(folder).unwrap_or_default();
            for file in files.iter().filter(|file| !file.starts_with("tripod-")).take(MAX_FILES) {
                let spec = spec(&root.table(&format!("{folder}/{file}")).unwrap_or_default(), file);
                let spec = spec.filter(|spec| spec.kind == KIND);
                names.extend(spec.into_iter().flat_map(|spec| spec.devices).map(|device| device.name));
            }
        }
        Toolkit(names)
    }

    /// The full name of the device `id`. The toolkit can be told to name devices by number instead; numbers
    /// change over a reboot, so those are left alone.
    pub(super) fn name(&self, id: &str) -> Option<String> {
        self.0.contains(id).then(|| format!("{KIND}={id}"))
    }
}

fn spec(text: &str, file: &str) -> Option<Spec> {
    let extension = file.rsplit_once('.')?.1;
    match extension {
        "json" => serde_json::from_str(text).ok(),
        "yaml" => serde_saphyr::from_str(text).ok(),
        _ => None,
    }
}
