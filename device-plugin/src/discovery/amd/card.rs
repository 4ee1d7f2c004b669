//! What a card tells of itself, in the folder of its PCI function (Documentation/gpu/amdgpu/driver-misc.rst).

use std::collections::BTreeSet;

use crate::discovery::diagnosis::Diagnosis;
use crate::discovery::pci::function::Function;
use crate::discovery::sysfs::{Folder, noted};
use crate::hostroot::HostRoot;

/// Ways to cut a card's compute units (`amdgpu_gfx.c`), from one partition, `SPX`, to one for each compute die,
/// `CPX`; and its memory (`amdgpu_gmc.c`).
const COMPUTE: [&str; 5] = ["SPX", "DPX", "TPX", "QPX", "CPX"];
const MEMORY: [&str; 6] = ["NPS1", "NPS2", "NPS3", "NPS4", "NPS6", "NPS8"];
/// What a card is that cannot be cut.
const WHOLE: &str = "full";

/// One card.
#[derive(Clone, Debug)]
pub(super) struct Card {
    pub(super) function: Function,
    /// As ROCm writes it: `GPU-` and the number burned into the card; its address where it has none.
    pub(super) id: String,
    pub(super) model: Option<String>,
    /// Bytes of its own memory.
    pub(super) memory: Option<u64>,
    /// How its compute units are cut.
    compute: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) diagnosis: Diagnosis,
}

impl Card {
    pub(super) fn read(function: Function, root: &HostRoot, faults: &mut BTreeSet<String>) -> Card {
        let folder = Folder::new(root, &function.folder);
        let address = &function.address;
        let number = noted(
            folder.read("unique_id", "number of 16 hexadecimal digits", unique),
            faults,
            &format!("{address} is named by its address; reload amdgpu if it had a number before"),
        );
        let memory = noted(
            folder.number("mem_info_vram_total"),
            faults,
            &format!("the memory of {address} is taken from KFD; reload amdgpu if that does not know it"),
        );
        let (compute, profile) = cut(&folder, faults);
        Card {
            id: number.unwrap_or_else(|| address.clone()),
            model: noted(folder.text("product_name"), faults, &format!("{address} is named by KFD")),
            memory,
            compute,
            profile,
            diagnosis: errors(&folder, faults),
            function,
        }
    }

    /// Whether it is cut into more than one partition.
    pub(super) fn is_cut(&self) -> bool {
        self.compute.as_ref().is_some_and(|compute| compute != "SPX")
    }
}

/// Virtual machines see zeros.
fn unique(text: &str) -> Option<String> {
    let number = u64::from_str_radix(text, 16).ok()?;
    (number != 0 && text.len() == 16).then(|| format!("GPU-{number:016x}"))
}

/// How the card is cut, and the profile that makes.
fn cut(folder: &Folder<'_>, faults: &mut BTreeSet<String>) -> (Option<String>, Option<String>) {
    let known = |words: &'static [&str]| move |text: &str| words.contains(&text).then(|| text.to_owned());
    let compute = folder.read("current_compute_partition", "way to cut a GPU", known(&COMPUTE));
    let memory = folder.read("current_memory_partition", "way to cut memory", known(&MEMORY));
    let follows = "devices of it have no such profile; set it again, or reload amdgpu";
    if compute == Ok(None) {
        return (None, Some(WHOLE.to_owned()));
    }
    let compute = noted(compute, faults, follows);
    let memory = noted(memory, faults, follows);
    let profile = compute.as_ref().map(|compute| match &memory {
        Some(memory) => format!("{compute}_{memory}").to_lowercase(),
        None => compute.to_lowercase(),
    });
    (compute, profile)
}

/// Uncorrectable errors since the driver was loaded, of each part of the card: lines such as `ue: 0`, in files such
/// as `umc_err_count` (Documentation/gpu/amdgpu/ras.rst), or `aca_umc` of newer cards (`amdgpu_aca.c`). A computation that met one is
/// wrong.
fn errors(folder: &Folder<'_>, faults: &mut BTreeSet<String>) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    let ras = folder.below("ras");
    let is_count = |name: &String| name.ends_with("_err_count") || name.starts_with("aca_");
    for name in ras.names("").into_iter().filter(is_count) {
        let count = ras.read(&name, "list of error counts", uncorrectable);
        let follows = "its errors are not observed; reload amdgpu";
        match noted(count, faults, follows) {
            Some(count) if count > 0 => diagnosis.add(format!(
                "{}/{name} counts {count} uncorrectable errors: reset the GPU, or restart the node",
                ras.path()
            )),
            _ => {}
        }
    }
    diagnosis
}

fn uncorrectable(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("ue:"))?.trim().parse().ok()
}
