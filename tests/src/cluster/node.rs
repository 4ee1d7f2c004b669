//! One Kubernetes node: a machine with its own cgroup, files, container runtime and kubelet.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::addresses::{Link, REGISTRY, REGISTRY_NAME};
use super::cgroups::Cgroup;
use super::filesystem::NodeFiles;
use super::identity::Identities;
use super::machine::Machine;
use super::programs::Programs;
use super::state::StateFolder;
use super::underlay::Underlay;
use super::{containerd, kubelet};

/// A node. Fields are dropped in this order: a cgroup can go once nothing runs in it.
#[derive(Debug)]
pub struct Node {
    machine: Machine,
    cgroup: Cgroup,
    place: (u8, Link),
    addresses: Vec<IpAddr>,
    programs: Programs,
}

/// Name of the node with this number, from 1.
pub fn name(number: u8) -> String {
    format!("node{number}")
}

impl Node {
    /// Makes the node with this number on a link of the underlay, without any program running.
    pub fn create(
        number: u8,
        programs: &Programs,
        state: &StateFolder,
        identities: &Identities,
        underlay: (&Underlay, Link),
    ) -> anyhow::Result<Self> {
        let (name, files) = (name(number), NodeFiles::create(&state.path().join(name(number)))?);
        let cgroup = Cgroup::create(&format!("{}-{name}", state.mark()))?;
        configure(&files, &name, &cgroup, identities)?;
        Self::on(number, (&files, cgroup), programs, state, underlay)
    }

    /// Makes it again, with the files it had when its machine ended.
    pub fn boot(
        number: u8,
        programs: &Programs,
        state: &StateFolder,
        underlay: (&Underlay, Link),
    ) -> anyhow::Result<Self> {
        let cgroup = Cgroup::create(&format!("{}-{}", state.mark(), name(number)))?;
        let files = NodeFiles::again(&state.path().join(name(number)));
        Self::on(number, (&files, cgroup), programs, state, underlay)
    }

    fn on(
        number: u8,
        (files, cgroup): (&NodeFiles, Cgroup),
        programs: &Programs,
        state: &StateFolder,
        (underlay, link): (&Underlay, Link),
    ) -> anyhow::Result<Self> {
        let machine = Machine::create(&name(number), programs, state)?;
        machine.within(|| files.mount())?;
        underlay.connect(&machine, link, link.node(number))?;
        let addresses = underlay.families().addresses(link.node(number));
        Ok(Self { machine, cgroup, place: (number, link), addresses, programs: programs.clone() })
    }

    /// Its number, and the link it is on.
    pub fn place(&self) -> (u8, Link) {
        self.place
    }

    /// Starts the container runtime, gives it `images`, and starts the kubelet.
    pub fn start(&self, images: &[PathBuf]) -> anyhow::Result<()> {
        containerd::start(&self.machine)?;
        images.iter().try_for_each(|image| self.import(image))?;
        self.start_kubelet(&[])
    }

    /// Ends the kubelet and starts it again with further flags; what runs on the node goes on.
    pub fn restart_kubelet(&self, flags: &[String]) -> anyhow::Result<()> {
        self.machine.stop("kubelet")?;
        self.start_kubelet(flags)
    }

    fn start_kubelet(&self, flags: &[String]) -> anyhow::Result<()> {
        kubelet::start(&self.machine, &self.programs, &self.addresses().join(","), flags)
    }

    /// Loads a docker archive into the container runtime, for the kubelet.
    pub fn import(&self, archive: &Path) -> anyhow::Result<()> {
        containerd::import(&self.machine, archive)
    }

    /// Runs a command line in the node's own namespaces and returns what it printed.
    pub fn exec<S: AsRef<str>>(&self, words: &[S]) -> anyhow::Result<String> {
        self.machine.exec(words)
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        self.machine.name()
    }

    /// Its addresses on the test network, in the order of the cluster's families.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.iter().map(IpAddr::to_string).collect()
    }

    /// Its cgroup.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Does `work` inside of the node: paths are the node's own.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        self.machine.within(work)
    }

    /// The machine it runs on.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}

fn configure(files: &NodeFiles, name: &str, cgroup: &Cgroup, identities: &Identities) -> anyhow::Result<()> {
    files.write("/etc/hostname", &format!("{name}\n"))?;
    let hosts = format!("127.0.0.1 localhost\n::1 localhost\n{} {REGISTRY_NAME}\n", REGISTRY.v4);
    files.write("/etc/hosts", &hosts)?;
    // Nothing answers there, and nobody else is asked.
    files.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")?;
    containerd::configure(files)?;
    kubelet::configure(files, name, cgroup, identities)
}
