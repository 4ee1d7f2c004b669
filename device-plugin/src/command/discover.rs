//! `discover`: what would be offered now.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::time::Instant;

use crate::cli::{DiscoverArgs, Output};
use crate::command::document::{Document, Row, VERSION};
use crate::config::Config;
use crate::device::Device;
use crate::discovery::nvidia::Driver;
use crate::discovery::{self, Host, Known};
use crate::error::RunError;
use crate::hostroot::HostRoot;
use crate::inventory::{Moment, Snapshot};
use crate::stock::Stock;

/// Prints on `stdout`; faults of the scan are logged.
pub(crate) fn run(args: &DiscoverArgs, stdout: &mut dyn Write) -> Result<(), RunError> {
    let config = Config::load(&args.config)?;
    let nvidia = Driver::new(&args.nvidia_driver_root);
    nvidia.judge_by(config.xids.clone());
    let rows = rows(&config, &Host { root: HostRoot::new(&args.host_root), nvidia });
    print(args.output, rows, stdout)
        .map_err(|source| RunError::System { act: "write to standard output", source })
}

fn rows(config: &Config, host: &Host) -> Vec<Row> {
    let survey = discovery::survey(&config.rules, &Known::default(), host);
    let mut faults = survey.faults;
    let now = Moment { scan: 1, at: Instant::now() };
    let mut rows = Vec::new();
    for lot in survey.lots {
        rows.extend(resource_rows(&Stock::take(lot, &[], now, &mut faults).snapshot()));
    }
    for fault in faults {
        tracing::warn!(resource = fault.resource, "{}", fault.text);
    }
    rows
}

fn resource_rows(snapshot: &Snapshot) -> Vec<Row> {
    let names = names(snapshot);
    let row = |(id, device): (&str, &Device)| Row {
        id: id.to_owned(),
        resource: snapshot.resource().to_string(),
        kind: device.found.kind.to_string(),
        vendor: device.found.vendor.clone(),
        model: device.found.model.clone(),
        numa: device.found.numa,
        health: device.found.health.to_string(),
        nodes: device.found.nodes.iter().map(|node| node.path.clone()).collect(),
        memory: device.found.memory,
        parent: device.found.parent.clone(),
        links: links(device, &names),
    };
    snapshot.ids().map(row).collect()
}

/// What links lead to, by key: devices by their ids, cards that are listed in parts by their keys.
fn names(snapshot: &Snapshot) -> HashMap<&str, &str> {
    let parents = snapshot.devices().iter().filter_map(|device| device.found.parent.as_deref());
    let devices = snapshot.devices().iter().map(|device| (device.found.key.as_str(), device.id.as_str()));
    parents.map(|key| (key, key)).chain(devices).collect()
}

fn links(device: &Device, names: &HashMap<&str, &str>) -> BTreeMap<String, u32> {
    let named = |(key, weight): (&String, &u32)| Some(((*names.get(key.as_str())?).to_owned(), *weight));
    device.found.links.iter().filter_map(named).collect()
}

fn print(output: Output, rows: Vec<Row>, stdout: &mut dyn Write) -> io::Result<()> {
    if output == Output::Json {
        serde_json::to_writer_pretty(&mut *stdout, &Document { version: VERSION.to_owned(), devices: rows })?;
        return writeln!(stdout);
    }
    let header = ["RESOURCE", "ID", "KIND", "NUMA", "HEALTH", "NODES"].map(str::to_owned);
    let cells = rows.into_iter().map(|row| {
        let numa = row.numa.map_or_else(|| "-".to_owned(), |numa| numa.to_string());
        [row.resource, row.id, row.kind, numa, row.health, row.nodes.join(" ")]
    });
    let lines: Vec<_> = std::iter::once(header).chain(cells).collect();
    let mut widths = [0; 6];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.len().max(*width);
        }
    }
    for line in &lines {
        let padded: Vec<_> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(stdout, "{}", padded.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resource_name::ResourceName;
    use crate::config::sharing::Sharing;
    use crate::device::{Found, Kind};
    use crate::inventory::{self, tests::moment};

    #[test]
    fn links_are_told_by_what_the_document_calls_their_ends() {
        let links = |to: &[&str]| to.iter().map(|key| ((*key).to_owned(), 3)).collect();
        let whole =
            Found { links: links(&["key-b", "card", "elsewhere"]), ..Found::new(Kind::Amd, "key-a", "a") };
        let other = Found { links: links(&["key-a"]), ..Found::new(Kind::Amd, "key-b", "b") };
        let part = Found { parent: Some("card".to_owned()), ..Found::new(Kind::Amd, "key-c", "c") };
        let devices = inventory::merge(&[], vec![whole, other, part], moment(1));
        let resource = ResourceName::parse("example.com/x").unwrap();
        let rows = resource_rows(&Snapshot::new(resource, devices, Sharing::among(2)));
        let told: Vec<_> = rows.iter().map(|row| (row.id.as_str(), row.links.clone())).collect();
        let (a, b) = (links(&["b", "card"]), links(&["a"]));
        let none = BTreeMap::new();
        let wanted =
            [("a::0", &a), ("a::1", &a), ("b::0", &b), ("b::1", &b), ("c::0", &none), ("c::1", &none)];
        assert_eq!(told, wanted.map(|(id, links)| (id, links.clone())));
    }
}
