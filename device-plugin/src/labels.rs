//! Labels of the node that follow from its devices, for Node Feature Discovery (NFD) to put there: pure, and
//! the file that NFD reads them from.
//!
//! Their keys begin with the resource, so that those of `nvidia.com/gpu` are the ones that selectors written
//! for NVIDIA's GPU Feature Discovery look at:
//!
//! | key | value |
//! |---|---|
//! | `<resource>.count` | how many devices are there, well or not, each once however it is shared |
//! | `<resource>.product` | their model, `NVIDIA-H200`; of a part of an NVIDIA GPU with its profile, `NVIDIA-H200-MIG-1g.18gb` |
//! | `<resource>.memory` | the memory of each in MiB |
//! | `<resource>.replicas` | in how many shares each is offered, where they are shared |
//! | `<resource>.sharing-strategy` | `time-slicing`, `memory` or `mps`, where they are shared |
//! | `<resource>.driver` | the version of NVIDIA's driver, where NVML tells it |
//!
//! What is not the same for all devices of a resource has no label: one value would be wrong for some of
//! them, and a list is nothing a selector can match. What a label cannot hold is made one: other characters
//! become `-`, and it ends after 63. A resource without devices has no labels, and its old ones go.

use std::collections::BTreeMap;

use crate::config::criteria::Property;
use crate::config::sharing::Mode;
use crate::device::{Device, Found, Kind};
use crate::stock::Stock;

mod file;

pub(crate) use file::FeatureFile;

/// Longest name in a key, and longest value.
const LONGEST: usize = 63;
/// NFD reads no larger file.
const LARGEST_FILE: usize = 64 * 1024;
const MEBIBYTE: u64 = 1024 * 1024;

/// The labels that follow from `stocks`, a line each, where NVIDIA's driver is of version `driver`.
pub(crate) fn text(stocks: &[Stock], driver: Option<&str>) -> String {
    let mut labels = BTreeMap::new();
    for stock in stocks {
        let devices: Vec<_> = stock.devices.iter().filter(|device| device.vanished.is_none()).collect();
        for (what, value) in facts(stock, &devices, driver) {
            let key = format!("{}.{what}", stock.name);
            if let (true, Some(value)) = (is_key(&key), value.and_then(|value| label_value(&value))) {
                labels.insert(key, value);
            }
        }
    }
    let mut text = String::new();
    for (key, value) in labels {
        let line = format!("{key}={value}\n");
        if text.len().saturating_add(line.len()) <= LARGEST_FILE {
            text.push_str(&line);
        }
    }
    text
}

fn facts(stock: &Stock, devices: &[&Device], driver: Option<&str>) -> Vec<(&'static str, Option<String>)> {
    let Some(first) = devices.first() else { return Vec::new() };
    let sharing = stock.rule.sharing;
    let shared = |value: String| sharing.is_shared().then_some(value);
    let replicas = same(devices, |found| Some(sharing.replicas(found)));
    let driver = driver.filter(|_| first.found.kind == Kind::Nvidia);
    vec![
        ("count", Some(devices.len().to_string())),
        ("product", same(devices, product)),
        ("memory", same(devices, |found| Some(found.memory? / MEBIBYTE)).map(|memory| memory.to_string())),
        ("replicas", replicas.and_then(|replicas| shared(replicas.to_string()))),
        ("sharing-strategy", shared(strategy(sharing.mode).to_owned())),
        ("driver", driver.map(str::to_owned)),
    ]
}

/// What all `devices` have in common.
fn same<T: PartialEq>(devices: &[&Device], of: impl Fn(&Found) -> Option<T>) -> Option<T> {
    let mut values = devices.iter().map(|device| of(&device.found));
    let first = values.next().flatten()?;
    values.all(|value| value.as_ref() == Some(&first)).then_some(first)
}

fn product(found: &Found) -> Option<String> {
    let model = found.model.clone()?;
    let part = found.kind == Kind::Nvidia && found.parent.is_some();
    match found.properties.get(&Property::Profile).filter(|_| part) {
        Some(profile) => Some(format!("{model}-MIG-{profile}")),
        None => Some(model),
    }
}

fn strategy(mode: Mode) -> &'static str {
    match mode {
        Mode::Exclusive => "none",
        Mode::TimeSlicing { .. } => "time-slicing",
        Mode::Memory { .. } => "memory",
        Mode::Mps { .. } => "mps",
    }
}

fn is_key(key: &str) -> bool {
    key.split_once('/').is_some_and(|(_, name)| name.len() <= LONGEST)
}

/// `text` as a label can hold it; `None` when nothing of it is left.
fn label_value(text: &str) -> Option<String> {
    let mut value = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '.' | '_') {
            value.push(character);
        } else if !value.ends_with('-') {
            value.push('-');
        }
    }
    let is_edge = |character: char| !character.is_ascii_alphanumeric();
    let mut value = value.trim_matches(is_edge).to_owned();
    value.truncate(LONGEST);
    Some(value.trim_end_matches(is_edge).to_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Config;
    use crate::inventory::{merge, tests::moment};

    fn stock(resource: &str, more: &str, found: Vec<Found>) -> Stock {
        let kind = found.first().map_or(Kind::Nvidia, |found| found.kind);
        let config =
            format!("version: v1\nresources: [{{name: {resource}, match: {{kind: {kind}}}{more}}}]\n");
        let rule = Arc::clone(&Config::parse(&config).unwrap().rules[0]);
        let name = rule.naming.name(&BTreeMap::new()).unwrap();
        Stock { name, rule, devices: merge(&[], found, moment(1)), left_out: 0, withheld: None }
    }

    fn gpu(id: &str, model: &str, memory: u64) -> Found {
        let model = Some(model.to_owned());
        Found { model, memory: Some(memory), ..Found::new(Kind::Nvidia, id, id) }
    }

    #[test]
    fn labels_tell_what_all_devices_of_a_resource_are() {
        let h200 = |id: &str| gpu(id, "NVIDIA H200", 150_754_820_096);
        let nic = Found::new(Kind::Pci, "0000:01:00.0", "0000:01:00.0");
        let part = Found {
            parent: Some("GPU-a".to_owned()),
            properties: [(Property::Profile, "1g.18gb".to_owned())].into(),
            ..gpu("MIG-1", "NVIDIA H200", 19_327_352_832)
        };
        let stocks = [
            stock("nvidia.com/gpu", "", vec![h200("GPU-a"), h200("GPU-b")]),
            stock("nvidia.com/mixed", "", vec![h200("GPU-c"), gpu("GPU-d", "NVIDIA L4", 23_622_320_128)]),
            stock("nvidia.com/shared", ", sharing: {mode: mps, replicas: 4}", vec![h200("GPU-e")]),
            stock("nvidia.com/mig-1g.18gb", "", vec![part]),
            stock("example.com/nic", "", vec![nic]),
            stock("nvidia.com/none", "", Vec::new()),
        ];
        let expected = "example.com/nic.count=1\n\
            nvidia.com/gpu.count=2\n\
            nvidia.com/gpu.driver=570.86.15\n\
            nvidia.com/gpu.memory=143771\n\
            nvidia.com/gpu.product=NVIDIA-H200\n\
            nvidia.com/mig-1g.18gb.count=1\n\
            nvidia.com/mig-1g.18gb.driver=570.86.15\n\
            nvidia.com/mig-1g.18gb.memory=18432\n\
            nvidia.com/mig-1g.18gb.product=NVIDIA-H200-MIG-1g.18gb\n\
            nvidia.com/mixed.count=2\n\
            nvidia.com/mixed.driver=570.86.15\n\
            nvidia.com/shared.count=1\n\
            nvidia.com/shared.driver=570.86.15\n\
            nvidia.com/shared.memory=143771\n\
            nvidia.com/shared.product=NVIDIA-H200\n\
            nvidia.com/shared.replicas=4\n\
            nvidia.com/shared.sharing-strategy=mps\n";
        assert_eq!(text(&stocks, Some("570.86.15")), expected);
        assert_eq!(text(&stocks[5..], Some("570.86.15")), "");
    }

    #[test]
    fn what_vanished_is_not_counted() {
        let mut stock =
            stock("nvidia.com/gpu", "", vec![gpu("GPU-a", "X", 1 << 30), gpu("GPU-b", "X", 1 << 30)]);
        let left = vec![stock.devices[0].found.clone()];
        stock.devices = merge(&stock.devices, left, moment(2));
        assert_eq!(text(&[stock], None).lines().next(), Some("nvidia.com/gpu.count=1"));
    }

    #[test]
    fn a_value_is_what_a_label_can_hold() {
        let cases = [
            ("Tesla V100-SXM2-16GB", Some("Tesla-V100-SXM2-16GB")),
            ("AMD Instinct(TM) MI300X", Some("AMD-Instinct-TM-MI300X")),
            (" (rev 1.0) ", Some("rev-1.0")),
            ("570.86.15", Some("570.86.15")),
            ("Ω\n=", None),
            ("", None),
        ];
        for (text, value) in cases {
            assert_eq!(label_value(text).as_deref(), value, "{text:?}");
        }
        assert_eq!(label_value(&"x".repeat(100)), Some("x".repeat(63)));
        assert_eq!(label_value(&format!("{}--x", "x".repeat(62))), Some("x".repeat(62)));
    }

    #[test]
    fn a_key_too_long_for_a_label_and_a_line_too_many_for_a_file_are_left_out() {
        let long = format!("example.com/{}", "n".repeat(60));
        let nic = |id: &str| Found::new(Kind::Pci, id, id);
        assert_eq!(text(&[stock(&long, "", vec![nic("a")])], None), "");
        let names = (0..4000).map(|number| format!("example.com/resource-{number}"));
        let template = stock("example.com/x", "", vec![nic("a")]);
        let named = |name: String| {
            let name = crate::config::resource_name::ResourceName::parse(&name).unwrap();
            Stock { name, ..template.clone() }
        };
        let text = text(&names.map(named).collect::<Vec<_>>(), None);
        assert!(text.len() <= LARGEST_FILE && text.len() > LARGEST_FILE - 100 && text.ends_with("=1\n"));
    }
}
