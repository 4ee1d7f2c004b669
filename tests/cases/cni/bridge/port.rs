//! What a pod is as a port of its bridge.

use serde_json::json;
use tripod_tests::namespace::Namespace;

use super::{Plugin, Pod};
use crate::cni::footprint;

/// Whether a frame that `pod` sends to everybody comes back to it.
fn hears_itself(pod: &Pod) -> bool {
    let script = "import socket
s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(0x88b5)); s.bind((\"eth0\",0x88b5)); s.settimeout(0.3)
s.send(b\"\\xff\"*6+s.getsockname()[4]+b\"\\x88\\xb5\"+bytes(46))
try:
    while s.recvfrom(99)[1][2]==4: pass
    print(\"heard\")
except TimeoutError: print(\"silence\")";
    pod.sandbox.sh(&format!("python3 -c '{script}'")) == "heard\n"
}

#[test]
fn hairpin_mode_sends_a_frame_back_where_it_came_from() {
    for plugin in Plugin::all() {
        for hairpin in [false, true] {
            let Some(node) = Namespace::node() else { return };
            let pod = plugin.network(&node, json!({"hairpinMode": hairpin})).add("c1");
            assert_eq!(hears_itself(&pod), hairpin);
        }
    }
}

#[test]
fn isolated_pods_reach_the_node_but_not_each_other() {
    for plugin in Plugin::all() {
        for isolated in [false, true] {
            let Some(node) = Namespace::node() else { return };
            // Otherwise the node would forward between them at the layer above.
            let network = plugin.network(&node, json!({"isGateway": true, "portIsolation": isolated}));
            let (one, two) = (network.add("c1"), network.add("c2"));
            one.must_reach("10.1.0.1");
            two.must_reach("fd00:1::1");
            for address in two.addresses() {
                if isolated { assert!(!one.reaches(&address), "{address}") } else { one.must_reach(&address) }
            }
        }
    }
}

#[test]
fn promiscuous_mode_is_the_bridges() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        let flags = || node.json("ip -j link show br7")[0]["flags"].clone();
        plugin.network(&node, json!({})).add("c1");
        assert!(!flags().as_array().unwrap().contains(&json!("PROMISC")), "{}", flags());
        plugin.network(&node, json!({"promiscMode": true})).add("c2");
        assert!(flags().as_array().unwrap().contains(&json!("PROMISC")), "{}", flags());
    }
}

#[test]
fn hairpin_and_promiscuous_mode_together_are_refused() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        let network = plugin.network(&node, json!({"hairpinMode": true, "promiscMode": true}));
        let before = footprint(&node);
        let (code, text) = network.try_add("c1", &Namespace::sandbox()).failed();
        assert!(text.contains("promisc"), "{text}");
        assert_eq!(code == 7, plugin.is_ours, "{text}");
        assert_eq!(footprint(&node), before);
    }
}

#[test]
fn without_addresses_a_pod_is_a_port_and_nothing_more() {
    for plugin in Plugin::all() {
        for down in [false, true] {
            let Some(node) = Namespace::node() else { return };
            let network = plugin.network(&node, json!({"ipam": {}, "disableContainerInterface": down}));
            let pod = network.add("c1");
            let link = &pod.sandbox.json("ip -j link show eth0")[0];
            assert_eq!(link["flags"].as_array().unwrap().contains(&json!("UP")), !down, "{link}");
            assert_eq!(node.json("ip -j link show master br7").as_array().unwrap().len(), 1);
            if plugin.is_ours {
                network.check("c1", &pod).silent();
            }
            network.del("c1", &pod);
            assert_eq!(node.json("ip -j link show master br7").as_array().unwrap().len(), 0);
        }
        let Some(node) = Namespace::node() else { return };
        let network = plugin.network(&node, json!({"disableContainerInterface": true}));
        network.try_add("c1", &Namespace::sandbox()).failed();
    }
}
