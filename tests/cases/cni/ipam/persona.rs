//! `tripod-ipam`: our store under other main plugins.

use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;

use super::{VERSIONS, ips, leases, with_plugins};
use crate::cni::dual;
use crate::cni::failures::refused;

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

/// Pods on one uplink, where the node itself is none of their neighbours.
#[test]
fn macvlan_gets_its_addresses_from_our_store() {
    let Some((node, folder, path)) = with_plugins() else { return };
    node.sh("ip link add uplink type veth peer name far; ip link set uplink up; ip link set far up");
    let mut conf = over_ours("1.1.0", "macvlan");
    conf["master"] = json!("uplink");
    let call = |verb: &str, container: &str, sandbox: &Namespace, conf: &Value| {
        let call = Call::of(&folder.join("macvlan"), verb, conf).env("CNI_PATH", &path);
        call.container(container).netns(&sandbox.path()).run(&node)
    };
    let (one, two) = (Namespace::sandbox(), Namespace::sandbox());
    assert_eq!(ips(&call("ADD", "c1", &one, &conf).ok()), ["10.1.0.2/24", "fd00:1::2/64"]);
    conf["prevResult"] = call("ADD", "c2", &two, &conf).ok();
    two.sh("ping -c1 -W2 10.1.0.2");
    call("CHECK", "c2", &two, &conf).silent();
    call("DEL", "c1", &one, &conf).silent();
    call("DEL", "c2", &two, &conf).silent();
    assert_eq!(leases(&node, "/run/tripod/ipam/pods"), "");
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
