//! The admin's view of the cluster, by the real `kubectl`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::Value;

use super::controlplane::kube;
use super::identity::Identities;
use super::machine::Machine;
use super::programs::Programs;

/// `kubectl` with the admin's identity, run on the control plane's machine.
#[derive(Debug)]
pub struct Kubectl<'a> {
    machine: &'a Machine,
    programs: Programs,
    kubeconfig: PathBuf,
    /// Takes its discovery cache, and the manifests on their way to it.
    home: PathBuf,
}

impl<'a> Kubectl<'a> {
    /// Writes the admin's kubeconfig. `folder` becomes its home.
    pub fn open(
        machine: &'a Machine,
        programs: &Programs,
        identities: &Identities,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let kubeconfig = identities.write_kubeconfig("admin")?;
        Ok(Self { machine, programs: programs.clone(), kubeconfig, home: folder.to_owned() })
    }

    /// Runs `kubectl` and returns what it printed.
    pub fn run<S: AsRef<str>>(&self, words: &[S]) -> anyhow::Result<String> {
        self.machine.run(&mut self.command(words))
    }

    /// What `kubectl get` says about an object or a list of them.
    pub fn get(&self, words: &[&str]) -> anyhow::Result<Value> {
        let text = self.run(&[&["get", "--output=json"], words].concat())?;
        serde_json::from_str(&text).with_context(|| format!("kubectl get {words:?} printed {text}"))
    }

    /// Applies a manifest.
    pub fn apply(&self, manifest: &str) -> anyhow::Result<String> {
        let file = self.home.join("manifest.yaml");
        std::fs::write(&file, manifest)?;
        let mut command = self.command(&["apply", "--filename=-"]);
        let output = self.machine.run(command.stdin(Stdio::from(File::open(&file)?)));
        output.with_context(|| format!("manifest:\n{manifest}"))
    }

    fn command<S: AsRef<str>>(&self, words: &[S]) -> Command {
        let mut kubectl = kube(&self.programs, "kubectl");
        kubectl.env("HOME", &self.home).env("KUBECONFIG", &self.kubeconfig);
        kubectl.args(words.iter().map(AsRef::as_ref));
        kubectl
    }
}
