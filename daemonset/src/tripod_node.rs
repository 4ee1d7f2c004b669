//! `TripodNode`: what a node tells the others about itself. One object per node, written by that node's
//! agent alone, named after its Node and owned by it, so that it goes when the Node goes.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use k8s_openapi::ClusterResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::mac::{Mac, MacError};
use crate::node_facts::NodeFacts;
use crate::wireguard_key::PublicKey;

/// Version of what nodes do with one another's packets. A node of a later one is not linked.
pub const PROTOCOL: u32 = 1;

/// An object of the API, read without trust: whatever its spec holds, it must not hide the others.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TripodNode {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
}

impl k8s_openapi::Resource for TripodNode {
    const API_VERSION: &'static str = "tripod.dev/v1alpha1";
    const GROUP: &'static str = "tripod.dev";
    const KIND: &'static str = "TripodNode";
    const VERSION: &'static str = "v1alpha1";
    const URL_PATH_SEGMENT: &'static str = "tripodnodes";
    type Scope = ClusterResourceScope;
}

impl k8s_openapi::Metadata for TripodNode {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// UID of its Node object.
    #[serde(rename = "nodeUID")]
    pub node_uid: String,
    /// Its InternalIPs, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Prefixes of its pods, at most one of each family.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNetwork>,
    /// Hardware address of its overlay devices.
    #[serde(rename = "vtepMAC")]
    pub vtep_mac: Mac,
    /// Its key of WireGuard; none where it does not encrypt, or where what it says is no key.
    #[serde(default, deserialize_with = "key_if_any", skip_serializing_if = "Option::is_none")]
    pub wireguard_key: Option<PublicKey>,
    /// Its [`PROTOCOL`].
    pub protocol: u32,
}

/// Why an object says nothing that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// A field is missing or is of another type.
    #[error("its spec cannot be read: {0}")]
    Shape(String),
    /// No address, or two of a family.
    #[error("spec.addresses must hold one address per IP family, not {0:?}")]
    Addresses(Vec<IpAddr>),
    /// No prefix, two of a family, or one with host bits.
    #[error("spec.podCIDRs must hold one prefix per IP family, without host bits, not {0:?}")]
    PodCidrs(Vec<IpNetwork>),
    /// An address that no node can have for others.
    #[error("spec.addresses: {0} can be no address of a node")]
    NoNode(IpAddr),
    /// A hardware address that is not the one that belongs to the UID.
    #[error("spec.vtepMAC {claimed} does not belong to spec.nodeUID, {mac} does")]
    Mac {
        /// What it says.
        claimed: Mac,
        /// What belongs to its UID.
        mac: Mac,
    },
    /// A later Tripod.
    #[error("it speaks protocol {0}, this node {PROTOCOL}: upgrade this node")]
    Protocol(u32),
}

impl From<MacError> for ClaimError {
    fn from(error: MacError) -> Self {
        Self::Shape(error.to_string())
    }
}

impl TripodNode {
    /// The name of the object and of its Node.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// What it says, if it makes sense by itself.
    pub fn claim(&self) -> Result<Claim, ClaimError> {
        let claim = Claim::deserialize(&self.spec).map_err(|error| ClaimError::Shape(error.to_string()))?;
        claim.check()?;
        Ok(claim)
    }
}

impl Claim {
    /// What the node with `facts` and this key says of itself; nothing while it has no prefix or no address.
    pub fn new(facts: &NodeFacts, wireguard_key: Option<PublicKey>) -> Option<Self> {
        let claim = Self {
            node_uid: facts.uid.clone(),
            addresses: facts.node_ips.clone(),
            pod_cidrs: facts.pod_cidrs.clone(),
            vtep_mac: Mac::of_node(&facts.uid),
            wireguard_key,
            protocol: PROTOCOL,
        };
        (!claim.node_uid.is_empty() && claim.check().is_ok()).then_some(claim)
    }

    /// The object of the node called `name`, for a server-side apply. The Node owns it: what is left of a
    /// node that was removed goes with the Node.
    pub fn object(&self, name: &str) -> Value {
        json!({
            "apiVersion": "tripod.dev/v1alpha1",
            "kind": "TripodNode",
            "metadata": {
                "name": name,
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": name, "uid": self.node_uid},
                ],
            },
            "spec": self,
        })
    }

    fn check(&self) -> Result<(), ClaimError> {
        if self.protocol > PROTOCOL {
            return Err(ClaimError::Protocol(self.protocol));
        }
        if !one_per_family(self.addresses.iter().map(IpAddr::is_ipv4)) {
            return Err(ClaimError::Addresses(self.addresses.clone()));
        }
        let is_prefix = self.pod_cidrs.iter().all(|cidr| cidr.network() == cidr.ip());
        if !is_prefix || !one_per_family(self.pod_cidrs.iter().map(IpNetwork::is_ipv4)) {
            return Err(ClaimError::PodCidrs(self.pod_cidrs.clone()));
        }
        if let Some(address) = self.addresses.iter().find(|ip| !is_of_a_node(**ip)) {
            return Err(ClaimError::NoNode(*address));
        }
        // Whoever could name another's would be sent what is meant for that one.
        let mac = Mac::of_node(&self.node_uid);
        if self.vtep_mac == mac { Ok(()) } else { Err(ClaimError::Mac { claimed: self.vtep_mac, mac }) }
    }
}

/// Only who encrypts needs a key, so one that cannot be read is no reason to refuse the rest.
fn key_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PublicKey>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_str().and_then(|text| text.parse().ok()))
}

/// Whether other nodes can reach a node there, and nothing else is known to be there: metadata services of
/// clouds are at link-local addresses.
fn is_of_a_node(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !(is_link_local || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

/// Whether there is one of a family, or one of each.
fn one_per_family(are_v4: impl Iterator<Item = bool>) -> bool {
    match are_v4.take(3).collect::<Vec<_>>()[..] {
        [_] => true,
        [first, second] => first != second,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Value {
        json!({
            "nodeUID": "u1", "addresses": ["192.0.2.1", "2001:db8::1"],
            "podCIDRs": ["10.244.1.0/24", "fd00:1::/64"], "vtepMAC": Mac::of_node("u1"), "protocol": 1,
        })
    }

    fn claim(change: impl FnOnce(&mut Value)) -> Result<Claim, ClaimError> {
        let mut spec = spec();
        change(&mut spec);
        let object: TripodNode =
            serde_json::from_value(json!({"metadata": {"name": "n1"}, "spec": spec})).unwrap();
        object.claim()
    }

    #[test]
    fn what_a_node_writes_others_read() {
        let facts = NodeFacts {
            uid: "u1".into(),
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
            node_ips: vec!["192.0.2.1".parse().unwrap()],
        };
        let written = Claim::new(&facts, None).unwrap();
        let object = written.object("n1");
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "u1");
        let read: TripodNode = serde_json::from_value(object).unwrap();
        assert_eq!((read.name(), read.claim()), ("n1", Ok(written)));
        assert_eq!(Claim::new(&NodeFacts { uid: String::new(), ..facts.clone() }, None), None);
        assert_eq!(Claim::new(&NodeFacts { pod_cidrs: Vec::new(), ..facts }, None), None);
    }

    #[test]
    fn a_key_is_told_where_there_is_one_and_one_that_is_none_hides_nothing_else() {
        let key = "zK8Q4anX0F/yvdKg8XjLl0aaHPe+iA8OaHWnepNdHSE=";
        let told = claim(|spec| spec["wireguardKey"] = json!(key)).unwrap();
        assert_eq!(told.wireguard_key.map(|key| key.to_string()).as_deref(), Some(key));
        assert_eq!(told.object("n1")["spec"]["wireguardKey"], key);
        for nonsense in [json!("x"), json!(7), json!({}), Value::Null, json!("A".repeat(1 << 20))] {
            let told = claim(|spec| spec["wireguardKey"] = nonsense).unwrap();
            assert_eq!(told.wireguard_key, None);
            assert!(told.object("n1")["spec"].get("wireguardKey").is_none());
        }
    }

    #[test]
    fn a_later_version_may_say_more() {
        assert!(claim(|spec| spec["later"] = json!("x")).is_ok());
        assert_eq!(claim(|spec| spec["protocol"] = json!(2)), Err(ClaimError::Protocol(2)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused =
            |key: &str, value: Value| claim(|spec| spec[key] = value.clone()).unwrap_err().to_string();
        for (key, value) in [
            ("addresses", json!([])),
            ("addresses", json!(["192.0.2.1", "192.0.2.2"])),
            ("podCIDRs", json!(["10.244.1.0/24", "10.244.2.0/24"])),
            ("podCIDRs", json!(["10.244.1.7/24"])),
            ("podCIDRs", json!([])),
            ("vtepMAC", json!("02:00:00:00:00:01")),
            ("addresses", json!(["169.254.169.254"])),
            ("addresses", json!(["127.0.0.1"])),
            ("addresses", json!(["::ffff:192.0.2.1"])),
        ] {
            assert!(refused(key, value.clone()).contains(key), "{key} {value}");
        }
        assert!(refused("addresses", json!(["nonsense"])).contains("cannot be read"));
        assert!(claim(|spec| *spec = Value::Null).is_err());
    }
}
