//! The shell of a card: the part of its design that is there before any program is loaded.

use std::collections::BTreeSet;

use crate::discovery::sysfs::{Folder, noted};

/// What a program must have been built for.
#[derive(Debug, Default)]
pub(super) struct Shell {
    /// Name and time, such as `xilinx_u200_xdma_201830_2-1561656294`.
    pub(super) model: Option<String>,
    pub(super) uuid: Option<String>,
}

/// Name and time are in the folder of a memory of the card, `rom.u.12582912`, which appears some time after the
/// card itself.
pub(super) fn read(function: &Folder<'_>, faults: &mut BTreeSet<String>) -> Shell {
    let follows = "the card has no model; reload xocl";
    let rom = function.names("rom").into_iter().next().map(|name| function.below(&name));
    let mut read = |attribute: &str| noted(rom.as_ref()?.text(attribute), faults, follows);
    let (name, time) = (read("VBNV"), read("timestamp"));
    let uuids = noted(function.text("logic_uuids"), faults, "the card has no UUID; reload xocl");
    Shell {
        model: name.zip(time).map(|(name, time)| format!("{name}-{time}")),
        // One for each layer of the shell. AMD's own device plugin goes by the last one too.
        uuid: uuids.and_then(|uuids| uuids.lines().last().map(str::to_owned)),
    }
}
