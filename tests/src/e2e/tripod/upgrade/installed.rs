//! What a runtime finds on a node at any moment: a plugin that runs, and a conflist that names it.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::cluster::node::Node;

pub(super) const PLUGIN: &str = "/opt/cni/bin/tripod-cni";
pub(super) const PROVIDER: &str = "/opt/tripod/credential-provider/tripod-credential-provider";
const CONFLISTS: &str = "/etc/cni/net.d";
const CONFLIST: &str = "10-tripod.conflist";

/// Often enough that hardly a pod begins between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// What was seen on one node.
#[derive(Debug)]
pub(super) struct Seen {
    node: String,
    /// Numbers of the versions, one per change.
    versions: Vec<usize>,
    looks: usize,
}

/// Looks until `stop`. Fails for the first look that finds less than a runtime needs.
pub(super) fn watch(node: &Node, versions: [&[u8]; 2], stop: &AtomicBool) -> anyhow::Result<Seen> {
    let mut seen = Seen { node: node.name().to_owned(), versions: Vec::new(), looks: 0 };
    node.within(move || {
        while !stop.load(Ordering::SeqCst) {
            let version = look(versions).with_context(|| format!("look {} on {}", seen.looks, seen.node))?;
            if seen.versions.last() != Some(&version) {
                seen.versions.push(version);
            }
            seen.looks += 1;
            std::thread::sleep(PAUSE);
        }
        Ok(seen)
    })
}

impl Seen {
    /// The old one, the new one, and the old one again.
    pub(super) fn judge(&self) -> anyhow::Result<()> {
        println!("  {}: {} looks, versions {:?}", self.node, self.looks, self.versions);
        anyhow::ensure!(self.versions == [0, 1, 0], "{self:?}");
        Ok(())
    }
}

/// Fails unless `path` on `node` has this content.
pub(super) fn is(node: &Node, path: &str, wanted: Option<&[u8]>) -> anyhow::Result<()> {
    let found = node.within(|| fs::read(path).with_context(|| path.to_owned()))?;
    anyhow::ensure!(Some(found.as_slice()) == wanted, "{path} on {} is of another version", node.name());
    Ok(())
}

/// The number of the version whose plugin is there, whole.
fn look(versions: [&[u8]; 2]) -> anyhow::Result<usize> {
    conflist_is_whole()?;
    let plugin = fs::read(PLUGIN).context(PLUGIN)?;
    let version = versions.iter().position(|version| *version == plugin);
    let version = version.with_context(|| format!("{PLUGIN} has {} bytes of no version", plugin.len()))?;
    let said = Command::new(PLUGIN).env("CNI_COMMAND", "VERSION").stdin(Stdio::null()).output()?;
    let said: Value = serde_json::from_slice(&said.stdout).with_context(|| format!("{said:?}"))?;
    anyhow::ensure!(said["supportedVersions"].is_array(), "{PLUGIN} says {said}");
    Ok(version)
}

/// It is the only one, and names the plugin.
fn conflist_is_whole() -> anyhow::Result<()> {
    let names = fs::read_dir(CONFLISTS)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<anyhow::Result<Vec<_>>>()?;
    let is_read = |name: &&String| [".conf", ".conflist", ".json"].iter().any(|end| name.ends_with(end));
    let read: Vec<_> = names.iter().filter(is_read).collect();
    anyhow::ensure!(read == [CONFLIST], "{CONFLISTS} has {names:?}");
    let text = fs::read(format!("{CONFLISTS}/{CONFLIST}")).context(CONFLIST)?;
    let list: Value = serde_json::from_slice(&text)
        .with_context(|| format!("{CONFLIST} is {:?}", String::from_utf8_lossy(&text)))?;
    anyhow::ensure!(list["plugins"][0]["type"] == "tripod-cni", "{CONFLIST} is {list}");
    Ok(())
}
