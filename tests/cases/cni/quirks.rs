//! What runtimes really do, beside what the specification says.

use std::os::unix::ffi::OsStringExt;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use tripod_tests::eventually;
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;
use tripod_tests::programs;

use super::{attach, dual, footprint};

#[test]
fn check_right_after_add_takes_what_later_members_of_the_chain_did() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    let mut conf = dual("1.1.0");
    let mut result = attach(&node, &sandbox, "c1");
    // As `tuning` does: both ends changed, and said so.
    let host = result["interfaces"][0]["name"].as_str().unwrap().to_owned();
    node.sh(&format!("ip link set {host} mtu 1400"));
    sandbox.sh(
        "ip link set eth0 address 02:00:00:00:00:77; ip link set eth0 mtu 1400; \
         ip neigh replace 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee nud permanent dev eth0; \
         ip neigh replace fe80::ecee:eeff:feee:eeee lladdr ee:ee:ee:ee:ee:ee nud permanent dev eth0; \
         ip route add 198.51.100.0/24 via 169.254.1.1 dev eth0 onlink; ip address add 198.51.100.7/32 dev eth0; \
         ip link add extra type veth peer name other",
    );
    for end in [0, 1] {
        result["interfaces"][end]["mtu"] = json!(1400);
    }
    result["interfaces"][1]["mac"] = json!("02:00:00:00:00:77");
    let interfaces = result["interfaces"].as_array_mut().unwrap();
    interfaces.push(json!({"name": "ifb0"}));
    result["ips"].as_array_mut().unwrap().push(json!({"address": "198.51.100.7/32", "interface": 1}));
    conf["prevResult"] = result;
    Call::new("CHECK", &conf).netns(&sandbox.path()).run(&node).silent();
}

#[test]
fn capitalised_and_null_runtime_config_is_taken() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    let mut conf = dual("1.0.0");
    // What containerd sends for a pod without ports and annotations.
    conf["runtimeConfig"] = json!({
        "portMappings": null,
        "bandwidth": null,
        "dns": {"Servers": null, "Searches": ["svc.cluster.local"], "Options": null},
        "io.kubernetes.cri.pod-annotations": {"a": "b"},
        "cgroupPath": "/kubepods/pod1",
    });
    conf["prevResult"] = Value::Null;
    Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
    Call::new("DEL", &conf).netns(&sandbox.path()).run(&node).silent();
}

#[test]
fn del_works_with_the_configuration_on_disk_by_then() {
    let renamed = json!({"name": "renamed"});
    let moved = json!({"ipam": {"type": "tripod", "dataDir": "/run/elsewhere", "ranges": [[{"subnet": "10.9.0.0/24"}]]}});
    let other_mode = json!({"mode": "chained", "ipam": null});
    let unknown = json!({"mode": "of-a-later-release", "ipam": {"type": "unheard-of"}});
    let disabled = json!({"cniVersion": "0.3.0", "ipam": null, "agentState": "/run/tripod"});
    for change in [renamed, moved, other_mode, unknown, disabled] {
        let Some(node) = Namespace::node() else { return };
        let before = footprint(&node);
        let sandbox = Namespace::sandbox();
        let mut conf = dual("1.1.0");
        conf["prevResult"] = attach(&node, &sandbox, "c1");
        for (key, value) in change.as_object().unwrap() {
            conf[key] = value.clone();
        }
        Call::new("DEL", &conf).netns(&sandbox.path()).run(&node).silent();
        assert_eq!(footprint(&node), before, "{change}");
    }
}

#[test]
fn del_takes_a_namespace_that_is_empty_gone_or_no_namespace_any_more() {
    // After a reboot the bind mount is gone and its file remains.
    for netns in ["", "/run/netns/gone", "/run/stale", "/run/folder", "/run/stale/below", "/proc/self/ns/uts"]
    {
        let Some(node) = Namespace::node() else { return };
        node.sh("touch /run/stale; mkdir /run/folder");
        let before = footprint(&node);
        let sandbox = Namespace::sandbox();
        attach(&node, &sandbox, "c1");
        let del = Call::new("DEL", &dual("1.1.0")).env("CNI_NETNS", netns);
        del.clone().run(&node).silent();
        del.run(&node).silent();
        assert_eq!(footprint(&node), before, "{netns}");
        let loopback = json!({"cniVersion": "0.3.1", "name": "cni-loopback", "type": "loopback"});
        let del = Call::new("DEL", &loopback).argv0("loopback").env("CNI_IFNAME", "lo");
        del.env("CNI_NETNS", netns).run(&node).silent();
    }
}

#[test]
fn a_file_that_is_no_namespace_any_more_fails_add_by_name() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    let path = sandbox.path();
    node.sh(&format!("touch /run/pod; mount --bind {} /run/pod", path.display()));
    let add = Call::new("ADD", &dual("1.1.0")).env("CNI_NETNS", "/run/pod");
    add.clone().run(&node).ok();
    Call::new("DEL", &dual("1.1.0")).env("CNI_NETNS", "/run/pod").run(&node).silent();
    node.sh("umount /run/pod");
    let before = footprint(&node);
    let (code, text) = add.run(&node).failed();
    assert!(code == 8 && text.contains("/run/pod"), "{code} {text}");
    assert_eq!(footprint(&node), before);
}

#[test]
fn loopback_runs_beside_the_network_in_the_same_sandbox() {
    let Some(node) = Namespace::node() else { return };
    let loopback = json!({"cniVersion": "0.3.1", "name": "cni-loopback", "type": "loopback"});
    for number in 0..16 {
        let sandbox = Namespace::sandbox();
        let main = Call::new("ADD", &dual("1.0.0")).container(&format!("c{number}")).netns(&sandbox.path());
        let beside = Call::new("ADD", &loopback)
            .argv0("loopback")
            .env("CNI_IFNAME", "lo")
            .container(&format!("c{number}"))
            .netns(&sandbox.path());
        node.run(move || {
            let main = thread::spawn(move || main.execute().ok());
            beside.execute().ok();
            main.join().expect("the call ends");
        });
        let links = sandbox.json("ip -j link");
        let up = links.as_array().unwrap().iter().filter(|link| link["flags"].to_string().contains("\"UP\""));
        assert_eq!(up.count(), 2, "{links}");
        sandbox.sh("ping -c1 -W2 127.0.0.1");
    }
}

#[test]
fn the_override_allows_the_plugins_own_namespace() {
    let Some(node) = Namespace::node() else { return };
    let before = footprint(&node);
    let call = |verb: &str| Call::new(verb, &dual("1.1.0")).netns(&node.path());
    let (code, text) = call("ADD").run(&node).failed();
    assert!(code == 8 && text.contains("own network namespace"), "{code} {text}");
    let (code, _) = call("ADD").env("CNI_NETNS_OVERRIDE", "0").run(&node).failed();
    assert_eq!(code, 8);
    // Host and pod end in one namespace contend for the routes; what counts is that the call is not
    // refused for the namespace and leaves nothing.
    let outcome = call("ADD").env("CNI_NETNS_OVERRIDE", "TRUE").run(&node);
    assert!(outcome.success || outcome.document.as_ref().unwrap()["code"] != 8, "{outcome:?}");
    call("DEL").run(&node).silent();
    assert_eq!(footprint(&node), before);
}

#[test]
fn an_inherited_environment_does_not_matter() {
    let Some(node) = Namespace::node() else { return };
    let sandbox = Namespace::sandbox();
    let path = sandbox.path();
    let document = node.run(move || {
        let mut command = Command::new(programs::program("tripod-cni"));
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
        command.envs((0..5000).map(|number| (format!("SERVICE_{number}_HOST"), "192.0.2.1".repeat(4))));
        command.envs([
            ("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("TRACESTATE", "vendor=x"),
            ("BAGGAGE", "k=v"),
            ("RUST_LOG", "trace"),
            ("RUST_BACKTRACE", "full"),
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_UID=u;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=n;K8S_POD_INFRA_CONTAINER_ID=c1"),
            ("CNI_PATH", "/opt/cni/bin"),
            ("CNI_OF_A_LATER_VERSION", "x"),
        ]);
        let bytes = std::ffi::OsString::from_vec(vec![0xff, 0xfe, b'x']);
        command.env("NO_TEXT", &bytes).env(bytes, "x").env("CNI_NETNS", path);
        let mut child = command.spawn().expect("the plugin starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut stdin, dual("1.1.0").to_string().as_bytes()).expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).expect("one document")
    });
    assert_eq!(document["ips"][0]["address"], "10.1.0.2/32");
}

#[test]
fn the_configuration_that_the_previous_releases_agent_wrote_is_taken() {
    let Some(node) = Namespace::node() else { return };
    node.sh("ip address add 172.30.0.11/24 dev lo; ip address add fd00:30::11/64 dev lo nodad; \
             mkdir -p /run/tripod; touch /run/tripod/ready");
    eventually("the node has its address", || {
        node.sh("ip -6 route show table local").contains("fd00:30::11")
    });
    let before = footprint(&node);
    let sandbox = Namespace::sandbox();
    // As libcni hands it on: the entry of the list with the list's name and version.
    let conf = json!({
        "cniVersion": "1.0.0", "name": "tripod", "type": "tripod-cni", "mode": "routed",
        "agentState": "/run/tripod", "nodeIPs": ["172.30.0.11", "fd00:30::11"],
        "ipam": {"type": "tripod", "ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:10:244:1::/64"}]]},
    });
    let mut later = conf.clone();
    later["prevResult"] = Call::new("ADD", &conf).netns(&sandbox.path()).run(&node).ok();
    Call::new("CHECK", &later).netns(&sandbox.path()).run(&node).silent();
    // The record of the previous release, which knew nothing of modes and limits.
    let record: Value = serde_json::from_str(&node.sh("cat /run/tripod/attachments/*.json")).unwrap();
    let old = ["v", "stage", "containerID", "ifname", "netns", "network", "store", "hostIfname", "addresses"];
    let old: Value = old.iter().map(|key| ((*key).to_owned(), record[*key].clone())).collect();
    node.sh(&format!("printf '%s' '{old}' > \"$(ls /run/tripod/attachments/*.json)\""));
    Call::new("CHECK", &later).netns(&sandbox.path()).run(&node).silent();
    Call::new("DEL", &later).netns(&sandbox.path()).run(&node).silent();
    assert_eq!(footprint(&node), before);
}
