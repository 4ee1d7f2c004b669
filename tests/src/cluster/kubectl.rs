//! The admin's view of the cluster, by the real `kubectl`.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::Value;

use super::controlplane::kube;
use super::identity::Identities;
use super::machine::{Machine, command_line};
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

    /// The beginning of a command line that does the same from a shell.
    pub fn line(&self) -> String {
        let (init, kube) = (self.machine.init(), self.programs.kube());
        let kubeconfig = self.kubeconfig.display();
        format!("nsenter --net --target {init} {} kubectl --kubeconfig={kubeconfig}", kube.display())
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

    /// Runs a line of a shell in an admin's folder of programs, where `kubectl` is and its plugins can be.
    pub fn shell(&self, line: &str) -> anyhow::Result<String> {
        let folder = self.home.join("bin");
        std::fs::create_dir_all(&folder)?;
        let script = format!("#!/bin/sh\nexec {} kubectl \"$@\"\n", self.programs.kube().display());
        let kubectl = folder.join("kubectl");
        std::fs::write(&kubectl, script)?;
        std::fs::set_permissions(&kubectl, std::fs::Permissions::from_mode(0o755))?;
        let line = format!("cd {0} && export PATH={0}:$PATH && {line}", folder.display());
        self.machine.run(self.as_admin(&mut command_line(&["sh", "-c", &line])))
    }

    fn command<S: AsRef<str>>(&self, words: &[S]) -> Command {
        let mut kubectl = kube(&self.programs, "kubectl");
        self.as_admin(&mut kubectl).args(words.iter().map(AsRef::as_ref));
        kubectl
    }

    fn as_admin<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("HOME", &self.home).env("KUBECONFIG", &self.kubeconfig)
    }
}
