//! Where addresses come from: what is asked for, stores of host-local, other IPAM plugins, and ours under
//! other main plugins.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::{eventually, programs};

use super::failures::refused;
use super::{conf, dual, footprint};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// Where the plugins of others are, built by `cargo e2e`. Without them says loudly what was skipped; in CI
/// that is a failure.
fn reference() -> Option<PathBuf> {
    let folder = programs::target_dir().join("cluster/bin");
    if ["bridge", "host-local", "ptp", "static"].iter().all(|name| folder.join(name).exists()) {
        return Some(folder);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "CI must build the reference plugins into {}",
        folder.display()
    );
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        let told = format!("\nSKIPPED: cases with reference plugins; none in {}\n", folder.display());
        drop(std::io::stderr().write_all(told.as_bytes()));
    });
    None
}

/// A node, the folder of reference plugins, and a folder of the node's own before it in `CNI_PATH`.
fn with_plugins() -> Option<(Namespace, PathBuf, String)> {
    let folder = reference()?;
    let node = Namespace::node()?;
    let ours = programs::program("tripod-cni");
    node.sh(&format!("mkdir /run/plugins; ln -s {} /run/plugins/tripod-ipam", ours.display()));
    let path = format!("/run/plugins:{}", folder.display());
    Some((node, folder, path))
}

/// A script of the node's own as IPAM plugin `name`.
fn script(node: &Namespace, name: &'static str, text: &'static str) {
    node.run(move || {
        fs::create_dir_all("/run/plugins").expect("an empty /run");
        let path = Path::new("/run/plugins").join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("an empty /run");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
    });
}

fn ips(document: &Value) -> Vec<&str> {
    document["ips"].as_array().expect("addresses").iter().map(|ip| ip["address"].as_str().unwrap()).collect()
}

fn leases(node: &Namespace, folder: &str) -> String {
    node.sh(&format!("ls {folder} 2>/dev/null | grep -v -e lock -e last_reserved; true"))
}

#[test]
fn addresses_and_a_hardware_address_can_be_asked_for_in_three_places() {
    let Some(node) = Namespace::node() else { return };
    node.sh("ip address add 192.0.2.9/32 dev lo");
    let before = footprint(&node);
    let asked = [
        (json!({"IPs": ["10.1.0.7/24", "fd00:1::7"], "Mac": "02:00:00:00:00:07"}), json!(null), ""),
        (json!(null), json!({"ips": ["fd00:1::7", "10.1.0.7"], "mac": "02:00:00:00:00:07"}), ""),
        (json!({"ips": null}), json!({}), "IgnoreUnknown=1;IP=10.1.0.7,fd00:1::7;MAC=02:00:00:00:00:07"),
    ];
    for (runtime, cni, cni_args) in asked {
        let sandbox = Namespace::sandbox();
        let mut conf = dual("1.1.0");
        conf["runtimeConfig"] = runtime;
        conf["args"] = json!({"cni": cni});
        let call =
            |verb: &str, conf: &Value| Call::new(verb, conf).env("CNI_ARGS", cni_args).netns(&sandbox.path());
        let add = call("ADD", &conf).run(&node).ok();
        assert_eq!(ips(&add), ["10.1.0.7/32", "fd00:1::7/128"]);
        assert_eq!(add["interfaces"][1]["mac"], "02:00:00:00:00:07");
        assert_eq!(sandbox.json("ip -j link show eth0")[0]["address"], "02:00:00:00:00:07");
        assert_eq!(node.json("ip -j neigh show 10.1.0.7")[0]["lladdr"], "02:00:00:00:00:07");
        conf["prevResult"] = add;
        // CHECK need not be told again what was asked for.
        conf["args"] = Value::Null;
        conf["runtimeConfig"] = Value::Null;
        Call::new("CHECK", &conf).netns(&sandbox.path()).run(&node).silent();
        node.sh("ping -c1 -W2 10.1.0.7");
        call("DEL", &conf).run(&node).silent();
        assert_eq!(footprint(&node), before);
    }
}

#[test]
fn an_address_that_is_taken_is_refused_with_its_owner() {
    let Some(node) = Namespace::node() else { return };
    let (one, two) = (Namespace::sandbox(), Namespace::sandbox());
    let mut conf = dual("1.1.0");
    conf["runtimeConfig"] = json!({"ips": ["10.1.0.9"]});
    let add = Call::new("ADD", &conf).env("CNI_ARGS", "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web");
    add.netns(&one.path()).run(&node).ok();
    let add = Call::new("ADD", &conf).container("c2").netns(&two.path());
    refused(&node, add.clone(), 101, &["10.1.0.9", "pods", "container c1", "pod shop/web"]);
    node.sh("echo stranger > /run/tripod/ipam/pods/10.1.0.10; mkdir /run/tripod/ipam/pods/10.1.0.11");
    for (address, owner) in
        [("10.1.0.10", "container stranger"), ("10.1.0.11", "file /run/tripod/ipam/pods/10.1.0.11")]
    {
        conf["runtimeConfig"] = json!({"ips": [address]});
        let add = Call::new("ADD", &conf).container("c2").netns(&two.path());
        refused(&node, add, 101, &[address, owner]);
    }
}

#[test]
fn what_no_range_gives_is_refused_before_anything_is_done() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    for (runtime, named) in [
        (json!({"ips": ["10.9.0.9"]}), "10.9.0.9"),
        (json!({"ips": ["10.1.0.1"]}), "gateway"),
        (json!({"ips": ["10.1.0.9", "10.1.0.9"]}), "twice"),
        (json!({"ips": ["10.1.0.9", "10.1.0.8"]}), "second address"),
        (json!({"mac": "ff:ff:ff:ff:ff:ff"}), "unicast"),
        (json!({"ipRanges": [[{"subnet": "10.1.0.128/25"}]]}), "overlaps"),
    ] {
        let mut conf = dual("1.1.0");
        conf["runtimeConfig"] = runtime;
        refused(&node, Call::new("ADD", &conf).netns(&sandbox.path()), 7, &[named]);
    }
}

#[test]
fn ranges_of_the_runtime_give_an_address_each_before_the_networks() {
    let Some(node) = Namespace::node() else { return };
    let before = footprint(&node);
    let sandbox = Namespace::sandbox();
    let mut conf = dual("1.1.0");
    conf["runtimeConfig"] =
        json!({"IPRanges": [[{"Subnet": "10.7.0.0/24", "RangeStart": "10.7.0.20", "Gateway": null}]]});
    let add = Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
    assert_eq!(ips(&add), ["10.7.0.20/32", "10.1.0.2/32", "fd00:1::2/128"]);
    Call::new("DEL", &dual("1.1.0")).netns(&sandbox.path()).run(&node).silent();
    assert_eq!(footprint(&node), before);
}

#[test]
fn name_servers_come_from_resolv_conf_unless_the_network_has_its_own() {
    let Some(node) = Namespace::node() else { return };
    node.sh("printf 'nameserver 192.0.2.53\\nsearch shop.example\\n' > /run/resolv.conf");
    let mut conf = dual("1.1.0");
    conf["ipam"]["resolvConf"] = json!("/run/resolv.conf");
    let add = |container: &str, conf: &Value| {
        Call::new("ADD", conf).container(container).netns(&Namespace::sandbox().path()).run(&node)
    };
    let dns = add("c1", &conf).ok()["dns"].clone();
    assert_eq!(dns, json!({"nameservers": ["192.0.2.53"], "search": ["shop.example"]}));
    conf["dns"] = json!({"nameservers": ["198.51.100.53"]});
    assert_eq!(add("c2", &conf).ok()["dns"], conf["dns"]);
    conf["ipam"]["resolvConf"] = json!("/run/none");
    let (code, text) = add("c3", &conf).failed();
    assert!(code == 5 && text.contains("/run/none"), "{code} {text}");
}

#[test]
fn sixty_thousand_leases_are_stepped_over() {
    let Some(node) = Namespace::node() else { return };
    node.run(|| {
        let folder = Path::new("/run/tripod/ipam/pods");
        fs::create_dir_all(folder).expect("an empty /run");
        for number in 2..60_002u32 {
            let name = format!("10.1.{}.{}", number >> 8, number & 255);
            fs::write(folder.join(name), format!("taken{number}\r\neth0")).expect("room");
        }
    });
    let conf = conf("1.1.0", &["10.1.0.0/16"]);
    let add = |container: &str| {
        let sandbox = Namespace::sandbox();
        ips(&Call::new("ADD", &conf).container(container).netns(&sandbox.path()).run(&node).ok()).join(" ")
    };
    assert_eq!(add("c1"), "10.1.234.98/32");
    // From before them all, by the hint alone.
    node.sh("echo 10.1.0.1 > /run/tripod/ipam/pods/last_reserved_ip.0");
    assert_eq!(add("c2"), "10.1.234.99/32");
    let last = |container: &str| Call::new("DEL", &conf).container(container).env("CNI_NETNS", "").run(&node);
    last("c1").silent();
    assert_eq!(add("c3"), "10.1.234.100/32");
}

#[test]
fn a_store_of_host_local_is_adopted_and_left_again() {
    let Some((node, folder, _)) = with_plugins() else { return };
    let host_local = folder.join("host-local");
    let mut conf = conf("1.0.0", &["10.1.0.0/24"]);
    conf["ipam"]["dataDir"] = json!("/run/networks");
    let theirs = |verb: &str, container: &str| {
        let call = Call::of(&host_local, verb, &conf).container(container);
        call.env("CNI_NETNS", "/run/netns/pod").run(&node)
    };
    let ours = |verb: &str, container: &str, sandbox: &Namespace| {
        Call::new(verb, &conf).container(container).netns(&sandbox.path()).run(&node)
    };
    assert_eq!(ips(&theirs("ADD", "old").ok()), ["10.1.0.2/24"]);
    node.sh("cd /run/networks/pods; : > 10.1.0.3; printf older > 10.1.0.4");
    let (one, two) = (Namespace::sandbox(), Namespace::sandbox());
    // What has no content is nobody's; what host-local gave is taken.
    assert_eq!(ips(&ours("ADD", "c1", &one).ok()), ["10.1.0.3/32"]);
    assert_eq!(ips(&ours("ADD", "c2", &two).ok()), ["10.1.0.5/32"]);
    // A pod that host-local gave its address, in either format, is deleted by us.
    ours("DEL", "old", &one).silent();
    ours("DEL", "older", &one).silent();
    assert_eq!(leases(&node, "/run/networks/pods"), "10.1.0.3\n10.1.0.5\n");
    // The way back: host-local knows our leases, goes on behind them and releases them.
    theirs("CHECK", "c2").silent();
    assert_eq!(ips(&theirs("ADD", "back").ok()), ["10.1.0.6/24"]);
    theirs("CHECK", "back").silent();
    let (_, text) = theirs("CHECK", "nobody").failed();
    assert!(text.contains("nobody"), "{text}");
    theirs("DEL", "c2").silent();
    assert_eq!(leases(&node, "/run/networks/pods"), "10.1.0.3\n10.1.0.6\n");
    // And here again: what host-local did in between is found out.
    let three = Namespace::sandbox();
    assert_eq!(ips(&ours("ADD", "c3", &three).ok()), ["10.1.0.7/32"]);
    node.sh("cd /run/networks/pods; for n in $(seq 8 250); do echo host$n > 10.1.0.$n; done");
    let four = Namespace::sandbox();
    assert_eq!(ips(&ours("ADD", "c4", &four).ok()), ["10.1.0.251/32"]);
}

#[test]
fn a_lease_emptied_by_hand_stays_its_pods() {
    let Some(node) = Namespace::node() else { return };
    let (one, two) = (Namespace::sandbox(), Namespace::sandbox());
    let conf = conf("1.1.0", &["10.1.0.0/30"]);
    Call::new("ADD", &conf).netns(&one.path()).run(&node).ok();
    node.sh(": > /run/tripod/ipam/pods/10.1.0.2");
    refused(&node, Call::new("ADD", &conf).container("c2").netns(&two.path()), 11, &["range set 0"]);
    let mut gc = conf.clone();
    gc["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
    Call::new("GC", &gc).run(&node).silent();
    assert_eq!(leases(&node, "/run/tripod/ipam/pods"), "10.1.0.2\n");
    Call::new("DEL", &conf).netns(&one.path()).run(&node).silent();
    Call::new("ADD", &conf).container("c2").netns(&two.path()).run(&node).ok();
}

fn delegated(version: &str, ipam: Value) -> Value {
    json!({"cniVersion": version, "name": "pods", "type": "tripod-cni", "ipam": ipam})
}

#[test]
fn static_addresses_of_the_plugin_for_them_are_used_in_every_version() {
    for version in VERSIONS {
        let Some((node, _, path)) = with_plugins() else { return };
        node.sh("ip address add 198.51.100.9/32 dev lo");
        let before = footprint(&node);
        let sandbox = Namespace::sandbox();
        let mut conf = delegated(
            version,
            json!({
                "type": "static", "dns": {"nameservers": ["192.0.2.53"]},
                "addresses": [{"address": "10.5.0.7/24", "gateway": "10.5.0.1"}, {"address": "fd00:5::7/64"}],
                "routes": [{"dst": "198.51.100.0/24"}, {"dst": "2001:db8:7::/48"}],
            }),
        );
        let call = |verb: &str, conf: &Value| {
            Call::new(verb, conf).env("CNI_PATH", &path).netns(&sandbox.path()).run(&node)
        };
        let add = call("ADD", &conf).ok();
        assert_eq!(add["dns"]["nameservers"][0], "192.0.2.53", "{version}");
        let ip = if version < "0.3.0" { &add["ip4"] } else { &add["ips"][0] };
        assert_eq!(ip["gateway"], "10.5.0.1", "{version}");
        node.sh("ping -c1 -W2 10.5.0.7");
        let addresses = sandbox.json("ip -j -6 address show dev eth0 scope global");
        assert_eq!(addresses[0]["addr_info"][0]["local"], "fd00:5::7", "{version}");
        let routes = sandbox.json("ip -j route");
        assert_eq!(routes[0]["dst"], "198.51.100.0/24", "{version}: {routes}");
        assert_eq!(leases(&node, "/run/tripod/ipam/pods"), "");
        conf["prevResult"] = add;
        if version >= "0.4.0" {
            call("CHECK", &conf).silent();
        }
        call("DEL", &conf).silent();
        assert_eq!(footprint(&node), before, "{version}");
    }
}

fn by_host_local() -> Value {
    delegated(
        "1.1.0",
        json!({"type": "host-local", "dataDir": "/run/networks", "ranges": [[{"subnet": "10.6.0.0/24"}]]}),
    )
}

#[test]
fn host_local_gives_and_takes_back_by_every_verb() {
    let Some((node, _, path)) = with_plugins() else { return };
    let (one, two) = (Namespace::sandbox(), Namespace::sandbox());
    let mut conf = by_host_local();
    let call = |verb: &str, container: &str, sandbox: &Namespace, conf: &Value| {
        Call::new(verb, conf).env("CNI_PATH", &path).container(container).netns(&sandbox.path()).run(&node)
    };
    call("STATUS", "c1", &one, &conf).silent();
    let add = call("ADD", "c1", &one, &conf).ok();
    assert_eq!(ips(&add), ["10.6.0.2/32"]);
    conf["prevResult"] = add;
    call("CHECK", "c1", &one, &conf).silent();
    node.sh("mv /run/networks/pods/10.6.0.2 /run/kept");
    let (code, text) = call("CHECK", "c1", &one, &conf).failed();
    assert!(code == 999 && text.contains("host-local") && text.contains("CHECK"), "{code} {text}");
    node.sh("mv /run/kept /run/networks/pods/10.6.0.2");
    conf.as_object_mut().unwrap().remove("prevResult");
    call("ADD", "c2", &two, &conf).ok();
    // host-local has no GC of its own: each attachment that is gone is given back by DEL.
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
    call("GC", "c1", &one, &conf).silent();
    assert_eq!(leases(&node, "/run/networks/pods"), "10.6.0.2\n");
    // The record remembers the plugin when the configuration names another.
    conf["ipam"]["type"] = json!("tripod");
    call("DEL", "c1", &one, &conf).silent();
    assert_eq!(leases(&node, "/run/networks/pods"), "");
    assert_eq!(node.sh("ls /run/tripod/attachments"), "lock\n");
}

#[test]
fn an_add_that_fails_gives_back_what_the_plugin_gave() {
    let Some((node, _, path)) = with_plugins() else { return };
    let sandbox = Namespace::sandbox();
    let mut conf = by_host_local();
    conf["nodeIPs"] = json!(["198.51.100.7"]);
    let add = Call::new("ADD", &conf).env("CNI_PATH", &path).netns(&sandbox.path());
    refused(&node, add, 5, &["add route 10.6.0.2/32"]);
    assert_eq!(leases(&node, "/run/networks/pods"), "");
}

#[test]
fn an_intent_of_a_killed_add_is_given_back_by_the_plugin() {
    let Some((node, _, path)) = with_plugins() else { return };
    let sandbox = Namespace::sandbox();
    let call = |verb: &str| Call::new(verb, &by_host_local()).env("CNI_PATH", &path).netns(&sandbox.path());
    call("ADD").run(&node).ok();
    node.sh("sed -i 's/\"complete\"/\"intent\"/; s/\"addresses\":\\[[^]]*\\]/\"addresses\":[]/' /run/tripod/attachments/*.json");
    assert_eq!(ips(&call("ADD").run(&node).ok()), ["10.6.0.3/32"]);
    assert_eq!(leases(&node, "/run/networks/pods"), "10.6.0.3\n");
    // Without a record the configuration says who is to be asked.
    node.sh("rm /run/tripod/attachments/*");
    call("DEL").run(&node).silent();
    assert_eq!(leases(&node, "/run/networks/pods"), "");
}

#[test]
fn a_plugin_that_is_gone_is_named_until_it_is_back() {
    let Some((node, _, path)) = with_plugins() else { return };
    let sandbox = Namespace::sandbox();
    let call = |verb: &str, path: &str| {
        Call::new(verb, &by_host_local()).env("CNI_PATH", path).netns(&sandbox.path())
    };
    refused(&node, call("ADD", "/run/none:/run/empty"), 7, &["host-local", "/run/none:/run/empty"]);
    let (code, text) = call("STATUS", "/run/none").run(&node).failed();
    assert!(code == 50 && text.contains("host-local"), "{code} {text}");
    call("ADD", &path).run(&node).ok();
    let (code, text) = call("DEL", "/run/none").run(&node).failed();
    assert!(code == 7 && text.contains("host-local") && text.contains("install it"), "{code} {text}");
    call("DEL", &path).run(&node).silent();
    assert_eq!(leases(&node, "/run/networks/pods"), "");
    // Gone for good, as the remedy says.
    call("ADD", &path).run(&node).ok();
    assert!(text.contains("a script of its name"), "{text}");
    script(&node, "host-local", "exit 0");
    call("DEL", "/run/plugins").run(&node).silent();
}

#[test]
fn a_plugin_that_refuses_or_says_nonsense_leaves_the_node_as_it_was() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    script(
        &node,
        "refusing",
        r#"[ $CNI_COMMAND = DEL ] || { echo '{"code": 42, "msg": "no luck"}'; exit 1; }"#,
    );
    script(&node, "silent", "exit 0");
    script(&node, "empty", "echo '{\"cniVersion\": \"1.1.0\"}'");
    let cases: [(&str, u64, &[&str]); 3] = [
        ("refusing", 42, &["refusing", "no luck"]),
        ("silent", 6, &["silent", "no JSON"]),
        ("empty", 6, &["empty", "no address"]),
    ];
    for (plugin, code, names) in cases {
        let conf = delegated("1.1.0", json!({"type": plugin}));
        let add = Call::new("ADD", &conf).env("CNI_PATH", "/run/plugins").netns(&sandbox.path());
        refused(&node, add, code, names);
    }
}

#[test]
fn sigterm_ends_a_plugin_that_hangs() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    script(
        &node,
        "hanging",
        "[ $CNI_COMMAND = DEL ] && exit; sleep 1000 & echo $! > /run/pid; mv /run/pid /run/pids; wait",
    );
    let before = footprint(&node);
    let path = sandbox.path();
    let output = node.run(move || {
        let mut add = Command::new(programs::program("tripod-cni"));
        add.env("CNI_COMMAND", "ADD").env("CNI_CONTAINERID", "c1").env("CNI_IFNAME", "eth0");
        add.env("CNI_NETNS", path).env("CNI_PATH", "/run/plugins");
        let mut add = add.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the plugin starts");
        let conf = delegated("1.1.0", json!({"type": "hanging"})).to_string();
        add.stdin.take().expect("a pipe").write_all(conf.as_bytes()).expect("it reads");
        eventually("the IPAM plugin hangs", || Path::new("/run/pids").exists());
        kill(Pid::from_raw(i32::try_from(add.id()).unwrap()), Signal::SIGTERM).expect("it runs");
        add.wait_with_output().expect("an exit status")
    });
    let failure: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(failure["code"], 11, "{failure}");
    assert_eq!(footprint(&node), before);
    let pid = node.sh("cat /run/pids");
    eventually("what the plugin started is dead", || {
        let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    });
}

fn over_ours(version: &str, main: &str) -> Value {
    json!({
        "cniVersion": version, "name": "pods", "type": main, "bridge": "br0", "isGateway": true,
        "ipam": {
            "type": "tripod-ipam", "routes": [{"dst": "0.0.0.0/0"}],
            "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]],
        },
    })
}

#[test]
fn bridge_and_ptp_get_their_addresses_from_our_store() {
    for main in ["bridge", "ptp"] {
        let Some((node, folder, path)) = with_plugins() else { return };
        let (one, two) = (Namespace::sandbox(), Namespace::sandbox());
        let mut conf = over_ours("1.1.0", main);
        let call = |verb: &str, container: &str, sandbox: &Namespace, conf: &Value| {
            let call = Call::of(&folder.join(main), verb, conf).env("CNI_PATH", &path);
            call.container(container).netns(&sandbox.path()).run(&node)
        };
        call("STATUS", "c1", &one, &conf).silent();
        let add = call("ADD", "c1", &one, &conf).ok();
        assert_eq!(ips(&add), ["10.1.0.2/24", "fd00:1::2/64"], "{main}");
        call("ADD", "c2", &two, &conf).ok();
        node.sh("ping -c1 -W2 10.1.0.2 && ping -c1 -W2 10.1.0.3");
        conf["prevResult"] = add;
        call("CHECK", "c1", &one, &conf).silent();
        node.sh("mv /run/tripod/ipam/pods/10.1.0.2 /run/kept");
        let (code, text) = call("CHECK", "c1", &one, &conf).failed();
        assert!(code == 106 && text.contains("10.1.0.2"), "{main}: {code} {text}");
        node.sh("mv /run/kept /run/tripod/ipam/pods/10.1.0.2");
        call("DEL", "c1", &one, &conf).silent();
        call("DEL", "c1", &one, &conf).silent();
        assert_eq!(leases(&node, "/run/tripod/ipam/pods"), "10.1.0.3\nfd00:1::3\n");
    }
}

fn ipam_call(verb: &str, conf: &Value, container: &str) -> Call {
    Call::new(verb, conf).argv0("tripod-ipam").container(container).env("CNI_NETNS", "/run/netns/pod")
}

#[test]
fn our_ipam_plugin_answers_in_the_shape_of_every_version() {
    for version in VERSIONS {
        let Some(node) = Namespace::node() else { return };
        let conf = over_ours(version, "macvlan");
        let add = ipam_call("ADD", &conf, "c1").run(&node).ok();
        assert_eq!(add["cniVersion"], version);
        assert_eq!(add.get("interfaces"), None, "{version}");
        if version < "0.3.0" {
            assert_eq!(add["ip4"]["ip"], "10.1.0.2/24", "{version}");
            assert_eq!(add["ip4"]["routes"][0]["dst"], "0.0.0.0/0", "{version}");
        } else {
            assert_eq!(ips(&add), ["10.1.0.2/24", "fd00:1::2/64"], "{version}");
            assert_eq!(add["ips"][0]["gateway"], "10.1.0.1", "{version}");
            assert_eq!(add["ips"][0].get("interface"), None, "{version}");
            assert_eq!(add["routes"], json!([{"dst": "0.0.0.0/0"}]), "{version}");
        }
        ipam_call("DEL", &conf, "c1").run(&node).silent();
        assert_eq!(leases(&node, "/run/tripod/ipam/pods"), "", "{version}");
    }
}

#[test]
fn our_ipam_plugin_refuses_as_the_main_plugin_does() {
    let Some(node) = Namespace::node() else { return };
    let mut conf = over_ours("1.1.0", "macvlan");
    conf["runtimeConfig"] = json!({"ips": ["10.1.0.9"]});
    ipam_call("ADD", &conf, "c1").run(&node).ok();
    refused(&node, ipam_call("ADD", &conf, "c2"), 101, &["10.1.0.9", "container c1"]);
    conf["runtimeConfig"] = json!({"ips": ["10.9.0.9"]});
    refused(&node, ipam_call("ADD", &conf, "c2"), 7, &["10.9.0.9"]);
    conf["runtimeConfig"] = Value::Null;
    conf["ipam"]["ranges"] = json!([]);
    refused(&node, ipam_call("ADD", &conf, "c2"), 7, &["ipam.ranges"]);
    let version = ipam_call("VERSION", &Value::Null, "c1").stdin(b"").run(&node).ok();
    assert_eq!(version["supportedVersions"], json!(VERSIONS));
    node.sh("mount -o remount,ro /run");
    let (code, text) = ipam_call("STATUS", &conf, "c1").run(&node).failed();
    assert!(code == 50 && text.contains("Read-only"), "{code} {text}");
}

#[test]
fn our_ipam_plugin_gives_no_second_address_of_a_range_as_host_local_does() {
    let Some(node) = Namespace::node() else { return };
    let mut conf = over_ours("1.1.0", "macvlan");
    ipam_call("ADD", &conf, "c1").run(&node).ok();
    let given = leases(&node, "/run/tripod/ipam/pods");
    refused(&node, ipam_call("ADD", &conf, "c1"), 107, &["10.1.0.2", "container c1 on eth0", "DEL"]);
    assert_eq!(leases(&node, "/run/tripod/ipam/pods"), given);
    // Another interface, other ranges, and the same ones after DEL.
    ipam_call("ADD", &conf, "c1").env("CNI_IFNAME", "eth1").run(&node).ok();
    conf["ipam"]["ranges"] = json!([[{"subnet": "10.7.0.0/24"}]]);
    assert_eq!(ips(&ipam_call("ADD", &conf, "c1").run(&node).ok()), ["10.7.0.2/24"]);
    ipam_call("DEL", &conf, "c1").run(&node).silent();
    ipam_call("ADD", &over_ours("1.1.0", "macvlan"), "c1").run(&node).ok();
}

#[test]
fn gc_finds_leases_without_a_record_by_what_they_name() {
    let Some(node) = Namespace::node() else { return };
    for gc in [Call::new as fn(&str, &Value) -> Call, |verb, conf| ipam_call(verb, conf, "c0")] {
        let conf = over_ours("1.1.0", "macvlan");
        let sandbox = Namespace::sandbox();
        Call::new("ADD", &dual("1.1.0")).netns(&sandbox.path()).run(&node).ok();
        for container in ["kept", "gone"] {
            ipam_call("ADD", &conf, container).run(&node).ok();
        }
        let mut listed = dual("1.1.0");
        gc("GC", &listed).run(&node).silent();
        assert_eq!(leases(&node, "/run/tripod/ipam/pods").lines().count(), 6);
        let attachment = |id: &str| json!({"containerID": id, "ifname": "eth0"});
        listed["cni.dev/valid-attachments"] = json!([attachment("c1"), attachment("kept")]);
        gc("GC", &listed).run(&node).silent();
        let left = node.sh("cd /run/tripod/ipam/pods; cat 10.1.* fd00:1:* | tr -d '\\r' | tr '\\n' ' '");
        assert_eq!(left.matches("kept").count(), 2, "{left}");
        assert_eq!(left.matches("gone").count(), 0, "{left}");
        assert_eq!(left.matches("c1").count(), 2, "{left}");
        // Nothing is valid: what has a record goes by it, and a plugin that knows no records leaves it.
        listed["cni.dev/valid-attachments"] = Value::Null;
        gc("GC", &listed).run(&node).silent();
        let left = leases(&node, "/run/tripod/ipam/pods").lines().count();
        assert!(left == 0 || left == 2, "{left}");
        Call::new("DEL", &listed).netns(&sandbox.path()).run(&node).silent();
        assert_eq!(leases(&node, "/run/tripod/ipam/pods"), "");
    }
}
