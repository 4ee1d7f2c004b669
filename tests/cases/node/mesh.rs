//! Nodes linked with one another: real agents on real networks, judged from pods.

mod claims;
mod closed;
mod doctor;
mod faults;
pub(super) mod site;

use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::json;
use tripod_node::mac::Mac;
use tripod_tests::eventually;
use tripod_tests::namespace::Namespace;
use tripod_tests::reach::Server;

use site::{Cable, Node, Site};

/// Everybody asks everybody, and sees who asks: pods across nodes, and nodes the other's pods.
pub(super) fn all_reach_all(site: &Site, a: &Node, b: &Node, pods: [&[String; 2]; 2]) {
    let nodes = [site.addresses(a.number), site.addresses(b.number)];
    for family in 0..2 {
        let of = |addresses: &[String; 2]| addresses[family].clone();
        let [pod_a, pod_b] = pods.map(of);
        let [node_a, node_b] = [of(&nodes[0]), of(&nodes[1])];
        let asks = [
            (&a.pod, &pod_a, &b.pod, &pod_b),
            (&b.pod, &pod_b, &a.pod, &pod_a),
            (&a.node, &node_a, &b.pod, &pod_b),
            (&b.node, &node_b, &a.pod, &pod_a),
            (&a.node, &node_a, &a.pod, &pod_a),
        ];
        for (from, source, to, target) in asks {
            assert_eq!(seen(from, to, target), *source, "{source} asked {target}");
        }
        // A node sees a pod of another one either as itself or as its node.
        let pod_asks = seen(&a.pod, &b.node, &node_b);
        assert!([&pod_a, &node_a].contains(&&pod_asks), "{pod_asks} asked {node_b}");
    }
}

/// The address that a server at `target` in `to` sees when asked from `from`.
pub(super) fn seen(from: &Namespace, to: &Namespace, target: &str) -> String {
    // A port is not free again at once.
    static PORT: AtomicU16 = AtomicU16::new(7000);
    let port = PORT.fetch_add(1, Ordering::Relaxed);
    let server = Server::listen(to, "tcp", port);
    let place = if target.contains(':') { format!("[{target}]:{port}") } else { format!("{target}:{port}") };
    match server.asked_from(from, &place) {
        Ok(client) => client.ip().to_canonical().to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn nodes_on_one_link_have_a_route_per_family_and_nothing_else() {
    let Some(site) = Site::new(Cable::Switch) else { return };
    let (a, mut b) = (site.join(1, ""), site.join(2, ""));
    let pods = [&a.attach(), &b.attach()];
    let expected = "10.244.2.0/24 via 192.0.2.2 dev eth0 src 192.0.2.1\n\
        fd00:10:244:2::/64 via fd00:30::2 dev eth0 src fd00:30::1 metric 1024 pref medium\n";
    a.waits_for_routes("n1 has routes to n2", |routes| routes == expected);
    b.waits_for_routes("n2 has routes to n1", |routes| routes.lines().count() == 2);
    assert_eq!(a.node.sh("ip -br link show type vxlan"), "");
    assert_eq!(a.rules(), "");
    all_reach_all(&site, &a, &b, pods);
    // A node that is removed takes its object along.
    drop(b.agent.take());
    site.cluster.delete_tripod_node("n2");
    a.waits_for_routes("no routes to a node that is gone", str::is_empty);
}

#[test]
fn nodes_behind_a_router_are_linked_by_an_overlay_and_no_pods_address_leaves_it() {
    let Some(site) = Site::new(Cable::Router) else { return };
    let (a, mut b) = (site.join(1, ""), site.join(2, ""));
    let pods = [&a.attach(), &b.attach()];
    for (node, mtu) in [(&a, "1450"), (&b, "1430")] {
        node.waits_for_routes("the other's pods are behind the overlay", |routes| {
            routes.contains("dev tripod4") && routes.contains("onlink")
        });
        node.waits_for_routes("in both families", |routes| routes.contains("dev tripod6"));
        let link = if mtu == "1450" { "tripod4" } else { "tripod6" };
        assert_eq!(node.node.json(&format!("ip -j -d link show {link}"))[0]["mtu"].to_string(), mtu);
    }
    let vxlan = a.node.json("ip -j -d link show tripod4");
    let data = &vxlan[0]["linkinfo"]["info_data"];
    assert_eq!(
        (&data["id"], &data["port"], &data["local"], &data["learning"]),
        (&json!(84), &json!(4789), &json!("192.0.1.1"), &json!(false))
    );
    assert_eq!(vxlan[0]["address"], site.cluster.tripod_node("n1").unwrap()["spec"]["vtepMAC"]);
    all_reach_all(&site, &a, &b, pods);
    for parameter in ["accept_ra", "accept_redirects"] {
        let value = a.node.sh(&format!("cat /proc/sys/net/ipv6/conf/tripod[46]/{parameter}"));
        assert_eq!(value, "0\n0\n", "{parameter}");
    }
    // What fits is not cut, and what does not fit is told.
    let target = &pods[1][0];
    a.pod.sh(&format!("ping -q -c1 -W2 -M do -s {} {target}", 1430 - 28));
    // The last peer behind the overlay takes it along.
    drop(b.agent.take());
    site.cluster.delete_tripod_node("n2");
    eventually("the overlay is gone", || a.node.sh("ip -br link show type vxlan").is_empty());
    assert_eq!(a.rules() + &a.node.sh("ip route show table 84"), "");
    assert!(a.node.sh("ip -4 addr show eth0").contains("192.0.1.1/24"));
    a.node.sh("ping -q -c1 -W2 192.0.2.2");
}

#[test]
fn the_overlay_can_be_forced_and_its_settings_followed() {
    let Some(site) = Site::new(Cable::Switch) else { return };
    let (a, b) = (site.join(1, "backend: vxlan\n"), site.join(2, "backend: vxlan\n"));
    let pods = [&a.attach(), &b.attach()];
    a.waits_for_routes("through the overlay", |routes| routes.matches("tripod").count() == 2);
    b.waits_for_routes("through the overlay", |routes| routes.matches("tripod").count() == 2);
    all_reach_all(&site, &a, &b, pods);
    for node in [&a, &b] {
        node.configure("backend: vxlan\nvxlan: {vni: 7, port: 8472}\n");
    }
    let settings = |node: &Node| node.node.sh("ip -d link show tripod4 2>/dev/null || true");
    for node in [&a, &b] {
        eventually("the device is made anew", || {
            settings(node).contains("vxlan id 7 ") && settings(node).contains("dstport 8472")
        });
        node.waits_for_routes("and routes lead to it", |routes| routes.matches("tripod").count() == 2);
    }
    all_reach_all(&site, &a, &b, pods);
    for node in [&a, &b] {
        node.configure("backend: direct\n");
        node.waits_for_routes("direct", |routes| routes.matches("dev eth0").count() == 2);
    }
    eventually("no overlay is left", || a.node.sh("ip -br link show type vxlan").is_empty());
    all_reach_all(&site, &a, &b, pods);
}

#[test]
fn direct_routes_to_a_node_behind_a_router_are_refused_by_name() {
    let Some(site) = Site::new(Cable::Router) else { return };
    let a = site.join(1, "backend: direct\n");
    let _b = site.join(2, "backend: direct\n");
    let agent = a.agent.as_ref().unwrap();
    agent.wait_for_log("192.0.2.2 is not on a link of this node");
    assert_eq!(a.routes(), "");
}

#[test]
fn a_claim_that_is_not_its_nodes_is_ignored() {
    let Some(site) = Site::new(Cable::Switch) else { return };
    let (a, _b) = (site.join(1, ""), site.join(2, ""));
    a.waits_for_routes("n1 has routes to n2", |routes| routes.contains("10.244.2.0/24 via 192.0.2.2"));
    let thief = |cidrs: &[&str]| {
        json!({
            "metadata": {"name": "thief"},
            "spec": {"nodeUID": "uid-9", "addresses": ["192.0.2.9"], "podCIDRs": cidrs,
                "vtepMAC": Mac::of_node("uid-9"), "protocol": 1},
        })
    };
    let agent = a.agent.as_ref().unwrap();
    for (cidrs, reason) in [
        (
            &["10.244.2.0/24"][..],
            "10.244.2.0/24 overlaps the claim of node n2, and its Node object does not have it",
        ),
        (&["10.244.1.0/24"], "10.244.1.0/24 overlaps 10.244.1.0/24 of this node"),
        (&["0.0.0.0/0"], "0.0.0.0/0 is in none of clusterCIDRs"),
        (&["10.244.4.0/23"], "10.244.4.0/23 is no /24"),
    ] {
        site.cluster.set_tripod_node(thief(cidrs));
        agent.wait_for_log(reason);
        let routes = a.routes();
        assert!(routes.contains("10.244.2.0/24 via 192.0.2.2") && !routes.contains("192.0.2.9"), "{routes}");
    }
    site.cluster.set_tripod_node(json!({"metadata": {"name": "thief"}, "spec": {"podCIDRs": 7}}));
    agent.wait_for_log("its spec cannot be read");
    site.cluster.set_tripod_node(thief(&["10.244.9.0/24"]));
    a.waits_for_routes("an honest claim", |routes| routes.contains("10.244.9.0/24 via 192.0.2.9"));
}
