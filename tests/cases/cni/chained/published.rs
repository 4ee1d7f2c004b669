//! Host ports and limits of pods that real plugins of others made.

use std::path::PathBuf;

use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::programs;
use tripod_tests::reach::Server;

use super::{limiting, made};
use crate::cni::bandwidth::{is_limited, transfer};
use crate::cni::footprint;
use crate::cni::ports::port;

/// A reference plugin, where `cargo e2e` has built it. The cases above need none.
fn reference(name: &str) -> Option<PathBuf> {
    let program = std::path::absolute(programs::target_dir().join("cluster/bin").join(name)).ok()?;
    if program.exists() {
        return Some(program);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is not there: `cargo e2e` builds it", program.display());
    eprintln!("SKIPPED: no {}: built by `cargo e2e`", program.display());
    None
}

#[test]
fn host_ports_lead_to_pods_of_other_plugins_but_not_from_127_0_0_1() {
    let Some(made) = made("1.1.0") else { return };
    let lab = |path: &str| {
        format!(
            "sysctl -qw net.ipv4.ip_forward=1; ip link add uplink type veth peer name eth1; \
             ip link set eth1 netns {path}; ip link set uplink up; ip address add 192.0.2.9/24 dev uplink"
        )
    };
    let outside = Namespace::sandbox();
    made.node.sh(&lab(outside.path().to_str().unwrap()));
    outside.sh("ip link set eth1 up; ip address add 192.0.2.1/24 dev eth1");
    made.sandbox.sh("ip route add default via 10.7.0.1");
    let with = |ports: Value| {
        json!({
            "cniVersion": "1.1.0", "name": "pods", "type": "tripod-cni", "mode": "chained",
            "runtimeConfig": {"portMappings": ports},
        })
    };
    for protocol in ["tcp", "udp"] {
        let conf = with(json!([port(protocol, 8080, 80, "")]));
        assert_eq!(made.call("ADD", &conf).run(&made.node).ok(), made.result);
        made.call("CHECK", &conf).run(&made.node).silent();
        let server = Server::listen(&made.sandbox, protocol, 80);
        for from in [&outside, &made.node, &made.sandbox] {
            server.asked_from(from, "192.0.2.9:8080").unwrap();
        }
        assert!(server.is_hidden_from(&made.node, "127.0.0.1:8080"));
        let localnet = made.node.sh("cat /proc/sys/net/ipv4/conf/*/route_localnet");
        assert!(!localnet.contains('1'), "{localnet}");
        made.call("DEL", &conf).env("CNI_NETNS", "").run(&made.node).silent();
        assert!(server.is_hidden_from(&outside, "192.0.2.9:8080"));
        let table = made.node.sh("nft list table inet tripod");
        assert!(!table.contains("10.7.0.2"), "{table}");
    }
    let conf = with(json!([port("tcp", 8080, 80, "")]));
    made.call("ADD", &conf).run(&made.node).ok();
    made.node.sh("nft flush ruleset");
    let (code, text) = made.call("CHECK", &conf).run(&made.node).failed();
    assert!(code == 106 && text.contains("host port"), "{code} {text}");
    made.call("DEL", &conf).run(&made.node).silent();
    let before = footprint(&made.node);
    let refused = made.call("ADD", &with(json!([port("tcp", 8080, 80, "127.0.0.1")])));
    let (code, text) = refused.run(&made.node).failed();
    assert!(code == 7 && text.contains("127.0.0.1"), "{code} {text}");
    let mut bare = with(json!([port("tcp", 8080, 80, "")]));
    bare["prevResult"] = json!({"cniVersion": "1.1.0", "interfaces": made.result["interfaces"]});
    let (code, text) = Call::new("ADD", &bare).netns(&made.sandbox.path()).run(&made.node).failed();
    assert!(code == 7 && text.contains("prevResult.ips"), "{code} {text}");
    assert_eq!(footprint(&made.node), before);
}

#[test]
fn reference_plugins_are_published_and_limited_as_main_plugins() {
    for (main, keys) in
        [("ptp", json!({})), ("bridge", json!({"bridge": "cni0", "isGateway": true, "hairpinMode": true}))]
    {
        let (Some(program), Some(_)) = (reference(main), reference("host-local")) else { return };
        let Some(node) = Namespace::node() else { return };
        let sandbox = Namespace::sandbox();
        let mut conf = keys;
        for (key, value) in [
            ("cniVersion", json!("1.0.0")),
            ("name", json!("pods")),
            ("type", json!(main)),
            (
                "ipam",
                json!({"type": "host-local", "dataDir": "/run/host-local", "ranges": [[{"subnet": "10.8.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}),
            ),
        ] {
            conf[key] = value;
        }
        let folder = program.parent().unwrap().to_str().unwrap();
        let main_call =
            |verb: &str| Call::of(&program, verb, &conf).env("CNI_PATH", folder).netns(&sandbox.path());
        let result = main_call("ADD").run(&node).ok();
        // Not the whole footprint: `ptp` makes links with an empty queue, which the kernel makes a
        // usual one for good as soon as somebody queues there.
        let traces = || {
            node.sh(
                "tc qdisc show | grep -v noqueue; ip -br link show type ifb; ls -A /run/tripod/attachments 2>/dev/null | grep -v lock; true",
            )
        };
        let before = traces();
        let mut chained = limiting("1.0.0");
        chained["prevResult"] = result.clone();
        chained["runtimeConfig"]["portMappings"] = json!([port("tcp", 8080, 80, "")]);
        assert_eq!(Call::new("ADD", &chained).netns(&sandbox.path()).run(&node).ok(), result, "{main}");
        Call::new("CHECK", &chained).netns(&sandbox.path()).run(&node).silent();
        // From the node, from the pod itself, for which a bridge must turn packets round where the kernel
        // lets netfilter see them, and from a neighbour.
        node.sh("sysctl -qw net.ipv4.ip_forward=1");
        let neighbour = Namespace::sandbox();
        let other = Call::of(&program, "ADD", &conf).env("CNI_PATH", folder).container("c2");
        other.netns(&neighbour.path()).run(&node).ok();
        let server = Server::listen(&sandbox, "tcp", 80);
        for from in [&node, &sandbox, &neighbour] {
            server
                .asked_from(from, "10.8.0.1:8080")
                .unwrap_or_else(|error| panic!("{main} {}: {error}", from.sh("ip -br address")));
        }
        let rates = [transfer(&node, &sandbox, "10.8.0.2"), transfer(&sandbox, &node, "10.8.0.1")];
        assert!(rates.iter().all(|rate| is_limited(*rate)), "{main}: {rates:?}");
        Call::new("DEL", &chained).netns(&sandbox.path()).run(&node).silent();
        assert_eq!(traces(), before, "{main}");
        main_call("DEL").run(&node).silent();
    }
}
