//! A node's view of the files: the machine's programs and libraries below, its own state above.
//!
//! Nothing that a node, its kubelet or a hostPath volume writes at the places where nodes keep state is
//! seen by the machine or by another node. All of it is undone by the end of the mount namespace.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// Folders that the node may change without the machine seeing it.
const OVERLAID: [&str; 4] = ["etc", "opt", "usr/local", "var"];
/// What a node that nobody has touched does not have, though the machine may.
const ABSENT: [&str; 8] = [
    "etc/cni",
    "etc/cdi",
    "etc/tripod",
    "opt/cni",
    "usr/local/lib/tripod",
    "var/lib/cni",
    "var/log/containers",
    "var/log/pods",
];
/// Folders that need a plain file system: the kubelet measures it, and overlays do not nest.
const PLAIN: [&str; 2] = ["var/lib/containerd", "var/lib/kubelet"];
/// Device nodes of a container host. More can be made by a test, on the node alone.
const DEVICES: [&str; 8] = ["fuse", "full", "kmsg", "null", "random", "tty", "urandom", "zero"];
/// Kernel settings the kubelet wants for the whole machine, as which it is shown them instead.
const TUNABLES: [(&str, &str); 6] = [
    ("kernel/keys/root_maxbytes", "25000000"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
];

/// Changes one mount, not the file system behind it.
const READ_ONLY: MsFlags = MsFlags::MS_BIND.union(MsFlags::MS_REMOUNT).union(MsFlags::MS_RDONLY);

/// The folder on the machine that holds one node's files.
#[derive(Debug)]
pub struct NodeFiles {
    folder: PathBuf,
}

impl NodeFiles {
    /// Lays out a node without state below `folder`.
    pub fn create(folder: &Path) -> anyhow::Result<Self> {
        let files = Self { folder: folder.to_owned() };
        for name in OVERLAID {
            fs::create_dir_all(files.upper(name))?;
            fs::create_dir_all(files.work(name))?;
        }
        for path in PLAIN {
            fs::create_dir_all(files.plain(path))?;
        }
        for path in ABSENT {
            files.hide(path)?;
        }
        for (path, value) in TUNABLES {
            write(&files.tunable(path), value)?;
        }
        fs::create_dir_all(files.folder.join("sys"))?;
        Ok(files)
    }

    /// The node laid out there before.
    pub fn again(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Puts a file where the node will find it at `path`, which must lie in an overlaid folder.
    pub fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        write(&self.upper(path.trim_start_matches('/')), text)
    }

    /// Mounts all of it. To be done inside of the node.
    pub fn mount(&self) -> anyhow::Result<()> {
        for name in OVERLAID {
            self.mount_overlay(name)?;
        }
        mount_new("tmpfs", Path::new("/run"), "mode=755")?;
        fs::create_dir("/run/netns")?;
        for path in PLAIN {
            let place = Path::new("/").join(path);
            fs::create_dir_all(&place)?;
            bind(&self.plain(path), &place)?;
        }
        mount_devices()?;
        self.mount_sysfs()?;
        self.mount_settings()?;
        // As on a host that systemd has booted: volumes may ask for mounts to travel into containers.
        change(Path::new("/"), MsFlags::MS_SHARED | MsFlags::MS_REC)
    }

    fn mount_overlay(&self, name: &str) -> anyhow::Result<()> {
        let (upper, work) = (self.upper(name), self.work(name));
        let options = format!("lowerdir=/{name},upperdir={},workdir={}", upper.display(), work.display());
        mount_new("overlay", &Path::new("/").join(name), &options)
    }

    /// The links in /sys/class/net are those of the network it was mounted from.
    fn mount_sysfs(&self) -> anyhow::Result<()> {
        let (stage, cgroups) = (self.folder.join("sys"), Path::new("/sys/fs/cgroup"));
        mount_new("sysfs", &stage, "")?;
        bind(cgroups, &stage.join("fs/cgroup"))?;
        mount(Some(&stage), "/sys", None::<&str>, MsFlags::MS_MOVE, None::<&str>).context("move /sys")
    }

    /// Settings of the network belong to the node; all others are the machine's, and stay as they are.
    fn mount_settings(&self) -> anyhow::Result<()> {
        let (all, network) = (Path::new("/proc/sys"), Path::new("/proc/sys/net"));
        bind(all, all)?;
        change(all, READ_ONLY)?;
        bind(network, network)?;
        change(network, MsFlags::MS_BIND | MsFlags::MS_REMOUNT)?;
        TUNABLES.iter().try_for_each(|(path, _)| bind(&self.tunable(path), &all.join(path)))
    }

    /// A character device 0:0 in the upper layer is how an overlay marks what was removed.
    fn hide(&self, path: &str) -> anyhow::Result<()> {
        let place = self.upper(path);
        fs::create_dir_all(place.parent().expect("a path below a folder"))?;
        mknod(&place, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0))
            .with_context(|| place.display().to_string())
    }

    fn upper(&self, path: &str) -> PathBuf {
        self.folder.join("upper").join(path)
    }

    fn work(&self, name: &str) -> PathBuf {
        self.folder.join("work").join(name)
    }

    fn plain(&self, path: &str) -> PathBuf {
        self.folder.join("plain").join(path)
    }

    fn tunable(&self, path: &str) -> PathBuf {
        self.folder.join("tunables").join(path)
    }
}

/// Makes the machine's files read-only but for those below `writable`: what a program would leave there
/// is refused instead of found later. To be done inside of a machine.
pub fn protect(writable: &Path) -> anyhow::Result<()> {
    bind(writable, writable)?;
    change(Path::new("/"), READ_ONLY)
}

/// A /dev of the node's own: the kernel's is one for all.
fn mount_devices() -> anyhow::Result<()> {
    let place = Path::new("/dev");
    let found: Vec<_> =
        DEVICES.iter().filter_map(|name| Some((name, fs::metadata(place.join(name)).ok()?))).collect();
    mount_new("tmpfs", place, "mode=755")?;
    for (name, original) in found.iter().filter(|(_, original)| original.file_type().is_char_device()) {
        let device = place.join(name);
        mknod(&device, SFlag::S_IFCHR, Mode::empty(), original.rdev())?;
        fs::set_permissions(&device, fs::Permissions::from_mode(original.mode()))?;
    }
    for folder in ["pts", "shm"] {
        fs::create_dir(place.join(folder))?;
    }
    mount_new("devpts", &place.join("pts"), "newinstance,ptmxmode=0666,mode=620")?;
    mount_new("tmpfs", &place.join("shm"), "mode=1777")?;
    symlink("pts/ptmx", place.join("ptmx"))?;
    symlink("/proc/self/fd", place.join("fd"))?;
    Ok(())
}

fn mount_new(kind: &str, place: &Path, options: &str) -> anyhow::Result<()> {
    let mounted = mount(Some(kind), place, Some(kind), MsFlags::empty(), Some(options));
    mounted.with_context(|| format!("mount a {kind} on {} ({options})", place.display()))
}

fn bind(source: &Path, place: &Path) -> anyhow::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    let mounted = mount(Some(source), place, None::<&str>, flags, None::<&str>);
    mounted.with_context(|| format!("bind {} to {}", source.display(), place.display()))
}

fn change(place: &Path, flags: MsFlags) -> anyhow::Result<()> {
    let changed = mount(None::<&str>, place, None::<&str>, flags, None::<&str>);
    changed.with_context(|| format!("change the mount on {}: {flags:?}", place.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
    fs::write(path, text).with_context(|| path.display().to_string())
}
