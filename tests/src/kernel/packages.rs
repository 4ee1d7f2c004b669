//! The kernel and the emulator, as Debian has them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::cluster::debian;
use crate::cluster::progress::step;

/// Depends on the newest kernel package. Not the cloud kernel, which has no 9p.
const KERNEL: &str = "linux-image-amd64";
const EMULATOR: &str = "qemu-system-x86";
const SHELL: &str = "busybox-static";
/// WireGuard's own tool, by which tests look at what was made, and break it.
const WIREGUARD: &str = "wireguard-tools";
/// The folder's file that tells that it is complete, and the kernel's release.
const RELEASE: &str = "release";

/// Everything unpacked, below one folder.
#[derive(Debug)]
pub(super) struct Packages {
    folder: PathBuf,
    release: String,
}

impl Packages {
    /// Unpacks what is missing below `folder`. What is there is kept.
    pub(super) fn prepare(folder: &Path) -> anyhow::Result<Self> {
        let (tools, linux, qemu) = (folder.join("tools"), folder.join("linux"), folder.join("qemu"));
        debian::unpack(&tools, &[SHELL, WIREGUARD])?;
        if !qemu.join(RELEASE).exists() {
            // Its libraries too, as far as this machine has none.
            debian::unpack(&qemu, &debian::missing(EMULATOR)?)?;
            fs::write(qemu.join(RELEASE), "")?;
        }
        if !linux.join(RELEASE).exists() {
            let release = unpack_kernel(&linux, &tools)?;
            fs::write(linux.join(RELEASE), release)?;
        }
        let release = fs::read_to_string(linux.join(RELEASE))?;
        Ok(Self { folder: folder.to_owned(), release })
    }

    /// The kernel's release, as `uname -r` tells it.
    pub(super) fn release(&self) -> &str {
        &self.release
    }

    /// The kernel's image.
    pub(super) fn kernel(&self) -> PathBuf {
        self.folder.join("linux/boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The folder of the kernel's modules and their tables.
    pub(super) fn modules(&self) -> PathBuf {
        self.folder.join("linux/lib/modules").join(&self.release)
    }

    /// A static shell with all the small tools.
    pub(super) fn busybox(&self) -> PathBuf {
        busybox(&self.folder.join("tools"))
    }

    /// The folder of tools that the machine may not have.
    pub(super) fn tools(&self) -> PathBuf {
        self.folder.join("tools/usr/bin")
    }

    /// The emulator, as unpacked or, if it was there already, as installed.
    pub(super) fn qemu(&self) -> Command {
        let folder = self.folder.join("qemu");
        let unpacked = folder.join("usr/bin/qemu-system-x86_64");
        if !unpacked.exists() {
            return Command::new("qemu-system-x86_64");
        }
        let libraries = ["usr/lib", "lib"].map(|path| folder.join(path).join("x86_64-linux-gnu"));
        let mut qemu = Command::new("env");
        qemu.arg(format!("LD_LIBRARY_PATH={}:{}", libraries[0].display(), libraries[1].display()));
        qemu.arg(unpacked);
        qemu
    }
}

fn unpack_kernel(folder: &Path, tools: &Path) -> anyhow::Result<String> {
    let package = debian::dependency(KERNEL, "linux-image-")?;
    let release = package.trim_start_matches("linux-image-").to_owned();
    debian::unpack(folder, &[package])?;
    // Where /lib is a link to /usr/lib, packages may come without it.
    if !folder.join("lib").exists() {
        symlink("usr/lib", folder.join("lib"))?;
    }
    step("tell which modules need which", || {
        let mut depmod = Command::new(busybox(tools));
        let status = depmod.args(["depmod", "-b"]).arg(folder).arg(&release).status().context("depmod")?;
        anyhow::ensure!(status.success(), "depmod of {release}: {status}");
        Ok(())
    })?;
    Ok(release)
}

/// Some releases of Debian have /bin in /usr.
fn busybox(tools: &Path) -> PathBuf {
    let (old, new) = (tools.join("bin/busybox"), tools.join("usr/bin/busybox"));
    if old.exists() { old } else { new }
}
