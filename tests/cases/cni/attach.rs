//! ADD, CHECK, DEL and GC of whole attachments.

use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;

use super::{attach, conf, dual, footprint};

fn addresses(document: &Value) -> Vec<String> {
    let ips = document["ips"].as_array().expect("addresses");
    ips.iter()
        .map(|ip| ip["address"].as_str().expect("an address").split('/').next().unwrap().to_owned())
        .collect()
}

#[test]
fn two_pods_reach_each_other_and_the_node_over_both_families() {
    let Some(node) = Namespace::node() else { return };
    node.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; \
             ip link add uplink type veth peer name far; ip link set uplink up; \
             ip address add 192.0.2.9/24 dev uplink; ip address add 2001:db8::9/64 dev uplink nodad");
    let (one, two) = (Namespace::sandbox(), Namespace::sandbox());
    let first = addresses(&attach(&node, &one, "c1"));
    let second = addresses(&attach(&node, &two, "c2"));
    assert_eq!(first, ["10.1.0.2", "fd00:1::2"]);
    for (from, to) in [(&one, &second), (&two, &first)] {
        for address in to {
            from.sh(&format!("ping -c1 -W2 {address}"));
            node.sh(&format!("ping -c1 -W2 {address}"));
        }
    }
}

#[test]
fn del_leaves_the_node_as_it_was_and_may_be_repeated() {
    let Some(node) = Namespace::node() else { return };
    let before = footprint(&node);
    let sandbox = Namespace::sandbox();
    attach(&node, &sandbox, "c1");
    assert_ne!(footprint(&node), before);
    for _ in 0..2 {
        Call::new("DEL", &dual("1.1.0")).netns(&sandbox.path()).run(&node).silent();
        assert_eq!(footprint(&node), before);
        assert_eq!(sandbox.json("ip -j link").as_array().unwrap().len(), 1);
    }
}

#[test]
fn del_needs_no_namespace_no_ranges_and_not_the_networks_old_name() {
    let Some(node) = Namespace::node() else { return };
    let before = footprint(&node);
    let sandbox = Namespace::sandbox();
    attach(&node, &sandbox, "c1");
    drop(sandbox);
    let renamed = json!({"cniVersion": "1.1.0", "name": "renamed", "type": "tripod-cni", "ipam": {}});
    Call::new("DEL", &renamed).env("CNI_NETNS", "").run(&node).silent();
    assert_eq!(footprint(&node), before);
}

#[test]
fn del_works_with_a_configuration_that_add_would_refuse() {
    for (key, value) in [
        ("ipam", json!({"ranges": [{"subnet": "10.1.0.0/24"}], "dataDir": "relative"})),
        ("ipam", json!("x")),
        ("mtu", json!("1500")),
        ("mode", json!("magic")),
        ("cniVersion", json!("1.2.0")),
        ("name", json!("a b")),
        ("prevResult", json!({"ips": [{"address": "x", "interface": -1}]})),
    ] {
        let Some(node) = Namespace::node() else { return };
        let before = footprint(&node);
        let sandbox = Namespace::sandbox();
        attach(&node, &sandbox, "c1");
        let mut conf = dual("1.1.0");
        conf[key] = value;
        Call::new("DEL", &conf).netns(&sandbox.path()).run(&node).silent();
        assert_eq!(footprint(&node), before, "{key}");
    }
}

#[test]
fn a_default_route_that_is_filtered_does_not_keep_pods_from_starting() {
    let Some(node) = Namespace::node() else { return };
    node.sh("ip route add blackhole 192.0.2.0/24; ip -6 route add prohibit 2001:db8::/32");
    attach(&node, &Namespace::sandbox(), "c1");
}

#[test]
fn del_works_when_the_record_is_lost() {
    let Some(node) = Namespace::node() else { return };
    let before = footprint(&node);
    let sandbox = Namespace::sandbox();
    attach(&node, &sandbox, "c1");
    node.sh("rm /run/tripod/attachments/*.json");
    Call::new("DEL", &dual("1.1.0")).netns(&sandbox.path()).run(&node).silent();
    assert_eq!(footprint(&node), before);
}

#[test]
fn one_family_alone_works() {
    for (subnet, family, route) in
        [("10.1.0.0/24", "inet", "ip -j route"), ("fd00:1::/64", "inet6", "ip -j -6 route")]
    {
        let Some(node) = Namespace::node() else { return };
        let sandbox = Namespace::sandbox();
        let add = Call::new("ADD", &conf("1.0.0", &[subnet])).netns(&sandbox.path()).run(&node).ok();
        assert_eq!(add["ips"].as_array().unwrap().len(), 1);
        let links = sandbox.json("ip -j address show dev eth0 scope global");
        assert_eq!(links[0]["addr_info"][0]["family"], family);
        let routes = sandbox.json(route);
        assert!(routes.as_array().unwrap().iter().any(|route| route["dst"] == "default"), "{routes}");
        Call::new("DEL", &conf("1.0.0", &[subnet])).netns(&sandbox.path()).run(&node).silent();
    }
}

#[test]
fn a_route_may_carry_metrics_a_priority_and_a_table() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    let mut conf = dual("1.1.0");
    let options = json!({"mtu": 1300, "advmss": 1200, "priority": 7, "table": 1000, "scope": 0});
    let route = |dst: &str| {
        let mut route = options.clone();
        route["dst"] = json!(dst);
        route
    };
    conf["ipam"]["routes"] =
        json!([{"dst": "0.0.0.0/0"}, route("0.0.0.0/0"), route("192.0.2.0/24"), route("2001:db8::/32")]);
    conf["prevResult"] = Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
    let installed = |family: &str| sandbox.json(&format!("ip -j {family} route show table 1000"));
    for (routes, dst) in [(installed("-4"), "192.0.2.0/24"), (installed("-6"), "2001:db8::/32")] {
        let route = routes.as_array().unwrap().iter().find(|route| route["dst"] == dst).unwrap().clone();
        assert_eq!(route["metric"], 7, "{route}");
        assert_eq!(route["metrics"], json!([{"mtu": 1300, "advmss": 1200}]), "{route}");
    }
    assert_eq!(conf["prevResult"]["routes"][2]["table"], 1000);
    assert_eq!(conf["prevResult"]["routes"][1]["priority"], 7);
    Call::new("CHECK", &conf).netns(&sandbox.path()).run(&node).silent();
}

#[test]
fn a_second_interface_of_a_pod_needs_routes_of_its_own() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    attach(&node, &sandbox, "c1");
    let before = footprint(&node);
    let mut second = dual("1.1.0");
    second["name"] = json!("second");
    second["ipam"]["ranges"] = json!([[{"subnet": "10.2.0.0/24"}], [{"subnet": "fd00:2::/64"}]]);
    let call =
        |verb: &str, conf: &Value| Call::new(verb, conf).env("CNI_IFNAME", "eth7").netns(&sandbox.path());
    for mode in [json!({"mode": "routed"}), json!({"mode": "bridge", "isDefaultGateway": true})] {
        let mut conf = second.clone();
        conf.as_object_mut().unwrap().extend(mode.as_object().unwrap().clone());
        let (code, text) = call("ADD", &conf).run(&node).failed();
        assert!(code == 103 && text.contains("0.0.0.0/0") && text.contains("eth7"), "{code} {text}");
        assert!(text.contains("\"ipam\": {\"routes\": []}"), "{text}");
        node.sh("ip link del tripod0 2>/dev/null; sysctl -qw net.ipv4.ip_forward=0; true");
        assert_eq!(footprint(&node), before);
    }
    for routes in [json!([]), json!([{"dst": "198.51.100.0/24"}, {"dst": "2001:db8:7::/48"}])] {
        second["ipam"]["routes"] = routes.clone();
        second["prevResult"] = call("ADD", &second).run(&node).ok();
        assert_eq!(sandbox.json("ip -j route show default")[0]["dev"], "eth0");
        let own = sandbox.json("ip -j -4 route show dev eth7");
        assert_eq!(own.as_array().unwrap().len(), routes.as_array().unwrap().len() / 2, "{own}");
        call("CHECK", &second).run(&node).silent();
        call("DEL", &second).run(&node).silent();
        assert_eq!(footprint(&node), before);
    }
    sandbox.sh("ip link show eth0");
}

#[test]
fn routes_of_a_family_that_the_pod_has_no_address_of_are_left_out() {
    for mode in ["routed", "bridge"] {
        let Some(node) = Namespace::node() else { return };
        let sandbox = Namespace::sandbox();
        sandbox.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        let mut conf = conf("1.1.0", &["10.1.0.0/24"]);
        conf["mode"] = json!(mode);
        conf["ipam"]["routes"] = json!([{"dst": "10.9.0.0/16", "gw": "10.1.0.7"}, {"dst": "::/0"}]);
        conf["prevResult"] = Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
        let listed = conf["prevResult"]["routes"].as_array().unwrap().clone();
        assert_eq!(listed.len(), 1, "{mode}: {listed:?}");
        Call::new("CHECK", &conf).netns(&sandbox.path()).run(&node).silent();
        Call::new("DEL", &conf).netns(&sandbox.path()).run(&node).silent();
    }
}

#[test]
fn the_host_end_carries_our_marks() {
    let Some(node) = Namespace::node() else { return };
    node.sh("ip link add uplink type veth peer name far; ip addr add 192.0.2.9/24 dev uplink; ip link set uplink mtu 1442 up; ip route add default via 192.0.2.1");
    let sandbox = Namespace::sandbox();
    let mut conf = dual("1.1.0");
    conf["nodeIPs"] = json!(["192.0.2.9"]);
    let add = Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
    let name = add["interfaces"][0]["name"].as_str().unwrap();
    let link = &node.json(&format!("ip -j -d link show {name}"))[0];
    assert!(name.starts_with("tp") && name.len() == 15, "{name}");
    assert_eq!(link["ifalias"], "c1 eth0");
    assert_eq!(link["group"], "29808");
    assert_eq!(link["mtu"], 1442);
    assert_eq!(add["interfaces"][1]["mtu"], 1442);
    let route = &node.json("ip -j route show 10.1.0.2")[0];
    assert_eq!(route["protocol"], "84");
    assert_eq!(route["prefsrc"], "192.0.2.9");
    assert_eq!(node.sh(&format!("cat /proc/sys/net/ipv6/conf/{name}/accept_ra")).trim(), "0");
    let neighbours = node.json("ip -j neigh show 10.1.0.2");
    assert_eq!(neighbours[0]["state"], json!(["PERMANENT"]));
    assert_eq!(neighbours[0]["lladdr"], add["interfaces"][1]["mac"]);
}

#[test]
fn check_passes_after_add_and_names_what_was_lost() {
    let losses = [
        ("sandbox", "ip route del default", "0.0.0.0/0"),
        ("sandbox", "ip -6 route del default", "::/0"),
        ("sandbox", "ip neigh del 169.254.1.1 dev eth0", "169.254.1.1"),
        ("sandbox", "ip link set eth0 mtu 1400", "MTU"),
        ("node", "ip neigh flush all nud permanent", "neighbour"),
        ("node", "nft flush ruleset", "guard"),
        ("node", "printf 'other\r\neth0' > /run/tripod/ipam/pods/10.1.0.2", "lease"),
        (
            "node",
            "ip link set $(ip -br link | grep -o '^tp[0-9a-f]*') address 02:00:00:00:00:01",
            "hardware address",
        ),
        ("sandbox", "ip address del 10.1.0.2/32 dev eth0", "10.1.0.2"),
        ("sandbox", "ip link set eth0 down", "down"),
        ("node", "ip route del 10.1.0.2", "route"),
        ("node", "rm /run/tripod/ipam/pods/10.1.0.2", "lease"),
        ("sandbox", "ip link del eth0", "gone"),
    ];
    for (place, loss, named) in losses {
        let Some(node) = Namespace::node() else { return };
        let sandbox = Namespace::sandbox();
        let mut conf = dual("1.1.0");
        conf["prevResult"] = attach(&node, &sandbox, "c1");
        let check = Call::new("CHECK", &conf).netns(&sandbox.path());
        check.clone().run(&node).silent();
        if place == "node" {
            node.sh(loss)
        } else {
            sandbox.sh(loss)
        };
        let (code, text) = check.run(&node).failed();
        assert_eq!(code, 106);
        assert!(text.contains(named), "{loss}: {text}");
    }
}

#[test]
fn check_needs_the_result_of_add() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    attach(&node, &sandbox, "c1");
    let (code, text) = Call::new("CHECK", &dual("1.1.0")).netns(&sandbox.path()).run(&node).failed();
    assert!(code == 7 && text.contains("prevResult"), "{code} {text}");
}

#[test]
fn gc_releases_what_is_not_listed_and_nothing_without_a_list() {
    let Some(node) = Namespace::node() else { return };
    let sandboxes = [Namespace::sandbox(), Namespace::sandbox()];
    attach(&node, &sandboxes[0], "c1");
    let one = footprint(&node);
    attach(&node, &sandboxes[1], "c2");
    let both = footprint(&node);
    let mut conf = dual("1.1.0");
    Call::new("GC", &conf).run(&node).silent();
    assert_eq!(footprint(&node), both);
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
    Call::new("GC", &conf).run(&node).silent();
    assert_eq!(footprint(&node), one);
    conf["cni.dev/valid-attachments"] = json!([]);
    Call::new("GC", &conf).run(&node).silent();
    assert_eq!(node.sh("ls /run/tripod/attachments"), "lock\n");
}

#[test]
fn a_released_address_is_the_last_to_be_given_again() {
    let Some(node) = Namespace::node() else { return };
    let conf = conf("1.1.0", &["10.1.0.0/29"]);
    let mut given = Vec::new();
    for _ in 0..6 {
        let sandbox = Namespace::sandbox();
        given.extend(addresses(&Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok()));
        Call::new("DEL", &conf).netns(&sandbox.path()).run(&node).silent();
    }
    assert_eq!(given, [2, 3, 4, 5, 6, 2].map(|n| format!("10.1.0.{n}")));
}

#[test]
fn an_interrupted_add_is_repaired_by_the_next_one() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    attach(&node, &sandbox, "c1");
    // What a kill between the last change and the completed record leaves.
    node.sh("sed -i 's/\"complete\"/\"intent\"/; s/\"addresses\":\\[[^]]*\\]/\"addresses\":[]/' /run/tripod/attachments/*.json");
    let add = attach(&node, &sandbox, "c1");
    assert_eq!(addresses(&add), ["10.1.0.3", "fd00:1::3"]);
    assert_eq!(node.sh("ls /run/tripod/ipam/pods | grep -v lock | grep -v last"), "10.1.0.3\nfd00:1::3\n");
}

#[test]
fn a_base_table_that_somebody_flushed_comes_back_with_the_next_pod() {
    let Some(node) = Namespace::node() else { return };
    let sandboxes = [Namespace::sandbox(), Namespace::sandbox(), Namespace::sandbox()];
    attach(&node, &sandboxes[0], "c1");
    let whole = node.sh("nft list ruleset");
    for (number, damage) in ["nft flush ruleset", "nft flush table inet tripod"].into_iter().enumerate() {
        node.sh(damage);
        attach(&node, &sandboxes[number + 1], &format!("later{number}"));
        assert_eq!(node.sh("nft list ruleset"), whole);
    }
}
