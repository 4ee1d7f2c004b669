//! Nodes whose pods talk through WireGuard: real agents on real networks, looked at with WireGuard's own tool.
//! Where the kernel has no WireGuard, each test shows what the agent says about that.

mod faults;
mod keys;
mod wire;

use serde_json::json;
use tripod_tests::eventually;
use tripod_tests::namespace::Namespace;
use tripod_tests::programs::program;

use super::mesh::all_reach_all;
use super::mesh::site::{Cable, Node, Site};
use wire::Tap;

const ENCRYPTED: &str = "backend: wireguard\n";

/// Both nodes of a network whose agents encrypt, each with a pod, and the pods' addresses.
struct Pair {
    site: Site,
    a: Node,
    b: Node,
    pods: [[String; 2]; 2],
}

/// A network of nodes whose kernel has WireGuard. On another the product must say what is missing.
fn encrypting(cable: Cable) -> Option<Site> {
    let mut site = Site::new(cable)?;
    // Nothing tells of what others do to peers.
    site.resync = 1;
    if Namespace::sandbox().try_sh("ip link add probe type wireguard").status.success() {
        return Some(site);
    }
    says_what_is_missing(&site);
    None
}

fn says_what_is_missing(site: &Site) {
    site.cluster.set_tripod_node(keys::claim(json!("zK8Q4anX0F/yvdKg8XjLl0aaHPe+iA8OaHWnepNdHSE=")));
    let a = site.join(1, ENCRYPTED);
    let agent = a.agent.as_ref().unwrap();
    agent.wait_for_log(
        "cannot make WireGuard device tripod-wg (this kernel has no WireGuard, CONFIG_WIREGUARD",
    );
    let status = || a.node.sh(&format!("{} status --json || true", program("tripod-node").display()));
    eventually("the status says so", || status().contains("load its module wireguard, or set backend"));
    let status = status();
    assert!(status.contains(r#""ready":false"#) && status.contains(r#""phase":"failing""#), "{status}");
    assert!(!a.folder.join("net.d/10-tripod.conflist").exists(), "the runtime is told of no network");
    // Its peers learn that it cannot be reached, and nothing goes there in plain text.
    let told = || site.cluster.tripod_node("n1").map(|object| object["spec"]["wireguardKey"].clone());
    eventually("the node tells of itself", || told().is_some_and(|key| key.is_null()));
    let nowhere = |prefix: &str| format!("unreachable {prefix} metric 4294967295 \n");
    let wanted = nowhere("10.244.0.0/16") + &nowhere("10.244.7.0/24");
    assert_eq!(a.node.sh("ip route show proto 84"), wanted, "of peers, and of nodes that nobody believes");
    a.configure("backend: vxlan\n");
    a.waits_for_routes("in plain text once the admin says so", |routes| routes.contains("10.244.7.0/24 via"));
    eventually("nothing forbids it", || a.node.sh("ip route show type unreachable").is_empty());
}

impl Pair {
    fn new(cable: Cable) -> Option<Self> {
        let site = encrypting(cable)?;
        let (a, b) = (site.join(1, ENCRYPTED), site.join(2, ENCRYPTED));
        let pods = [a.attach(), b.attach()];
        let pair = Self { site, a, b, pods };
        pair.wait();
        Some(pair)
    }

    /// Waits until both have ways to each other.
    fn wait(&self) {
        for node in [&self.a, &self.b] {
            eventually("encrypted ways in both families", || routes(node).lines().count() == 4);
        }
    }

    fn all_reach_all(&self) {
        let [a, b] = &self.pods;
        all_reach_all(&self.site, &self.a, &self.b, [a, b]);
    }
}

/// Routes of ours through the device, in all tables.
fn routes(node: &Node) -> String {
    let routes = "ip -4 route show table all dev tripod-wg proto 84; ip -6 route show table all dev tripod-wg proto 84";
    String::from_utf8(node.node.try_sh(routes).stdout).unwrap()
}

fn public_key(node: &Node) -> String {
    node.node.sh("wg show tripod-wg public-key").trim().to_owned()
}

/// The text of a node's private key.
fn private_key(node: &Node) -> String {
    node.node.sh("cat /run/tripod/wireguard.key").trim().to_owned()
}

#[test]
fn pods_of_two_nodes_talk_and_nobody_between_them_can_read_it() {
    let Some(pair) = Pair::new(Cable::Router) else { return };
    let Pair { site, a, b, pods } = &pair;
    let tap = Tap::new(&site.router);
    pair.all_reach_all();
    for (index, target) in pods[1].iter().enumerate() {
        wire::send_a_megabyte(&a.pod, &b.pod, target);
        // What fits is not cut: an IP header, ICMP's 8, and the rest.
        let headers = [28, 48][index];
        a.pod.sh(&format!("ping -q -c1 -W5 -M do -s {} {target}", 1440 - headers));
    }
    // Not even while there is no way, and nobody who could make one.
    a.agent.as_ref().unwrap().held(|| {
        a.node.sh("ip link del tripod-wg");
        for target in &pods[1] {
            let ping = a.pod.try_sh(&format!("ping -c1 -W2 {target} 2>&1"));
            let told = String::from_utf8_lossy(&ping.stdout).to_lowercase();
            assert!(told.contains("unreachable") || told.contains("no route"), "{told}");
        }
    });
    pair.wait();
    pair.all_reach_all();
    let seen = tap.seen();
    assert!(seen.frames > 500 && !seen.payload, "{seen:?}");
    assert!(wire::encrypted(&site.router) > 500);
    assert_eq!(wire::plain(&site.router), 0, "the router forwards nothing else of theirs");
}

#[test]
fn the_device_has_a_peer_and_routes_for_both_families_and_leaves_room_in_packets() {
    let Some(pair) = Pair::new(Cable::Router) else { return };
    let a = &pair.a;
    let mut found: Vec<_> = routes(a).lines().map(|line| line.trim_end().to_owned()).collect();
    found.sort();
    let expected = [
        "10.244.2.0/24 scope link src 192.0.1.1",
        "192.0.2.2 table 84 scope link",
        "fd00:10:244:2::/64 src fd00:30:1::1 metric 1024 pref medium",
        "fd00:30:2::2 table 84 metric 1024 pref medium",
    ];
    assert_eq!(found, expected);
    let link = a.node.json("ip -j -d link show tripod-wg");
    assert_eq!((&link[0]["mtu"], &link[0]["linkinfo"]["info_kind"]), (&json!(1440), &json!("wireguard")));
    assert_eq!(a.node.sh("wg show tripod-wg listen-port"), "51820\n");
    let peer = a.node.sh("wg show tripod-wg dump | tail -n 1");
    let fields: Vec<_> = peer.split('\t').collect();
    let mut allowed: Vec<_> = fields[3].split(',').collect();
    allowed.sort_unstable();
    assert_eq!((fields[0], fields[2]), (public_key(&pair.b).as_str(), "192.0.2.2:51820"));
    assert_eq!(allowed, ["10.244.2.0/24", "192.0.2.2/32", "fd00:10:244:2::/64", "fd00:30:2::2/128"]);
    let status = a.node.sh(&format!("{} status", program("tripod-node").display()));
    for told in ["wireguard  linked", "WireGuard tripod-wg: port 51820, MTU 1440"] {
        assert!(status.contains(told), "{status}");
    }
}

#[test]
fn the_same_tap_reads_what_is_not_encrypted() {
    let Some(site) = encrypting(Cable::Router) else { return };
    let (a, b) = (site.join(1, "backend: vxlan\n"), site.join(2, "backend: vxlan\n"));
    let [_, target] = [a.attach(), b.attach()];
    a.waits_for_routes("linked", |routes| routes.lines().count() == 2);
    b.waits_for_routes("linked", |routes| routes.lines().count() == 2);
    let tap = Tap::new(&site.router);
    wire::send_a_megabyte(&a.pod, &b.pod, &target[0]);
    assert!(tap.seen().payload);
    let counted = (wire::plain(&site.router), wire::encrypted(&site.router));
    assert!(counted.0 > 10 && counted.1 == 0, "{counted:?}");
}
