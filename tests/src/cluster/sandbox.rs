//! The network of a running pod, entered from the harness: what is tried there needs no program in the
//! pod's image.

use std::fs::File;

use super::crictl::Cri;
use super::machine::{Machine, command_line, succeeded};
use super::namespaces::within_network_of;
use super::node::Node;

/// An open network. It lives as long as this value, also after its pod: drop it first.
#[derive(Debug)]
pub struct SandboxNetwork(File);

impl SandboxNetwork {
    /// The network of the pod called `pod` on `node`.
    pub fn open(node: &Node, pod: &str) -> anyhow::Result<Self> {
        Self::of_sandbox(node.machine(), &Cri::on(node.machine()).sandbox_of(pod)?)
    }

    /// The network of the sandbox with this id on `machine`.
    pub fn of_sandbox(machine: &Machine, id: &str) -> anyhow::Result<Self> {
        let path = Cri::on(machine).netns(id)?;
        Ok(Self(machine.within(|| Ok(File::open(path)?))?))
    }

    /// Another handle of the same.
    pub fn try_clone(&self) -> anyhow::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Runs a program of the harness inside, to its end, and returns what it printed.
    pub fn exec(&self, words: &[&str]) -> anyhow::Result<String> {
        succeeded(&mut command_line(words), |command| self.within(|| Ok(command.output()?)))
    }

    /// Does `work` inside.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        within_network_of(&self.0, work)
    }
}
