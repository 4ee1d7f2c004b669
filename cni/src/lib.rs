//! Tripod's CNI plugin. The container runtime executes it once per pod sandbox and verb; it reads a
//! network configuration on stdin and its arguments from `CNI_*` variables, prints exactly one JSON
//! document (or nothing) on stdout, and needs no agent or API server, and no child process but the IPAM
//! plugin that the configuration names, if it names one.
//!
//! It may touch the sandbox's and the node's links, routes and neighbours, tables `inet tripod` and
//! `bridge tripod`, tracked UDP connections to host ports, files under `/run/tripod`, and in mode `bridge`
//! the node's forwarding.
//!
//! The node agent uses [`nft`], [`record`], [`telemetry`], [`usage()`], [`restore()`] and [`collect()`] from
//! here, and whoever warns people
//! [`br_netfilter`].
//!
//! # What a call asks of the kernel
//!
//! With one IPv4 address, on a node where pods came before (`cargo run -p tripod-tests --bin calls`; a test
//! fails when there are more). Of system calls those that manage memory do not count.
//!
//! | call | netlink requests | system calls, at most |
//! |---|---|---|
//! | ADD | 13 | 93 |
//! | DEL | 2 | 53 |
//!
//! The requests of an ADD, each a send and a receive of a few microseconds beside the kernel's own work:
//!
//! | where | request | why |
//! |---|---|---|
//! | node | `NFT_MSG_GETCHAIN` | the guard chain must be whole before the pod can send |
//! | node | `RTM_GETROUTE`, `RTM_GETLINK` | the MTU of the default route's device; none with `mtu` |
//! | node | `RTM_NEWLINK` | both ends, addresses, MTU, group and the peer's namespace in one |
//! | node | `RTM_SETLINK` | the alias, which the kernel ignores at creation |
//! | node | `RTM_GETLINK` | the indexes that the kernel gave to both ends |
//! | sandbox | `RTM_NEWADDR`, `RTM_SETLINK`, `RTM_NEWNEIGH`, `RTM_NEWROUTE` | the pod's address, its end up, the next hop, the default route; once per address, family and route |
//! | node | `RTM_NEWNEIGH`, `RTM_NEWROUTE` | the way to the pod, once per address |
//! | node | `RTM_GETLINK` | makes the kernel notice the carrier before ADD answers |
//! | sandbox | `RTM_GETROUTE` | per IPv6 address: the kernel takes its packets a moment after it was added |
//! | node | `NFT_MSG_GETCHAIN` | with `ipMasq`: the chain of each pod CIDR must be whole |
//! | node | `NFT_MSG_GETGEN`, `NFT_MSG_GETSETELEM`, three `NFT_MSG_GETCHAIN`, one transaction | with host ports: who has them, whether their chains are whole, and the elements, if nothing changed since |
//! | node | `IPCTNL_MSG_CT_GET` | with host ports over UDP: connections that would miss the pod, one walk per family |
//!
//! An ADD after another one of the same attachment asks twice more, `RTM_GETLINK` on the node and in the
//! sandbox: whether that one is whole. Of a DEL: `RTM_GETLINK`, since only a link in our group is ours to
//! delete, and `RTM_DELLINK`.
//!
//! The other system calls of an ADD: about 10 are the C library's start; 4 read the configuration and answer;
//! 2 listen for SIGTERM; 4 open and close the node's sockets; 10 enter the sandbox and come back with a
//! socket of its own; 8 write the record twice, whole or not at all; 22 hold the attachment against a second
//! call and take the store's lock, its hint and a lease; 3 turn off router advertisements on the host's end,
//! for which rtnetlink has no attribute. Those of a DEL: the same start, and 30 for the attachment's lock,
//! the record, and the lease on its way to cooling down. Where the configuration has `agentState`, an ADD looks
//! for the agent's marker, and each call ends with 3 more that tell the agent about it ([`telemetry`]).
//!
//! The requests go over plain sockets that are never bound (`netlink`): the kernel has answered when sending
//! returns, so a request is one call to send and one to receive. An event loop made 48 more of an ADD, and
//! an answer passed four queues in it. For the same reason nothing here is asynchronous: what can wait, a
//! lock or another plugin, waits on a thread of its own when it has to (`patience`).

pub mod br_netfilter;
mod clock;
mod collect;
mod command;
mod config;
mod conntrack;
mod datapath;
mod delegate;
mod error;
mod failpoint;
mod file;
pub mod finding;
mod fingerprint;
mod hostport;
mod ipam;
mod journal;
mod netlink;
mod netns;
pub mod nft;
mod patience;
mod people;
pub mod record;
mod restore;
mod rtnl;
mod spec;
pub mod sysctl;
pub mod telemetry;

use std::io::{self, Read};
use std::path::PathBuf;

use serde_json::Value;

pub use collect::{Collected, collect, is_orphan};
pub use command::Dirs;
pub use error::{Error, Fault};
pub use hostport::{HostPort, Protocol};
pub use ipam::store::Owner;
pub use ipam::usage::{Usage, usage};
pub use people::{Answer, answer, explain};
pub use restore::restore;
pub use spec::{Args, Command, Env, Failure, Version};

/// Which program this file is, by the name it was executed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persona {
    /// The plugin.
    Tripod,
    /// The address management alone, for other main plugins.
    Ipam,
    /// The loopback plugin that containerd executes beside it.
    Loopback,
}

/// What a call ends in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Success with a document for stdout, or with nothing to say.
    Success(Option<Value>),
    /// An error document for stdout.
    Failure(Failure),
    /// There was no `CNI_COMMAND`: a person is looking.
    About,
}

impl Default for Dirs {
    /// Under `/run/tripod`, a tmpfs: every sandbox ends with the boot, and so does this.
    fn default() -> Self {
        let root = PathBuf::from("/run/tripod");
        Self { attachments: root.join("attachments"), leases: root.join("ipam") }
    }
}

/// Executes one call.
pub fn run(persona: Persona, env: &Env, stdin: impl Read, dirs: &Dirs) -> Reply {
    run_told(persona, env, stdin, dirs, &mut None)
}

/// Executes one call, and says in `agent` where an agent listens, if the configuration names its state.
pub fn run_told(
    persona: Persona,
    env: &Env,
    stdin: impl Read,
    dirs: &Dirs,
    agent: &mut Option<PathBuf>,
) -> Reply {
    let mut version = Version::default();
    let result = Args::parse(env).and_then(|args| {
        let Some(args) = args else { return Ok(None) };
        let text = if args.command == Command::Version { Vec::new() } else { read(stdin)? };
        let asked = Asked::read(&text);
        (version, *agent) = (asked.version(), asked.agent());
        execute(persona, &args, &text, dirs).map(Some)
    });
    match result {
        Ok(Some(document)) => Reply::Success(document),
        Ok(None) => Reply::About,
        Err(error) => Reply::Failure(error.failure(version)),
    }
}

/// Undoes an ADD whose result could not be told: nobody knows of it, so nobody would DEL it.
pub fn take_back(persona: Persona, env: &Env, dirs: &Dirs) -> Result<(), Error> {
    match Args::parse(env)? {
        Some(args) if args.command == Command::Add && persona == Persona::Tripod => {
            command::take_back(&args, dirs)
        }
        _ => Ok(()),
    }
}

fn execute(persona: Persona, args: &Args, text: &[u8], dirs: &Dirs) -> Result<Option<Value>, Error> {
    match persona {
        Persona::Tripod => command::run(args, text, dirs),
        Persona::Ipam => command::ipam::run(args, text, dirs),
        Persona::Loopback => command::loopback::run(args, text, dirs),
    }
}

/// Decodes a configuration as every verb but DEL would, for those who look for input that ends badly.
#[doc(hidden)]
pub fn parse(text: &[u8]) -> Result<(), Failure> {
    config::parse(text).map_err(|error| error.failure(Asked::read(text).version()))
}

fn read(stdin: impl Read) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    let limit = config::LONGEST;
    let length = stdin.take(limit + 1).read_to_end(&mut text).map_err(Error::ReadStdin)?;
    if u64::try_from(length).is_ok_and(|length| length > limit) {
        return Err(Error::StdinTooLong { limit });
    }
    Ok(text)
}

/// What of a configuration is read before anything else can fail.
#[derive(Default, serde::Deserialize)]
struct Asked {
    #[serde(rename = "cniVersion", default)]
    cni_version: String,
    #[serde(rename = "agentState", default)]
    agent_state: Value,
}

impl Asked {
    fn read(text: &[u8]) -> Self {
        serde_json::from_slice(text).unwrap_or_default()
    }

    /// The version to answer an error in.
    fn version(&self) -> Version {
        Version::parse(&self.cni_version).unwrap_or_default()
    }

    /// Where the agent listens.
    fn agent(&self) -> Option<PathBuf> {
        self.agent_state.as_str().map(|folder| PathBuf::from(folder).join(telemetry::SOCKET))
    }
}

/// What a person reads who starts the program by hand.
pub fn about(persona: Persona) -> String {
    let name = match persona {
        Persona::Tripod => "tripod-cni",
        Persona::Ipam => "tripod-ipam (tripod-cni)",
        Persona::Loopback => "loopback (tripod-cni)",
    };
    let versions = Version::ALL.map(Version::as_str).join(", ");
    format!(
        "{name} {}: a CNI plugin, executed by the container runtime for each pod.\n\
         It reads a network configuration on stdin and CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME.\n\
         Supported CNI versions: {versions}\n\n{}",
        env!("CARGO_PKG_VERSION"),
        people::usage(),
    )
}

/// What a panic at `place` becomes: still one document of the protocol.
pub fn internal_error(place: &str) -> Failure {
    Failure {
        cni_version: Version::default(),
        code: 999,
        msg: format!("internal error in tripod-cni {} at {place}", env!("CARGO_PKG_VERSION")),
        details: "this is a mistake in tripod-cni: please report it; DEL of the attachment still works"
            .to_owned(),
    }
}

/// Prints `document` on `stdout` as one line.
pub fn print(mut stdout: impl io::Write, document: &impl serde::Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(document)?;
    text.push(b'\n');
    stdout.write_all(&text)?;
    stdout.flush()
}
