//! What a Node object says about its node's network.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::Node;
use serde::{Deserialize, Serialize};

/// The facts that decide a node's network, in the order of the Node object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// `metadata.uid` of the Node.
    #[serde(default)]
    pub uid: String,
    /// `spec.podCIDRs`: the prefixes of this node's pods, without host bits. Empty until the cluster has
    /// assigned them.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNetwork>,
    /// The first `InternalIP` of each family: the sources of packets from this node to its pods.
    #[serde(rename = "nodeIPs")]
    pub node_ips: Vec<IpAddr>,
}

impl fmt::Display for NodeFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cidrs, ips) = (list(&self.pod_cidrs), list(&self.node_ips));
        write!(f, "pod CIDRs [{cidrs}], internal IPs [{ips}]")
    }
}

/// Values as a person writes them.
pub fn list(values: impl IntoIterator<Item = impl ToString>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(", ")
}

/// A Node whose fields make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// An entry of `spec.podCIDRs` is no prefix.
    #[error("spec.podCIDRs of node {node}: {value:?} is no CIDR")]
    PodCidr {
        /// The Node's name.
        node: String,
        /// The entry.
        value: String,
    },
    /// A prefix that leaves no address for a pod.
    #[error(
        "spec.podCIDRs of node {node}: {value:?} is too small for pods: \
         it needs a network address, a gateway and at least one more"
    )]
    PodCidrTooSmall {
        /// The Node's name.
        node: String,
        /// The entry.
        value: String,
    },
    /// More prefixes than there are families.
    #[error("spec.podCIDRs of node {node} has {count} entries; one per IP family is possible")]
    PodCidrCount {
        /// The Node's name.
        node: String,
        /// How many there are.
        count: usize,
    },
}

/// What a look at a Node object gave.
pub type Seen = Result<NodeFacts, FactsError>;

impl NodeFacts {
    /// Reads them off `node`.
    pub fn inspect(node: &Node) -> Seen {
        Ok(Self {
            uid: node.metadata.uid.clone().unwrap_or_default(),
            pod_cidrs: pod_cidrs(node)?,
            node_ips: internal_ips(node),
        })
    }
}

/// The Node's condition `NetworkUnavailable`, if it has one: cloud providers set it until somebody has
/// given the node's pods a network.
pub fn network_unavailable(node: &Node) -> Option<&str> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|condition| condition.type_ == "NetworkUnavailable")?;
    Some(&condition.status)
}

/// What the kubelet says of its readiness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// A word for it.
    pub reason: String,
    /// A sentence, in which the runtime may have its say.
    pub message: String,
}

impl Readiness {
    /// Whether the kubelet says that the runtime has no network.
    pub fn lacks_network(&self) -> bool {
        self.status != "True" && blames_network(&self.message)
    }
}

/// Whether a message of the kubelet is about the runtime's network: its own words, and those of runtimes.
pub fn blames_network(message: &str) -> bool {
    ["NetworkPluginNotReady", "NetworkReady=false", "cni plugin not initialized", "cni config"]
        .iter()
        .any(|sign| message.contains(sign))
}

/// The Node's condition `Ready`, if it has one.
pub fn ready(node: &Node) -> Option<Readiness> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some(Readiness {
        status: condition.status.clone(),
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    })
}

fn pod_cidrs(node: &Node) -> Result<Vec<IpNetwork>, FactsError> {
    let name = || node.metadata.name.clone().unwrap_or_default();
    let spec = node.spec.as_ref();
    let texts = match spec.and_then(|spec| spec.pod_cidrs.as_deref()) {
        Some(texts) => texts,
        // Before dual stack there was one prefix, in a field of its own.
        None => spec.and_then(|spec| spec.pod_cidr.as_ref()).map(std::slice::from_ref).unwrap_or_default(),
    };
    let parse = |text: &String| pod_cidr(&name(), text);
    let cidrs = texts.iter().filter(|text| !text.is_empty()).map(parse).collect::<Result<Vec<_>, _>>()?;
    let families =
        [cidrs.iter().filter(|c| c.is_ipv4()).count(), cidrs.iter().filter(|c| c.is_ipv6()).count()];
    if families.iter().any(|count| *count > 1) {
        return Err(FactsError::PodCidrCount { node: name(), count: cidrs.len() });
    }
    Ok(cidrs)
}

/// A prefix that the plugin takes. The API server lets host bits pass, and they mean nothing.
fn pod_cidr(node: &str, text: &str) -> Result<IpNetwork, FactsError> {
    let (node, value) = (node.to_owned(), text.to_owned());
    let Ok(cidr) = text.parse::<IpNetwork>() else { return Err(FactsError::PodCidr { node, value }) };
    let longest = if cidr.is_ipv4() { 30 } else { 126 };
    match IpNetwork::new(cidr.network(), cidr.prefix()) {
        Ok(network) if network.prefix() <= longest => Ok(network),
        _ => Err(FactsError::PodCidrTooSmall { node, value }),
    }
}

fn internal_ips(node: &Node) -> Vec<IpAddr> {
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let mut first_of_family = Vec::<IpAddr>::new();
    for address in addresses.iter().filter(|address| address.type_ == "InternalIP") {
        // What is no address is a cloud provider's affair; the kubelet itself writes only addresses.
        if let Ok(ip) = address.address.parse::<IpAddr>()
            && first_of_family.iter().all(|known| known.is_ipv4() != ip.is_ipv4())
        {
            first_of_family.push(ip);
        }
    }
    first_of_family
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(spec: serde_json::Value, status: serde_json::Value) -> Node {
        serde_json::from_value(
            serde_json::json!({"metadata": {"name": "n1"}, "spec": spec, "status": status}),
        )
        .unwrap()
    }

    #[test]
    fn cidrs_keep_their_order_and_the_first_internal_ip_per_family_counts() {
        let status = serde_json::json!({"addresses": [
            {"type": "Hostname", "address": "n1"}, {"type": "ExternalIP", "address": "203.0.113.7"},
            {"type": "InternalIP", "address": "fd00::1"}, {"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "InternalIP", "address": "10.0.0.2"}]});
        let spec = serde_json::json!({"podCIDR": "fd00:1::/64", "podCIDRs": ["fd00:1::/64", "10.1.0.0/24"]});
        let facts = NodeFacts::inspect(&node(spec, status)).unwrap();
        let cidrs: Vec<_> = facts.pod_cidrs.iter().map(ToString::to_string).collect();
        assert_eq!(cidrs, ["fd00:1::/64", "10.1.0.0/24"]);
        let ips: Vec<_> = facts.node_ips.iter().map(ToString::to_string).collect();
        assert_eq!(ips, ["fd00::1", "10.0.0.1"]);
    }

    #[test]
    fn a_node_without_cidrs_has_none_and_the_old_field_is_read() {
        let none = serde_json::json!({});
        assert!(NodeFacts::inspect(&node(none.clone(), none.clone())).unwrap().pod_cidrs.is_empty());
        let old = serde_json::json!({"podCIDR": "10.1.0.0/24"});
        assert_eq!(NodeFacts::inspect(&node(old, none)).unwrap().pod_cidrs.len(), 1);
    }

    #[test]
    fn cidrs_that_make_no_sense_are_refused_by_name() {
        let none = serde_json::json!({});
        let bad = serde_json::json!({"podCIDRs": ["ten"]});
        let error = NodeFacts::inspect(&node(bad, none.clone())).unwrap_err().to_string();
        assert_eq!(error, "spec.podCIDRs of node n1: \"ten\" is no CIDR");
        let two = serde_json::json!({"podCIDRs": ["10.1.0.0/24", "10.2.0.0/24"]});
        let error = NodeFacts::inspect(&node(two, none)).unwrap_err().to_string();
        assert_eq!(error, "spec.podCIDRs of node n1 has 2 entries; one per IP family is possible");
    }

    #[test]
    fn cidrs_come_without_host_bits_and_with_room_for_a_pod() {
        let inspect = |cidr: &str| {
            let spec = serde_json::json!({"podCIDRs": [cidr]});
            NodeFacts::inspect(&node(spec, serde_json::json!({})))
        };
        for (written, taken) in [
            ("10.244.1.5/24", "10.244.1.0/24"),
            ("10.244.1.7/30", "10.244.1.4/30"),
            ("fd00::5/64", "fd00::/64"),
            ("fd00::7/126", "fd00::4/126"),
        ] {
            assert_eq!(inspect(written).unwrap().pod_cidrs, [taken.parse().unwrap()]);
        }
        for small in ["10.244.1.0/31", "10.244.1.1/32", "10.244.1.1", "fd00::/127", "fd00::1/128"] {
            let error = inspect(small).unwrap_err().to_string();
            let beginning = format!("spec.podCIDRs of node n1: \"{small}\" is too small for pods");
            assert!(error.starts_with(&beginning), "{error}");
        }
    }

    #[test]
    fn the_condition_is_found() {
        let status = serde_json::json!({"conditions": [{"type": "Ready", "status": "True"},
            {"type": "NetworkUnavailable", "status": "True"}]});
        let none = serde_json::json!({});
        assert_eq!(ready(&node(none.clone(), status.clone())).unwrap().status, "True");
        assert_eq!(network_unavailable(&node(none.clone(), status)), Some("True"));
        assert_eq!(network_unavailable(&node(none.clone(), none)), None);
    }
}
