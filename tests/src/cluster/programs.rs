//! Everything a cluster runs, ready on disk under `target/cluster/`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{debian, golang};
use crate::programs::{PREBUILT, target_dir};

/// The folders that hold the programs of the cluster.
#[derive(Clone, Debug)]
pub struct Programs {
    built: PathBuf,
    debian: PathBuf,
}

impl Programs {
    /// Builds what comes from Go modules and unpacks what comes from Debian. Both are kept, so that only
    /// the first time takes minutes.
    pub fn prepare() -> anyhow::Result<Self> {
        let folder = std::path::absolute(target_dir().join("cluster"))?;
        let programs = Self { built: folder.join("bin"), debian: folder.join("debian") };
        debian::unpack(&programs.debian, &debian::PACKAGES)?;
        golang::build(&programs.built)?;
        Ok(programs)
    }

    /// What `build` makes with Go; none, loudly, where there is none: `what` is skipped then.
    pub fn with_go(what: &str, build: impl FnOnce() -> anyhow::Result<PathBuf>) -> Option<PathBuf> {
        // There is no Go in the guest of another kernel, and nothing built with it depends on the kernel.
        if std::env::var_os(PREBUILT).is_some() {
            return None;
        }
        let ready = Command::new("go").arg("version").output().is_ok();
        if !ready {
            assert!(std::env::var_os("CI").is_none(), "CI must run these tests with Go");
            // Past the harness's capture, which would hide it.
            drop(std::io::stderr().write_all(format!("\nSKIPPED: {what}: there is no Go\n").as_bytes()));
        }
        ready.then(|| build().expect("what is made with Go builds"))
    }

    /// The program that does with credential providers what the kubelet does; built if need be.
    pub fn keyring() -> anyhow::Result<PathBuf> {
        let folder = std::path::absolute(target_dir().join("cluster"))?.join("bin");
        golang::build_keyring(&folder)?;
        Ok(folder.join("keyring"))
    }

    /// Helm; built if need be.
    pub fn helm() -> anyhow::Result<PathBuf> {
        let folder = std::path::absolute(target_dir().join("cluster"))?.join("bin");
        golang::build_helm(&folder)?;
        Ok(folder.join("helm"))
    }

    /// All programs of Kubernetes in one: `kube kubelet`, `kube kubectl`.
    pub fn kube(&self) -> PathBuf {
        self.built.join("kube")
    }

    /// A static first process that only reaps.
    pub fn catatonit(&self) -> PathBuf {
        self.debian.join("usr/bin/catatonit")
    }

    /// A static shell with all the small tools.
    pub fn busybox(&self) -> PathBuf {
        self.debian.join("bin/busybox")
    }

    /// A program built from a Go module: containerd, ctr, etcd, crictl, a reference CNI plugin.
    pub fn built(&self, name: &str) -> PathBuf {
        self.built.join(name)
    }

    /// `PATH` of the machines: what was made here first.
    pub fn search_path(&self) -> String {
        let ours = [self.built.clone(), self.debian.join("usr/sbin"), self.debian.join("usr/bin")];
        let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
        let folders: Vec<_> = ours.iter().chain(&system).map(|folder| folder.to_string_lossy()).collect();
        folders.join(":")
    }
}

/// The Go modules of the cluster in this checkout.
pub(super) fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster")
}
