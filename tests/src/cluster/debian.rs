//! Programs from Debian packages, unpacked into `target/` instead of installed, so that no service
//! starts and the machine's own programs stay as they are.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

use super::progress::step;

/// A shell for test images, the first process of machines and sandboxes, the registry, and the OCI
/// runtime below containerd.
pub(super) const PACKAGES: [&str; 4] = ["busybox-static", "catatonit", "docker-registry", "runc"];

/// Unpacks `packages` into `folder`, each once. What they depend on does not come with them.
pub fn unpack(folder: &Path, packages: &[impl AsRef<str>]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let done = |package: &str| folder.join(format!(".{package}"));
    let wanted: Vec<&str> = packages.iter().map(AsRef::as_ref).filter(|one| !done(one).exists()).collect();
    let Some(last) = wanted.last() else { return Ok(()) };
    let others = if wanted.len() > 1 { format!(" and {} others", wanted.len() - 1) } else { String::new() };
    step(&format!("unpack Debian's {last}{others}"), || unpack_all(&wanted, folder))?;
    Ok(wanted.iter().try_for_each(|package| std::fs::write(done(package), ""))?)
}

/// `package` and all it depends on, without what is installed.
pub(crate) fn missing(package: &str) -> anyhow::Result<Vec<String>> {
    let plan = ask("apt-get", &["--simulate", "--no-install-recommends", "install", package])?;
    let installed = plan.lines().filter_map(|line| line.strip_prefix("Inst "));
    Ok(installed.filter_map(|rest| rest.split(' ').next()).map(str::to_owned).collect())
}

/// The package that `package` depends on and whose name begins with `prefix`.
pub(crate) fn dependency(package: &str, prefix: &str) -> anyhow::Result<String> {
    let told = ask("apt-cache", &["depends", "--important", package])?;
    let names = told.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let found = names.map(str::to_owned).find(|name| name.starts_with(prefix));
    found.with_context(|| format!("{package} depends on no {prefix}…: {told}"))
}

fn ask(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("{program}: packages come from Debian or its kin"))?;
    let status = output.status;
    anyhow::ensure!(status.success(), "{program} {arguments:?}: {status}; does `apt-get update` help?");
    Ok(String::from_utf8(output.stdout)?)
}

fn unpack_all(packages: &[&str], folder: &Path) -> anyhow::Result<()> {
    let download = tempfile::tempdir_in(folder)?;
    let mut apt = Command::new("apt-get");
    apt.current_dir(&download).args(["download", "-qq", "-o", "APT::Sandbox::User=root"]).args(packages);
    let status =
        apt.stdout(Stdio::null()).status().context("apt-get: packages come from Debian or its kin")?;
    anyhow::ensure!(status.success(), "apt-get download {packages:?}: {status}; does `apt-get update` help?");
    for archive in std::fs::read_dir(&download)? {
        let archive = archive?.path();
        let status = Command::new("dpkg").arg("-x").arg(&archive).arg(folder).status()?;
        anyhow::ensure!(status.success(), "dpkg -x of {}: {status}", archive.display());
    }
    Ok(())
}
