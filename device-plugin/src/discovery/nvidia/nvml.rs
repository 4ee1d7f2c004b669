//! Reading GPUs through NVML.

use std::collections::BTreeMap;

use nvml_wrapper::Device;
use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TopologyLevel;
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION;

use super::card::{Card, Part, address};

/// Most GPUs, and parts of one, that are looked at.
const MAX_CARDS: u32 = 256;
/// Links of one GPU: 18 in today's.
const MAX_LINKS: u32 = 36;
/// What one NVLink is worth beside the distances below.
const NVLINK: u32 = 100;

/// What was read before and does not change while the same GPUs are there: the links, which take half a
/// second for each pair of GPUs on some nodes.
#[derive(Debug, Default)]
pub(super) struct Memory {
    uuids: Vec<String>,
    links: BTreeMap<String, BTreeMap<String, u32>>,
    /// The GPUs as they were when they last answered, by their numbers.
    cards: BTreeMap<u32, Card>,
}

/// All GPUs. One that does not answer is told of by what `memory` knows; the error is of the library as a
/// whole.
pub(super) fn cards(nvml: &Nvml, memory: &mut Memory) -> Result<Vec<Card>, NvmlError> {
    let count = nvml.device_count()?.min(MAX_CARDS);
    let (mut devices, mut well, mut silent) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..count {
        match nvml.device_by_index(index).and_then(|device| Ok((card(&device)?, device))) {
            Ok((card, device)) => {
                memory.cards.insert(index, card.clone());
                well.push(card);
                devices.push(device);
            }
            Err(error) => silent.extend(remembered(index, &error, memory)),
        }
    }
    let uuids: Vec<_> = well.iter().filter_map(|card| card.uuid.clone()).collect();
    if silent.is_empty() && memory.uuids != uuids {
        memory.links = links(&devices, &well);
        memory.uuids = uuids;
    }
    let linked = |card: Card| {
        let links = memory.links.get(card.id()).cloned().unwrap_or_default();
        Card { links, ..card }
    };
    Ok(well.into_iter().chain(silent).map(linked).collect())
}

/// A GPU that does not answer is the one that had its number, which does not change while the driver is
/// loaded; of one that never answered nothing is known.
fn remembered(index: u32, error: &NvmlError, memory: &Memory) -> Option<Card> {
    let card = memory.cards.get(&index).cloned();
    if card.is_none() {
        tracing::warn!(gpu = index, %error, "a GPU does not say who it is");
    }
    Some(Card { trouble: Some(format!("the driver says: {error}")), ..card? })
}

fn card(device: &Device<'_>) -> Result<Card, NvmlError> {
    let pci = device.pci_info().ok();
    let (trouble, tells_recovery) = trouble(device);
    Ok(Card {
        uuid: Some(device.uuid()?),
        model: device.name().unwrap_or_else(|_| "NVIDIA".to_owned()),
        address: pci.as_ref().and_then(|pci| address(&pci.bus_id)),
        device: pci.map(|pci| format!("{:04x}", pci.pci_device_id >> 16)),
        minor: device.minor_number()?,
        memory: device.memory_info().ok().map(|memory| memory.total),
        parts: parts(device),
        links: BTreeMap::new(),
        trouble,
        tells_recovery,
    })
}

/// What the driver wants done about the GPU, and whether it is one that can say so.
fn trouble(device: &Device<'_>) -> (Option<String>, bool) {
    if let Err(error @ (NvmlError::GpuLost | NvmlError::ResetRequired)) = device.memory_info() {
        return (Some(format!("the driver says: {error}")), true);
    }
    let field = FieldId(NVML_FI_DEV_GET_GPU_RECOVERY_ACTION);
    let sample = device.field_values_for(&[field]).ok().and_then(|samples| samples.into_iter().next());
    let action = match sample.and_then(Result::ok).map(|sample| sample.value) {
        Some(Ok(SampleValue::U32(action))) => u64::from(action),
        Some(Ok(SampleValue::U64(action))) => action,
        _ => return (None, false),
    };
    let wanted = match action {
        0 => return (None, true),
        1 => "a reset of the GPU (nvidia-smi --gpu-reset)",
        2 => "a reboot of the node",
        3 => "that no peer-to-peer traffic is left, then a reset",
        4 => "that nothing runs on it any more, then a reset",
        _ => "something this program does not know",
    };
    (Some(format!("the driver asks for {wanted}")), true)
}

/// The parts of a GPU in MIG mode. Indices have gaps where instances were destroyed.
fn parts(device: &Device<'_>) -> Option<Vec<Part>> {
    device.mig_mode().ok().filter(|mode| mode.current == 1)?;
    let slots = device.mig_device_count().unwrap_or(0).min(MAX_CARDS);
    Some((0..slots).filter_map(|index| part(&device.mig_device_by_index(index).ok()?)).collect())
}

fn part(device: &Device<'_>) -> Option<Part> {
    let name = device.name().ok()?;
    Some(Part {
        uuid: device.uuid().ok()?,
        // `NVIDIA H200 MIG 1g.18gb`.
        profile: name.rsplit_once("MIG ")?.1.trim().to_owned(),
        memory: device.memory_info().ok().map(|memory| memory.total),
        instance: instance(device)?,
    })
}

/// Numbers of the GPU and the compute instance.
#[expect(unsafe_code, reason = "nvml-wrapper has no method for these two calls")]
fn instance(device: &Device<'_>) -> Option<(u32, u32)> {
    let (gpu, compute) = {
        let lib = device.nvml().lib();
        (lib.nvmlDeviceGetGpuInstanceId.as_ref().ok()?, lib.nvmlDeviceGetComputeInstanceId.as_ref().ok()?)
    };
    let mut numbers = (0, 0);
    // SAFETY: the handle is of a device of this library, which is loaded as long as the handle is
    // borrowed, and both calls write one number to where they are pointed, which outlives them.
    let codes =
        unsafe { (gpu(device.handle(), &raw mut numbers.0), compute(device.handle(), &raw mut numbers.1)) };
    (codes == (0, 0)).then_some(numbers)
}

/// How well each pair is linked: by the distance over PCIe, and far more by NVLinks.
fn links(devices: &[Device<'_>], cards: &[Card]) -> BTreeMap<String, BTreeMap<String, u32>> {
    let nvlinks: Vec<_> = devices.iter().map(|device| Nvlinks::read(device, cards)).collect();
    let sides: Vec<_> = devices.iter().zip(cards).zip(&nvlinks).collect();
    let weigh = |((device, card), nvlinks): &((&Device<'_>, &Card), &Nvlinks)| {
        let others = sides.iter().filter(|((_, other), _)| other.uuid != card.uuid);
        let weight = |((peer, other), theirs): &((&Device<'_>, &Card), &Nvlinks)| {
            let weight = distance(device, peer) + NVLINK * nvlinks.to(other, theirs);
            (weight > 0).then(|| (other.id().to_owned(), weight))
        };
        (card.id().to_owned(), others.filter_map(weight).collect())
    };
    sides.iter().map(weigh).collect()
}

/// In steps that one NVLink outweighs, near before far; nothing where nobody knows.
fn distance(device: &Device<'_>, peer: &Device<'_>) -> u32 {
    let level = device.nvml().device_by_uuid(peer.uuid().unwrap_or_default());
    match level.and_then(|peer| device.topology_common_ancestor(peer)) {
        Ok(TopologyLevel::Internal) => 60,
        Ok(TopologyLevel::Single) => 50,
        Ok(TopologyLevel::Multiple) => 40,
        Ok(TopologyLevel::HostBridge) => 30,
        Ok(TopologyLevel::Node) => 20,
        Ok(TopologyLevel::System) => 10,
        Err(_) => 0,
    }
}

/// The NVLinks of one GPU that carry traffic.
#[derive(Debug, Default)]
struct Nvlinks {
    /// To other GPUs, by their PCI addresses.
    direct: BTreeMap<String, u32>,
    /// To what is no GPU: switches, through which every other GPU that has such links is reached.
    switched: u32,
}

impl Nvlinks {
    fn read(device: &Device<'_>, cards: &[Card]) -> Nvlinks {
        let mut links = Nvlinks::default();
        for number in 0..MAX_LINKS {
            let link = device.link_wrapper_for(number);
            match link.is_active() {
                Ok(true) => {}
                Ok(false) => continue,
                // Past the last one.
                Err(_) => break,
            }
            let remote = link.remote_pci_info().ok().and_then(|pci| address(&pci.bus_id));
            match remote.filter(|remote| cards.iter().any(|card| card.address.as_ref() == Some(remote))) {
                Some(remote) => *links.direct.entry(remote).or_default() += 1,
                None => links.switched += 1,
            }
        }
        links
    }

    /// How many lead to `other`, whose own are `theirs`.
    fn to(&self, other: &Card, theirs: &Nvlinks) -> u32 {
        let direct = other.address.as_ref().and_then(|address| self.direct.get(address)).copied();
        direct.unwrap_or(0) + self.switched.min(theirs.switched)
    }
}
