//! Limits of what a pod may send and receive, read back with `tc -j` and measured.

use std::thread;

use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;

use super::{dual, footprint};

/// 20 Mbit/s, and what two packets of it exceed.
const RATE: u64 = 20_000_000;
const BURST: u64 = 160_000;

/// Bits per second that a receiver sees of a sender who sends for a second.
pub(crate) fn transfer(from: &Namespace, to: &Namespace, address: &str) -> f64 {
    let receive = format!(
        "import socket,time\n\
         s=socket.socket();s.bind(('{address}',5001));s.listen();s.settimeout(60);c,_=s.accept()\n\
         n=0;t=time.monotonic()\n\
         while True:\n b=c.recv(1<<16)\n if not b: break\n n+=len(b)\n\
         print(n*8/(time.monotonic()-t))"
    );
    let send = format!(
        "import socket,time\n\
         t=time.monotonic()\n\
         while True:\n \
          try: c=socket.create_connection(('{address}',5001));break\n \
          except ConnectionRefusedError: assert time.monotonic()<t+60\n\
         t=time.monotonic()\n\
         while time.monotonic()<t+1: c.send(bytes(1<<14))\n\
         c.close()"
    );
    thread::scope(|scope| {
        let receiver = scope.spawn(move || to.sh(&format!("python3 -c \"{receive}\"")));
        from.sh(&format!("python3 -c \"{send}\""));
        receiver.join().expect("the receiver ends").trim().parse().expect("a rate")
    })
}

pub(crate) fn is_limited(rate: f64) -> bool {
    (0.5..1.5).contains(&(rate / 2e7))
}

/// The token bucket of `device` as `tc` shows it.
fn bucket(node: &Namespace, device: &str) -> Value {
    let all = node.json(&format!("tc -j qdisc show dev {device}"));
    let found = all.as_array().unwrap().iter().find(|one| one["kind"] == "tbf");
    found.unwrap_or_else(|| panic!("no tbf on {device}: {all}"))["options"].clone()
}

/// The ifb devices of `node`.
fn ifbs(node: &Namespace) -> Vec<String> {
    let links = node.json("ip -j link show type ifb");
    links.as_array().unwrap().iter().map(|link| link["ifname"].as_str().unwrap().to_owned()).collect()
}

fn limited(bandwidth: Value) -> Value {
    let mut conf = dual("1.1.0");
    conf["runtimeConfig"] = json!({ "bandwidth": bandwidth });
    conf
}

fn host_end(add: &Value) -> String {
    add["interfaces"][0]["name"].as_str().expect("a name").to_owned()
}

/// A node with an address that pods reach.
fn node() -> Option<Namespace> {
    let node = Namespace::node()?;
    node.sh("ip address add 192.0.2.9/32 dev lo");
    Some(node)
}

#[test]
fn both_directions_are_limited_to_what_tc_would_set() {
    let Some(node) = node() else { return };
    let before = footprint(&node);
    let sandbox = Namespace::sandbox();
    let conf = limited(json!({
        "ingressRate": RATE, "ingressBurst": BURST, "egressRate": 2 * RATE, "egressBurst": 2 * BURST,
    }));
    let add = Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
    assert_eq!(add["interfaces"].as_array().unwrap().len(), 2, "{add}");
    let host = host_end(&add);
    let [ifb] = &ifbs(&node)[..] else { panic!("one ifb device") };
    let link = &node.json(&format!("ip -j -d link show {ifb}"))[0];
    assert_eq!((&link["ifalias"], &link["group"]), (&json!("c1 eth0"), &json!("29808")));
    assert_eq!(link["mtu"], add["interfaces"][0]["mtu"]);
    // The same by `tc` itself, on a link of its own.
    node.sh(&format!(
        "ip link add one type veth peer name two; ip link set one up; ip link set two up; \
         tc qdisc add dev one root tbf rate {RATE} burst {0} latency 25ms; \
         tc qdisc add dev two root tbf rate {1} burst {2} latency 25ms",
        BURST / 8,
        2 * RATE,
        BURST / 4
    ));
    assert_eq!(bucket(&node, &host), bucket(&node, "one"));
    assert_eq!(bucket(&node, ifb), bucket(&node, "two"));
    assert_eq!(bucket(&node, &host), json!({"rate": 2_500_000, "burst": 20_000, "lat": 25_000}));
    node.sh("ip link del one");
    let filters = node.sh(&format!("tc filter show dev {host} ingress"));
    assert!(filters.contains(&format!("Egress Redirect to device {ifb}")), "{filters}");
    Call::new("DEL", &dual("1.1.0")).netns(&sandbox.path()).run(&node).silent();
    assert_eq!(footprint(&node), before);
}

#[test]
fn a_transfer_is_limited_where_it_was_asked_and_nowhere_else() {
    for (keys, to_pod_limited) in [
        (json!({"IngressRate": RATE, "IngressBurst": BURST, "EgressRate": 0, "EgressBurst": 0}), true),
        (json!({"IngressRate": null, "EgressRate": RATE, "EgressBurst": BURST}), false),
    ] {
        let Some(node) = node() else { return };
        let sandbox = Namespace::sandbox();
        Call::new("ADD", &limited(keys.clone())).netns(&sandbox.path()).run(&node).ok();
        let to_pod = transfer(&node, &sandbox, "10.1.0.2");
        let from_pod = transfer(&sandbox, &node, "192.0.2.9");
        let (slow, fast) = if to_pod_limited { (to_pod, from_pod) } else { (from_pod, to_pod) };
        assert!(is_limited(slow), "{keys}: {slow}");
        assert!(fast > 3.0 * 2e7, "{keys}: {fast}");
    }
}

#[test]
fn the_annotation_limits_from_the_first_second_although_the_runtime_sends_a_huge_burst() {
    // containerd's and CRI-O's, taken literally, let half a gigabyte and four pass.
    for burst in [4_294_967_295u64, 34_359_738_359] {
        let Some(node) = node() else { return };
        let sandbox = Namespace::sandbox();
        let conf = limited(json!({"EgressRate": RATE, "EgressBurst": burst}));
        Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
        let rate = transfer(&sandbox, &node, "192.0.2.9");
        assert!(is_limited(rate), "{rate}");
    }
}

#[test]
fn static_keys_limit_every_pod_of_a_network_and_check_names_what_is_lost() {
    let losses = [
        ("tc qdisc del dev HOST root", "token bucket"),
        ("tc qdisc del dev IFB root", "token bucket"),
        ("tc filter del dev HOST ingress", "filter"),
        ("tc qdisc del dev HOST ingress", "filter"),
        ("ip link del IFB", "limits what the pod sends"),
        ("tc qdisc replace dev HOST root handle 9: tbf rate 1gbit burst 1mb latency 25ms", "token bucket"),
    ];
    for (loss, named) in losses {
        let Some(node) = node() else { return };
        let sandbox = Namespace::sandbox();
        let mut conf = dual("1.1.0");
        for (key, value) in
            [("ingressRate", RATE), ("ingressBurst", BURST), ("egressRate", RATE), ("egressBurst", BURST)]
        {
            conf[key] = json!(value);
        }
        let add = Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
        conf["prevResult"] = add.clone();
        let check = Call::new("CHECK", &conf).netns(&sandbox.path());
        check.clone().run(&node).silent();
        node.sh(&loss.replace("HOST", &host_end(&add)).replace("IFB", &ifbs(&node)[0]));
        let (code, text) = check.run(&node).failed();
        assert!(code == 106 && text.contains(named), "{loss}: {code} {text}");
        Call::new("DEL", &conf).netns(&sandbox.path()).run(&node).silent();
        assert!(ifbs(&node).is_empty());
    }
}

#[test]
fn extreme_values_end_within_the_kernels_bounds() {
    for (rate, burst, shown_rate) in [
        (8, 1, 1u64),
        (1000, 8000, 125),
        (100_000_000_000, 80_000_000, 12_500_000_000),
        (u64::MAX, u64::MAX, u64::MAX / 8),
    ] {
        let Some(node) = node() else { return };
        let sandbox = Namespace::sandbox();
        let conf = limited(json!({
            "ingressRate": rate, "ingressBurst": burst, "egressRate": rate, "egressBurst": burst,
        }));
        let add = Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
        for device in [host_end(&add), ifbs(&node)[0].clone()] {
            assert_eq!(bucket(&node, &device)["rate"], shown_rate, "{rate} {burst}");
        }
        // Whatever the burst, a whole packet passes.
        if rate == u64::MAX || burst == 80_000_000 {
            node.sh("ping -c1 -W2 -s1400 10.1.0.2");
        }
        Call::new("DEL", &conf).netns(&sandbox.path()).run(&node).silent();
    }
    let Some(node) = node() else { return };
    let sandbox = Namespace::sandbox();
    let add = |bandwidth| Call::new("ADD", &limited(bandwidth)).netns(&sandbox.path());
    let before = footprint(&node);
    for (bandwidth, named) in [
        (json!({"IngressRate": RATE}), "runtimeConfig.bandwidth.ingressRate=20000000"),
        (json!({"EgressBurst": BURST}), "egressBurst=160000"),
        (json!({"EgressRate": 7, "EgressBurst": BURST}), "8 bits"),
        (json!({"EgressRate": -1, "EgressBurst": BURST}), "egressRate=-1"),
        (json!("fast"), "bandwidth=\"fast\""),
    ] {
        let (code, text) = add(bandwidth).run(&node).failed();
        assert!(code == 7 && text.contains(named), "{named}: {code} {text}");
        assert_eq!(footprint(&node), before);
    }
}

#[test]
fn del_and_gc_remove_the_ifb_device_whatever_became_of_the_rest() {
    let conf = limited(json!({"EgressRate": RATE, "EgressBurst": BURST}));
    for (damage, verb) in [
        ("true", "GC"),
        ("ip link del $(ip -br link | grep -o '^tp[0-9a-f]*')", "DEL"),
        ("rm /run/tripod/attachments/*.json", "DEL"),
        ("ip link del $(ip -br link | grep -o '^ti[0-9a-f]*')", "DEL"),
        // What a kill between the last change and the completed record leaves.
        (
            "sed -i 's/\"complete\"/\"intent\"/; s/\"addresses\":\\[[^]]*\\]/\"addresses\":[]/' /run/tripod/attachments/*.json",
            "GC",
        ),
    ] {
        let Some(node) = node() else { return };
        let before = footprint(&node);
        let sandbox = Namespace::sandbox();
        Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
        assert_eq!(ifbs(&node).len(), 1);
        node.sh(damage);
        let mut last = json!({"cniVersion": "1.1.0", "name": "pods", "type": "tripod-cni"});
        last["cni.dev/valid-attachments"] = json!([]);
        Call::new(verb, &last).env("CNI_NETNS", "").run(&node).silent();
        assert_eq!(footprint(&node), before, "{damage}");
    }
}

#[test]
fn a_name_that_is_taken_is_told_and_undone() {
    let Some(node) = node() else { return };
    let sandbox = Namespace::sandbox();
    let conf = limited(json!({"EgressRate": RATE, "EgressBurst": BURST}));
    Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
    let name = ifbs(&node)[0].clone();
    Call::new("DEL", &conf).netns(&sandbox.path()).run(&node).silent();
    node.sh(&format!("ip link add {name} type veth peer name foreign"));
    let before = footprint(&node);
    let (code, text) = Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).failed();
    assert!(code == 103 && text.contains(&name), "{code} {text}");
    assert_eq!(footprint(&node), before);
}
