//! The result of an ADD, in the shape of the version that was asked for, and the `prevResult` of any
//! version.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::spec::{Route, Version};

/// One end of an attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address, `aa:bb:cc:dd:ee:ff`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Its MTU in bytes, from 1.1.0 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The namespace's path for the pod's end; absent for the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
}

/// One address of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The address and its prefix length.
    pub address: IpNetwork,
    /// Where the pod sends what leaves its prefix.
    pub gateway: Option<IpAddr>,
    /// Index into the interfaces.
    pub interface: Option<usize>,
}

/// What ADD prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Success {
    /// The host's end first, then the pod's; none in the result of an IPAM plugin.
    pub interfaces: Vec<Interface>,
    /// The pod's addresses, in the order of the range sets.
    pub ips: Vec<Address>,
    /// The pod's routes.
    pub routes: Vec<Route>,
    /// The configuration's `dns`, handed through.
    pub dns: Option<Value>,
}

impl Success {
    /// The document of `version`.
    pub(crate) fn render(&self, version: Version) -> Value {
        let mut document = json!({"cniVersion": version});
        if let Some(object) = document.as_object_mut() {
            if version < Version::V0_3_0 {
                object.extend(self.families());
            } else {
                object.extend(self.lists(version));
            }
            if let Some(dns) = &self.dns {
                object.insert("dns".into(), dns.clone());
            }
        }
        document
    }

    /// `ip4` and `ip6`, which know one address each, with its routes.
    fn families(&self) -> Map<String, Value> {
        let mut keys = Map::new();
        for (key, v4) in [("ip4", true), ("ip6", false)] {
            let Some(ip) = self.ips.iter().find(|ip| ip.address.is_ipv4() == v4) else { continue };
            let mut family = Map::from_iter([("ip".to_owned(), json!(ip.address))]);
            family.extend(ip.gateway.map(|gateway| ("gateway".to_owned(), json!(gateway))));
            let routes = self.routes.iter().filter(|route| route.dst.is_ipv4() == v4);
            let routes: Vec<Value> = routes.map(|route| route.render(Version::V0_2_0)).collect();
            family.extend((!routes.is_empty()).then(|| ("routes".to_owned(), json!(routes))));
            keys.insert(key.to_owned(), Value::Object(family));
        }
        keys
    }

    /// `interfaces`, `ips` and `routes`.
    fn lists(&self, version: Version) -> Map<String, Value> {
        let interfaces: Vec<Value> = self.interfaces.iter().map(|one| one.render(version)).collect();
        let interfaces = (!interfaces.is_empty()).then(|| json!(interfaces));
        let ips: Vec<Value> = self.ips.iter().map(|ip| ip.render(version)).collect();
        let routes: Vec<Value> = self.routes.iter().map(|route| route.render(version)).collect();
        let routes = (!routes.is_empty()).then(|| json!(routes));
        let lists = [("interfaces", interfaces), ("ips", Some(json!(ips))), ("routes", routes)];
        lists.into_iter().filter_map(|(key, list)| Some((key.to_owned(), list?))).collect()
    }
}

impl Interface {
    fn render(&self, version: Version) -> Value {
        let mtu = self.mtu.filter(|_| version >= Version::V1_1_0);
        json!(Self { mtu, ..self.clone() })
    }
}

impl Address {
    fn render(&self, version: Version) -> Value {
        let mut object = serde_json::Map::new();
        if version < Version::V1_0_0 {
            object.insert("version".into(), json!(if self.address.is_ipv4() { "4" } else { "6" }));
        }
        if let Some(interface) = self.interface {
            object.insert("interface".into(), json!(interface));
        }
        object.insert("address".into(), json!(self.address));
        if let Some(gateway) = self.gateway {
            object.insert("gateway".into(), json!(gateway));
        }
        Value::Object(object)
    }
}

/// What we need of a `prevResult` from 0.3.0 on; those versions differ only in keys that
/// nobody has to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Prior {
    /// Its interfaces.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// Its addresses.
    #[serde(default)]
    pub ips: Vec<PriorAddress>,
    /// The IPv4 address of a result before 0.3.0.
    #[serde(default)]
    pub ip4: Option<PriorFamily>,
    /// The IPv6 address of a result before 0.3.0.
    #[serde(default)]
    pub ip6: Option<PriorFamily>,
}

/// The address of one family in a `prevResult` before 0.3.0.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct PriorFamily {
    /// The address and its prefix length.
    pub ip: IpNetwork,
}

/// An address of a `prevResult`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct PriorAddress {
    /// The address and its prefix length.
    pub address: IpNetwork,
    /// Its gateway, where ADD named one.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// Index into the interfaces; negative in results that list none.
    #[serde(default)]
    pub interface: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::RouteOptions;

    fn success() -> Success {
        Success {
            interfaces: vec![
                Interface {
                    name: "tp0".into(),
                    mac: "ee:ee:ee:ee:ee:ee".into(),
                    mtu: Some(1500),
                    sandbox: None,
                },
                Interface {
                    name: "eth0".into(),
                    mac: "02:00:00:00:00:01".into(),
                    mtu: Some(1500),
                    sandbox: Some("/n".into()),
                },
            ],
            ips: vec![Address {
                address: "10.1.0.2/32".parse().unwrap(),
                gateway: Some("169.254.1.1".parse().unwrap()),
                interface: Some(1),
            }],
            routes: vec![Route {
                options: RouteOptions { mtu: Some(1400), table: Some(100), ..RouteOptions::default() },
                ..Route::to("0.0.0.0/0".parse().unwrap(), Some("169.254.1.1".parse().unwrap()))
            }],
            dns: None,
        }
    }

    #[test]
    fn the_shape_follows_the_version() {
        for version in Version::ALL.into_iter().filter(|version| *version >= Version::V0_3_0) {
            let document = success().render(version);
            assert_eq!(document["cniVersion"], version.as_str());
            let options = version >= Version::V1_1_0;
            assert_eq!(document["routes"][0]["mtu"].as_u64(), options.then_some(1400), "{version:?}");
            assert_eq!(document["routes"][0]["table"].as_u64(), options.then_some(100), "{version:?}");
            let family = &document["ips"][0]["version"];
            assert_eq!(family.as_str(), (version < Version::V1_0_0).then_some("4"), "{version:?}");
            let mtu = &document["interfaces"][0]["mtu"];
            assert_eq!(mtu.as_u64(), (version >= Version::V1_1_0).then_some(1500), "{version:?}");
            assert_eq!(document["interfaces"][0].get("sandbox"), None);
            assert_eq!(document["ips"][0]["interface"], 1);
        }
    }

    #[test]
    fn the_oldest_versions_know_one_address_of_each_family() {
        for version in [Version::V0_1_0, Version::V0_2_0] {
            let wanted = json!({
                "cniVersion": version,
                "ip4": {
                    "ip": "10.1.0.2/32",
                    "gateway": "169.254.1.1",
                    "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}],
                },
            });
            assert_eq!(success().render(version), wanted);
        }
    }

    #[test]
    fn a_result_of_any_version_that_knows_check_reads_back_as_prev_result() {
        for version in Version::ALL.into_iter().filter(|version| *version >= Version::V0_4_0) {
            let prior: Prior = serde_json::from_value(success().render(version)).unwrap();
            assert_eq!(prior.interfaces[1].sandbox.as_deref(), Some("/n"));
            assert_eq!(prior.ips[0].address, "10.1.0.2/32".parse().unwrap());
        }
    }
}
