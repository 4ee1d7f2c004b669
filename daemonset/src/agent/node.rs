//! The node's side of the agent: brings it to a desired state, step by step, and remembers the facts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tripod_cni::nft::masquerade::Masquerade;
use tripod_cni::record::WayToPod;

use crate::attachments::Attachments;
use crate::claims::Peer;
use crate::config::NodeConfig;
use crate::conflist;
use crate::desired::{self, Desired};
use crate::firewall::FirewallError;
use crate::forward::Forward;
use crate::hostfs::{self, Change, Dir, HostFsError};
use crate::kernel::KernelError;
use crate::node_facts::{self, NodeFacts};
use crate::report;
use crate::state::{self, Snapshot};
use crate::sysctl::{self, SysctlError};
use crate::wireguard_key::PrivateKey;

use super::key::{self, KeyFileError};

/// Name of the marker that lets `tripod-cni` work after a boot.
const READY: &str = "ready";

/// A snapshot has some 250 bytes for each other node.
const LONGEST_SNAPSHOT: u64 = 16 << 20;

/// Where the agent finds and leaves things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The conflist; its folder is the runtime's.
    pub conflist: PathBuf,
    /// Folder of the marker and the snapshot, on a tmpfs.
    pub state: PathBuf,
    /// The node's `/proc/sys/net`.
    pub sysctl: PathBuf,
    /// The node's `/proc/net`.
    pub proc_net: PathBuf,
}

/// A step that failed; those after it were not tried.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A kernel parameter.
    #[error("cannot prepare the kernel")]
    Sysctl(#[from] SysctlError),
    /// Links, routes or neighbours.
    #[error("cannot link the node with others")]
    Kernel(#[from] KernelError),
    /// This node's own key.
    #[error("cannot encrypt what is said to other nodes")]
    Key(#[from] KeyFileError),
    /// The device that encrypts.
    #[error("cannot encrypt what is said to other nodes")]
    Tunnel(#[source] KernelError),
    /// The base table.
    #[error("cannot prepare the firewall")]
    Firewall(#[from] FirewallError),
    /// The snapshot, the marker or the conflist.
    #[error("cannot write the node's files")]
    Files(#[from] HostFsError),
    /// The snapshot's text.
    #[error("cannot render the agent's snapshot")]
    Snapshot(#[from] serde_json::Error),
    /// The conflist's path has no folder or no name.
    #[error("{0:?} is no path of a conflist")]
    ConflistPath(PathBuf),
}

impl ApplyError {
    /// The step in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sysctl(_) => "sysctl",
            Self::Kernel(_) | Self::Tunnel(_) => "kernel",
            Self::Firewall(_) => "firewall",
            Self::Files(_) | Self::Key(_) => "files",
            Self::Snapshot(_) => "snapshot",
            Self::ConflistPath(_) => "conflist",
        }
    }
}

/// The node, and what was last done to it.
#[derive(Debug)]
pub(super) struct Node {
    paths: Paths,
    applied: Option<Desired>,
    attachments: Attachments,
    forward: Forward,
    preempting: Vec<String>,
    key: Option<PrivateKey>,
}

impl Node {
    /// A node nothing was done to yet in this run.
    pub(super) fn new(paths: Paths, orphan_grace: Duration) -> Self {
        Self {
            paths,
            applied: None,
            attachments: Attachments::new(orphan_grace),
            forward: Forward::default(),
            preempting: Vec::new(),
            key: None,
        }
    }

    /// Configurations that the runtime takes before ours.
    pub(super) fn preempting(&self) -> &[String] {
        &self.preempting
    }

    /// This node's key of WireGuard, which is made when it is asked for first.
    pub(super) fn key(&mut self) -> Result<&PrivateKey, ApplyError> {
        let known = self.key.take();
        let key = known.map_or_else(|| key::keep(&self.paths.state), Ok)?;
        Ok(self.key.insert(key))
    }

    /// What others' rules drop.
    pub(super) fn forward(&self) -> &Forward {
        &self.forward
    }

    /// Folders in which a change means that the node must be looked at.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.paths.conflist.parent().into_iter().chain([self.paths.state.as_path()])
    }

    /// Makes those folders, so that they can be watched before anything is written to them.
    pub(super) fn make_folders(&self) {
        for folder in self.folders() {
            if let Err(error) = Dir::open(folder) {
                // Writing to it fails for the same reason, and that is told.
                tracing::debug!(folder = %folder.display(), error = report::chain(&error), "not made");
            }
        }
    }

    /// The facts that an earlier run left about Node `name`, and its peers.
    pub(super) fn last_known(&self, name: &str) -> Option<(NodeFacts, Option<Vec<Peer>>)> {
        let path = self.paths.state.join(state::FILE);
        let text = hostfs::read(&path, LONGEST_SNAPSHOT).ok()?;
        match Snapshot::parse(&text) {
            Ok(snapshot) if snapshot.node == name => Some((snapshot.facts, snapshot.peers)),
            Ok(snapshot) => {
                tracing::warn!(path = %path.display(), node = snapshot.node, "ignored: it is another node's");
                None
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), error = report::chain(&error), "ignored: it cannot be read");
                None
            }
        }
    }

    /// What must be there before the node is linked with others: forwarding, and the firewall that protects
    /// it from pods. Returns the ways to the node's own pods.
    pub(super) fn prepare(
        &mut self,
        desired: &Desired,
        snapshot: &Snapshot,
    ) -> Result<Vec<WayToPod>, ApplyError> {
        sysctl::apply(&self.paths.sysctl, &self.paths.proc_net, &desired.sysctls)?;
        sysctl::make_room(&self.paths.sysctl, desired.neighbours);
        self.apply_firewall(desired)?;
        self.forward.keep(desired.forward_drop, &snapshot.facts.pod_cidrs);
        Ok(self.attachments.restore(&self.paths.state))
    }

    /// The marker opens the plugin's gate and the conflist makes the runtime call it, so they come when all
    /// that a pod needs is there, in this order.
    pub(super) fn announce(&mut self, desired: &Desired, snapshot: &Snapshot) -> Result<(), ApplyError> {
        sysctl::close_overlays(&self.paths.sysctl)?;
        let state = Dir::open(&self.paths.state)?;
        state.write(state::FILE, &snapshot.render()?, 0o600)?;
        state.write(READY, b"", 0o644)?;
        self.apply_conflist(desired)?;
        self.applied = Some(desired.clone());
        Ok(())
    }

    fn apply_firewall(&self, desired: &Desired) -> Result<(), FirewallError> {
        let firewall = &desired.firewall;
        let is_current = self.applied.as_ref().is_some_and(|applied| applied.firewall == *firewall);
        if is_current && firewall.is_whole()? {
            return Ok(());
        }
        firewall.apply()?;
        let Masquerade { pods, spared, .. } = &firewall.masquerade;
        let [pods, spared] = [pods, spared].map(node_facts::list);
        tracing::info!(pods, spared, "applied table inet tripod");
        Ok(())
    }

    fn apply_conflist(&mut self, desired: &Desired) -> Result<(), ApplyError> {
        let path = &self.paths.conflist;
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Err(ApplyError::ConflistPath(path.clone()));
        };
        let dir = Dir::open(folder)?;
        if dir.write(name, &desired.conflist, 0o600)? == Change::Written {
            tracing::info!(path = %path.display(), "wrote the conflist");
        }
        let names = dir.names()?;
        let preempting = conflist::preempting(names.iter().map(String::as_str), name);
        let preempting: Vec<_> = preempting.into_iter().map(str::to_owned).collect();
        self.tell_preempting(preempting);
        Ok(())
    }

    fn tell_preempting(&mut self, preempting: Vec<String>) {
        if preempting != self.preempting && !preempting.is_empty() {
            let conflist = self.paths.conflist.display();
            tracing::warn!(
                %conflist,
                files = preempting.join(", "),
                "other configurations sort before ours and the runtime takes the first; remove or rename them"
            );
        }
        self.preempting = preempting;
    }
}

/// Tells once what the admin may not have meant.
pub(super) fn tell_unlisted(config: &NodeConfig, facts: &NodeFacts) {
    let unlisted = desired::unlisted(config, facts);
    if !unlisted.is_empty() && config.masquerade.enabled {
        tracing::warn!(
            pod_cidrs = node_facts::list(unlisted),
            "clusterCIDRs in node.yaml does not contain this node's pods: traffic to pods of other nodes \
             will leave with this node's address"
        );
    }
}
