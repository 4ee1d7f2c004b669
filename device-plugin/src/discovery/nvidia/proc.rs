//! What the kernel module tells without NVML: `/proc/driver/nvidia/gpus/<address>/information`.

use std::collections::BTreeSet;

use super::card::{Card, address};
use crate::hostroot::HostRoot;

const CARDS: &str = "/proc/driver/nvidia/gpus";
/// Most GPUs that are looked at.
const MAX_CARDS: usize = 256;

pub(super) fn cards(root: &HostRoot, faults: &mut BTreeSet<String>) -> Vec<Card> {
    let names = root.names(CARDS).unwrap_or_default();
    let mut cards = Vec::new();
    for name in names.into_iter().take(MAX_CARDS) {
        let path = format!("{CARDS}/{name}/information");
        let text = root.table(&path).unwrap_or_default();
        match card(&text, &name) {
            Some(card) if is_cut(&card, root) => {
                faults.insert(format!("{} is in MIG mode: without NVML its parts are not known", card.id()));
            }
            Some(card) => cards.push(card),
            None => drop(faults.insert(format!("{path} names no device minor: {name} is left out"))),
        }
    }
    cards
}

/// Before the module has seen to a GPU, its UUID is a row of question marks.
fn card(text: &str, name: &str) -> Option<Card> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':'));
        line.map(|value| value.trim().to_owned())
    };
    Some(Card {
        uuid: value("GPU UUID").filter(|uuid| !uuid.contains('?')),
        model: value("Model").unwrap_or_else(|| "NVIDIA".to_owned()),
        address: address(&value("Bus Location").unwrap_or_else(|| name.to_owned())),
        minor: value("Device Minor")?.parse().ok()?,
        ..Card::default()
    })
}

fn is_cut(card: &Card, root: &HostRoot) -> bool {
    let instances = format!("/proc/driver/nvidia/capabilities/gpu{}/mig", card.minor);
    root.names(&instances).is_ok_and(|names| names.iter().any(|name| name.starts_with("gi")))
}
