//! A machine with a container runtime and no Kubernetes: whoever wants a sandbox asks for it.

use std::fs::{self, File};

use anyhow::Context;
use serde_json::{Value, json};

use super::cgroups::Cgroup;
use super::crictl::Cri;
use super::filesystem::NodeFiles;
use super::machine::Machine;
use super::programs::Programs;
use super::state::StateFolder;
use super::{containerd, images};

/// The machine. Fields are dropped in this order: a cgroup can go once nothing runs in it.
#[derive(Debug)]
pub struct RuntimeHost {
    machine: Machine,
    cgroup: Cgroup,
    state: StateFolder,
}

impl RuntimeHost {
    /// Starts containerd on a machine of its own, with the sandbox image. `name` is for its logs.
    pub fn start(name: &str, programs: &Programs) -> anyhow::Result<Self> {
        let state = StateFolder::create(name)?;
        let cgroup = Cgroup::create(&format!("{}-host", state.mark()))?;
        let files = NodeFiles::create(&state.path().join("host"))?;
        containerd::configure(&files)?;
        let machine = Machine::create("host", programs, &state)?;
        machine.within(|| files.mount())?;
        let host = Self { machine, cgroup, state };
        host.start_runtime(programs).with_context(|| host.machine.describe())?;
        Ok(host)
    }

    /// Gives it an address of each family: without one, it could not speak to its own pods.
    fn connect(&self) -> anyhow::Result<()> {
        let ip = |line: &str| self.machine.ip(&line.split(' ').collect::<Vec<_>>());
        ip("link add uplink type veth peer name far")?;
        ip("link set far up")?;
        ip("link set uplink up")?;
        ip("address add 192.0.2.9/24 dev uplink")?;
        ip("address add 2001:db8::9/64 dev uplink nodad").map(drop)
    }

    fn start_runtime(&self, programs: &Programs) -> anyhow::Result<()> {
        self.connect()?;
        containerd::start(&self.machine)?;
        let archive = self.state.path().join("pause.tar");
        images::pause(programs)?.write(File::create(&archive)?)?;
        containerd::import(&self.machine, &archive)
    }

    /// The machine itself.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Its runtime's interface.
    pub fn cri(&self) -> Cri<'_> {
        Cri::on(&self.machine)
    }

    /// Makes a sandbox called `name`; `more` are further keys of its configuration. Returns its id.
    pub fn run_sandbox(&self, name: &str, more: &Value) -> anyhow::Result<String> {
        let mut config = json!({
            "metadata": {"name": name, "uid": name, "namespace": "default", "attempt": 1},
            "linux": {"cgroup_parent": self.cgroup.root()},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        let file = self.state.path().join(format!("{name}.json"));
        fs::write(&file, config.to_string())?;
        self.cri().run_sandbox(&file)
    }
}
