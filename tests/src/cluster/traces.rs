//! What a run could leave behind on the machine, listed before and after it.
//!
//! The machine may be doing other things at the same time, so only what can be a run's is listed: what
//! carries its mark, and what nodes are known to make when they are not kept apart from the machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::cgroups;
use super::state::{MARK, TEMPORARY};

/// Where a node that is not kept apart leaves files, sockets and mounts.
const PLACES: [&str; 13] = [
    "/etc/cdi",
    "/etc/cni",
    "/etc/containerd",
    "/etc/kubernetes",
    "/etc/tripod",
    "/opt/cni",
    "/run/cdi",
    "/run/containerd",
    "/run/netns",
    "/run/tripod",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/pods",
];
/// Names of cgroups that the kubelet and containerd make.
const CGROUPS: [&str; 3] = [MARK, "kubepods", "k8s.io"];
/// Settings of the whole machine that a kubelet or a network plugin would change.
const SETTINGS: [&str; 8] = [
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
];
/// A folder deeper than this is somebody's data, and its top would have told.
const DEPTH: usize = 3;

/// Everything found, one line each.
#[derive(Debug, Default)]
pub struct Traces(BTreeSet<String>);

impl Traces {
    /// Looks at the machine as it is now.
    pub fn find() -> anyhow::Result<Self> {
        let mut traces = Self::default();
        traces.add("process", processes()?);
        traces.add("mount", mounts()?);
        traces.add("cgroup", control_groups()?);
        traces.add("link", links()?);
        traces.add("file", files());
        traces.add("setting", settings());
        Ok(traces)
    }

    /// What is here and was not there before, or is not as it was.
    pub fn since(&self, before: &Self) -> Vec<String> {
        let appeared = self.0.difference(&before.0).map(|line| format!("left behind: {line}"));
        let gone = before.0.difference(&self.0).filter(|line| !line.starts_with("process "));
        appeared.chain(gone.map(|line| format!("missing: {line}"))).collect()
    }

    fn add(&mut self, kind: &str, lines: Vec<String>) {
        self.0.extend(lines.into_iter().map(|line| format!("{kind} {line}")));
    }
}

/// Fails naming whatever the machine has now and had not `before`.
pub fn verify_clean(before: &Traces) -> anyhow::Result<()> {
    let left = Traces::find()?.since(before);
    anyhow::ensure!(left.is_empty(), "{}", left.join("\n"));
    Ok(())
}

/// Processes that were started with a run's files, live in its cgroups or see its mounts.
fn processes() -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        let Some(pid) = folder.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else {
            continue;
        };
        let marked =
            ["cmdline", "environ", "cgroup", "mountinfo"].iter().any(|file| holds(&folder.join(file), MARK));
        if marked {
            found.push(format!("{pid} {}", read(&folder.join("cmdline")).replace('\0', " ")));
        }
    }
    Ok(found)
}

fn mounts() -> anyhow::Result<Vec<String>> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    let ours = |line: &&str| line.contains(MARK) || line.split(' ').nth(4).is_some_and(is_place);
    Ok(mountinfo.lines().filter(ours).map(str::to_owned).collect())
}

fn is_place(path: &str) -> bool {
    PLACES.iter().any(|place| Path::new(path).starts_with(place))
}

fn control_groups() -> anyhow::Result<Vec<String>> {
    let all = cgroups::hierarchies()?.into_iter().flat_map(|hierarchy| cgroups::below(&hierarchy));
    let names = all.map(|path| path.display().to_string());
    Ok(names.filter(|path| CGROUPS.iter().any(|name| path.contains(name))).collect())
}

fn links() -> anyhow::Result<Vec<String>> {
    let links =
        fs::read_dir("/sys/class/net")?.map(|link| Ok(link?.file_name().to_string_lossy().into_owned()));
    links.collect()
}

fn files() -> Vec<String> {
    let temporary = fs::read_dir(TEMPORARY).into_iter().flatten().flatten().map(|entry| entry.path());
    let ours = temporary.filter(|path| path.to_string_lossy().contains(MARK));
    let places = PLACES.iter().map(PathBuf::from).flat_map(|place| walk(&place, DEPTH));
    ours.chain(places).map(|path| path.display().to_string()).collect()
}

fn walk(path: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = if path.symlink_metadata().is_ok() { vec![path.to_owned()] } else { Vec::new() };
    if depth > 0 && path.is_dir() {
        let below = fs::read_dir(path).into_iter().flatten().flatten();
        found.extend(below.flat_map(|entry| walk(&entry.path(), depth - 1)));
    }
    found
}

fn settings() -> Vec<String> {
    SETTINGS
        .iter()
        .map(|name| format!("{name} = {}", read(&Path::new("/proc/sys").join(name)).trim()))
        .collect()
}

fn holds(file: &Path, text: &str) -> bool {
    read(file).contains(text)
}

/// A process may end while it is looked at, and then has nothing to tell.
fn read(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(lines: &[&str]) -> Traces {
        Traces(lines.iter().map(|line| (*line).to_owned()).collect())
    }

    #[test]
    fn what_appears_and_what_changes_is_told() {
        let before = traces(&["link eth0", "setting vm/overcommit_memory = 0", "process 7 old"]);
        let after = traces(&["link eth0", "link n1", "setting vm/overcommit_memory = 1"]);
        let told = [
            "left behind: link n1",
            "left behind: setting vm/overcommit_memory = 1",
            "missing: setting vm/overcommit_memory = 0",
        ];
        assert_eq!(after.since(&before), told);
    }

    #[test]
    fn a_process_that_outlives_its_run_is_found() {
        let before = Traces::find().expect("the machine can be looked at");
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .env("STATE", format!("/tmp/{MARK}x"))
            .spawn()
            .expect("a process");
        let left = verify_clean(&before);
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert!(left.expect_err("a process is left").to_string().contains("sleep 60"));
    }
}
