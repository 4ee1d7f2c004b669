//! What others break, agents repair; what is out of reach changes nothing.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tripod_node::mac::Mac;
use tripod_tests::eventually;
use tripod_tests::programs::program;

use super::site::{Cable, Node, Site};
use super::{all_reach_all, seen};

/// What lies in the kernel of ours, without what counts or ages.
fn state(node: &Node) -> String {
    let state = node.node.sh(
        "nft list table inet tripod; ip -4 route show table all proto 84; ip -6 route show table all proto 84; \
         ip rule; ip -6 rule; ip neigh show nud permanent | sort; ip -6 neigh show nud permanent | sort; \
         for link in tripod4 tripod6; do bridge fdb show dev $link; \
         ip -d -o link show $link | sed 's/^[0-9]*: //'; ip -o addr show $link | sed 's/^[0-9]*: //'; done",
    );
    // Whether anybody else has a link-local address the kernel asks for a second first.
    state.replace(" tentative", "")
}

#[test]
fn what_others_break_comes_back() {
    let Some(site) = Site::new(Cable::Router) else { return };
    let (a, b) = (site.join(1, ""), site.join(2, ""));
    let pods = [&a.attach(), &b.attach()];
    a.waits_for_routes("linked", |routes| routes.lines().count() == 2);
    b.waits_for_routes("linked", |routes| routes.lines().count() == 2);
    eventually("the node comes to rest", || {
        let first = state(&a);
        std::thread::sleep(std::time::Duration::from_millis(300));
        first == state(&a)
    });
    let whole = state(&a);
    for breakage in [
        "ip route flush proto 84",
        "ip -6 route flush proto 84",
        "ip route flush table 84",
        "ip link del tripod4",
        "ip link set tripod4 down",
        "ip link set tripod4 address 02:00:00:00:00:99",
        "ip link set tripod6 mtu 1300",
        "ip neigh flush dev tripod4 nud permanent",
        "bridge fdb del $(bridge fdb show dev tripod4 | awk '{print $1; exit}') dev tripod4",
        "ip rule del priority 30084",
        "ip addr del 192.0.1.1/32 dev tripod4",
        "ip neigh flush nud permanent",
        "nft delete table inet tripod",
        "nft flush chain inet tripod guard",
        "nft flush ruleset",
    ] {
        a.node.sh(breakage);
        eventually(&format!("repaired after {breakage}"), || state(&a) == whole);
    }
    all_reach_all(&site, &a, &b, pods);
}

#[test]
fn what_is_stale_is_swept_and_what_is_foreign_stays() {
    let Some(site) = Site::new(Cable::Switch) else { return };
    let (mut a, b) = (site.join(1, ""), site.join(2, ""));
    a.waits_for_routes("linked", |routes| routes.lines().count() == 2);
    drop(a.agent.take());
    a.node.sh(
        "ip route add 10.244.77.0/24 via 192.0.2.77 proto 84; ip route add 10.99.0.0/24 via 192.0.2.99; \
         ip route add 10.98.0.0/24 via 192.0.2.98 proto 85",
    );
    site.start(&mut a);
    a.waits_for_routes("the orphan is gone", |routes| {
        !routes.contains("10.244.77.0") && routes.lines().count() == 2
    });
    let all = a.node.sh("ip route");
    assert!(all.contains("10.99.0.0/24") && all.contains("10.98.0.0/24"), "{all}");
    // A foreign route in the way of ours is told and left.
    drop(b);
    a.node.sh("ip route add 10.244.5.0/24 via 192.0.2.99");
    let _c = site.join(5, "");
    let told = "cannot add route 10.244.5.0/24 via 192.0.2.5";
    a.agent.as_ref().unwrap().wait_for_log(told);
    assert!(a.node.sh("ip route").contains("10.244.5.0/24 via 192.0.2.99"));
    let status = || a.node.sh(&format!("{} status --json", program("tripod-node").display()));
    eventually("the status names it", || {
        let status: Value = serde_json::from_str(&status()).expect("JSON");
        status["ready"] == true && status["failures"][0].as_str().is_some_and(|text| text.contains(told))
    });
    let is_told = |event: &Value| {
        event["reason"] == "ReconcileFailed" && event["note"].as_str().is_some_and(|note| note.contains(told))
    };
    eventually("an event does", || site.cluster.written_events().iter().any(is_told));
    a.node.sh("ip route del 10.244.5.0/24 via 192.0.2.99");
    a.waits_for_routes("ours takes its place", |routes| routes.contains("10.244.5.0/24 via 192.0.2.5"));
    eventually("nothing is told any more", || status().contains("\"failures\":[]"));
}

#[test]
fn what_the_kernel_could_not_tell_is_looked_for() {
    let Some(mut site) = Site::new(Cable::Switch) else { return };
    // No look but those that events call for.
    site.resync = 3600;
    let (a, _b) = (site.join(1, ""), site.join(2, ""));
    a.waits_for_routes("linked", |routes| routes.lines().count() == 2);
    let flood = "for it in $(seq 4000); do echo route add 198.51.100.7/32 dev lo proto 99; \
                 echo route del 198.51.100.7/32 dev lo proto 99; done | ip -batch -; \
                 for it in $(seq 300); do nft 'add table ip flood; add chain ip flood a; add chain ip flood b; \
                 add chain ip flood c; add chain ip flood d; delete table ip flood'; done; \
                 ip route flush proto 84; nft delete table inet tripod";
    a.agent.as_ref().unwrap().held(|| a.node.sh(flood));
    a.waits_for_routes("linked again", |routes| routes.lines().count() == 2);
    eventually("the table is back", || a.node.try_sh("nft list table inet tripod").status.success());
    let metrics = a.node.sh(
        "bash -c \"exec 3<>/dev/tcp/192.0.2.1/9675; printf 'GET /metrics HTTP/1.1\\r\\nHost: n1\\r\\n\\r\\n' >&3; cat <&3\"",
    );
    let count = metrics.lines().find_map(|line| line.strip_prefix("tripod_netlink_overruns_total "));
    assert!(count.is_some_and(|count| count != "0"), "nothing was lost: {count:?}");
}

#[test]
fn an_outage_of_the_api_changes_nothing_and_a_restart_needs_it_not() {
    let Some(site) = Site::new(Cable::Router) else { return };
    let (mut a, mut b) = (site.join(1, ""), site.join(2, ""));
    let pods = [&a.attach(), &b.attach()];
    a.waits_for_routes("linked", |routes| routes.lines().count() == 2);
    b.waits_for_routes("linked", |routes| routes.lines().count() == 2);
    drop(a.api.take());
    a.agent.as_ref().unwrap().wait_for_log("lost this API server");
    all_reach_all(&site, &a, &b, pods);
    drop(a.agent.take());
    a.node.sh("ip route flush proto 84; ip link del tripod4; ip link del tripod6");
    site.start(&mut a);
    a.waits_for_routes("linked from what it remembers", |routes| routes.lines().count() == 2);
    all_reach_all(&site, &a, &b, pods);
    // Who left meanwhile is forgotten once the API is back.
    drop(b.agent.take());
    site.cluster.delete_tripod_node("n2");
    site.serve(&mut a);
    a.waits_for_routes("the node that left is forgotten", str::is_empty);
}

#[test]
fn a_changed_address_and_mtu_are_followed() {
    let Some(site) = Site::new(Cable::Router) else { return };
    let (a, b) = (site.join(1, ""), site.join(2, ""));
    let pods = [a.attach(), b.attach()];
    a.waits_for_routes("linked", |routes| routes.lines().count() == 2);
    a.node.sh("ip addr del 192.0.1.1/24 dev eth0; ip addr add 192.0.1.101/24 dev eth0; ip route replace default via 192.0.1.254");
    a.renew(&site);
    a.waits_for_routes("our routes carry the new address", |routes| routes.contains("src 192.0.1.101"));
    let local = || a.node.sh("ip route show proto 84");
    eventually("so do those of our pods", || local().lines().all(|line| line.contains("src 192.0.1.101")));
    eventually("the peer finds us there", || {
        b.node.sh("bridge fdb show dev tripod4").contains("dst 192.0.1.101")
    });
    eventually("pods reach each other", || seen(&a.pod, &b.pod, &pods[1][0]) == pods[0][0]);
    a.node.sh("ip link set eth0 mtu 1400");
    let mtu = |link: &str| a.node.json(&format!("ip -j link show {link}"))[0]["mtu"].as_u64();
    eventually("the overlay follows the MTU", || {
        (mtu("tripod4"), mtu("tripod6")) == (Some(1350), Some(1330))
    });
}

#[test]
fn without_the_definition_nothing_is_written_and_the_reason_is_told() {
    let Some(site) = Site::new(Cable::Switch) else { return };
    site.cluster.lack_tripod_nodes(true);
    let a = site.join(1, "");
    let ready = || {
        a.node.sh("bash -c \"exec 3<>/dev/tcp/127.0.0.1/9674 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3\" 2>/dev/null || true")
    };
    eventually("the agent says what it waits for", || ready().contains("tripodnodes.tripod.dev"));
    assert_eq!(a.node.sh("nft list tables; ip route show proto 84; ls /run"), "");
    site.cluster.lack_tripod_nodes(false);
    eventually("it goes on by itself", || ready().contains(" 200 OK"));
    assert!(a.log().contains("told the other nodes about this one"));
}

/// What `ethtool -k` says of checksums of what leaves by a link: `SIOCETHTOOL` with `ETHTOOL_GTXCSUM`.
const OFFLOADS: &str = "python3 -c \"
import ctypes, fcntl, socket, struct
value = ctypes.create_string_buffer(struct.pack('II', 0x16, 0))
fcntl.ioctl(socket.socket(), 0x8946, struct.pack('16sP16x', b'tripod4', ctypes.addressof(value)))
print(struct.unpack('II', value.raw[:8])[1])\"";

#[test]
fn who_computes_checksums_is_the_admins_word() {
    let Some(site) = Site::new(Cable::Router) else { return };
    let (a, b) = (site.join(1, ""), site.join(2, ""));
    let pods = [&a.attach(), &b.attach()];
    a.waits_for_routes("linked", |routes| routes.lines().count() == 2);
    b.waits_for_routes("linked", |routes| routes.lines().count() == 2);
    let offloads = || a.node.sh(OFFLOADS);
    assert_eq!(offloads(), "1\n", "this kernel is younger than the fault");
    a.configure("vxlan: {checksumOffload: \"off\"}\n");
    eventually("the overlay computes them", || offloads() == "0\n");
    all_reach_all(&site, &a, &b, pods);
    a.node.sh("ip link del tripod4");
    eventually("a new device does too", || a.node.try_sh(OFFLOADS).stdout == b"0\n");
    a.configure("vxlan: {checksumOffload: \"on\"}\n");
    eventually("the hardware does", || offloads() == "1\n");
    all_reach_all(&site, &a, &b, pods);
}

#[test]
fn a_node_that_leaves_takes_only_its_own_with_it() {
    let Some(site) = Site::new(Cable::Router) else { return };
    let (a, _b, c) = (site.join(1, ""), site.join(2, ""), site.join(3, ""));
    a.waits_for_routes("linked with both", |routes| routes.lines().count() == 4);
    drop(c);
    let monitor = a.node.run(|| {
        let mut command = Command::new("timeout");
        command.args(["--signal=INT", "10", "ip", "monitor", "route", "neigh"]).stdout(Stdio::piped());
        command.spawn().expect("a monitor")
    });
    std::thread::sleep(Duration::from_millis(500));
    site.cluster.delete_tripod_node("n3");
    a.waits_for_routes("linked with one", |routes| routes.lines().count() == 2);
    let told = monitor.wait_with_output().expect("its output").stdout;
    let told = String::from_utf8(told).expect("text");
    // Who is on the way to other nodes is asked for now and then.
    let ours = |line: &&str| {
        (line.contains("proto 84") || line.contains("dev tripod")) && !line.contains("proto kernel")
    };
    let ours: Vec<_> = told.lines().filter(ours).collect();
    let mac = Mac::of_node("uid-3");
    let its = [
        &*mac.to_string(),
        &mac.link_local().to_string(),
        "10.244.3.0",
        "fd00:10:244:3::",
        "192.0.3.3",
        "fd00:30:3::3",
    ];
    assert!(ours.len() >= 6, "{told}");
    assert!(ours.iter().all(|line| its.iter().any(|it| line.contains(it))), "{told}");
}
