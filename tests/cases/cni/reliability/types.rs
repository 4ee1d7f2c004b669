//! Every key of the wrong type.

use serde_json::{Value, json};
use tripod_tests::exec::Call;
use tripod_tests::namespace::Namespace;

use crate::cni::{attach, dual, footprint};

/// Keys of a configuration with the kinds of value that they may have.
const KEYS: [(&str, &[&str]); 79] = [
    ("/cniVersion", &[]),
    ("/name", &["text"]),
    ("/mode", &[]),
    ("/mtu", &[]),
    ("/nodeIPs", &[]),
    ("/agentState", &["text"]),
    ("/dns", &["object"]),
    ("/dns/nameservers", &[]),
    ("/dns/domain", &["text"]),
    ("/dns/search", &[]),
    ("/dns/options", &[]),
    ("/ipam", &[]),
    ("/ipam/type", &[]),
    ("/ipam/dataDir", &[]),
    ("/ipam/subnet", &[]),
    ("/ipam/rangeStart", &["text"]),
    ("/ipam/rangeEnd", &["text"]),
    ("/ipam/gateway", &["text"]),
    ("/ipam/ranges", &[]),
    ("/ipam/ranges/0", &[]),
    ("/ipam/ranges/0/0", &[]),
    ("/ipam/ranges/0/0/subnet", &[]),
    ("/ipam/ranges/0/0/rangeStart", &[]),
    ("/ipam/ranges/0/0/rangeEnd", &[]),
    ("/ipam/ranges/0/0/gateway", &[]),
    ("/ipam/routes", &[]),
    ("/ipam/routes/0", &[]),
    ("/ipam/routes/0/dst", &[]),
    ("/ipam/routes/0/gw", &[]),
    ("/ipam/routes/0/mtu", &["number"]),
    ("/ipam/routes/0/advmss", &["number"]),
    ("/ipam/routes/0/priority", &["number"]),
    ("/ipam/routes/0/table", &["number"]),
    ("/ipam/routes/0/scope", &["number"]),
    ("/ipam/resolvConf", &["text"]),
    ("/runtimeConfig", &["object"]),
    ("/runtimeConfig/portMappings", &[]),
    ("/runtimeConfig/portMappings/0", &["object"]),
    ("/runtimeConfig/portMappings/0/hostPort", &["number"]),
    ("/runtimeConfig/portMappings/0/containerPort", &["number"]),
    ("/runtimeConfig/portMappings/0/protocol", &[]),
    ("/runtimeConfig/portMappings/0/hostIP", &[]),
    ("/runtimeConfig/bandwidth", &["object"]),
    ("/runtimeConfig/bandwidth/ingressRate", &[]),
    ("/runtimeConfig/bandwidth/ingressBurst", &["number"]),
    ("/runtimeConfig/bandwidth/egressRate", &[]),
    ("/runtimeConfig/bandwidth/egressBurst", &["number"]),
    ("/runtimeConfig/ips", &[]),
    ("/runtimeConfig/ipRanges", &[]),
    ("/runtimeConfig/mac", &[]),
    ("/args", &["object"]),
    ("/args/cni", &["object"]),
    ("/args/cni/ips", &[]),
    ("/args/cni/mac", &[]),
    ("/ipMasq", &["boolean"]),
    ("/masqueradeExclude", &[]),
    ("/ingressRate", &[]),
    ("/ingressBurst", &[]),
    ("/egressRate", &[]),
    ("/egressBurst", &[]),
    ("/sysctl", &[]),
    ("/sysctl/net.core.somaxconn", &["text"]),
    ("/bridge", &["text"]),
    ("/disableContainerInterface", &[]),
    ("/enabledad", &[]),
    ("/forceAddress", &["boolean"]),
    ("/hairpinMode", &["boolean"]),
    ("/isDefaultGateway", &["boolean"]),
    ("/isGateway", &["boolean"]),
    ("/macspoofchk", &["boolean"]),
    ("/portIsolation", &["boolean"]),
    ("/preserveDefaultVlan", &["boolean"]),
    ("/promiscMode", &["boolean"]),
    ("/vlan", &["number"]),
    ("/vlanTrunk", &[]),
    ("/vlanTrunk/0", &[]),
    ("/vlanTrunk/0/id", &["number"]),
    ("/vlanTrunk/0/minID", &[]),
    ("/vlanTrunk/0/maxID", &[]),
];

/// The key after which those of mode `bridge` come.
const BEFORE_BRIDGE: &str = "/sysctl/net.core.somaxconn";

fn with(pointer: &str, value: &Value) -> Value {
    let mut conf = dual("1.1.0");
    conf["dns"] = json!({});
    let limits = json!({"ingressRate": 8000, "ingressBurst": 8000, "egressRate": 8000, "egressBurst": 8000});
    let ports = json!([{"hostPort": 8080, "containerPort": 80}]);
    conf["runtimeConfig"] = json!({"bandwidth": limits, "portMappings": ports});
    conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}]);
    (conf["sysctl"], conf["args"]) = (json!({}), json!({"cni": {}}));
    let mut bridged = KEYS.iter().skip_while(|(key, _)| *key != BEFORE_BRIDGE).skip(1);
    if bridged.any(|(key, _)| *key == pointer) {
        (conf["mode"], conf["vlanTrunk"]) = (json!("bridge"), json!([{"id": 5}]));
    }
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    match conf.pointer_mut(parent).expect("the key's place") {
        Value::Array(list) => list[key.parse::<usize>().expect("an index")] = value.clone(),
        place => place[key] = value.clone(),
    }
    conf
}

#[test]
fn a_key_of_the_wrong_type_is_named_by_add_and_no_matter_to_del() {
    let Some(node) = Namespace::node() else { return };
    let pod = Namespace::sandbox();
    let before = footprint(&node);
    let kinds = [
        ("boolean", json!(true)),
        ("number", json!(7)),
        ("text", json!("x")),
        ("list", json!([7])),
        ("object", json!({"a": 7})),
    ];
    for (pointer, fits) in KEYS {
        for (kind, value) in &kinds {
            if fits.contains(kind) {
                continue;
            }
            let conf = with(pointer, value);
            let (code, text) = Call::new("ADD", &conf).netns(&pod.path()).run(&node).failed();
            let mut keys = pointer.split('/').filter(|key| !key.is_empty() && key.parse::<u8>().is_err());
            // A value inside a list of the wrong shape is shown whole under the list's name.
            let named = keys.next_back().is_some_and(|key| text.contains(key));
            assert!(matches!(code, 1 | 7) && named, "{pointer}={value}: {code} {text}");
            if !["/cniVersion", "/name"].contains(&pointer) {
                Call::new("DEL", &conf).netns(&pod.path()).run(&node).silent();
            }
        }
    }
    assert_eq!(footprint(&node), before);
}

#[test]
fn a_prev_result_of_the_wrong_type_is_named_by_check() {
    let Some(node) = Namespace::node() else { return };
    let pod = Namespace::sandbox();
    let add = attach(&node, &pod, "c1");
    let before = footprint(&node);
    for pointer in [
        "",
        "/interfaces",
        "/interfaces/0",
        "/interfaces/0/name",
        "/interfaces/0/mac",
        "/interfaces/0/mtu",
        "/interfaces/1/sandbox",
        "/ips",
        "/ips/0",
        "/ips/0/address",
        "/ips/0/interface",
    ] {
        let mut conf = dual("1.1.0");
        conf["prevResult"] = add.clone();
        *conf["prevResult"].pointer_mut(pointer).expect("the key") = json!({"a": [true]});
        if pointer.is_empty() {
            conf["prevResult"] = json!("x");
        }
        let (code, text) = Call::new("CHECK", &conf).netns(&pod.path()).run(&node).failed();
        assert!(code == 7 && text.contains("prevResult"), "{pointer}: {code} {text}");
    }
    assert_eq!(footprint(&node), before);
}

#[test]
fn a_list_of_valid_attachments_of_the_wrong_type_is_named_by_gc_and_releases_nothing() {
    let Some(node) = Namespace::node() else { return };
    let pod = Namespace::sandbox();
    attach(&node, &pod, "c1");
    let before = footprint(&node);
    for list in [
        json!(true),
        json!(7),
        json!("x"),
        json!({"a": 7}),
        json!([7]),
        json!(["c1"]),
        json!([{"containerID": 7, "ifname": "eth0"}]),
        json!([{"containerID": "c1", "ifname": [7]}]),
        json!([{"containerID": "c1"}]),
    ] {
        let mut conf = dual("1.1.0");
        conf["cni.dev/valid-attachments"] = list.clone();
        let (code, text) = Call::new("GC", &conf).run(&node).failed();
        assert!(code == 7 && text.contains("cni.dev/valid-attachments"), "{list}: {code} {text}");
        assert_eq!(footprint(&node), before, "{list}");
    }
}
