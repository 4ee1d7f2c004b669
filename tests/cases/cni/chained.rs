//! Mode `chained`, after main plugins of others.

mod published;

use serde_json::{Value, json};
use tripod_tests::eventually;
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;

use super::bandwidth::{is_limited, transfer};
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
