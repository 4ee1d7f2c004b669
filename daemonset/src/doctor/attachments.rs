//! Whether attachments, their links and their addresses belong together.

use std::collections::BTreeSet;

use nix::net::if_::if_nametoindex;
use serde_json::Value;
use tripod_cni::Dirs;
use tripod_cni::finding::Finding;
use tripod_cni::nft::base::LINK_GROUP;
use tripod_cni::record::{Entry, Record, Records, Stage};

use crate::conflist;
use crate::kernel::Link;

const CHECK: &str = "attachment";

/// What is wrong with the attachments below `dirs`. The `links` are those from before.
pub(super) fn findings(dirs: &Dirs, links: &[Link]) -> Vec<Finding> {
    let entries = match Records::new(dirs.attachments.clone()).list() {
        Ok(entries) => entries,
        Err(error) => return vec![Finding::warn(CHECK, "all", error.in_one_line()).fix("run as root")],
    };
    let count = entries.len();
    let owned: BTreeSet<String> = entries.iter().flat_map(links_of).collect();
    let mut findings: Vec<Finding> = entries
        .into_iter()
        .filter_map(|entry| match entry {
            Ok(Entry::Whole(record)) => lost(&record),
            Ok(Entry::Unreadable { hash }) => {
                let fix = "delete the pod that has it; DEL or GC then finds the rest by name";
                let text = "its record cannot be read";
                Some(Finding::warn(CHECK, hash, text).fix(fix))
            }
            Err(error) => Some(Finding::warn(CHECK, "one", error.in_one_line()).fix("run as root")),
        })
        .collect();
    let ours = links.iter().filter(|link| link.group == LINK_GROUP && !owned.contains(&link.name));
    findings.extend(ours.filter_map(|link| stray(&link.name)));
    findings.extend(leases(dirs));
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "all", format!("{count} of them, each with its link")));
    }
    findings
}

fn links_of(entry: &Result<Entry, tripod_cni::Error>) -> Vec<String> {
    match entry {
        Ok(Entry::Whole(record)) => {
            let port = record.port.as_ref().map(|port| port.bridge.clone());
            let others = record.ifb.iter().chain(&record.shared_device).cloned();
            std::iter::once(record.host_ifname.clone()).chain(others).chain(port).collect()
        }
        _ => Vec::new(),
    }
}

/// A link that no attachment has, if it is still there.
fn stray(name: &str) -> Option<Finding> {
    if_nametoindex(name).ok()?;
    let text = "a pod's link on this node that no attachment has";
    let fix = format!(
        "see `ip -d link show {name}` for the container in its alias; if that is gone: ip link del {name}"
    );
    Some(Finding::warn("link", name, text).fix(fix))
}

/// Addresses that are given, and of which no attachment is known.
fn leases(dirs: &Dirs) -> Option<Finding> {
    let told = tripod_cni::answer(&["leases", "--json"], dirs, &[]).text;
    let rows: Vec<Value> = serde_json::from_str(&told).ok()?;
    let say = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_lost = |row: &&Value| {
        row.get("netns").is_some_and(Value::is_null) && say(row, "network") == conflist::NETWORK
    };
    let lost: Vec<String> = rows.iter().filter(is_lost).map(|row| say(row, "address")).collect();
    let first = lost.first()?;
    let text = format!("{} addresses are given to nobody who is known, {first} among them", lost.len());
    let fix = format!(
        "the runtime's GC frees them (containerd from 2.0 on); else see `tripod-cni leases`, and remove {} once no pod has it",
        dirs.leases.join(conflist::NETWORK).join(first).display()
    );
    Some(Finding::warn("lease", conflist::NETWORK, text).fix(fix))
}

/// Nothing where the pod's link is there, or another plugin's.
fn lost(record: &Record) -> Option<Finding> {
    let is_there = record.host_ifname.is_empty() || if_nametoindex(record.host_ifname.as_str()).is_ok();
    if record.stage == Stage::Intent || is_there {
        return None;
    }
    let pod = record.pod.as_deref().unwrap_or("of an unknown pod");
    let object = format!("{pod} (container {} on {})", record.container_id, record.ifname);
    let text = format!("its link {} is gone, and with it its network", record.host_ifname);
    Some(Finding::warn(CHECK, object, text).fix("delete the pod; its controller makes a new one"))
}
