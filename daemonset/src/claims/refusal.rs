//! Why claims are not used.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::tripod_node::ClaimError;

/// Why a claim is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It makes no sense.
    #[error(transparent)]
    Nonsense(#[from] ClaimError),
    /// It claims what is not the cluster's.
    #[error("{0} is in none of clusterCIDRs of node.yaml")]
    Outside(IpNetwork),
    /// It claims more or less than a node gets.
    #[error("{claimed} is no /{ours}, which is what this cluster's nodes get: this node has one")]
    Mask {
        /// What it claims.
        claimed: IpNetwork,
        /// Length of our own prefix.
        ours: u8,
    },
    /// It claims what is ours.
    #[error("{claimed} overlaps {ours} of this node")]
    Ours {
        /// What it claims.
        claimed: IpNetwork,
        /// What is ours.
        ours: IpNetwork,
    },
    /// It claims what Services have.
    #[error("{claimed} overlaps {services}, which Services have")]
    Services {
        /// What it claims.
        claimed: IpNetwork,
        /// What Services have.
        services: IpNetwork,
    },
    /// It claims a family that this cluster's pods do not have.
    #[error("{0} is of a family of which this node has no pods")]
    Family(IpNetwork),
    /// It says that it is at an address of ours.
    #[error("it claims {0}, the address of this node")]
    Us(IpAddr),
    /// It claims what another node is, too, and its Node object does not agree.
    #[error("it claims {what}, as node {other} does, and its Node object does not have it")]
    Twin {
        /// An address, or a UID.
        what: String,
        /// Who else claims it.
        other: String,
    },
    /// It claims our key of WireGuard.
    #[error(
        "it claims this node's key of WireGuard (spec.wireguardKey); remove wireguard.key there and restart its agent"
    )]
    OurKey,
    /// It claims another's key of WireGuard, and was not believed with it before.
    #[error(
        "it claims the key of WireGuard that node {other} claims (spec.wireguardKey); remove wireguard.key on the \
         node that has copied it and restart its agent"
    )]
    Key {
        /// Who else claims it.
        other: String,
    },
    /// It claims the address of a node.
    #[error("{claimed} holds {address}, the address of a node")]
    Node {
        /// What it claims.
        claimed: IpNetwork,
        /// The node's address.
        address: IpAddr,
    },
    /// It says that it is at an address of another's pods, and its Node object does not agree.
    #[error("it claims {address} in {claimed} of node {other}, and its Node object does not have it")]
    Guest {
        /// Its address.
        address: IpAddr,
        /// Prefix of the other's pods.
        claimed: IpNetwork,
        /// Whose pods.
        other: String,
    },
    /// It says that it is at an address of another's pods, and the Node object of that other agrees with it.
    #[error("it claims {address} in {claimed}, which is node {other}'s by its Node object")]
    Within {
        /// Its address.
        address: IpAddr,
        /// Prefix of the other's pods.
        claimed: IpNetwork,
        /// Whose pods.
        other: String,
    },
    /// It overlaps the claim of another, and Node objects say that it is wrong, or there is no such Node.
    #[error("{claimed} overlaps the claim of node {other}, and its Node object does not have it")]
    Overlap {
        /// What it claims.
        claimed: IpNetwork,
        /// Who else claims it.
        other: String,
    },
    /// It claims what another node is or has, too, and not all of their Node objects have been read.
    #[error("it claims {what}, which is in dispute with node {other}; waiting for Node object {awaited}")]
    Waiting {
        /// An address, a UID or a prefix.
        what: String,
        /// Who else claims it.
        other: String,
        /// Whose Node object is awaited.
        awaited: String,
    },
    /// Nobody said which prefixes are the cluster's, and its Node object does not have what it claims.
    #[error("its Node object does not have what it claims, and clusterCIDRs of node.yaml is empty")]
    Unconfirmed,
    /// Nobody said which prefixes are the cluster's, and its Node object has not been read.
    #[error("waiting for its Node object, as clusterCIDRs of node.yaml is empty")]
    Unread,
}
