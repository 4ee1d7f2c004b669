//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing::level_filters::LevelFilter;

use crate::config::sharing::Placement;
use crate::registration::Way;

/// Offers a node's devices to its kubelet.
///
/// Reads a config that names resources and the devices that belong to each, registers every resource
/// with the kubelet, and keeps it registered: through kubelet restarts, devices that come and go, and
/// changes of the config, which are taken up as they happen.
#[derive(Debug, Parser)]
#[command(name = "tripod-device-plugin", version, max_term_width = 100, after_long_help = CONFIG_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// How much to log on standard error: off, error, warn, info, debug or trace.
    #[arg(long, global = true, default_value = "info", value_name = "LEVEL")]
    pub log_level: LevelFilter,
    /// Objects for programs, or lines for people.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

/// The shape of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// TIME LEVEL MESSAGE key=value.
    Text,
}

const CONFIG_HELP: &str = "\
A config:

  version: v1
  resources:
    - name: example.com/serial            # what pods ask for: limits: {example.com/serial: 1}
      match:
        paths: [/dev/ttyUSB*, /dev/ttyACM*]
    - name: example.com/kvm
      count: 100                          # so many containers may hold /dev/kvm at a time
      match: {kind: path, paths: [/dev/kvm]}
    - name: example.com/sound
      match: {paths: [/dev/snd]}          # a folder: one device made of all nodes in it
    - name: example.com/fpga
      match: {paths: [/dev/fpga*]}
      reset:                              # runs between two holders of a device, in this container, with
        command: [/hooks/reset-fpga]      # TRIPOD_RESOURCE, TRIPOD_DEVICE_ID and TRIPOD_DEVICE_NODES set;
        timeout: 20s                      # a device whose reset fails is unhealthy, and tried again

Try it:

  tripod-device-plugin check-config --config device-plugin.yaml
  tripod-device-plugin discover --config device-plugin.yaml --output table";

const PREFER_HELP: &str = "\
The answer is the one that the kubelet gets when it has a choice. Of devices that are handed out whole:

  1. the links inside the set weigh as much as they can (INSIDE);
  2. the links from it to devices that stay behind as little as they can (CUT): a container that wants
     one device gets the one that nobody misses;
  3. it lies on as few NUMA nodes as it can; an unknown one counts as one more for each device;
  4. of equals, the set whose last device comes first in the list.

A link weighs the less of what its two ends tell, and nothing when only one of them tells of it. Of up to
16 available devices every set is looked at. Shares of devices (ids that end in ::0, ::1, …) go by
--placement first, parts of cards lie on as few cards as suffice.

Try it:

  tripod-device-plugin discover --config device-plugin.yaml --output json > node.json
  tripod-device-plugin prefer --inventory node.json --resource example.com/gpu --size 2
  tripod-device-plugin prefer --inventory node.json --resource example.com/gpu --size 4 \\
      --available GPU-1,GPU-2,GPU-5,GPU-6,GPU-7 --must GPU-5 --output json";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Offer the devices until stopped by SIGTERM or SIGINT.
    Run(Box<RunArgs>),
    /// Print what would be offered on this node now, and exit.
    Discover(DiscoverArgs),
    /// Say which devices a container had best be given, and why, by a saved inventory.
    #[command(after_long_help = PREFER_HELP)]
    Prefer(PreferArgs),
    /// Report every problem of a config file; exit code 1 if there is one.
    CheckConfig(CheckConfigArgs),
}

/// Flags of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The config file; changes are taken up at once, invalid ones refused as a whole.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where the host's / is mounted.
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    pub host_root: PathBuf,
    /// Where NVIDIA's driver is on the host, for example /run/nvidia/driver where an operator installs it.
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    pub nvidia_driver_root: String,
    /// The kubelet's device plugin directory, which holds kubelet.sock and our sockets.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/kubelet/device-plugins")]
    pub plugin_dir: PathBuf,
    /// How the kubelet learns of us: told by a call to kubelet.sock, or found by its plugin watcher.
    #[arg(long, value_enum, default_value_t = Way::Classic)]
    pub registration: Way,
    /// The folder of the kubelet's plugin watcher; sockets are made in it with --registration watcher.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/kubelet/plugins_registry")]
    pub plugins_registry_dir: PathBuf,
    /// Where CDI specs are written, if a strategy or a device needs one.
    #[arg(long, value_name = "FOLDER", default_value = "/var/run/cdi")]
    pub cdi_dir: PathBuf,
    /// Where NVIDIA's Multi-Process Service has its sockets, logs and shared memory, on the host and in this
    /// container alike; used while a rule shares GPUs by it.
    #[arg(long, value_name = "FOLDER", default_value = "/run/tripod-mps")]
    pub mps_dir: PathBuf,
    /// Where Node Feature Discovery reads labels of the node, for example
    /// /etc/kubernetes/node-feature-discovery/features.d; none are written when it is left out.
    #[arg(long, value_name = "FOLDER")]
    pub nfd_dir: Option<PathBuf>,
    /// Where the node agent listens for news of devices; nobody need.
    #[arg(long, value_name = "SOCKET", default_value = "/run/tripod/agent.sock")]
    pub agent_socket: PathBuf,
    /// Where /livez and /readyz are answered; empty for nowhere.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9676", value_parser = listen_address)]
    pub health_addr: ListenAddress,
    /// Where /metrics is answered; empty for nowhere.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9677", value_parser = listen_address)]
    pub metrics_addr: ListenAddress,
    /// The kubelet's socket that tells what containers hold; need not exist.
    #[arg(long, value_name = "SOCKET", default_value = "/var/lib/kubelet/pod-resources/kubelet.sock")]
    pub podresources_socket: PathBuf,
    /// How many seconds to wait before it is asked again when nothing has happened.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u32).range(1..))]
    pub podresources_interval: u32,
}

/// Flags of `discover`.
#[derive(Args, Debug)]
pub struct DiscoverArgs {
    /// The config file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where the host's / is mounted.
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    pub host_root: PathBuf,
    /// Where NVIDIA's driver is on the host, for example /run/nvidia/driver where an operator installs it.
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    pub nvidia_driver_root: String,
    /// For programs or for people.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Flags of `prefer`.
#[derive(Args, Debug)]
pub struct PreferArgs {
    /// What `discover --output json` printed, on this node or on another.
    #[arg(long, value_name = "FILE")]
    pub inventory: PathBuf,
    /// The resource that the container asks for.
    #[arg(long, value_name = "NAME")]
    pub resource: String,
    /// How many of it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub size: u32,
    /// Ids of the devices that are free; all healthy ones when it is left out.
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    pub available: Option<Vec<String>>,
    /// Ids of devices that the container has in any case.
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    pub must: Vec<String>,
    /// Which shares come first where devices are shared; the inventory does not tell.
    #[arg(long, value_enum, default_value_t = PlacementWord::Distributed)]
    pub placement: PlacementWord,
    /// For programs or for people.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// A [`Placement`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlacementWord {
    /// Those of the least used devices.
    Distributed,
    /// Those of the most used devices that still suffice.
    Packed,
    /// Those of the least used NUMA nodes.
    SpreadNuma,
}

impl From<PlacementWord> for Placement {
    fn from(word: PlacementWord) -> Placement {
        match word {
            PlacementWord::Distributed => Placement::Distributed,
            PlacementWord::Packed => Placement::Packed,
            PlacementWord::SpreadNuma => Placement::SpreadNuma,
        }
    }
}

/// Flags of `check-config`.
#[derive(Args, Debug)]
pub struct CheckConfigArgs {
    /// The config file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print a JSON list of {check, severity, object, evidence, fix} instead of lines.
    #[arg(long)]
    pub json: bool,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One JSON document.
    Json,
    /// Columns.
    Table,
}

/// Where something is answered, if anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress(pub Option<SocketAddr>);

fn listen_address(text: &str) -> Result<ListenAddress, String> {
    if text.is_empty() {
        return Ok(ListenAddress(None));
    }
    let address = text.parse().map_err(|_not_one| "give an IP address and a port, such as 127.0.0.1:9676")?;
    Ok(ListenAddress(Some(address)))
}
