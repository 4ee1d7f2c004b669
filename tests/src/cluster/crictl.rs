//! Pod sandboxes by the container runtime's own interface, as a kubelet asks for them.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::machine::Machine;

/// The container runtime of one machine.
#[derive(Clone, Copy, Debug)]
pub struct Cri<'a> {
    machine: &'a Machine,
}

impl<'a> Cri<'a> {
    /// The runtime that runs on `machine`.
    pub fn on(machine: &'a Machine) -> Self {
        Self { machine }
    }

    /// Makes the sandbox that `config`, a file on the machine, describes. Returns its id.
    pub fn run_sandbox(&self, config: &Path) -> anyhow::Result<String> {
        Ok(self.crictl(&["runp", &config.to_string_lossy()])?.trim().to_owned())
    }

    /// Ends the sandbox; its network goes with it.
    pub fn stop_sandbox(&self, id: &str) -> anyhow::Result<()> {
        self.crictl(&["stopp", id]).map(drop)
    }

    /// Forgets a sandbox that was ended.
    pub fn remove_sandbox(&self, id: &str) -> anyhow::Result<()> {
        self.crictl(&["rmp", id]).map(drop)
    }

    /// The id of the sandbox of the pod called `name`.
    pub fn sandbox_of(&self, name: &str) -> anyhow::Result<String> {
        let pattern = format!("^{name}$");
        let ids = self.crictl(&["pods", "--quiet", "--state", "Ready", "--name", &pattern])?;
        Ok(ids.lines().next().with_context(|| format!("no sandbox of {name}"))?.to_owned())
    }

    /// All the runtime tells about the sandbox.
    pub fn inspect(&self, id: &str) -> anyhow::Result<Value> {
        let text = self.crictl(&["inspectp", "--output", "json", id])?;
        serde_json::from_str(&text).with_context(|| format!("crictl inspectp {id} printed {text}"))
    }

    /// The path of the sandbox's network namespace, on the machine.
    pub fn netns(&self, id: &str) -> anyhow::Result<String> {
        let about = self.inspect(id)?;
        let namespaces = about.pointer("/info/runtimeSpec/linux/namespaces").and_then(Value::as_array);
        let mut namespaces = namespaces.into_iter().flatten();
        let network = namespaces.find(|namespace| namespace["type"] == "network");
        let path = network.and_then(|namespace| namespace["path"].as_str());
        Ok(path.with_context(|| format!("sandbox {id} has no network namespace"))?.to_owned())
    }

    /// The id of the one container called `name` that runs.
    pub fn running_container(&self, name: &str) -> anyhow::Result<String> {
        self.only_container(&["--name", &format!("^{name}$")])
    }

    /// The id of the one container of the pod called `name` that runs.
    pub fn container_of(&self, name: &str) -> anyhow::Result<String> {
        self.only_container(&["--pod", &self.sandbox_of(name)?])
    }

    fn only_container(&self, filter: &[&str]) -> anyhow::Result<String> {
        let ids = self.crictl(&[&["ps", "--quiet", "--state", "Running"], filter].concat())?;
        let ids: Vec<_> = ids.lines().collect();
        let [id] = ids[..] else { anyhow::bail!("{filter:?}: running containers are {ids:?}") };
        Ok(id.to_owned())
    }

    /// The number of a container's first process, on the machine.
    pub fn process_of(&self, id: &str) -> anyhow::Result<String> {
        let text = self.crictl(&["inspect", "--output", "json", id])?;
        let about: Value = serde_json::from_str(&text)?;
        // One that has just ended is told as 0, which to `kill` is everybody in its own group: the harness.
        let process = about.pointer("/info/pid").and_then(Value::as_u64).filter(|process| *process != 0);
        Ok(process.with_context(|| format!("container {id} has no process"))?.to_string())
    }

    /// What the runtime says about itself.
    pub fn info(&self) -> anyhow::Result<Value> {
        let text = self.crictl(&["info", "--output", "json"])?;
        serde_json::from_str(&text).with_context(|| format!("crictl info printed {text}"))
    }

    fn crictl(&self, words: &[&str]) -> anyhow::Result<String> {
        self.machine.exec(&[&["crictl"], words].concat())
    }
}
