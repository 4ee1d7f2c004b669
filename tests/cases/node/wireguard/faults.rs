//! What others break, agents repair; what is not wanted any more goes.

use std::net::UdpSocket;
use std::process::Command;

use tripod_tests::eventually;
use tripod_tests::programs::program;

use super::super::mesh::seen;
use super::super::mesh::site::{Cable, Node};
use super::{ENCRYPTED, Pair, encrypting, public_key, routes, wire};

/// What lies in the kernel of ours, without what counts or ages.
fn state(node: &Node) -> String {
    let script = "ip -4 route show table all proto 84; ip -6 route show table all proto 84; ip rule; ip -6 rule; \
        ip -d -o link show tripod-wg | sed 's/^[0-9]*: //'; ip -o addr show tripod-wg | sed 's/^[0-9]*: //'; \
        wg showconf tripod-wg | grep -v PrivateKey; wg show tripod-wg public-key";
    String::from_utf8(node.node.try_sh(script).stdout).unwrap()
}

#[test]
fn what_others_break_comes_back() {
    let Some(pair) = Pair::new(Cable::Router) else { return };
    let (a, peer) = (&pair.a, public_key(&pair.b));
    pair.all_reach_all();
    let whole = state(a);
    assert!(whole.contains(&format!("PublicKey = {peer}\nAllowedIPs = ")), "{whole}");
    let other = a.node.sh("wg genkey").trim().to_owned();
    for breakage in [
        "ip link del tripod-wg".to_owned(),
        "ip link set tripod-wg down".to_owned(),
        "ip link set tripod-wg mtu 1300".to_owned(),
        "ip route flush proto 84".to_owned(),
        "ip -6 route flush proto 84".to_owned(),
        "ip route flush table 84".to_owned(),
        "ip rule del priority 30084".to_owned(),
        "ip addr del 192.0.1.1/32 dev tripod-wg".to_owned(),
        "ip addr add 203.0.113.7/32 dev tripod-wg".to_owned(),
        format!("wg set tripod-wg peer {peer} remove"),
        format!("wg set tripod-wg peer {peer} allowed-ips 10.244.2.0/25"),
        format!("wg set tripod-wg peer {peer} persistent-keepalive 7"),
        format!("echo {other} > /run/other; wg set tripod-wg peer {peer} preshared-key /run/other"),
        format!(
            "wg set tripod-wg peer $(wg pubkey < /run/other) allowed-ips 10.99.0.0/24; wg set tripod-wg peer {peer} endpoint 192.0.2.99:51820"
        ),
        "wg set tripod-wg listen-port 51999".to_owned(),
        "wg set tripod-wg fwmark 7".to_owned(),
        "wg set tripod-wg private-key /run/other".to_owned(),
    ] {
        a.node.sh(&breakage);
        eventually(&format!("repaired after {breakage}"), || state(a) == whole);
        let [[from, _], [target, _]] = &pair.pods;
        eventually(&format!("pods talk after {breakage}"), || seen(&a.pod, &pair.b.pod, target) == *from);
    }
    pair.all_reach_all();
}

#[test]
fn a_foreign_link_with_its_name_stays_and_is_named() {
    let Some(site) = encrypting(Cable::Switch) else { return };
    let mut a = site.join(1, "backend: vxlan\n");
    a.attach();
    drop(a.agent.take());
    a.node.sh("ip link add tripod-wg type bridge");
    a.configure(ENCRYPTED);
    site.start(&mut a);
    a.agent.as_ref().unwrap().wait_for_log("another link has its name");
    assert!(a.node.sh("ip -d link show tripod-wg").contains("bridge"));
}

#[test]
fn a_port_that_somebody_has_is_named_and_taken_once_it_is_free() {
    let Some(site) = encrypting(Cable::Switch) else { return };
    let a = site.join(1, "backend: direct\n");
    a.attach();
    let taken = a.node.run(|| UdpSocket::bind("0.0.0.0:51820")).unwrap();
    a.configure(ENCRYPTED);
    a.agent.as_ref().unwrap().wait_for_log("another socket has its UDP port");
    drop(taken);
    eventually("it is up", || a.node.sh("ip link show tripod-wg").contains("UP"));
}

#[test]
fn settings_and_backends_are_followed_and_leave_nothing() {
    let Some(pair) = Pair::new(Cable::Switch) else { return };
    let (a, b) = (&pair.a, &pair.b);
    let configure = |settings: &str| [a, b].iter().for_each(|node| node.configure(settings));
    let devices = |node: &Node| node.node.sh("ip -br link show type vxlan; ip -br link show type wireguard");
    configure("backend: wireguard\nwireguard: {port: 51999}\n");
    for (node, other) in [(a, "192.0.2.2:51999"), (b, "192.0.2.1:51999")] {
        eventually("the other port", || {
            node.node.sh("wg show tripod-wg").contains(&format!("endpoint: {other}"))
        });
    }
    pair.all_reach_all();
    let told = |name: &str| pair.site.cluster.tripod_node(name).unwrap()["spec"]["wireguardKey"].clone();
    let key = told("n1");
    configure("backend: vxlan\n");
    for node in [a, b] {
        node.waits_for_routes("through the overlay", |routes| routes.matches("dev tripod").count() == 2);
        eventually("only overlays", || !devices(node).contains("tripod-wg"));
    }
    pair.all_reach_all();
    eventually("who does not encrypt tells no key", || told("n1").is_null());
    configure(ENCRYPTED);
    pair.wait();
    for node in [a, b] {
        eventually("no overlay", || {
            devices(node).lines().count() == 1 && devices(node).contains("tripod-wg")
        });
        assert_eq!(node.routes(), "");
    }
    assert_eq!(told("n1"), key, "the key is kept");
    pair.all_reach_all();
    configure("backend: direct\n");
    for node in [a, b] {
        node.waits_for_routes("direct", |routes| routes.matches("dev eth0").count() == 2);
        eventually("no device", || devices(node).is_empty());
        let left = "ip route show table 84; ip route show type unreachable; ip -6 route show type unreachable proto 84";
        assert_eq!(node.rules() + &node.node.sh(left), "");
    }
    pair.all_reach_all();
}

#[test]
fn a_node_that_loses_its_ipv4_address_is_reached_over_ipv6_with_less_in_each_packet() {
    let Some(pair) = Pair::new(Cable::Switch) else { return };
    for node in [&pair.a, &pair.b] {
        node.node.sh("ip -4 addr flush dev eth0");
        node.renew(&pair.site);
    }
    for (node, other) in [(&pair.a, "[fd00:30::2]:51820"), (&pair.b, "[fd00:30::1]:51820")] {
        let endpoints = || node.node.sh("wg show tripod-wg endpoints");
        eventually("the endpoint is followed", || endpoints().contains(other));
        eventually("so is the MTU", || node.node.json("ip -j link show tripod-wg")[0]["mtu"] == 1420);
    }
    for (from, target) in pair.pods[0].iter().zip(&pair.pods[1]) {
        eventually("pods talk", || seen(&pair.a.pod, &pair.b.pod, target) == *from);
        wire::send_a_megabyte(&pair.a.pod, &pair.b.pod, target);
    }
}

#[test]
fn uninstalling_takes_the_device_and_the_key() {
    let Some(site) = encrypting(Cable::Switch) else { return };
    let (mut a, _b) = (site.join(1, ENCRYPTED), site.join(2, ENCRYPTED));
    eventually("encrypted ways", || routes(&a).lines().count() == 4);
    drop(a.agent.take());
    let ways = "ip -4 route show table all proto 84; ip -6 route show table all proto 84; \
                (ip -4 rule; ip -6 rule) | grep 'proto 84'";
    let ways = || String::from_utf8(a.node.try_sh(ways).stdout).unwrap();
    assert!(ways().contains("tripod-wg") && ways().contains("from"), "{}", ways());
    let mut command = Command::new(program("tripod-node"));
    command.arg("uninstall").arg("--conflist").arg(a.folder.join("net.d/10-tripod.conflist"));
    for flag in ["--cni-bin-dir", "--credential-bin-dir", "--etc-dir", "--cdi-dir", "--proc-root"] {
        command.arg(flag).arg(a.folder.join("empty"));
    }
    let output = a.node.run(move || command.output().unwrap());
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told} {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(a.node.sh("ip -br link show type wireguard; ls -A /run/tripod"), "", "{told}");
    assert_eq!(ways(), "", "{told}");
}
