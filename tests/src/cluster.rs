//! A real Kubernetes on one machine, every part of it in namespaces of its own.
//!
//! One machine made of namespaces holds the control plane and the network between the nodes; one more
//! per node holds a container runtime and a kubelet. The machine below sees processes, cgroups and one
//! folder, and none of them after the run: its network, mounts and settings stay as they were.

pub mod addresses;
pub mod cgroups;
mod containerd;
mod controlplane;
pub mod crictl;
pub mod debian;
pub mod echo;
pub mod eventually;
mod filesystem;
mod golang;
mod identity;
pub mod images;
pub mod interrupt;
mod kubectl;
mod kubelet;
mod kubeproxy;
pub mod machine;
pub mod mirror;
mod namespaces;
pub mod node;
mod nodes;
pub mod pods;
mod process;
mod programs;
pub mod progress;
pub mod queues;
pub mod registry;
pub mod runtime;
pub mod sandbox;
pub mod state;
pub mod traces;
mod underlay;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

pub use self::kubectl::Kubectl;
pub use self::programs::Programs;

use self::addresses::{Families, Link};
use self::identity::Identities;
use self::images::Image;
use self::machine::Machine;
use self::node::Node;
use self::progress::step;
use self::state::StateFolder;
use self::underlay::Underlay;

/// A running cluster. Dropping it takes everything down, nodes first.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    underlay: Underlay,
    identities: Identities,
    programs: Programs,
    state: StateFolder,
}

impl Cluster {
    /// Starts a control plane and `nodes` nodes that have no network plugin yet. `name` is for its logs.
    pub fn start(name: &str, programs: &Programs, nodes: u8, families: Families) -> anyhow::Result<Self> {
        Self::start_on(name, programs, &vec![Link::Near; nodes.into()], families)
    }

    /// The same with one node on each of `links`.
    pub fn start_on(
        name: &str,
        programs: &Programs,
        links: &[Link],
        families: Families,
    ) -> anyhow::Result<Self> {
        let nodes = u8::try_from(links.len())?;
        let mut cluster =
            step("start the control plane", || Self::start_control_plane(name, programs, nodes, families))?;
        let images = step("write the test images", || cluster.write_test_images())?;
        if links.contains(&Link::Far) {
            cluster.underlay.lay_far_link()?;
        }
        for (number, link) in (1..).zip(links) {
            step(&format!("start {}", node::name(number)), || cluster.add_node(number, *link, &images))?;
        }
        Ok(cluster)
    }

    fn start_control_plane(
        name: &str,
        programs: &Programs,
        nodes: u8,
        families: Families,
    ) -> anyhow::Result<Self> {
        let state = StateFolder::create(name)?;
        let names: Vec<String> = (1..=nodes).map(node::name).collect();
        let identities = Identities::create(&state.path().join("pki"), &names, families)?;
        let underlay = Underlay::lay(Machine::create("underlay", programs, &state)?, families)?;
        let cluster = Self { nodes: Vec::new(), underlay, identities, programs: programs.clone(), state };
        let started =
            controlplane::start(&cluster.underlay, programs, &cluster.identities, cluster.state.path());
        started.with_context(|| cluster.describe())?;
        Ok(cluster)
    }

    fn add_node(&mut self, number: u8, link: Link, images: &[PathBuf]) -> anyhow::Result<()> {
        let node =
            Node::create(number, &self.programs, &self.state, &self.identities, (&self.underlay, link))?;
        self.nodes.push(node);
        let node = self.nodes.last().expect("a node was added");
        node.start(images).with_context(|| node.machine().describe())
    }

    fn write_test_images(&self) -> anyhow::Result<Vec<PathBuf>> {
        let pause = images::pause(&self.programs)?;
        let busybox = images::busybox(&self.programs, images::BUSYBOX)?;
        Ok(vec![self.write_image("pause", &pause)?, self.write_image("busybox", &busybox)?])
    }

    /// Writes `image` as an archive that every node finds under the returned path.
    pub fn write_image(&self, file: &str, image: &Image) -> anyhow::Result<PathBuf> {
        let path = self.state.path().join(format!("{file}.tar"));
        image.write(File::create(&path)?)?;
        Ok(path)
    }

    /// Loads a docker archive into the container runtime of every node.
    pub fn import(&self, archive: &Path) -> anyhow::Result<()> {
        self.nodes.iter().try_for_each(|node| node.import(archive))
    }

    /// Starts the registry that asks for a password.
    pub fn start_registry(&self) -> anyhow::Result<()> {
        registry::start(self.underlay(), &self.state.path().join("registry"))
    }

    /// Starts one with the same images on another port, that asks for a token.
    pub fn start_token_registry(&self, port: u16, tokens: registry::Tokens<'_>) -> anyhow::Result<()> {
        registry::start_with_tokens(self.underlay(), &self.state.path().join("registry"), port, tokens)
    }

    /// Ends the API server alone.
    pub fn stop_api_server(&self) -> anyhow::Result<()> {
        controlplane::stop_api_server(&self.underlay)
    }

    /// Starts it again, with all it knew.
    pub fn start_api_server(&self) -> anyhow::Result<()> {
        controlplane::start_api_server(&self.underlay, &self.programs, &self.identities)?;
        let kubectl = self.kubectl()?;
        eventually::eventually("the API server is ready again", Duration::from_secs(120), || {
            kubectl.run(&["get", "--raw", "/readyz"]).map(drop)
        })
    }

    /// What a power cut does to the node at this place of [`Cluster::nodes`]: of all that runs and of all
    /// namespaces nothing is left, of files only what is not in memory.
    pub fn reboot(&mut self, at: usize) -> anyhow::Result<()> {
        anyhow::ensure!(at < self.nodes.len(), "there is no node {at}");
        let (number, link) = self.nodes[at].place();
        self.underlay.disconnect(&node::name(number))?;
        drop(self.nodes.remove(at));
        let node = Node::boot(number, &self.programs, &self.state, (&self.underlay, link))?;
        self.nodes.insert(at, node);
        self.nodes[at].start(&[])
    }

    /// Starts kube-proxy on every node, in `mode`.
    pub fn start_kube_proxy(&self, mode: &str) -> anyhow::Result<()> {
        let start = |node: &Node| {
            kubeproxy::start(node.machine(), &self.programs, &self.identities, self.families(), mode)
        };
        self.nodes.iter().try_for_each(start)
    }

    /// Ends it and takes its rules away.
    pub fn stop_kube_proxy(&self) -> anyhow::Result<()> {
        self.nodes.iter().try_for_each(|node| kubeproxy::stop(node.machine(), &self.programs))
    }

    /// The admin's `kubectl`.
    pub fn kubectl(&self) -> anyhow::Result<Kubectl<'_>> {
        Kubectl::open(self.underlay(), &self.programs, &self.identities, self.state.path())
    }

    /// All nodes, in the order of their numbers.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The machine of the control plane, through which nodes reach each other and the outside.
    pub fn underlay(&self) -> &Machine {
        self.underlay.machine()
    }

    /// How many packets with a pod's address came to the router between the links.
    pub fn dropped_by_router(&self) -> anyhow::Result<u64> {
        self.underlay.dropped()
    }

    /// The families it speaks.
    pub fn families(&self) -> Families {
        self.underlay.families()
    }

    /// The programs it runs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Folder for files that end with the cluster.
    pub fn folder(&self) -> &Path {
        self.state.path()
    }

    /// Folder of all logs, which are kept.
    pub fn logs(&self) -> &Path {
        self.state.logs()
    }

    /// State and last words of every program, for a person who looks into a failure.
    pub fn describe(&self) -> String {
        let machines = std::iter::once(self.underlay()).chain(self.nodes.iter().map(Node::machine));
        let states: String = machines.map(Machine::describe).collect();
        format!("{states}{}\nall logs: {}", self.objects(), self.logs().display())
    }

    fn objects(&self) -> String {
        let list = |words: &[&str]| self.kubectl()?.run(words);
        let pods = list(&["get", "nodes,pods", "--all-namespaces", "--output=wide"]);
        pods.unwrap_or_else(|error| format!("no list of nodes and pods: {error:#}"))
    }
}
