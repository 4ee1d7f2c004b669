//! Cards and their parts, as two generations of drivers show them.

use crate::device::Vitals;
use crate::discovery::numa;
use crate::discovery::pci::function;
use crate::discovery::sysfs::Folder;
use crate::hostroot::HostRoot;

/// How a driver names things: in `/sys`, and a management engine and a port so in `/dev` too.
struct Layout {
    class: &'static str,
    card: &'static str,
    engine: &'static str,
    port: &'static str,
}

const LAYOUTS: [Layout; 2] = [
    // The kernel's (drivers/fpga/dfl.c). Its class holds folders of parts of cards too, without any of these.
    Layout { class: "/sys/class/fpga_region", card: "region", engine: "dfl-fme.", port: "dfl-port." },
    // Of OPAE 1.
    Layout {
        class: "/sys/class/fpga",
        card: "intel-fpga-dev.",
        engine: "intel-fpga-fme.",
        port: "intel-fpga-port.",
    },
];

/// A card, or a virtual function of one.
#[derive(Debug)]
pub(super) struct Card<'a> {
    name: String,
    /// Of its PCI function.
    pub(super) address: Option<String>,
    /// Four hexadecimal digits, as the following one.
    pub(super) vendor: Option<String>,
    pub(super) device: Option<String>,
    pub(super) numa: Option<u32>,
    pub(super) vitals: Vitals,
    pub(super) engine: Option<Unit<'a>>,
    pub(super) ports: Vec<Unit<'a>>,
}

/// A management engine or a port.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    pub(super) name: String,
    pub(super) folder: Folder<'a>,
}

pub(super) fn all(root: &HostRoot) -> Vec<Card<'_>> {
    let mut cards = Vec::new();
    for layout in &LAYOUTS {
        for (_, folder) in Folder::new(root, layout.class).numbered(layout.card) {
            cards.extend(card(layout, &folder, root));
        }
    }
    cards
}

fn card<'a>(layout: &Layout, folder: &Folder<'a>, root: &'a HostRoot) -> Option<Card<'a>> {
    let units = |prefix: &str| {
        let numbered = folder.numbered(prefix).into_iter();
        numbered
            .map(|(number, folder)| Unit { name: format!("{prefix}{number}"), folder })
            .collect::<Vec<_>>()
    };
    let (engine, ports) = (units(layout.engine).into_iter().next(), units(layout.port));
    let name = engine.iter().chain(&ports).next()?.name.clone();
    let pci = folder.below("device");
    let id = |attribute: &str| {
        let text = pci.text(attribute).ok()??;
        text.strip_prefix("0x").map(str::to_owned)
    };
    Some(Card {
        name,
        address: root.link_name(pci.path()).and_then(|name| function::address(&name)),
        vendor: id("vendor"),
        device: id("device"),
        numa: numa::node(root, pci.path()),
        vitals: function::vitals(pci.path(), root),
        engine,
        ports,
    })
}

impl Card<'_> {
    /// Where it is plugged in; without that what its first part is called.
    pub(super) fn name(&self) -> &str {
        self.address.as_deref().unwrap_or(&self.name)
    }
}
