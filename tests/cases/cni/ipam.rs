//! Where addresses come from: what is asked for, stores of host-local, other IPAM plugins, and ours under
//! other main plugins.

mod delegated;
mod persona;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::programs;

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
