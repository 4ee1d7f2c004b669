//! Addresses of other IPAM plugins.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::{eventually, programs};

use super::{VERSIONS, ips, leases, script, with_plugins};
use crate::cni::failures::refused;
use crate::cni::footprint;

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
