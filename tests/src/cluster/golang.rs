//! Programs from Go modules, built by `go build` with Go's own cache.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use nix::unistd::Pid;

use super::interrupt;
use super::programs::modules;
use super::progress::{Ticker, step};

/// Programs that come from one module under `tests/cluster/`.
struct Family {
    folder: &'static str,
    /// What is built: a package, or `tool` for all that the module's go.mod names.
    target: &'static str,
    /// File name of a single program; empty where every tool keeps its own.
    program: &'static str,
    flags: &'static [&'static str],
}

/// The kubelet's own code around credential providers, without a kubelet.
const KEYRING: Family =
    Family { folder: "kube", target: "./keyring", program: "keyring", flags: &["-ldflags=-s -w"] };

/// Renders the chart. Its libraries are many, so its module is its own.
const HELM: Family = Family { folder: "helm", target: "tool", program: "", flags: &["-ldflags=-s -w"] };

const FAMILIES: [Family; 8] = [
    Family {
        folder: "kube",
        target: ".",
        program: "kube",
        // Without a version the API server takes itself for 0.0 and refuses its own feature gates. The
        // symbols are half of the file and of the time to link it.
        flags: &["-ldflags=-s -w -X k8s.io/component-base/version.gitVersion=v1.37.1"],
    },
    KEYRING,
    HELM,
    Family { folder: "etcd", target: "go.etcd.io/etcd/server/v3", program: "etcd", flags: &[] },
    // The snapshotters left out need C libraries, and a test node has overlayfs.
    Family {
        folder: "containerd",
        target: "tool",
        program: "",
        flags: &["-tags=no_btrfs,no_devmapper,no_zfs"],
    },
    Family { folder: "tools", target: "tool", program: "", flags: &[] },
    Family { folder: "ocicni", target: ".", program: "ocicni", flags: &[] },
    Family { folder: "cdi", target: ".", program: "cdi", flags: &[] },
];

/// Builds every program into `folder`. Go decides what is up to date.
pub(super) fn build(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    FAMILIES.iter().try_for_each(|family| family.build(folder))
}

/// Builds the keyring alone.
pub(super) fn build_keyring(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    KEYRING.build(folder)
}

/// Builds Helm alone.
pub(super) fn build_helm(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    HELM.build(folder)
}

impl Family {
    fn build(&self, folder: &Path) -> anyhow::Result<()> {
        interrupt::check()?;
        step(&format!("go build of {}", self.folder), || {
            // `-o` takes a folder only with a slash at its end.
            let output = format!("{}/{}", folder.display(), self.program);
            let mut go = Command::new("go");
            go.current_dir(modules().join(self.folder)).env("CGO_ENABLED", "0");
            go.args(["build", "-v", "-buildvcs=false", "-o", &output]).args(self.flags).arg(self.target);
            let go = go.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
            self.follow(go.context("go: the cluster's programs are built with Go 1.26 or newer")?)
        })
    }

    /// Counts the packages that go names as it compiles them. Anything else it says is an error text.
    fn follow(&self, mut go: Child) -> anyhow::Result<()> {
        let watched = interrupt::watch(Pid::from_raw(i32::try_from(go.id())?));
        let (mut ticker, mut packages, mut said) = (Ticker::start(), 0, Vec::new());
        for line in BufReader::new(go.stderr.take().expect("stderr is piped")).lines() {
            let line = line?;
            if line.contains(' ') {
                said.push(line);
                continue;
            }
            packages += 1;
            ticker.tick(&format!("go build of {}: {packages} packages", self.folder));
        }
        drop(watched);
        let status = go.wait()?;
        anyhow::ensure!(status.success(), "go build of {}: {status}\n{}", self.folder, said.join("\n"));
        Ok(())
    }
}
