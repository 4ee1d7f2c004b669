//! `leases`: every address that is given on this node.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::net::if_::if_nametoindex;
use serde::Serialize;

use super::{Answer, Format};
use crate::command::Dirs;
use crate::error::Error;
use crate::ipam::store::{Holder, Store};
use crate::record::{Entry, Record, Records};

/// One address.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    network: String,
    address: IpAddr,
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
    /// When it was given, as RFC 3339 writes it.
    since: Option<String>,
    netns: Option<PathBuf>,
    /// Whether the sandbox is still there; unknown where no record names it.
    alive: Option<bool>,
}

pub(super) fn run(dirs: &Dirs, format: Format) -> Answer {
    let mut problems = String::new();
    let rows = gather(dirs, &mut |error| {
        problems.push_str(&format!("tripod-cni: {}\n", error.in_one_line()));
    });
    let text = match format {
        Format::Text => table(&rows),
        Format::Json => serde_json::to_string(&rows).unwrap_or_default() + "\n",
    };
    Answer { text, good: problems.is_empty(), problems }
}

/// All rows in the order of networks and addresses: every lease of the stores, also those that `tripod-ipam`
/// gave to other plugins, and what other IPAM plugins gave, which only the records know.
fn gather(dirs: &Dirs, problem: &mut impl FnMut(Error)) -> Vec<Row> {
    let mut records = Vec::new();
    let folder = Records::new(dirs.attachments.clone());
    for entry in folder.list().unwrap_or_else(|error| vec![Err(error)]) {
        match entry {
            Ok(Entry::Whole(record)) => records.push(*record),
            Ok(Entry::Unreadable { hash }) => problem(torn(&folder.path_of(&hash))),
            Err(error) => problem(error),
        }
    }
    let mut rows = Vec::new();
    for store in stores(dirs, &records) {
        match Store::new(&store).leases() {
            Ok(leases) => rows.extend(leases.into_iter().map(|lease| row(&store, lease, &records))),
            Err(error) => problem(error),
        }
    }
    let delegated = records.iter().filter(|record| record.delegated.is_some());
    let elsewhere: Vec<Row> = delegated.flat_map(|record| given_elsewhere(&folder, record)).collect();
    // Where the plugin was `tripod-ipam`, the store has told it.
    rows.extend(elsewhere.into_iter().filter(|row| !is_among(row, &rows)).collect::<Vec<_>>());
    rows.sort();
    rows
}

/// What an IPAM plugin gave to the attachment of `record`.
fn given_elsewhere(records: &Records, record: &Record) -> Vec<Row> {
    let since = since(&records.path(&record.owner()));
    let row = |address: &IpAddr| Row {
        network: record.network.clone(),
        address: *address,
        container_id: record.container_id.clone(),
        ifname: record.ifname.clone(),
        since: since.clone(),
        alive: is_alive(record),
        netns: Some(record.netns.clone()),
    };
    record.addresses.iter().map(row).collect()
}

fn is_among(row: &Row, rows: &[Row]) -> bool {
    let key = |row: &Row| (row.address, row.container_id.clone(), row.ifname.clone());
    rows.iter().any(|other| key(other) == key(row))
}

/// The stores below the usual folder, and those that a `dataDir` put elsewhere.
fn stores(dirs: &Dirs, records: &[Record]) -> Vec<PathBuf> {
    let usual = fs::read_dir(&dirs.leases).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut stores: Vec<PathBuf> = usual.chain(records.iter().map(|record| record.store.clone())).collect();
    stores.sort();
    stores.dedup();
    stores
}

fn row(store: &Path, (address, holder): (IpAddr, Option<Holder>), records: &[Record]) -> Row {
    let holder = holder.unwrap_or_else(|| Holder { container_id: String::new(), ifname: None });
    let is_its = |record: &&Record| record.store == store && record.owner().is(&holder);
    let record = records.iter().find(is_its);
    Row {
        network: store.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        address,
        since: since(&store.join(address.to_string())),
        alive: record.and_then(is_alive),
        container_id: holder.container_id,
        ifname: holder.ifname.unwrap_or_default(),
        netns: record.map(|record| record.netns.clone()),
    }
}

fn torn(path: &Path) -> Error {
    let unreadable = io::Error::new(io::ErrorKind::InvalidData, "it is torn or of another release");
    Error::state("read attachment record", path)(unreadable)
}

fn since(file: &Path) -> Option<String> {
    let given: SystemTime = fs::metadata(file).ok()?.modified().ok()?;
    Some(humantime::format_rfc3339_seconds(given).to_string())
}

/// Whether the sandbox is still there. From a container the host's folder of namespaces cannot be seen, but our ends
/// of links to them can.
fn is_alive(record: &Record) -> Option<bool> {
    if record.netns.parent().is_some_and(Path::exists) {
        return Some(is_namespace(&record.netns));
    }
    let link = Some(&record.host_ifname).filter(|name| !name.is_empty());
    link.map(|name| if_nametoindex(name.as_str()).is_ok())
}

/// Namespaces are files of a file system of their own; what is left of a mount point is not.
fn is_namespace(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    device(path).is_some_and(|dev| Some(dev) == device(Path::new("/proc/self/ns/net")))
}

fn table(rows: &[Row]) -> String {
    let head = ["NETWORK", "ADDRESS", "CONTAINER", "INTERFACE", "SINCE", "SANDBOX", "ALIVE"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let widths: Vec<usize> = (0..head.len()).map(|column| width(&lines, column)).collect();
    lines.iter().map(|line| render(line, &widths)).collect()
}

fn cells(row: &Row) -> [String; 7] {
    let alive = match row.alive {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    [
        row.network.clone(),
        row.address.to_string(),
        row.container_id.clone(),
        row.ifname.clone(),
        row.since.clone().unwrap_or_else(|| "-".to_owned()),
        row.netns.as_ref().map_or_else(|| "-".to_owned(), |path| path.display().to_string()),
        alive.to_owned(),
    ]
}

fn width(lines: &[[String; 7]], column: usize) -> usize {
    lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
}

fn render(line: &[String; 7], widths: &[usize]) -> String {
    let padded = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
    format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_namespaces_cannot_be_seen_the_link_to_one_says_whether_it_is_there() {
        let seen_from_a_container = |ifname: &str| {
            let netns = PathBuf::from("/nowhere/cni-1");
            is_alive(&Record { netns, host_ifname: ifname.to_owned(), ..Record::for_test("c1") })
        };
        let told = ["lo", "tp0123456789", ""].map(seen_from_a_container);
        assert_eq!(told, [Some(true), Some(false), None]);
        let gone = Record { netns: "/proc/self/ns/none".into(), ..Record::for_test("c1") };
        assert_eq!(is_alive(&gone), Some(false));
    }

    #[test]
    fn what_other_ipam_plugins_gave_is_told_by_the_records_once() {
        let folder = tempfile::tempdir().unwrap();
        let dirs =
            Dirs { attachments: folder.path().join("attachments"), leases: folder.path().join("ipam") };
        let records = Records::new(dirs.attachments.clone());
        let store = dirs.leases.join("pods");
        for (container, plugin) in [("c1", Some("host-local")), ("c2", Some("tripod-ipam")), ("c3", None)] {
            let record = Record { store: store.clone(), ..Record::for_test(container) };
            records.save(&record.delegated_to(plugin)).unwrap();
        }
        fs::create_dir_all(&store).unwrap();
        fs::write(store.join("10.0.0.2"), "c2\r\neth0").unwrap();
        let rows = gather(&dirs, &mut |error| panic!("{error}"));
        let told: Vec<&str> = rows.iter().map(|row| row.container_id.as_str()).collect();
        assert_eq!(told, ["c2", "c1"], "{rows:?}");
        assert!(rows.iter().all(|row| row.alive.is_some() && row.since.is_some()), "{rows:?}");
        assert_eq!((rows[1].network.as_str(), rows[1].address.to_string().as_str()), ("tripod", "10.0.0.2"));
    }
}
