//! Mode `bridge`. What the reference plugin `bridge` with `host-local` does too is first proven on it, where
//! `target/cluster/bin` holds them; where ours is stricter, the case says why.

mod guard;
mod lab;
mod port;
mod vlan;

use serde_json::json;
use tripod_tests::namespace::Namespace;
use tripod_tests::reach::Server;

use super::footprint;
use super::ports::{Lab, lab, port};
use lab::{Plugin, Pod, far, settled_footprint};

#[test]
fn two_pods_reach_each_other_the_node_and_the_outside_over_both_families() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        let _far = far(&node);
        let network = plugin.network(&node, json!({"isDefaultGateway": true}));
        let (one, two) = (network.add("c1"), network.add("c2"));
        assert_eq!(one.addresses(), ["10.1.0.2", "fd00:1::2"]);
        for (from, to) in [(&one, &two), (&two, &one)] {
            for address in to.addresses() {
                from.must_reach(&address);
                to.must(&address, || node.try_sh(&format!("ping -c1 -W5 {address}")).status.success());
            }
            for address in ["10.1.0.1", "fd00:1::1", "192.0.2.2", "2001:db8::2"] {
                from.must_reach(address);
            }
        }
    }
}

#[test]
fn the_result_lists_bridge_host_end_and_pod_end() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        let network = plugin.network(&node, json!({"isDefaultGateway": true, "cniVersion": "1.1.0"}));
        let pod = network.add("c1");
        let interfaces = pod.result["interfaces"].as_array().unwrap();
        assert_eq!(interfaces.len(), 3);
        assert_eq!(interfaces[0]["name"], "br7");
        for host in &interfaces[..2] {
            let name = host["name"].as_str().unwrap();
            let link = &node.json(&format!("ip -j link show {name}"))[0];
            assert_eq!(host["mac"], link["address"]);
            assert_eq!(host.get("sandbox"), None);
        }
        let link = &pod.sandbox.json("ip -j link show eth0")[0];
        assert_eq!(interfaces[2]["name"], "eth0");
        assert_eq!(interfaces[2]["mac"], link["address"]);
        assert_eq!(interfaces[2]["sandbox"], pod.sandbox.path().to_str().unwrap());
        assert_eq!(
            pod.result["ips"],
            json!([
                {"interface": 2, "address": "10.1.0.2/24", "gateway": "10.1.0.1"},
                {"interface": 2, "address": "fd00:1::2/64", "gateway": "fd00:1::1"},
            ])
        );
        assert_eq!(
            pod.result["routes"],
            json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}, {"dst": "::/0", "gw": "fd00:1::1"}])
        );
    }
}

#[test]
fn without_a_gateway_pods_share_a_segment_and_nothing_else() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        let network = plugin.network(&node, json!({}));
        let (one, two) = (network.add("c1"), network.add("c2"));
        two.addresses().iter().for_each(|address| one.must_reach(address));
        let addresses = node.json("ip -j address show dev br7 scope global");
        assert!(addresses[0]["addr_info"].as_array().is_none_or(Vec::is_empty), "{addresses}");
        let routes = one.sandbox.json("ip -j route");
        assert!(routes.as_array().unwrap().iter().all(|route| route["dst"] != "default"), "{routes}");
        assert_eq!(node.sh("cat /proc/sys/net/ipv4/ip_forward"), "0\n");
    }
}

#[test]
fn a_gateway_makes_the_node_forward_and_believe_no_router() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        let network = plugin.network(&node, json!({"isGateway": true}));
        let pod = network.add("c1");
        assert_eq!(
            node.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"),
            "1\n1\n"
        );
        assert_eq!(node.sh("cat /proc/sys/net/ipv6/conf/br7/accept_ra"), "0\n");
        let routes = pod.sandbox.json("ip -j route");
        assert!(routes.as_array().unwrap().iter().all(|route| route["dst"] != "default"), "{routes}");
    }
}

#[test]
fn routes_of_the_configuration_go_by_the_gateway() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        let mut network = plugin.network(&node, json!({"isGateway": true}));
        network.conf["ipam"]["routes"] =
            json!([{"dst": "192.0.2.0/24"}, {"dst": "2001:db8::/32", "gw": "fd00:1::9"}]);
        let pod = network.add("c1");
        assert_eq!(pod.sandbox.json("ip -j route show 192.0.2.0/24")[0]["gateway"], "10.1.0.1");
        assert_eq!(pod.sandbox.json("ip -j -6 route show 2001:db8::/32")[0]["gateway"], "fd00:1::9");
    }
}

#[test]
fn the_bridge_and_its_gateway_are_reused_and_stay_when_the_last_pod_is_gone() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        let network = plugin.network(&node, json!({"isGateway": true}));
        let bridge = || node.json("ip -j address show dev br7 scope global")[0].clone();
        let one = network.add("c1");
        let (mac, addresses) = (bridge()["address"].clone(), bridge()["addr_info"].clone());
        let two = network.add("c2");
        network.del("c1", &one);
        network.del("c2", &two);
        assert_eq!(bridge()["address"], mac);
        assert_eq!(bridge()["addr_info"], addresses);
    }
}

#[test]
fn del_leaves_the_node_as_it_was_and_may_be_repeated() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        let network = plugin.network(&node, json!({"isDefaultGateway": true, "macspoofchk": plugin.is_ours}));
        let _one = network.add("c1");
        // Host ends have link-local addresses with the reference plugin, and the kernel routes to them late.
        let left =
            || if plugin.is_ours { footprint(&node) } else { json!(node.sh("ip -o link | cut -d: -f2")) };
        let before = if plugin.is_ours { settled_footprint(&node) } else { left() };
        let two = network.add("c2");
        for _ in 0..2 {
            network.del("c2", &two);
            assert_eq!(left(), before);
            assert_eq!(two.sandbox.json("ip -j link").as_array().unwrap().len(), 1);
        }
    }
}

#[test]
fn a_bridge_that_was_there_is_used() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        node.sh("ip link add br7 type bridge; ip link add port7 type veth peer name other; \
                 ip link set port7 master br7 up; ip link set other up");
        let network = plugin.network(&node, json!({"isGateway": true}));
        let pod = network.add("c1");
        pod.must_reach("10.1.0.1");
        pod.must_reach("fd00:1::1");
        let mac = node.json("ip -j link show br7")[0]["address"].clone();
        assert_eq!(pod.result["interfaces"][0]["mac"], mac);
        // A gateway whose hardware address changed with its ports would be lost to the pods.
        node.sh("ip link set port7 nomaster");
        network.add("c2");
        assert_eq!(node.json("ip -j link show br7")[0]["address"], mac);
    }
}

/// The reference plugin tries to keep an address of zeros, and fails.
#[test]
fn a_bridge_that_lost_its_hardware_address_with_its_last_port_gets_a_new_one() {
    let Some(node) = Namespace::node() else { return };
    node.sh("ip link add br7 type bridge; ip link add port7 type veth peer name other; \
             ip link set port7 master br7; ip link del port7");
    let mac = || node.json("ip -j link show br7")[0]["address"].clone();
    assert_eq!(mac(), "00:00:00:00:00:00");
    let plugin = Plugin::ours();
    let pod = plugin.network(&node, json!({"isGateway": true})).add("c1");
    pod.must_reach("10.1.0.1");
    assert_eq!(pod.result["interfaces"][0]["mac"], mac());
}

#[test]
fn something_else_of_the_bridges_name_is_an_error() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        node.sh("ip link add br7 type veth peer name other");
        let network = plugin.network(&node, json!({}));
        let before = footprint(&node);
        let (code, text) = network.try_add("c1", &Namespace::sandbox()).failed();
        assert!(text.contains("br7") && text.contains("already exists"), "{text}");
        if plugin.is_ours {
            assert!(code == 103 && text.contains("veth"), "{code} {text}");
            assert_eq!(footprint(&node), before);
        }
    }
}

#[test]
fn another_address_in_the_gateways_place_is_an_error_unless_it_may_be_replaced() {
    for plugin in Plugin::all() {
        for (family, other) in [("-4", "10.1.0.254/24"), ("-6", "fd00:1::fe/64"), ("-4", "10.9.0.1/24")] {
            let Some(node) = Namespace::node() else { return };
            // The reference plugin fails at a bridge that lost its hardware address with its last port.
            let mac = if plugin.is_ours { "" } else { "address 02:00:00:00:00:07" };
            node.sh(&format!("ip link add br7 {mac} type bridge; ip address add {other} dev br7 nodad"));
            let strict = plugin.network(&node, json!({"isGateway": true}));
            let (code, text) = strict.try_add("c1", &Namespace::sandbox()).failed();
            assert!(text.contains("br7"), "{text}");
            if plugin.is_ours {
                assert!(
                    code == 103 && text.contains(other) && text.contains("forceAddress"),
                    "{code} {text}"
                );
            }
            let show = || node.sh(&format!("ip {family} -br address show dev br7 scope global"));
            assert!(show().contains(other), "{}", show());
            let force = plugin.network(&node, json!({"isGateway": true, "forceAddress": true}));
            let pod = force.add("c2");
            assert!(!show().contains(other), "{}", show());
            pod.must_reach("10.1.0.1");
            pod.must_reach("fd00:1::1");
        }
    }
}

#[test]
fn the_mtu_of_the_configuration_is_that_of_bridge_and_pod() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        let pod = plugin.network(&node, json!({"mtu": 1400})).add("c1");
        assert_eq!(node.json("ip -j link show br7")[0]["mtu"], 1400);
        assert_eq!(pod.sandbox.json("ip -j link show eth0")[0]["mtu"], 1400);
    }
}

#[test]
fn check_passes_after_add_and_names_what_was_lost() {
    let losses = [
        ("sandbox", "ip route del default", "0.0.0.0/0"),
        ("sandbox", "ip address del 10.1.0.2/24 dev eth0", "10.1.0.2"),
        ("sandbox", "ip link set eth0 down", "down"),
        ("sandbox", "ip link del eth0", "gone"),
        ("node", "ip link set br7 down", "br7"),
        ("node", "ip link set $(ip -br link | grep -o '^tp[0-9a-f]*') nomaster", "port"),
    ];
    // What the reference plugin does not look at.
    let more = [
        ("node", "ip address del 10.1.0.1/24 dev br7", "10.1.0.1/24"),
        ("node", "bridge link set dev $(ip -br link | grep -o '^tp[0-9a-f]*') hairpin on", "hairpin"),
        ("node", "rm /run/tripod/ipam/pods/10.1.0.2", "lease"),
        ("node", "nft flush ruleset", "guard"),
    ];
    for plugin in Plugin::all() {
        for (place, loss, named) in losses.iter().chain(more.iter().filter(|_| plugin.is_ours)) {
            let Some(node) = Namespace::node() else { return };
            let network = plugin.network(&node, json!({"isDefaultGateway": true}));
            let pod = network.add("c1");
            network.check("c1", &pod).silent();
            if !plugin.is_ours && (*place == "node" || loss.contains("down")) {
                continue;
            }
            if *place == "node" {
                node.sh(loss)
            } else {
                pod.sandbox.sh(loss)
            };
            let (code, text) = network.check("c1", &pod).failed();
            if plugin.is_ours {
                assert!(code == 106 && text.contains(named), "{loss}: {code} {text}");
            }
        }
    }
}

#[test]
fn a_pod_too_many_for_the_kernel_is_told_with_the_way_out() {
    for plugin in Plugin::all() {
        let Some(node) = Namespace::node() else { return };
        // Pairs of ports that are down, so that nothing goes round.
        let pairs: String = (0..511)
            .map(|n| format!("link add a{n} master br7 type veth peer name b{n}\nlink set b{n} master br7\n"))
            .collect();
        node.sh(&format!("ip link add br7 type bridge; printf '%s' '{pairs}' | ip -batch -"));
        let network = plugin.network(&node, json!({}));
        let last = network.add("last");
        let before = settled_footprint(&node);
        let (code, text) = network.try_add("c1", &Namespace::sandbox()).failed();
        if plugin.is_ours {
            assert!(code == 104 && text.contains("br7") && text.contains("routed"), "{code} {text}");
            assert_eq!(footprint(&node), before);
        }
        network.del("last", &last);
        network.add("c1");
    }
}

/// While the bridge's own link-local address is tentative, the node asks no pod for its hardware address.
#[test]
fn what_is_forwarded_to_a_new_bridge_need_not_wait_for_duplicate_address_detection() {
    let Some(node) = Namespace::node() else { return };
    let plugin = Plugin::ours();
    plugin.network(&node, json!({"isDefaultGateway": true})).add("c1");
    let told = node.json("ip -j -6 address show dev br7 scope link");
    let addresses = told[0]["addr_info"].as_array().expect("addresses");
    assert!(!addresses.is_empty() && addresses.iter().all(|one| one["tentative"].is_null()), "{told}");
}

#[test]
fn a_host_port_leads_to_a_pod_on_a_bridge_from_everywhere() {
    for protocol in ["tcp", "udp"] {
        let Some(Lab { node, outside }) = lab() else { return };
        let plugin = Plugin::ours();
        let mut network =
            plugin.network(&node, json!({"isDefaultGateway": true, "ipMasq": true, "hairpinMode": true}));
        let other = network.add("c2");
        network.conf["runtimeConfig"] = json!({"portMappings": [port(protocol, 8080, 80, "")]});
        let pod = network.add("c1");
        network.check("c1", &pod).silent();
        let server = Server::listen(&pod.sandbox, protocol, 80);
        for (from, target) in [
            (&outside, "192.0.2.9:8080"),
            (&outside, "[2001:db8::9]:8080"),
            (&node, "127.0.0.1:8080"),
            (&node, "[2001:db8::9]:8080"),
            (&other.sandbox, "192.0.2.9:8080"),
            (&other.sandbox, "[2001:db8::9]:8080"),
            (&pod.sandbox, "192.0.2.9:8080"),
            (&pod.sandbox, "[2001:db8::9]:8080"),
        ] {
            server
                .asked_from(from, target)
                .unwrap_or_else(|error| panic!("{protocol} {target} from {from:?}: {error}"));
        }
        // What `ipMasq` hides.
        let far = Server::listen(&outside, protocol, 81);
        assert_eq!(far.asked_from(&other.sandbox, "192.0.2.1:81").unwrap().ip().to_string(), "192.0.2.9");
        network.del("c1", &pod);
        assert!(server.is_hidden_from(&outside, "192.0.2.9:8080"));
    }
}

#[test]
fn keys_of_a_bridge_are_refused_in_routed_mode_with_the_remedy() {
    let Some(node) = Namespace::node() else { return };
    let plugin = Plugin::ours();
    for (key, value) in [
        ("bridge", json!("br7")),
        ("isGateway", json!(true)),
        ("hairpinMode", json!(true)),
        ("vlan", json!(5)),
        ("vlanTrunk", json!([{"id": 5}])),
        ("macspoofchk", json!(true)),
        ("portIsolation", json!(true)),
    ] {
        let keys = json!({"mode": "routed", "bridge": null, key: value});
        let (code, text) = plugin.network(&node, keys).try_add("c1", &Namespace::sandbox()).failed();
        assert_eq!(code, 7, "{text}");
        assert!(text.contains(key) && text.contains("\"mode\": \"bridge\""), "{text}");
    }
    let nothing = json!({"mode": "routed", "bridge": null, "isGateway": false, "vlan": 0});
    plugin.network(&node, nothing).add("c1");
}
