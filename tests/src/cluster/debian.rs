//! Programs from Debian packages, unpacked into `target/` instead of installed, so that no service
//! starts and the machine's own programs stay as they are.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

use super::progress::step;

/// A shell for test images, the first process of machines and sandboxes, the registry, and the OCI
/// runtime below containerd.
const PACKAGES: [&str; 4] = ["busybox-static", "catatonit", "docker-registry", "runc"];

/// Unpacks all packages into `folder`, once.
pub(super) fn unpack(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    for package in PACKAGES {
        let done = folder.join(format!(".{package}"));
        if !done.exists() {
            step(&format!("unpack Debian's {package}"), || unpack_one(package, folder))?;
            std::fs::write(done, "")?;
        }
    }
    Ok(())
}

fn unpack_one(package: &str, folder: &Path) -> anyhow::Result<()> {
    let download = tempfile::tempdir_in(folder)?;
    let mut apt = Command::new("apt-get");
    apt.current_dir(&download).args(["download", "-qq", "-o", "APT::Sandbox::User=root", package]);
    let status =
        apt.stdout(Stdio::null()).status().context("apt-get: packages come from Debian or its kin")?;
    anyhow::ensure!(status.success(), "apt-get download {package}: {status}; does `apt-get update` help?");
    for archive in std::fs::read_dir(&download)? {
        let status = Command::new("dpkg").arg("-x").arg(archive?.path()).arg(folder).status()?;
        anyhow::ensure!(status.success(), "dpkg -x of {package}: {status}");
    }
    Ok(())
}
