//! KFD's topology (`kfd_topology.c`): a numbered folder for each processor and each GPU, or each partition of one,
//! with `properties`, a line for each, and folders of its memory and of its links to others.
//!
//! The kernel shows a GPU's folder only to processes whose device cgroup has its render node.

use std::collections::{BTreeMap, BTreeSet};

use super::card::Card;
use crate::discovery::sysfs::{Folder, noted};
use crate::hostroot::HostRoot;

const NODES: &str = "/sys/class/kfd/kfd/topology/nodes";
const HIDDEN: &str = "what KFD knows of that GPU is left out; run the device plugin where KFD shows it, with the \
    nodes of the GPUs or privileged, or reload amdgpu";
/// Heaps of a GPU's own memory, one that the processor reaches and one that it does not (`kfd_topology.h`).
const OWN_HEAPS: [u64; 2] = [1, 2];
/// What KFD calls all GPUs that tell their parts themselves.
const NO_NAME: &str = "ip discovery";
/// Most links of one GPU.
const MAX_LINKS: usize = 1024;

/// All GPUs that KFD lists.
#[derive(Debug, Default)]
pub(super) struct Topology {
    pub(super) gpus: Vec<Gpu>,
    /// Whether some could not be read.
    pub(super) is_hidden: bool,
}

/// A GPU, or a partition of one.
#[derive(Debug)]
pub(super) struct Gpu {
    /// By which links name it.
    pub(super) node: u32,
    domain: u64,
    /// Bus, device and function; partitions in the highest four bits, or in place of the function.
    location: u64,
    /// `renderD128`.
    pub(super) render: String,
    pub(super) memory: Option<u64>,
    pub(super) model: Option<String>,
    pub(super) links: Vec<Link>,
}

/// A link from a GPU to another.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) to: u32,
    /// By the kernel's `CRAT_IOLINK_TYPE_*`.
    pub(super) kind: u64,
    /// The more, the further.
    pub(super) weight: u64,
}

impl Topology {
    pub(super) fn read(root: &HostRoot, faults: &mut BTreeSet<String>) -> Topology {
        let mut topology = Topology::default();
        for (node, folder) in Folder::new(root, NODES).numbered("") {
            match gpu(node, &folder, faults) {
                Ok(gpu) => topology.gpus.extend(gpu),
                Err(fault) => {
                    topology.is_hidden = true;
                    faults.insert(format!("{fault}: {HIDDEN}"));
                }
            }
        }
        topology
    }

    /// The parts of `card`, each with its number; of one that is not cut there is one.
    pub(super) fn parts(&self, card: &Card, cards: &[Card]) -> BTreeMap<u32, &Gpu> {
        let mut parts = BTreeMap::new();
        for gpu in &self.gpus {
            let exact = cards.iter().any(|other| gpu.address(gpu.location) == other.function.address);
            let (location, part) = match exact {
                true => (gpu.location, gpu.location >> 28),
                false => (gpu.location & !7, gpu.location & 7),
            };
            if gpu.address(location) == card.function.address {
                parts.entry(u32::try_from(part).unwrap_or(u32::MAX)).or_insert(gpu);
            }
        }
        parts
    }
}

impl Gpu {
    fn address(&self, location: u64) -> String {
        let (bus, device, function) = ((location >> 8) & 0xff, (location >> 3) & 0x1f, location & 7);
        format!("{:04x}:{bus:02x}:{device:02x}.{function}", self.domain)
    }
}

/// Nothing of a processor, whose GPU number is 0.
fn gpu(node: u32, folder: &Folder<'_>, faults: &mut BTreeSet<String>) -> Result<Option<Gpu>, String> {
    if folder.number("gpu_id")?.unwrap_or(0) == 0 {
        return Ok(None);
    }
    let properties = Properties::read(folder)?;
    let name = noted(folder.text("name"), faults, "the GPU is named by its version");
    let model =
        name.filter(|name| name != NO_NAME).or_else(|| properties.get("gfx_target_version").ok().map(gfx));
    Ok(Some(Gpu {
        node,
        domain: properties.get("domain")?,
        location: properties.get("location_id")?,
        render: format!("renderD{}", properties.get("drm_render_minor")?),
        memory: memory(folder, faults),
        model,
        links: links(folder, faults),
    }))
}

/// `90402` is `gfx942`: major, and two digits each of minor and step, of which the last is hexadecimal.
fn gfx(version: u64) -> String {
    format!("gfx{}{:x}{:x}", version / 10_000, version / 100 % 100, version % 100)
}

fn memory(folder: &Folder<'_>, faults: &mut BTreeSet<String>) -> Option<u64> {
    let mut total: u64 = 0;
    for (_, bank) in folder.below("mem_banks").numbered("") {
        let size =
            Properties::read(&bank).and_then(|bank| Ok((bank.get("heap_type")?, bank.get("size_in_bytes")?)));
        let size = noted(size.map(Some), faults, "this memory is not counted; reload amdgpu");
        if let Some((_, size)) = size.filter(|(heap, _)| OWN_HEAPS.contains(heap)) {
            total = total.saturating_add(size);
        }
    }
    (total > 0).then_some(total)
}

/// Links of its own, and newer kernels' ways over PCIe to other GPUs.
fn links(folder: &Folder<'_>, faults: &mut BTreeSet<String>) -> Vec<Link> {
    let all = ["io_links", "p2p_links"].into_iter().flat_map(|kind| folder.below(kind).numbered(""));
    let mut links = Vec::new();
    for (_, link) in all.take(MAX_LINKS) {
        let read = Properties::read(&link).and_then(|link| {
            let to = u32::try_from(link.get("node_to")?).unwrap_or(u32::MAX);
            Ok(Link { to, kind: link.get("type")?, weight: link.get("weight")? })
        });
        links.extend(noted(read.map(Some), faults, "this link is not counted; reload amdgpu"));
    }
    links
}

/// A `properties` file: names and numbers.
#[derive(Debug)]
struct Properties {
    path: String,
    text: String,
}

impl Properties {
    fn read(folder: &Folder<'_>) -> Result<Properties, String> {
        let text = folder.text("properties")?.unwrap_or_default();
        Ok(Properties { path: format!("{}/properties", folder.path()), text })
    }

    fn get(&self, key: &str) -> Result<u64, String> {
        let line = self.text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let value = line.ok_or_else(|| format!("{} says nothing of {key}", self.path))?.trim();
        value.parse().map_err(|_not_a_number| format!("{} says {key} {value:?}, no number", self.path))
    }
}
