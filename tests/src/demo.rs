//! The demo: one node made of namespaces, on which the real programs do for two pods what they would do
//! on a cluster. Only the kubelet's side of gRPC and the registry are stand-ins. Needs no program but
//! cargo, and leaves nothing behind.

mod devices;
mod images;
mod network;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;

use crate::namespace::Namespace;
use crate::programs::{self, Profile};
use crate::table::Table;

const PACKAGES: [&str; 3] = ["tripod-cni", "tripod-device-plugin", "tripod-credential-provider"];

/// Runs it and prints a line per step.
pub fn run() -> anyhow::Result<()> {
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "root is needed: the node is made of a network and a mount namespace, and pods of network namespaces. \
         Run it again as root, for example with sudo. Nothing outside of those namespaces is changed"
    );
    let begin = Instant::now();
    let programs = programs::build(Profile::Release, &PACKAGES)?;
    let table = Table::begin("\nTripod on one throwaway node: no cluster, no container runtime");
    table.line("build", "the three programs as they are shipped", begin.elapsed());
    let stage = Stage::set(&table, programs)?;
    let pods = network::begin(&stage)?;
    devices::show(&stage)?;
    images::show(&stage)?;
    network::end(&stage, &pods)?;
    println!("\nEverything worked, and the node is gone with all that was on it.");
    Ok(())
}

/// What the acts share.
#[derive(Debug)]
struct Stage<'a> {
    table: &'a Table,
    node: Namespace,
    programs: PathBuf,
    folder: tempfile::TempDir,
}

impl<'a> Stage<'a> {
    fn set(table: &'a Table, programs: PathBuf) -> anyhow::Result<Self> {
        let node = table.step("node", || {
            let node = Namespace::try_node()
                .context("this machine does not let root make namespaces; a container needs CAP_SYS_ADMIN")?;
            Ok((node, "a network namespace with its own /run".to_owned()))
        })?;
        let folder = tempfile::Builder::new().prefix("tripod-demo.").tempdir()?;
        Ok(Self { table, node, programs, folder })
    }

    fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    }
}
