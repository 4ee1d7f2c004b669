//! The command line. Every path is a flag, and its default is the one of a node set up by kubeadm.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::log::Log;

/// Makes a Kubernetes node ready for Tripod.
#[derive(Debug, Parser)]
#[command(name = "tripod-node", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to log.
    #[command(flatten)]
    pub log: Log,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Installs the programs and their configuration on the host
    Install(Install),
    /// Takes what is Tripod's off this node; running pods keep their network until they are deleted
    Uninstall(Box<Uninstall>),
    /// Tells why a pod may be without network: what was looked at on this node, with evidence and a fix
    Doctor(Doctor),
    /// Prints one JSON object with what explains this node to others, without secrets
    Collect(Collect),
    /// Tells what the agent of this node knows and has done; ends well only when pods have their network
    Status(Status),
    /// Writes kubectl's plugin to standard output, for a file kubectl-tripod in a folder of an admin's PATH
    KubectlPlugin,
    /// Keeps the node's pod network in the state that its Node object and node.yaml decide
    Agent(Box<Agent>),
}

/// Where programs and their configuration are on the host.
#[derive(Args, Clone, Debug)]
pub struct HostDirs {
    /// Where the container runtime finds CNI plugins
    #[arg(long, default_value = "/opt/cni/bin")]
    pub cni_bin_dir: PathBuf,
    /// Where the kubelet finds credential providers (its --image-credential-provider-bin-dir)
    #[arg(long, default_value = "/opt/tripod/credential-provider")]
    pub credential_bin_dir: PathBuf,
    /// Where the programs find their configuration
    #[arg(long, default_value = "/etc/tripod")]
    pub etc_dir: PathBuf,
}

/// Flags of `install`.
#[derive(Args, Debug)]
pub struct Install {
    /// Folder of the programs to install
    #[arg(long, default_value = "/")]
    pub source_dir: PathBuf,
    /// Folder of the mounted ConfigMap; without it no configuration is installed
    #[arg(long)]
    pub config_dir: Option<PathBuf>,
    /// Where things are on the host
    #[command(flatten)]
    pub host: HostDirs,
    /// Whose programs to install
    #[arg(long, value_delimiter = ',', default_values_t = [Leg::Cni, Leg::CredentialProvider])]
    pub legs: Vec<Leg>,
    /// Prints what would be written, replaced or kept, and touches nothing
    #[arg(long, conflicts_with = "watch")]
    pub dry_run: bool,
    /// Stays, and installs again whenever something changes on either side
    #[arg(long)]
    pub watch: bool,
    /// With --watch: how often to look in any case, in seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub period: u64,
    /// With --watch: a file to write `[{path, state: current|failed|refused, why}]` to, for the agent
    #[arg(long, value_name = "FILE", requires = "watch")]
    pub report: Option<PathBuf>,
}

/// A leg that has programs on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Leg {
    /// The CNI plugin
    Cni,
    /// The kubelet's credential provider
    CredentialProvider,
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cni => "cni",
            Self::CredentialProvider => "credential-provider",
        })
    }
}

/// Flags of `uninstall`.
#[derive(Args, Debug)]
pub struct Uninstall {
    /// The conflist, which goes first
    #[arg(long, default_value = "/etc/cni/net.d/10-tripod.conflist")]
    pub conflist: PathBuf,
    /// Where things are on the host
    #[command(flatten)]
    pub host: HostDirs,
    /// Folder of the agent's state and of attachment records
    #[arg(long, default_value = "/run/tripod")]
    pub state_dir: PathBuf,
    /// Where the container runtime finds CDI specs
    #[arg(long, default_value = "/var/run/cdi")]
    pub cdi_dir: PathBuf,
    /// The node's /proc/sys/net
    #[arg(long, default_value = "/proc/sys/net")]
    pub sysctl_root: PathBuf,
    /// Where to look for a kubelet that refers to the credential provider
    #[arg(long, default_value = "/proc")]
    pub proc_root: PathBuf,
    /// Waits for the node's last pod to go, removes what that needed, and stays until it is told to end
    #[arg(long)]
    pub stay: bool,
    /// With --stay: where /livez and /readyz are answered; ready is who is done
    #[arg(long, default_value = "127.0.0.1:9674")]
    pub health_addr: SocketAddr,
    /// Prints `[{object, outcome, reason}]` instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Flags of `doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Prints `[{check, severity, object, evidence, fix}]` instead of lines
    #[arg(long)]
    pub json: bool,
    /// The conflist that the runtime reads
    #[arg(long, default_value = "/etc/cni/net.d/10-tripod.conflist")]
    pub conflist: PathBuf,
    /// Folder of the agent's state and of attachment records
    #[arg(long, default_value = "/run/tripod")]
    pub state_dir: PathBuf,
    /// Where the container runtime finds CNI plugins
    #[arg(long, default_value = "/opt/cni/bin")]
    pub cni_bin_dir: PathBuf,
    /// Where the agent answers probes
    #[arg(long, default_value = "127.0.0.1:9674")]
    pub health_addr: SocketAddr,
    /// The node's /proc/sys/net
    #[arg(long, default_value = "/proc/sys/net")]
    pub sysctl_root: PathBuf,
    /// The node's own root folder, where it can be seen: what else changes its network is looked for there
    #[arg(long, default_value = "/")]
    pub host_root: PathBuf,
    /// Where the kubelet finds credential providers (its --image-credential-provider-bin-dir)
    #[arg(long, default_value = "/opt/tripod/credential-provider")]
    pub credential_bin_dir: PathBuf,
    /// Where the programs find their configuration
    #[arg(long, default_value = "/etc/tripod")]
    pub etc_dir: PathBuf,
    /// Folder of the ServiceAccount's token
    #[arg(long, default_value = "/var/run/secrets/kubernetes.io/serviceaccount")]
    pub service_account_dir: PathBuf,
    /// Where the device plugin answers probes
    #[arg(long, default_value = "127.0.0.1:9676")]
    pub device_plugin_addr: SocketAddr,
    /// Only these topics, by default all
    #[arg(long, value_delimiter = ',', default_values_t = Topic::ALL)]
    pub only: Vec<Topic>,
    /// Peers to which packets are sent, by the names of their Nodes; by default the first 16
    #[arg(long, value_name = "NAME")]
    pub peer: Vec<String>,
}

/// What `doctor` looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Topic {
    /// The conflist, what an ADD with it would meet, and whether the runtime has loaded it
    Runtime,
    /// What the agent says of itself, of other nodes, of its clock and its token
    Agent,
    /// Whether packets of every size get to other nodes and their pods
    Path,
    /// What the kernel has and is told to do
    Kernel,
    /// Who owns what is installed, and who may change it
    Files,
    /// Attachments, leases and links, whether they belong together
    Attachments,
    /// The other legs: what the kubelet makes of them
    Kubelet,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Runtime, Self::Agent, Self::Path, Self::Kernel, Self::Files, Self::Attachments, Self::Kubelet];
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// Flags of `collect`.
#[derive(Args, Debug)]
pub struct Collect {
    /// What the doctor looks at.
    #[command(flatten)]
    pub doctor: Doctor,
    /// The node's configuration
    #[arg(long, default_value = "/config/node.yaml")]
    pub config: PathBuf,
}

/// Flags of `status`.
#[derive(Args, Debug)]
pub struct Status {
    /// Prints one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// Where the agent answers probes
    #[arg(long, default_value = "127.0.0.1:9674")]
    pub health_addr: SocketAddr,
}

/// Flags of `agent`.
#[derive(Args, Debug)]
pub struct Agent {
    /// The node's configuration
    #[arg(long, default_value = "/etc/tripod/node.yaml")]
    pub config: PathBuf,
    /// Name of this node's Node object; by default the environment's NODE_NAME
    #[arg(long)]
    pub node_name: Option<String>,
    /// The conflist to keep
    #[arg(long, default_value = "/etc/cni/net.d/10-tripod.conflist")]
    pub conflist: PathBuf,
    /// Folder of the agent's state on a tmpfs, under the same path on the host
    #[arg(long, default_value = "/run/tripod")]
    pub state_dir: PathBuf,
    /// The node's /proc/sys/net
    #[arg(long, default_value = "/proc/sys/net")]
    pub sysctl_root: PathBuf,
    /// The node's /proc/net
    #[arg(long, default_value = "/proc/net")]
    pub proc_net: PathBuf,
    /// Folder of the ServiceAccount's token and ca.crt
    #[arg(long, default_value = "/var/run/secrets/kubernetes.io/serviceaccount")]
    pub service_account_dir: PathBuf,
    /// Where /livez, /readyz and /status are answered
    #[arg(long, default_value = "127.0.0.1:9674")]
    pub health_addr: SocketAddr,
    /// Where /metrics is answered; by default port 9675 of the Node's first InternalIP, once it is known
    #[arg(long)]
    pub metrics_addr: Option<SocketAddr>,
    /// How often to look for drift that no event tells of, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub resync: u64,
    /// How long a pod's link may be gone without a DEL before its addresses and ports are free again, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub orphan_grace: u64,
    /// What `install --watch --report FILE` writes in the container beside this one
    #[arg(long, value_name = "FILE")]
    pub install_report: Option<PathBuf>,
    /// Key of a taint to remove from this node's Node object once it is ready
    #[arg(long)]
    pub startup_taint: Option<String>,
}
