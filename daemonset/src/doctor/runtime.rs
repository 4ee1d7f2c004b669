//! Whether the container runtime takes our conflist: what the kubelet says of it, what sorts before ours, and
//! where the runtime looks, where its process can be seen.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tripod_cni::finding::Finding;

use crate::conflist;
use crate::node_facts::blames_network;
use crate::processes::{self, Process};
use crate::status::say;

const CHECK: &str = "runtime";
/// Most files of a folder that are looked at.
const MOST: usize = 1000;

/// What the kubelet says of the node, which asks the runtime.
pub(super) fn loaded(status: &Value) -> Finding {
    let node = say(status, "node");
    let Some(condition) = status.get("nodeReady").filter(|condition| condition.is_object()) else {
        return Finding::ok(
            CHECK,
            node,
            "the Node has no condition Ready yet, so that nobody has told whether the runtime has a network",
        );
    };
    let (word, message) = (say(condition, "status"), say(condition, "message"));
    if word == "True" {
        return Finding::ok(CHECK, node, "the Node is Ready, so that the runtime has loaded a network");
    }
    let is_ours = status.get("ready").and_then(Value::as_bool) == Some(true);
    let text = format!("the Node's condition Ready is {word}: {message}");
    if is_ours && blames_network(&message) {
        let fix = "the conflist is written, and the runtime does not take it: give the chart the folders that the runtime \
            reads (paths.cniConfDir and paths.cniBinDir; see \"crictl info\" on the node), and see the runtime's log";
        return Finding::fail(CHECK, node, text).fix(fix);
    }
    Finding::warn(CHECK, node, text).fix("see the kubelet's log on the node")
}

/// Which configurations the runtime takes before ours.
pub(super) fn order(conflist: &Path) -> Option<Finding> {
    let (folder, ours) = (conflist.parent()?, conflist.file_name()?.to_str()?);
    let names = fs::read_dir(folder).ok()?.flatten().take(MOST);
    let names: Vec<String> = names.filter_map(|name| name.file_name().into_string().ok()).collect();
    let earlier = conflist::preempting(names.iter().map(String::as_str), ours);
    let text = format!("{} come before it, and the runtime takes the first by name", earlier.join(", "));
    let fix = format!("remove them from {}, or rename them to sort behind {ours}", folder.display());
    Some(match earlier.is_empty() {
        true => Finding::ok("conflist-order", ours, "the first by name"),
        false => Finding::warn("conflist-order", ours, text).fix(fix),
    })
}

/// Whether runtimes that run below `host` look where our files are.
pub(super) fn places(host: &Path, conflist: &Path, plugins: &Path) -> Vec<Finding> {
    let proc = host.join("proc");
    let containerd = processes::named(&proc, "containerd").into_iter().map(|it| (it, Kind::Containerd));
    let crio = processes::named(&proc, "crio").into_iter().map(|it| (it, Kind::Crio));
    let runtimes: Vec<_> = containerd.chain(crio).collect();
    if runtimes.is_empty() {
        let text = "no containerd and no CRI-O can be seen from here, so that their folders are not compared";
        return vec![
            Finding::ok(CHECK, "processes", text)
                .fix("run the doctor on the node itself, or give --host-root"),
        ];
    }
    let folder = conflist.parent().unwrap_or(Path::new("/"));
    runtimes.iter().flat_map(|(process, kind)| compared(process, *kind, folder, plugins)).collect()
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Containerd,
    Crio,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Crio => "CRI-O",
        }
    }

    /// The keys of the folders of conflists and of plugins, in the sections that mean them, and the default.
    fn keys(self) -> [(&'static [&'static str], &'static str); 2] {
        match self {
            Self::Containerd => {
                [(&["conf_dir"], "/etc/cni/net.d"), (&["bin_dir", "bin_dirs"], "/opt/cni/bin")]
            }
            Self::Crio => {
                [(&["network_dir"], "/etc/cni/net.d"), (&["plugin_dir", "plugin_dirs"], "/opt/cni/bin")]
            }
        }
    }

    fn is_section(self, name: &str) -> bool {
        match self {
            Self::Containerd => name.ends_with(".cni"),
            Self::Crio => name == "crio.network",
        }
    }

    fn config(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Containerd => (&["--config", "-c"], "/etc/containerd/config.toml"),
            Self::Crio => (&["--config", "-c"], "/etc/crio/crio.conf"),
        }
    }
}

fn compared(process: &Process, kind: Kind, folder: &Path, plugins: &Path) -> Vec<Finding> {
    let (flags, default) = kind.config();
    let path = process.flag(flags).unwrap_or(default).to_owned();
    // Without a file it has its defaults; files of the folder beside it win.
    let mut text = process.read(Path::new(&path)).unwrap_or_default();
    let beside = PathBuf::from(format!("{path}.d"));
    for name in process.names(&beside, MOST).unwrap_or_default() {
        text.push_str(&format!("\n[]\n{}", process.read(&beside.join(name)).unwrap_or_default()));
    }
    let mut findings = Vec::new();
    for ((keys, default), (ours, flag)) in
        kind.keys().into_iter().zip([(folder, "paths.cniConfDir"), (plugins, "paths.cniBinDir")])
    {
        let named = values(&text, |section| kind.is_section(section), keys);
        let named = if named.is_empty() { vec![default.to_owned()] } else { named };
        let is_same =
            |one: &String| Path::new(one) == ours || same(process.metadata(Path::new(one)).ok(), ours);
        let told = named.join(", ");
        findings.push(match named.iter().any(is_same) {
            true => Finding::ok(CHECK, kind.name(), format!("it looks in {told}")),
            false => {
                let evidence = format!("by {path} it looks in {told}, and ours are in {}", ours.display());
                let fix = format!("where pods do not start, set {flag} of the chart to its folder");
                Finding::warn(CHECK, kind.name(), evidence).fix(fix)
            }
        });
    }
    findings
}

/// Whether `ours` leads to the folder that was found.
fn same(found: Option<fs::Metadata>, ours: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |it: fs::Metadata| (it.dev(), it.ino());
    found.map(id).is_some_and(|it| fs::metadata(ours).ok().map(id) == Some(it))
}

/// The strings of the last of `keys` in sections that fit. As much of TOML as these files use for them.
fn values(text: &str, is_section: impl Fn(&str) -> bool, keys: &[&str]) -> Vec<String> {
    let (mut inside, mut found) = (false, Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            let name = name.split(']').next().unwrap_or_default().trim();
            inside = is_section(name);
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        if inside && keys.contains(&key.trim()) {
            let strings: Vec<String> = strings(value);
            if !strings.is_empty() {
                found = strings;
            }
        }
    }
    found
}

fn strings(value: &str) -> Vec<String> {
    let quote = if value.contains('"') { '"' } else { '\'' };
    value.split(quote).skip(1).step_by(2).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
