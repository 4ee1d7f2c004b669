//! A node's cgroup, the same in every hierarchy, below which its kubelet makes all others.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::eventually::retry;

/// A process that was killed leaves its cgroup a moment after it was reaped.
const REMOVE_LIMIT: Duration = Duration::from_secs(10);

/// One cgroup in each hierarchy; removed, with all below it, when dropped.
#[derive(Debug)]
pub struct Cgroup {
    name: String,
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the cgroup `name` at the top of every hierarchy of this machine.
    pub fn create(name: &str) -> anyhow::Result<Self> {
        let mut cgroup = Self { name: name.to_owned(), folders: Vec::new() };
        for hierarchy in hierarchies()? {
            let folder = hierarchy.join(name);
            fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
            cgroup.folders.push(folder.clone());
            inherit_cpuset(&hierarchy, &folder)?;
        }
        anyhow::ensure!(!cgroup.folders.is_empty(), "no cgroup hierarchy is mounted here");
        Ok(cgroup)
    }

    /// The kubelet's `cgroupRoot`.
    pub fn root(&self) -> String {
        format!("/{}", self.name)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            if let Err(error) = retry(REMOVE_LIMIT, || remove(folder)) {
                eprintln!("cgroup {}: {error:#}", folder.display());
            }
        }
    }
}

/// Mount points of all cgroup hierarchies, of either version.
pub fn hierarchies() -> anyhow::Result<Vec<PathBuf>> {
    Ok(parse_mounts(&fs::read_to_string("/proc/self/mountinfo")?))
}

/// All cgroups of `hierarchy` below its top.
pub fn below(hierarchy: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(hierarchy) else { return Vec::new() };
    let folders = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    folders.flat_map(|folder| below(&folder).into_iter().chain([folder])).collect()
}

/// Removes every cgroup whose name begins with `prefix` from the top of all hierarchies.
pub fn remove_all(prefix: &str) -> anyhow::Result<()> {
    for hierarchy in hierarchies()? {
        for entry in fs::read_dir(&hierarchy)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                retry(REMOVE_LIMIT, || remove(&entry.path()))?;
            }
        }
    }
    Ok(())
}

fn parse_mounts(mountinfo: &str) -> Vec<PathBuf> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup").then(|| place.split(' ').nth(4).map(PathBuf::from)).flatten()
    });
    mounts.collect()
}

/// In the first version a new cpuset is empty, and no process can join it until it has both.
fn inherit_cpuset(hierarchy: &Path, folder: &Path) -> anyhow::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        // The top of a second version hierarchy has no such file, and its cgroups need none.
        if let Ok(value) = fs::read_to_string(hierarchy.join(file)) {
            fs::write(folder.join(file), value).with_context(|| format!("{} {file}", folder.display()))?;
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    for cgroup in below(folder).into_iter().chain([folder.to_owned()]) {
        if cgroup.exists() {
            fs::remove_dir(&cgroup).with_context(|| cgroup.display().to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let mountinfo = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                         34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n\
                         41 31 0:38 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw\n";
        let found = parse_mounts(mountinfo);
        assert_eq!(found, ["/sys/fs/cgroup/cpuset", "/sys/fs/cgroup/unified"].map(PathBuf::from));
    }
}
