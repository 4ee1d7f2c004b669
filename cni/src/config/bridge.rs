//! The keys of mode `bridge`: those of the reference plugin `bridge`, with its defaults, so that the type
//! and the mode are all that an admin has to change. No I/O.
//!
//! Without further keys pods share a network segment and nothing else: the node has no address on it
//! (`isGateway` gives it the range's gateway), pods get no default route (`isDefaultGateway`, which
//! implies `isGateway`), and the bridge stays when the last pod is gone.
//!
//! Stricter than the reference: pods send only from the addresses they were given, in IP, ARP and
//! neighbour discovery (unless they are in a VLAN trunk or get no addresses from us); an existing bridge that filters no VLANs is not used for `vlan`; mistakes are
//! found before anything is made. Two keys differ: `bridge` defaults to `tripod0`, and `enabledad` is
//! refused, since a lease already says that an address is nobody else's.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde::Serialize;

use super::raw::Object;
use super::{bounded, json};
use crate::error::Error;
use crate::spec::{NO_IFNAME, is_ifname};

/// The keys that only this mode knows.
pub(super) const KEYS: [&str; 13] = [
    "bridge",
    "disableContainerInterface",
    "enabledad",
    "forceAddress",
    "hairpinMode",
    "isDefaultGateway",
    "isGateway",
    "macspoofchk",
    "portIsolation",
    "preserveDefaultVlan",
    "promiscMode",
    "vlan",
    "vlanTrunk",
];

/// The bridge when none is named.
const DEFAULT: &str = "tripod0";

/// The highest VLAN id; 4095 is reserved (IEEE 802.1Q).
const LAST_VLAN: u16 = 4094;

/// What the admin wants of the bridge and of each pod's port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bridge {
    /// Its name.
    pub name: String,
    /// `isGateway`: the bridge has the ranges' gateway addresses, and the node forwards.
    pub gateway: bool,
    /// `isDefaultGateway`: pods get default routes by that gateway.
    pub default_gateway: bool,
    /// `forceAddress`: other addresses of the bridge make way for the gateway's.
    pub force_address: bool,
    /// `hairpinMode`: a port may send back what came in by it.
    pub hairpin: bool,
    /// `promiscMode`: the node sees every frame on the bridge.
    pub promiscuous: bool,
    /// `macspoofchk`: a pod sends from its own hardware address only.
    pub check_mac: bool,
    /// `portIsolation`: pods do not reach each other over the bridge.
    pub isolated: bool,
    /// `disableContainerInterface`: the pod's end stays down.
    pub leave_pod_end_down: bool,
    /// Which VLANs a port is in, where the bridge tells them apart.
    pub vlans: Option<Vlans>,
}

/// The VLANs of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vlans {
    /// `vlan`: the one whose frames the pod sees untagged. With a trunk alone it is 1.
    pub native: u16,
    /// Whether `vlan` was given: then the gateway is inside of it.
    pub is_named: bool,
    /// `vlanTrunk`: those whose frames the pod sees with their tag.
    pub trunk: Vec<RangeInclusive<u16>>,
    /// `preserveDefaultVlan`: the port stays in the bridge's default VLAN too.
    pub keep_default: bool,
}

/// VLANs as in `{"id": 100}` or `{"minID": 100, "maxID": 110}`.
#[derive(Clone, Copy, Debug, Serialize)]
struct RawTrunk {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    #[serde(rename = "minID", skip_serializing_if = "Option::is_none")]
    min: Option<i64>,
    #[serde(rename = "maxID", skip_serializing_if = "Option::is_none")]
    max: Option<i64>,
}

impl RawTrunk {
    fn read(entry: &Object) -> Result<Self, Error> {
        Ok(Self { id: entry.get("id")?, min: entry.get("minID")?, max: entry.get("maxID")? })
    }
}

impl Bridge {
    /// Checks the keys of this mode in `object`.
    pub(super) fn complete(object: &Object) -> Result<Self, Error> {
        let flag = |key: &str| object.get::<bool>(key).map(Option::unwrap_or_default);
        let name = object.get::<String>("bridge")?.unwrap_or_else(|| DEFAULT.to_owned());
        if !is_ifname(&name) {
            return Err(Error::config("bridge", json(&name), NO_IFNAME));
        }
        let default_gateway = flag("isDefaultGateway")?;
        let bridge = Self {
            gateway: default_gateway || flag("isGateway")?,
            default_gateway,
            force_address: flag("forceAddress")?,
            hairpin: flag("hairpinMode")?,
            promiscuous: flag("promiscMode")?,
            check_mac: flag("macspoofchk")?,
            isolated: flag("portIsolation")?,
            leave_pod_end_down: flag("disableContainerInterface")?,
            vlans: Vlans::complete(object)?,
            name,
        };
        if flag("enabledad")? {
            let problem =
                "is not available: leases already say that an address is nobody else's; take it out";
            return Err(Error::config("enabledad", "true", problem));
        }
        bridge.check()
    }

    fn check(self) -> Result<Self, Error> {
        if self.hairpin && self.promiscuous {
            let problem = "cannot be combined with \"promiscMode\": a pod would get its own packets twice";
            return Err(Error::config("hairpinMode", "true", problem));
        }
        if let Some(vlan) = self.gateway_vlan().filter(|_| !is_ifname(&self.gateway_device())) {
            let problem = format!(
                "is too long: the gateway of VLAN {vlan} is interface {:?}, of at most 15 bytes",
                self.gateway_device()
            );
            return Err(Error::config("bridge", json(&self.name), problem));
        }
        Ok(self)
    }

    /// The VLAN in which the gateway is, where it is not on the bridge itself.
    pub(crate) fn gateway_vlan(&self) -> Option<u16> {
        self.vlans.as_ref().filter(|vlans| self.gateway && vlans.is_named).map(|vlans| vlans.native)
    }

    /// The interface that has the gateway's addresses.
    pub(crate) fn gateway_device(&self) -> String {
        self.gateway_vlan().map_or_else(|| self.name.clone(), |vlan| format!("{}.{vlan}", self.name))
    }
}

impl Vlans {
    fn complete(object: &Object) -> Result<Option<Self>, Error> {
        let native = match object.get::<i64>("vlan")?.filter(|vlan| *vlan != 0) {
            Some(vlan) => Some(vlan_id("vlan", vlan)?),
            None => None,
        };
        let entries = object.objects("vlanTrunk")?;
        let trunk = trunk(&entries.iter().map(RawTrunk::read).collect::<Result<Vec<_>, _>>()?)?;
        let keep_default = object.get::<bool>("preserveDefaultVlan")?.unwrap_or_default();
        let wanted = native.is_some() || !trunk.is_empty();
        Ok(wanted.then(|| Self {
            native: native.unwrap_or(1),
            is_named: native.is_some(),
            trunk,
            keep_default,
        }))
    }
}

fn trunk(raw: &[RawTrunk]) -> Result<Vec<RangeInclusive<u16>>, Error> {
    bounded("vlanTrunk", raw)?;
    let mut ids = BTreeSet::new();
    for (index, entry) in raw.iter().enumerate() {
        let field = |key: &str| format!("vlanTrunk[{index}].{key}");
        if let Some(id) = entry.id {
            ids.insert(vlan_id(&field("id"), id)?);
        }
        match (entry.min, entry.max) {
            (Some(min), Some(max)) if min <= max => {
                ids.extend(vlan_id(&field("minID"), min)?..=vlan_id(&field("maxID"), max)?);
            }
            (None, None) if entry.id.is_some() => {}
            _ => {
                let problem = "needs \"id\", or \"minID\" and a \"maxID\" that is not below it";
                return Err(Error::config(format!("vlanTrunk[{index}]"), json(entry), problem));
            }
        }
    }
    Ok(runs(ids))
}

/// Neighbouring ids as ranges, which the kernel takes as one entry each.
fn runs(ids: BTreeSet<u16>) -> Vec<RangeInclusive<u16>> {
    let mut runs: Vec<RangeInclusive<u16>> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some(last) if last.end() + 1 == id => *last = *last.start()..=id,
            _ => runs.push(id..=id),
        }
    }
    runs
}

fn vlan_id(field: &str, id: i64) -> Result<u16, Error> {
    let valid = u16::try_from(id).ok().filter(|id| (1..=LAST_VLAN).contains(id));
    valid.ok_or_else(|| Error::config(field, id, format!("is no VLAN id: 1 to {LAST_VLAN}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn bridge(keys: Value) -> Result<Bridge, Error> {
        Bridge::complete(&Object::parse(keys.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn without_keys_it_is_what_the_reference_plugin_makes() {
        let plain = Bridge { name: "tripod0".into(), ..Bridge::default() };
        assert_eq!(bridge(json!({})).unwrap(), plain);
        assert_eq!(bridge(json!({"vlan": 0, "vlanTrunk": null, "isGateway": null})).unwrap(), plain);
    }

    #[test]
    fn a_default_gateway_is_a_gateway() {
        let bridge = bridge(json!({"isDefaultGateway": true, "bridge": "br7"})).unwrap();
        assert!(bridge.gateway && bridge.default_gateway);
        assert_eq!(bridge.gateway_device(), "br7");
    }

    #[test]
    fn a_trunk_is_its_ids_in_order_as_ranges() {
        let trunk =
            json!([{"minID": 20, "maxID": 22}, {"id": 3}, {"id": 23}, {"minID": 4, "maxID": 4, "id": 9}]);
        let vlans = bridge(json!({"vlanTrunk": trunk})).unwrap().vlans.unwrap();
        assert_eq!(vlans.trunk, [3..=4, 9..=9, 20..=23]);
        assert_eq!((vlans.native, vlans.is_named), (1, false));
    }

    #[test]
    fn the_gateway_of_a_vlan_is_inside_of_it() {
        let inside = bridge(json!({"vlan": 100, "isGateway": true})).unwrap();
        assert_eq!((inside.gateway_vlan(), inside.gateway_device().as_str()), (Some(100), "tripod0.100"));
        assert_eq!(bridge(json!({"vlan": 100})).unwrap().gateway_vlan(), None);
    }

    #[test]
    fn each_wrong_key_is_named_with_its_value() {
        for (keys, names) in [
            (json!({"bridge": "much-too-long-a-name"}), ["bridge=", "much-too-long-a-name"]),
            (json!({"bridge": "a/b"}), ["bridge=", "a/b"]),
            (json!({"bridge": "br%d"}), ["bridge=", "br%d"]),
            (json!({"bridge": "br\u{0}"}), ["bridge=", "control characters"]),
            (json!({"isGateway": "yes"}), ["isGateway=", "yes"]),
            (json!({"hairpinMode": true, "promiscMode": true}), ["hairpinMode=", "promiscMode"]),
            (json!({"vlan": 4095}), ["vlan=", "4095"]),
            (json!({"vlan": -1}), ["vlan=", "-1"]),
            (json!({"vlanTrunk": [{"id": 5000}]}), ["vlanTrunk[0].id=", "5000"]),
            (json!({"vlanTrunk": [{"id": 5}, {"minID": 9}]}), ["vlanTrunk[1]=", "maxID"]),
            (json!({"vlanTrunk": [{"minID": 9, "maxID": 8}]}), ["vlanTrunk[0]=", "not below"]),
            (json!({"vlanTrunk": [{}]}), ["vlanTrunk[0]=", "needs"]),
            (json!({"vlanTrunk": [[7]]}), ["vlanTrunk=", "[[7]]"]),
            (json!({"vlanTrunk": [{"id": "x"}]}), ["vlanTrunk[0].id=", "x"]),
            (json!({"enabledad": true}), ["enabledad=", "take it out"]),
            (json!({"bridge": "twelve-bytes", "vlan": 4094, "isGateway": true}), ["bridge=", "4094"]),
        ] {
            let error = bridge(keys).unwrap_err();
            assert_eq!(error.code(), 7);
            for name in names {
                assert!(error.to_string().contains(name), "{name:?} is not in {error}");
            }
        }
    }

    proptest! {
        #[test]
        fn runs_hold_exactly_the_ids(ids in proptest::collection::btree_set(1u16..60, 0..40)) {
            let runs = runs(ids.clone());
            prop_assert!(runs.windows(2).all(|two| two[0].end() + 1 < *two[1].start()));
            prop_assert_eq!(runs.into_iter().flatten().collect::<BTreeSet<_>>(), ids);
        }
    }
}
