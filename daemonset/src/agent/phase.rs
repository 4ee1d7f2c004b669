//! How far a node is on its way to a pod network.

use std::fmt;

/// From nothing known to everything done. Each step needs the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// No API server has told about the Node yet, and no earlier run has left its knowledge.
    #[default]
    Absent,
    /// What the Node object says cannot be used, and no earlier knowledge is left.
    WaitingForUsableNode(String),
    /// The Node has no pod CIDRs yet; the cluster assigns them.
    WaitingForPodCidrs,
    /// Nobody has told yet which other nodes there are.
    WaitingForPeers(String),
    /// The node's state is known and could not be reached.
    Failing(String),
    /// The kernel is prepared, the marker stands, the runtime has its conflist.
    Ready,
}

impl Phase {
    /// Every [`word`](Self::word).
    pub const WORDS: [&str; 6] = [
        "absent",
        "waiting-for-usable-node",
        "waiting-for-pod-cidrs",
        "waiting-for-peers",
        "failing",
        "ready",
    ];

    /// Its name for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::WaitingForUsableNode(_) => "waiting-for-usable-node",
            Self::WaitingForPodCidrs => "waiting-for-pod-cidrs",
            Self::WaitingForPeers(_) => "waiting-for-peers",
            Self::Failing(_) => "failing",
            Self::Ready => "ready",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("waiting for an API server to tell about this node"),
            Self::WaitingForUsableNode(error) => write!(f, "waiting for a usable Node object: {error}"),
            Self::WaitingForPodCidrs => f.write_str(
                "waiting for spec.podCIDRs of this node; \
                 kube-controller-manager assigns them with --allocate-node-cidrs and --cluster-cidr",
            ),
            Self::WaitingForPeers(why) => write!(f, "waiting for the TripodNode objects of other nodes{why}"),
            Self::Failing(error) => write!(f, "failing: {error}"),
            Self::Ready => f.write_str("ready"),
        }
    }
}
