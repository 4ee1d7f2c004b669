//! Everything that can go wrong, with the nouns a person needs. What it is as a number is in `code`, what helps in
//! `remedy`, and how a runtime is told in `document`.

mod code;
mod document;
mod fault;
mod remedy;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use nix::errno::Errno;

use crate::ipam::store::Owner;
use document::first_of;
pub use fault::Fault;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is in a version that we do not know.
    #[error("cniVersion={asked:?} is not supported; use one of {supported}")]
    UnknownVersion {
        /// The configuration's `cniVersion`.
        asked: String,
        /// Ours.
        supported: String,
    },
    /// The configuration is in a version that does not know the verb.
    #[error("{verb} does not exist in CNI version {asked:?}; supported here: {supported}")]
    IncompatibleVersion {
        /// What was called.
        verb: &'static str,
        /// The configuration's `cniVersion`.
        asked: String,
        /// The versions that would do.
        supported: String,
    },
    /// A variable of the environment is malformed.
    #[error("environment variable {name}={value:?} {problem}")]
    Environment {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A variable of the environment is not set.
    #[error("environment variable {name} is missing: {needed}")]
    Unset {
        /// Its name.
        name: &'static str,
        /// What it should say.
        needed: &'static str,
    },
    /// The configuration could not be read from stdin.
    #[error("cannot read the network configuration from stdin")]
    ReadStdin(#[source] io::Error),
    /// The configuration on stdin is longer than anything sensible.
    #[error("the network configuration on stdin is longer than {limit} bytes")]
    StdinTooLong {
        /// The bound in bytes.
        limit: u64,
    },
    /// The configuration is no JSON, or not of the right types.
    #[error("cannot decode the network configuration on stdin")]
    Decode(#[source] serde_json::Error),
    /// The configuration says something that cannot be done.
    #[error("network configuration: {field}={value} {problem}")]
    Config {
        /// Path of the key, for example `ipam.ranges[0][0].subnet`.
        field: String,
        /// Its value as JSON.
        value: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// The configuration does not say something that must be said.
    #[error("network configuration: {field} is missing: {needed}")]
    Missing {
        /// Path of the key.
        field: &'static str,
        /// What it should say.
        needed: &'static str,
    },
    /// `CNI_NETNS` is not the sandbox's network namespace.
    #[error("CNI_NETNS={path:?} {problem}")]
    Netns {
        /// The path given.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
        /// What the system answered, where it was asked.
        #[source]
        source: Option<io::Error>,
    },
    /// The agent has not made this boot ready yet.
    #[error("the node agent has not made this node ready since it booted: {marker:?} is missing")]
    NotReady {
        /// The file the agent writes.
        marker: PathBuf,
    },
    /// All addresses of a range set are taken.
    #[error("no free address left in range set {set} of network {network:?} ({ranges})")]
    Exhausted {
        /// The network's name.
        network: String,
        /// Index of the range set.
        set: usize,
        /// Its ranges.
        ranges: String,
    },
    /// The address that was asked for is somebody's.
    #[error("address {address} of network {network:?} is taken by {owner}")]
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// The network's name.
        network: String,
        /// The container, with its pod where that is known.
        owner: String,
    },
    /// An attachment without a record asks for an address a second time.
    #[error(
        "address {address} of network {network:?} was given to container {container_id} on {ifname} before"
    )]
    GivenBefore {
        /// The address.
        address: IpAddr,
        /// The network's name.
        network: String,
        /// The container.
        container_id: String,
        /// The pod's interface.
        ifname: String,
    },
    /// The IPAM plugin is not there.
    #[error("IPAM plugin ipam.type={plugin:?} is in no folder of CNI_PATH={path:?}")]
    PluginMissing {
        /// Its name.
        plugin: String,
        /// Where it was looked for.
        path: String,
    },
    /// An IPAM plugin refused.
    #[error("IPAM plugin {plugin:?} refused {verb}: {msg}")]
    Delegated {
        /// Its name.
        plugin: String,
        /// What was asked of it.
        verb: &'static str,
        /// Its code.
        code: u32,
        /// Its message.
        msg: String,
        /// What else it said.
        details: Option<String>,
    },
    /// An IPAM plugin did not answer.
    #[error("IPAM plugin {plugin:?}, asked for {verb}, {fault}")]
    Plugin {
        /// Its name.
        plugin: String,
        /// What was asked of it.
        verb: &'static str,
        /// What it did.
        #[source]
        fault: Fault,
    },
    /// Somebody else holds the lease store's lock.
    #[error("lease store {store:?} is locked by another process")]
    LockHeld {
        /// The store's folder.
        store: PathBuf,
    },
    /// Another call works on the same attachment, and does not come to an end.
    #[error("another call for container {container_id} on {ifname} is still at work")]
    Busy {
        /// The container.
        container_id: String,
        /// The pod's interface.
        ifname: String,
    },
    /// A record that nobody can read, and a link that nobody else knows of.
    #[error(
        "attachment record {path:?} cannot be read, and no lease tells whose interface {host_ifname:?} is"
    )]
    LostRecord {
        /// The record.
        path: PathBuf,
        /// The host end.
        host_ifname: String,
    },
    /// A record that nobody can read, and leases of which it alone may tell whose they are.
    #[error("attachment record {path:?} cannot be read, and may be about any lease of {store:?}")]
    UnreadableRecord {
        /// The record.
        path: PathBuf,
        /// The lease store's folder.
        store: PathBuf,
    },
    /// A file of our own state could not be used.
    #[error("cannot {act} {path:?}")]
    State {
        /// What was attempted.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a change or an answer.
    #[error("cannot {act} {object}")]
    Kernel {
        /// What was attempted.
        act: &'static str,
        /// On what: an interface, an address, a route.
        object: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel was built without something this network needs.
    #[error("this node's kernel lacks {feature}")]
    KernelFeature {
        /// The feature by its configuration name.
        feature: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The name of one end is taken.
    #[error("interface {ifname:?} already exists {place}")]
    InterfaceExists {
        /// The name.
        ifname: String,
        /// On which side.
        place: &'static str,
    },
    /// The pod has a route to that destination already.
    #[error("the pod has a route to {destination} already, so interface {ifname:?} cannot have it too")]
    RouteExists {
        /// The route's destination.
        destination: IpNetwork,
        /// The pod's interface that should have had it.
        ifname: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Somebody else has a host port.
    #[error("host port {port} is taken by {holder}")]
    HostPortTaken {
        /// The port, with its protocol and address.
        port: String,
        /// Who has it.
        holder: String,
    },
    /// The bridge is not what the configuration needs, and not ours to change.
    #[error("bridge={bridge:?} {problem}")]
    BridgeUnfit {
        /// Its name.
        bridge: String,
        /// What it is in place of what it should be.
        problem: String,
    },
    /// The bridge has as many ports as the kernel allows.
    #[error("bridge {bridge:?} has no free port for this pod: the kernel gives a bridge 1023")]
    BridgeFull {
        /// Its name.
        bridge: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// CHECK found a difference.
    #[error("attachment of container {container_id} on {ifname}: {problem}")]
    CheckFailed {
        /// The container.
        container_id: String,
        /// The pod's interface.
        ifname: String,
        /// What is missing or different.
        problem: String,
    },
    /// STATUS: ADD cannot work.
    #[error("ADD cannot work on this node now")]
    Unavailable(#[source] Box<Self>),
    /// The verb took longer than it may.
    #[error("{verb} took longer than {seconds} s")]
    Deadline {
        /// What was called.
        verb: &'static str,
        /// The deadline in seconds.
        seconds: u64,
    },
    /// The runtime gave up on the call.
    #[error("{verb} was interrupted by SIGTERM")]
    Interrupted {
        /// What was called.
        verb: &'static str,
    },
    /// Something failed for one attachment of many.
    #[error("container {container_id} on {ifname}: {cause}")]
    OfAttachment {
        /// The container.
        container_id: String,
        /// The pod's interface.
        ifname: String,
        /// Why. What it says is what the whole says.
        cause: Box<Self>,
    },
    /// Several attachments failed; the others were done.
    #[error("{} of {tried} attachments could not be released: {}", failures.len(), first_of(failures))]
    Several {
        /// How many attachments there were to release.
        tried: usize,
        /// Why each of those failed that did.
        failures: Vec<Self>,
    },
    /// A call failed, and so did the undoing of what it had done.
    #[error("{cause}; undoing failed too: {}; the next ADD, DEL or GC repairs it", undo.story())]
    NotUndone {
        /// Why the call failed.
        cause: Box<Self>,
        /// Why the undoing failed.
        undo: Box<Self>,
    },
}

impl Error {
    /// A variable of the environment that is malformed.
    pub fn environment(name: &'static str, value: &str, problem: &'static str) -> Self {
        Self::Environment { name, value: shorten(value), problem }
    }

    /// A key of the configuration that cannot be meant.
    pub fn config(field: impl Into<String>, value: impl ToString, problem: impl Into<String>) -> Self {
        // A key may be as long as a value, where it is one that the admin makes up.
        let (field, value) = (shorten(&field.into()), shorten(&value.to_string()));
        Self::Config { field, value, problem: problem.into() }
    }

    /// A closure for `map_err` on file operations.
    pub fn state(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::State { act, path, source }
    }

    /// A closure for `map_err` on netlink requests.
    pub fn kernel(act: &'static str, object: impl ToString) -> impl FnOnce(io::Error) -> Self {
        // Written only when it is needed: most requests succeed.
        move |source| Self::Kernel { act, object: object.to_string(), source }
    }

    /// What went wrong with the attachment of `owner`, where the message does not name it already.
    pub(crate) fn about(self, owner: &Owner<'_>) -> Self {
        match self {
            Self::Busy { .. } | Self::CheckFailed { .. } | Self::OfAttachment { .. } => self,
            cause => Self::OfAttachment {
                container_id: owner.container_id.to_owned(),
                ifname: owner.ifname.to_owned(),
                cause: Box::new(cause),
            },
        }
    }

    /// Nothing where there are no `failures`, and one alone as it is.
    pub(crate) fn together(mut failures: Vec<Self>, tried: usize) -> Result<(), Self> {
        match failures.pop() {
            None => Ok(()),
            Some(only) if failures.is_empty() => Err(only),
            Some(last) => {
                failures.push(last);
                Err(Self::Several { tried: tried.max(failures.len()), failures })
            }
        }
    }
}

/// Whether the system answered `errno`.
pub(crate) fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// Values from outside are quoted in messages up to a length that still fits a line.
pub(crate) fn shorten(value: &str) -> String {
    const LONGEST: usize = 240;
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests;
