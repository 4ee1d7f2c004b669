//! VLANs on a bridge, where the kernel can tell them apart; where not, the error that says so.

use serde_json::{Value, json};
use tripod_tests::namespace::Namespace;

use super::{Plugin, Pod, footprint, settled_footprint};

/// A node whose kernel filters VLANs. On another the product must say what is missing.
fn filtering(node: &Namespace, plugin: &Plugin) -> bool {
    let probe = Namespace::sandbox().try_sh("ip link add probe type bridge vlan_filtering 1");
    if probe.status.success() {
        return true;
    }
    if plugin.is_ours {
        let lacks = |keys: Value, before: Value| {
            let (code, text) = plugin.network(node, keys).try_add("c1", &Namespace::sandbox()).failed();
            assert!(code == 105 && text.contains("CONFIG_BRIDGE_VLAN_FILTERING"), "{code} {text}");
            assert_eq!(footprint(node), before);
        };
        lacks(json!({"vlan": 100}), footprint(node));
        lacks(json!({"vlanTrunk": [{"minID": 100, "maxID": 200}]}), footprint(node));
        // A bridge of ours that was made before the admin wanted VLANs.
        let _early = plugin.network(node, json!({})).add("early");
        lacks(json!({"vlan": 100, "isGateway": true}), settled_footprint(node));
    }
    false
}

fn vlans(node: &Namespace, pod: &Pod) -> Vec<Value> {
    let shown = node.json(&format!("bridge -j vlan show dev {}", pod.host_end()));
    shown[0]["vlans"].as_array().cloned().unwrap_or_default()
}

fn ids(vlans: &[Value]) -> Vec<(u64, u64, bool)> {
    let number = |value: &Value| value.as_u64();
    let read = vlans.iter().map(|one| {
        let first = number(&one["vlan"]).unwrap();
        let native = one["flags"].as_array().is_some_and(|flags| flags.contains(&json!("PVID")));
        (first, number(&one["vlanEnd"]).unwrap_or(first), native)
    });
    read.collect()
}

#[test]
fn pods_reach_each_other_inside_of_a_vlan_and_not_across() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        if !filtering(&node, &plugin) {
            continue;
        }
        let one = plugin.network(&node, json!({"vlan": 100})).add("c1");
        let two = plugin.network(&node, json!({"vlan": 100})).add("c2");
        let other = plugin.network(&node, json!({"vlan": 200})).add("c3");
        two.addresses().iter().for_each(|address| one.must_reach(address));
        assert!(!other.addresses().iter().any(|address| one.reaches(address)));
        assert_eq!(ids(&vlans(&node, &one)), [(100, 100, true)]);
    }
}

#[test]
fn the_gateway_of_a_vlan_is_inside_of_it() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        if !filtering(&node, &plugin) {
            continue;
        }
        let network = plugin.network(&node, json!({"vlan": 100, "isGateway": true}));
        let pods = [network.add("c1"), network.add("c2")];
        for pod in &pods {
            pod.must_reach("10.1.0.1");
            pod.must_reach("fd00:1::1");
            assert_eq!(pod.result["interfaces"][3]["name"], "br7.100");
        }
        let other = plugin.network(&node, json!({"vlan": 200})).add("c3");
        assert!(!other.reaches("10.1.0.1"));
    }
}

#[test]
fn a_trunk_is_tagged_beside_its_native_vlan() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        if !filtering(&node, &plugin) {
            continue;
        }
        let trunk = json!([{"minID": 10, "maxID": 12}, {"id": 20}]);
        let pod = plugin.network(&node, json!({"vlan": 5, "vlanTrunk": trunk})).add("c1");
        let seen: Vec<u64> =
            ids(&vlans(&node, &pod)).iter().flat_map(|(first, last, _)| *first..=*last).collect();
        assert_eq!(seen, [5, 10, 11, 12, 20]);
        let alone = plugin.network(&node, json!({"vlanTrunk": [{"id": 20}]})).add("c2");
        assert_eq!(ids(&vlans(&node, &alone)), [(1, 1, true), (20, 20, false)]);
        let kept = json!({"vlan": 30, "preserveDefaultVlan": true});
        let kept = plugin.network(&node, kept).add("c3");
        assert_eq!(ids(&vlans(&node, &kept)), [(1, 1, false), (30, 30, true)]);
    }
}

/// The reference plugin attaches the pod, and its VLAN keeps nobody out.
#[test]
fn a_foreign_bridge_that_filters_no_vlans_is_refused() {
    let Some(node) = Namespace::node() else { return };
    let plugin = Plugin::ours();
    node.sh("ip link add br7 type bridge");
    let before = footprint(&node);
    let (code, text) =
        plugin.network(&node, json!({"vlan": 100})).try_add("c1", &Namespace::sandbox()).failed();
    assert!(code == 103 && text.contains("br7") && text.contains("vlan_filtering"), "{code} {text}");
    assert_eq!(footprint(&node), before);
}
