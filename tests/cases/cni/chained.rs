//! Mode `chained`, after main plugins of others.

use std::path::PathBuf;

use serde_json::{Value, json};
use tripod_tests::eventually;
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::programs;
use tripod_tests::reach::Server;

use super::bandwidth::{is_limited, transfer};
use super::ports::port;
use super::{dual, footprint};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A configuration that limits both directions to 20 Mbit/s.
fn limiting(version: &str) -> Value {
    json!({
        "cniVersion": version, "name": "pods", "type": "tripod-cni", "mode": "chained",
        "sysctl": {"net.core.somaxconn": "777"},
        "runtimeConfig": {"bandwidth": {
            "IngressRate": 20_000_000, "IngressBurst": 160_000, "EgressRate": 20_000_000, "EgressBurst": 160_000,
        }},
    })
}

/// What a main plugin leaves: a veth pair with addresses, and a result.
struct Made {
    node: Namespace,
    sandbox: Namespace,
    result: Value,
}

fn made(version: &str) -> Option<Made> {
    let node = Namespace::node()?;
    let sandbox = Namespace::sandbox();
    let path = sandbox.path();
    let target = path.to_str().unwrap();
    node.sh("ip link add vethforeign type veth peer name eth0; \
         sysctl -qw net.ipv6.conf.vethforeign.disable_ipv6=1; ip link set vethforeign up; \
             ip address add 10.7.0.1/24 dev vethforeign");
    // `ip link set netns` takes a pid or a name below /run/netns.
    node.sh(&format!(
        "mkdir -p /run/netns; touch /run/netns/pod; mount --bind {target} /run/netns/pod; \
                      ip link set eth0 netns pod; umount /run/netns/pod; rm -r /run/netns"
    ));
    sandbox.sh("ip link set eth0 up; ip address add 10.7.0.2/24 dev eth0");
    eventually("the link has a carrier", || node.json("ip -j link show vethforeign")[0]["operstate"] == "UP");
    let mut address = json!({"address": "10.7.0.2/24", "gateway": "10.7.0.1", "interface": 1});
    if version < "1.0.0" {
        address["version"] = json!("4");
    }
    let result = json!({
        "cniVersion": version,
        "interfaces": [{"name": "vethforeign", "x": 1}, {"name": "eth0", "mac": "02:00:00:00:00:07", "sandbox": target}],
        "ips": [address], "dns": {"nameservers": ["192.0.2.53"]}, "vendor.example/key": [null, 1.5],
    });
    let oldest = json!({"cniVersion": version, "ip4": {"ip": "10.7.0.2/24", "gateway": "10.7.0.1"}, "x": 1});
    let result = if version < "0.3.0" { oldest } else { result };
    Some(Made { node, sandbox, result })
}

impl Made {
    fn call(&self, verb: &str, conf: &Value) -> Call {
        let mut conf = conf.clone();
        conf["prevResult"] = self.result.clone();
        Call::new(verb, &conf).netns(&self.sandbox.path())
    }

    fn disciplines(&self) -> String {
        self.node.sh("tc qdisc show dev vethforeign; tc filter show dev vethforeign ingress")
    }
}

#[test]
fn the_result_is_handed_on_unchanged_in_every_version() {
    for version in VERSIONS {
        let Some(made) = made(version) else { return };
        let before = (footprint(&made.node), made.disciplines());
        assert_eq!(made.call("ADD", &limiting(version)).run(&made.node).ok(), made.result, "{version}");
        let record: Value =
            serde_json::from_str(&made.node.sh("cat /run/tripod/attachments/*.json")).unwrap();
        assert_eq!(record["addresses"], json!(["10.7.0.2"]), "{version}");
        if version >= "0.4.0" {
            made.call("CHECK", &limiting(version)).run(&made.node).silent();
        }
        made.call("DEL", &limiting(version)).run(&made.node).silent();
        assert_eq!((footprint(&made.node), made.disciplines()), before, "{version}");
    }
    // Nothing is asked: nothing is done but handing on.
    let Some(made) = made("1.1.0") else { return };
    let conf = json!({"cniVersion": "1.1.0", "name": "pods", "type": "tripod-cni", "mode": "chained"});
    let before = made.disciplines();
    assert_eq!(made.call("ADD", &conf).run(&made.node).ok(), made.result);
    assert_eq!(made.disciplines(), before);
}

#[test]
fn the_pod_of_another_plugin_is_limited_both_ways_and_tuned() {
    let Some(made) = made("1.1.0") else { return };
    made.call("ADD", &limiting("1.1.0")).run(&made.node).ok();
    let rates =
        [transfer(&made.node, &made.sandbox, "10.7.0.2"), transfer(&made.sandbox, &made.node, "10.7.0.1")];
    assert!(rates.iter().all(|rate| is_limited(*rate)), "{rates:?}");
    assert_eq!(made.sandbox.sh("cat /proc/sys/net/core/somaxconn").trim(), "777");
    let record: Value = serde_json::from_str(&made.node.sh("cat /run/tripod/attachments/*.json")).unwrap();
    assert_eq!(record["addresses"], json!(["10.7.0.2"]));
    assert_eq!(record["hostIfname"], "vethforeign");
    // The limits go, the link stays and is fast again.
    made.call("DEL", &limiting("1.1.0")).run(&made.node).silent();
    let rate = transfer(&made.sandbox, &made.node, "10.7.0.1");
    assert!(rate > 3.0 * 2e7, "{rate}");
}

#[test]
fn del_and_gc_leave_the_links_and_addresses_of_the_main_plugin() {
    let damages = [
        ("true", "DEL"),
        ("true", "GC"),
        ("sed -i 's/\"complete\"/\"intent\"/' /run/tripod/attachments/*.json", "DEL"),
        ("tc qdisc del dev vethforeign root; tc qdisc del dev vethforeign ingress", "DEL"),
        ("ip link del $(ip -br link | grep -o '^ti[0-9a-f]*')", "GC"),
        ("tc filter del dev vethforeign ingress", "DEL"),
    ];
    for (damage, verb) in damages {
        let Some(made) = made("1.1.0") else { return };
        let before = (footprint(&made.node), made.disciplines());
        made.call("ADD", &limiting("1.1.0")).run(&made.node).ok();
        assert_ne!((footprint(&made.node), made.disciplines()), before);
        made.node.sh(damage);
        let mut last = json!({"cniVersion": "1.1.0", "name": "pods", "type": "tripod-cni"});
        last["cni.dev/valid-attachments"] = json!([]);
        for _ in 0..2 {
            Call::new(verb, &last).env("CNI_NETNS", "").run(&made.node).silent();
            assert_eq!((footprint(&made.node), made.disciplines()), before, "{damage} {verb}");
        }
    }
    // The main plugin was first, as after a reboot of the chain's order.
    let Some(made) = made("1.1.0") else { return };
    made.call("ADD", &limiting("1.1.0")).run(&made.node).ok();
    made.node.sh("ip link del vethforeign");
    made.call("DEL", &limiting("1.1.0")).run(&made.node).silent();
    assert_eq!(made.node.sh("ls /run/tripod/attachments | grep -v lock; ip -br link show type ifb"), "");
}

#[test]
fn a_second_or_interrupted_add_starts_over() {
    let Some(made) = made("1.1.0") else { return };
    let before = (footprint(&made.node), made.disciplines());
    made.call("ADD", &limiting("1.1.0")).run(&made.node).ok();
    made.node.sh("sed -i 's/\"complete\"/\"intent\"/' /run/tripod/attachments/*.json");
    assert_eq!(made.call("ADD", &limiting("1.1.0")).run(&made.node).ok(), made.result);
    made.call("DEL", &limiting("1.1.0")).run(&made.node).silent();
    assert_eq!((footprint(&made.node), made.disciplines()), before);
}

#[test]
fn what_others_put_on_the_link_is_told_and_never_removed() {
    for foreign in [
        "tc qdisc add dev vethforeign root handle 9: tbf rate 1gbit burst 1mb latency 25ms",
        "tc qdisc add dev vethforeign ingress; \
         tc filter add dev vethforeign ingress prio 7 protocol all u32 match u32 0 0 flowid 1:1",
        "tc qdisc add dev vethforeign ingress",
        "tc qdisc add dev vethforeign clsact",
    ] {
        let Some(made) = made("1.1.0") else { return };
        made.node.sh(foreign);
        let before = (footprint(&made.node), made.disciplines());
        let (code, text) = made.call("ADD", &limiting("1.1.0")).run(&made.node).failed();
        let told = "on interface \"vethforeign\": it has one already that is not ours";
        assert!(code == 5 && text.contains(told), "{code} {text}");
        assert_eq!((footprint(&made.node), made.disciplines()), before, "{foreign}");
    }
    // A filter that comes later, beside ours, stays.
    let Some(made) = made("1.1.0") else { return };
    made.call("ADD", &limiting("1.1.0")).run(&made.node).ok();
    made.node.sh("tc filter add dev vethforeign ingress prio 7 protocol all u32 match u32 0 0 flowid 1:1");
    made.call("DEL", &limiting("1.1.0")).run(&made.node).silent();
    let filters = made.disciplines();
    assert!(filters.contains("pref 7") && !filters.contains("mirred"), "{filters}");
}

#[test]
fn limits_of_another_link_that_got_the_number_stay() {
    let Some(made) = made("1.1.0") else { return };
    made.call("ADD", &limiting("1.1.0")).run(&made.node).ok();
    let index = made.node.json("ip -j link show vethforeign")[0]["ifindex"].clone();
    made.node.sh(&format!(
        "ip link del vethforeign; ip link add other index {index} type veth peer name far; \
         tc qdisc add dev other root handle 1: tbf rate 1gbit burst 1mb latency 25ms; \
         tc qdisc add dev other ingress"
    ));
    let before = made.node.sh("tc qdisc show dev other");
    assert!(before.contains("tbf") && before.contains("ingress"), "{before}");
    made.call("DEL", &limiting("1.1.0")).run(&made.node).silent();
    assert_eq!(made.node.sh("tc qdisc show dev other"), before);
}

#[test]
fn configurations_that_cannot_be_meant_are_code_7() {
    let Some(made) = made("1.1.0") else { return };
    let before = footprint(&made.node);
    for (key, value) in [
        ("ipam", json!({"type": "tripod", "ranges": [[{"subnet": "10.1.0.0/24"}]]})),
        ("ipam", json!("x")),
        ("mtu", json!(1400)),
        ("bridge", json!("br0")),
        ("ipMasq", json!(true)),
        ("nodeIPs", json!(["192.0.2.1"])),
        ("sysctl", json!({"kernel.panic": "1"})),
    ] {
        let mut conf = limiting("1.1.0");
        conf[key] = value;
        let (code, text) = made.call("ADD", &conf).run(&made.node).failed();
        assert!(code == 7 && text.contains(key), "{key}: {code} {text}");
        assert_eq!(footprint(&made.node), before);
    }
    for prior in [Value::Null, json!(3), json!({"ips": [{"address": "x"}]}), json!({"interfaces": {}})] {
        let mut conf = limiting("1.1.0");
        conf["prevResult"] = prior.clone();
        for verb in ["ADD", "CHECK"] {
            let (code, text) = Call::new(verb, &conf).netns(&made.sandbox.path()).run(&made.node).failed();
            assert!(code == 7 && text.contains("prevResult"), "{prior}: {code} {text}");
        }
        Call::new("DEL", &conf).netns(&made.sandbox.path()).run(&made.node).silent();
    }
    let mut conf = limiting("1.1.0");
    conf["ipam"] = json!({});
    conf["mtu"] = json!(0);
    made.call("ADD", &conf).run(&made.node).ok();
}

#[test]
fn limits_need_a_veth_whose_other_end_is_on_the_node() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    sandbox.sh("ip link add eth0 type veth peer name elsewhere");
    let mut conf = limiting("1.1.0");
    conf["prevResult"] = json!({
        "cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "sandbox": sandbox.path()}],
        "ips": [{"address": "10.7.0.2/24", "interface": 0}],
    });
    let before = footprint(&node);
    let (code, text) = Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).failed();
    assert!(code == 7 && text.contains("eth0") && text.contains("veth"), "{code} {text}");
    assert_eq!(footprint(&node), before);
    // Without limits there is nothing that needs it.
    conf["runtimeConfig"] = Value::Null;
    assert_eq!(Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok(), conf["prevResult"]);
    Call::new("CHECK", &conf).netns(&sandbox.path()).run(&node).silent();
    Call::new("DEL", &conf).env("CNI_NETNS", "").run(&node).silent();
    assert_eq!(footprint(&node), before);
}

#[test]
fn check_names_what_is_lost() {
    for (loss, named) in [
        ("tc qdisc del dev vethforeign root", "token bucket"),
        ("tc qdisc del dev vethforeign ingress", "filter"),
        ("ip link del $(ip -br link | grep -o '^ti[0-9a-f]*')", "limits what the pod sends"),
        ("ip link del vethforeign", "vethforeign"),
        ("rm /run/tripod/attachments/*.json", "record"),
    ] {
        let Some(made) = made("1.1.0") else { return };
        made.call("ADD", &limiting("1.1.0")).run(&made.node).ok();
        made.node.sh(loss);
        let (code, text) = made.call("CHECK", &limiting("1.1.0")).run(&made.node).failed();
        assert!(code == 106 && text.contains(named), "{loss}: {code} {text}");
    }
}

#[test]
fn after_our_own_main_plugin_the_keys_belong_there() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    let result = Call::new("ADD", &dual("1.1.0")).netns(&sandbox.path()).run(&node).ok();
    let before = footprint(&node);
    let mut conf = limiting("1.1.0");
    conf["prevResult"] = result;
    let (code, text) = Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).failed();
    assert!(code == 7 && text.contains("mode"), "{code} {text}");
    assert_eq!(footprint(&node), before);
}

#[test]
fn status_of_a_chained_plugin_asks_for_no_lease_store() {
    let Some(node) = Namespace::node() else { return };
    Call::new("STATUS", &limiting("1.1.0")).run(&node).silent();
    assert_eq!(node.sh("ls /run/tripod"), "attachments\n");
}

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
