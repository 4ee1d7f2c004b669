use std::path::Path;

use serde_json::{Value, json};

use super::*;

pub(super) fn conf(change: impl FnOnce(&mut Value)) -> Result<NetConf, Error> {
    let mut value = json!({
        "cniVersion": "1.1.0", "name": "tripod", "type": "tripod-cni", "mode": "routed", "mtu": 0,
        "nodeIPs": ["192.0.2.1"],
        "runtimeConfig": {"PortMappings": null},
        "ipam": {"type": "tripod", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]},
    });
    change(&mut value);
    Outline::parse(value.to_string().as_bytes(), Path::new("/run/tripod/ipam"))?.complete()
}

#[test]
fn a_dual_stack_configuration_is_read() {
    let conf = conf(|_| ()).unwrap();
    assert_eq!(conf.ipam.sets.len(), 2);
    assert_eq!(conf.ipam.store, Path::new("/run/tripod/ipam/tripod"));
    assert_eq!(conf.mtu, None);
}

#[test]
fn host_locals_single_range_and_data_dir_are_read() {
    let conf = conf(|c| {
        c["ipam"] =
            json!({"subnet": "10.2.0.0/24", "rangeStart": "10.2.0.10", "dataDir": "/var/lib/cni/networks"})
    });
    let conf = conf.unwrap();
    assert_eq!(conf.ipam.sets.len(), 1);
    assert_eq!(conf.ipam.store, Path::new("/var/lib/cni/networks/tripod"));
}

#[test]
fn what_a_delegated_plugin_reads_is_left_to_it() {
    let conf = conf(|c| c["ipam"] = json!({"type": "dhcp", "ranges": "its own", "dataDir": "relative"}));
    assert_eq!(conf.unwrap().ipam.plugin.as_deref(), Some("dhcp"));
}

#[test]
fn two_addresses_of_a_family_need_a_version_that_has_room_for_them() {
    for (version, fits) in [("0.2.0", false), ("0.3.0", true)] {
        let conf = conf(|c| {
            c["cniVersion"] = json!(version);
            c["ipam"]["ranges"] = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]);
        });
        assert_eq!(conf.unwrap().ipam.fits(Version::parse(version).unwrap()).is_ok(), fits, "{version}");
    }
}

#[test]
fn each_wrong_key_is_named_with_its_value() {
    let table: [(&str, Value, &str, &str); 34] = [
        ("/ipMasq", json!("yes"), "ipMasq", "yes"),
        ("/masqueradeExclude", json!(["10.0.0.0"]), "masqueradeExclude", "no prefix length"),
        ("/masqueradeExclude", json!("10.0.0.0/8"), "masqueradeExclude", "10.0.0.0/8"),
        ("/name", json!("../up"), "name", "../up"),
        ("/name", json!(""), "name", "\"\""),
        ("/mode", json!("bridged"), "mode", "bridged"),
        ("/mtu", json!(100), "mtu", "100"),
        ("/nodeIPs", json!(["node1"]), "nodeIPs", "node1"),
        ("/ipam/type", json!("../dhcp"), "ipam.type", "../dhcp"),
        ("/ipam/type", json!("tripod-cni"), "ipam.type", "itself"),
        ("/ipam/resolvConf", json!(3), "ipam.resolvConf", "3"),
        ("/ipam/resolvConf", json!("/etc/\u{0}"), "ipam.resolvConf", "NUL"),
        ("/ipam/dataDir", json!("/var/\u{0}"), "ipam.dataDir", "NUL"),
        ("/agentState", json!("/run/\u{0}"), "agentState", "NUL"),
        ("/runtimeConfig", json!(3), "runtimeConfig", "3"),
        ("/ipam/ranges", json!([]), "ipam.ranges", "[]"),
        ("/ipam/ranges", Value::Null, "ipam.ranges", "[]"),
        ("/name", json!(3), "name", "3"),
        ("/mode", json!(3), "mode", "3"),
        ("/mtu", json!("1500"), "mtu", "1500"),
        ("/nodeIPs", json!("192.0.2.1"), "nodeIPs", "192.0.2.1"),
        ("/ipam", json!("x"), "ipam", "x"),
        ("/ipam/ranges", json!([{"subnet": "10.1.0.0/24"}]), "ipam.ranges", "10.1.0.0/24"),
        ("/ipam/routes", json!([{"dst": "10.0.0.0/33"}]), "ipam.routes[0].dst", "10.0.0.0/33"),
        (
            "/ipam/routes",
            json!([{"dst": "10.0.0.0/8"}, {"dst": "10.0.0.0/8"}]),
            "ipam.routes[1].dst",
            "twice",
        ),
        ("/ipam/ranges/0/0/subnet", json!("10.1.0.0"), "ipam.ranges[0][0].subnet", "no prefix length"),
        ("/ipam/ranges/0/0/subnet", json!("127.0.0.0/8"), "ipam.ranges[0][0].subnet", "loopback"),
        ("/ipam/ranges/0/0/subnet", json!("224.0.0.0/4"), "ipam.ranges[0][0].subnet", "multicast"),
        ("/ipam/ranges/1/0/subnet", json!("fe80::/64"), "ipam.ranges[1][0].subnet", "not routed"),
        ("/ipam/ranges/1/0/subnet", json!("10.1.0.0/25"), "ipam.ranges[1]", "earlier set"),
        ("/ipam/ranges/0/0/subnet", json!("10.1.0.0/33"), "ipam.ranges[0][0].subnet", "/33"),
        ("/ipam/ranges/0/0/subnet", json!("10.1.0.1/24"), "ipam.ranges[0][0].subnet", "10.1.0.1/24"),
        ("/ipam/ranges/0/0/subnet", json!("10.1.0.0/31"), "ipam.ranges[0][0].subnet", "/31"),
        (
            "/ipam/ranges/0",
            json!([{"subnet": "10.1.0.0/24"}, {"subnet": "10.1.0.0/25"}]),
            "ipam.ranges[0]",
            "/25",
        ),
    ];
    for (pointer, value, field, shown) in table {
        let error = conf(|c| *place(c, pointer) = value.clone()).unwrap_err();
        assert_eq!(error.code(), 7, "{pointer} {value}: {error}");
        let text = error.to_string();
        assert!(text.contains(&format!("{field}=")) && text.contains(shown), "{pointer} {value}: {text}");
    }
}

#[test]
fn what_must_be_said_is_called_missing() {
    let error = conf(|c| c["ipam"] = Value::Null).unwrap_err();
    assert!(error.code() == 7 && error.to_string().contains("ipam is missing: give it"), "{error}");
}

#[test]
fn range_bounds_outside_the_subnet_are_named() {
    for key in ["rangeStart", "rangeEnd", "gateway"] {
        let error = conf(|c| c["ipam"]["ranges"][0][0][key] = json!("10.9.0.1")).unwrap_err();
        assert_eq!(error.code(), 7);
        assert!(error.to_string().contains(&format!("ipam.ranges[0][0].{key}")), "{error}");
    }
}

/// The value at `pointer`, whose last key may be new.
fn place<'a>(conf: &'a mut Value, pointer: &str) -> &'a mut Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = conf.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(list) => &mut list[key.parse::<usize>().unwrap()],
        _ => &mut parent[key],
    }
}

#[test]
fn what_asks_for_nothing_is_taken() {
    let nothing = json!({"PortMappings": null, "bandwidth": {}, "Dns": {"Servers": ["192.0.2.53"]}});
    conf(|c| {
        c["ipMasq"] = json!(false);
        c["runtimeConfig"] = nothing;
    })
    .unwrap();
}

#[test]
fn keys_of_a_bridge_are_refused_in_routed_mode_unless_they_ask_for_nothing() {
    for (key, value) in [("bridge", json!("br0")), ("vlan", json!(7)), ("isGateway", json!(true))] {
        let error = conf(|c| c[key] = value.clone()).unwrap_err();
        assert!(error.code() == 7 && error.to_string().contains("\"mode\": \"bridge\""), "{key}: {error}");
    }
    let quiet = json!({"vlan": 0, "isGateway": false, "vlanTrunk": [], "bridge": ""});
    conf(|c| c.as_object_mut().unwrap().extend(quiet.as_object().unwrap().clone())).unwrap();
}

#[test]
fn a_bridge_may_do_without_addresses_but_not_its_gateway() {
    let bridged = |keys: Value| {
        conf(|c| {
            c["mode"] = json!("bridge");
            c["ipam"] = Value::Null;
            c.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        })
    };
    assert!(bridged(json!({"disableContainerInterface": true})).unwrap().ipam.sets.is_empty());
    let error = bridged(json!({"isGateway": true})).unwrap_err();
    assert!(error.code() == 7 && error.to_string().contains("isGateway"), "{error}");
    let both = json!({"disableContainerInterface": true, "ipam": {"subnet": "10.2.0.0/24"}});
    let error = bridged(both).unwrap_err();
    assert!(error.code() == 7 && error.to_string().contains("disableContainerInterface"), "{error}");
}

#[test]
fn the_outline_survives_mistakes_in_the_rest() {
    for (key, value) in [
        ("ipam", json!("x")),
        ("ipam", json!({"ranges": [{}], "dataDir": "relative"})),
        ("ipam", json!({"dataDir": "/var/\u{0}"})),
        ("agentState", json!("/run/\u{0}")),
        ("mtu", json!("1500")),
        ("nodeIPs", json!("1.2.3.4")),
        ("prevResult", json!({"ips": [{"address": "x", "interface": -1}]})),
        ("dns", json!("x")),
    ] {
        let mut text = json!({"cniVersion": "1.0.0", "name": "n"});
        text[key] = value;
        let outline = Outline::parse(text.to_string().as_bytes(), Path::new("/l")).unwrap();
        assert_eq!(outline.store, Path::new("/l/n"));
    }
}

#[test]
fn an_unknown_version_is_code_1() {
    let error = conf(|c| c["cniVersion"] = json!("9.0.0")).unwrap_err();
    assert_eq!(error.code(), 1);
    assert!(error.to_string().contains("9.0.0"), "{error}");
}

#[test]
fn gc_tells_a_missing_list_from_an_empty_one() {
    let outline = |list: Option<Value>| {
        let mut value = json!({"cniVersion": "1.1.0", "name": "n"});
        if let Some(list) = list {
            value["cni.dev/valid-attachments"] = list;
        }
        Outline::parse(value.to_string().as_bytes(), Path::new("/l")).unwrap().valid_attachments().unwrap()
    };
    assert_eq!(outline(None), None);
    assert_eq!(outline(Some(Value::Null)), Some(vec![]));
    let one = json!([{"containerID": "c", "ifname": "eth0"}]);
    assert_eq!(outline(Some(one)), Some(vec![("c".to_owned(), "eth0".to_owned())]));
}

#[test]
fn host_ports_are_read_in_any_spelling() {
    let ports = |list: Value| {
        conf(|c| c["runtimeConfig"] = json!({"portMappings": list})).map(|conf| {
            conf.host_ports.iter().map(|one| serde_json::to_string(one).unwrap()).collect::<Vec<_>>()
        })
    };
    let tcp = r#"{"protocol":"tcp","hostPort":80,"containerPort":8080}"#;
    for list in [
        json!([{"hostPort": 80, "containerPort": 8080}]),
        json!([{"HostPort": 80, "ContainerPort": 8080, "Protocol": "TCP", "HostIP": ""}]),
        json!([{"HostPort": 80, "ContainerPort": 8080, "Protocol": null, "HostIP": null}]),
        // 0 means none, twice the same is once, and any address contains each.
        json!([{"hostPort": 0, "containerPort": 0}, {"hostPort": 80, "containerPort": 8080},
               {"hostPort": 80, "containerPort": 8080, "protocol": ""}]),
        json!([{"hostPort": 80, "containerPort": 8080, "hostIP": "192.0.2.1"}, {"hostPort": 80, "containerPort": 8080}]),
        json!([{"hostPort": 80, "containerPort": 8080}, {"hostPort": 80, "containerPort": 8080, "hostIP": "::"}]),
    ] {
        assert_eq!(ports(list.clone()).unwrap(), [tcp], "{list}");
    }
    let two = json!([{"hostPort": 80, "containerPort": 1, "hostIP": "0.0.0.0", "protocol": "sctp"},
                     {"hostPort": 80, "containerPort": 2, "hostIP": "::ffff:192.0.2.1", "protocol": "Udp"}]);
    assert_eq!(
        ports(two).unwrap(),
        [
            r#"{"protocol":"sctp","hostPort":80,"containerPort":1,"hostIP":"0.0.0.0"}"#,
            r#"{"protocol":"udp","hostPort":80,"containerPort":2,"hostIP":"192.0.2.1"}"#,
        ]
    );
    assert!(ports(Value::Null).unwrap().is_empty());
    assert!(conf(|c| c["runtimeConfig"] = Value::Null).unwrap().host_ports.is_empty());
}

#[test]
fn a_host_port_that_cannot_be_meant_is_named() {
    let many: Vec<Value> = (1..=257).map(|n| json!({"hostPort": n, "containerPort": n})).collect();
    let table = [
        (json!([{"hostPort": 70000, "containerPort": 80}]), "portMappings[0].hostPort=70000"),
        (json!([{"hostPort": -1, "containerPort": 80}]), "portMappings[0].hostPort=-1"),
        (json!([{"HostPort": 80}]), "portMappings[0].containerPort=0"),
        (json!([{"HostPort": 80, "ContainerPort": 65536}]), "portMappings[0].containerPort=65536"),
        (json!([{"HostPort": "80"}]), "portMappings[0].hostPort=\"80\""),
        (json!([{"hostPort": 80, "containerPort": 80, "protocol": "icmp"}]), "protocol=\"icmp\""),
        (json!([{"hostPort": 80, "containerPort": 80, "hostIP": "node"}]), "hostIP=\"node\""),
        (json!([{"hostPort": 80, "containerPort": 80, "hostIP": "::1"}]), "127.0.0.1"),
        (json!([{"hostPort": 80, "containerPort": 80, "hostIP": "224.0.0.1"}]), "multicast"),
        (
            json!([{"hostPort": 80, "containerPort": 80}, {"hostPort": 80, "containerPort": 81, "hostIP": "192.0.2.1"}]),
            "container port 80 and to 81",
        ),
        (json!(many), "more than 256"),
        (json!([1]), "portMappings=[1]"),
        (json!({"hostPort": 80}), "portMappings={"),
    ];
    for (list, shown) in table {
        let error = conf(|c| c["runtimeConfig"] = json!({"portMappings": list.clone()})).unwrap_err();
        assert_eq!(error.code(), 7, "{error}");
        assert!(error.to_string().contains(shown), "{shown}: {error}");
    }
}

#[test]
fn masquerade_spares_the_network_groups_and_exclusions_once() {
    let conf = conf(|c| {
        c["ipMasq"] = json!(true);
        c["masqueradeExclude"] = json!(["10.0.0.0/8", "10.1.0.0/24"]);
    });
    let masquerade = conf.unwrap().masquerade_of(["10.1.0.7/24".parse().unwrap()]).unwrap();
    assert_eq!(masquerade.pods, ["10.1.0.0/24".parse().unwrap()]);
    let spared: Vec<String> = masquerade.spared.iter().map(ToString::to_string).collect();
    assert_eq!(spared, ["10.1.0.0/24", "fd00:1::/64", "10.0.0.0/8", "224.0.0.0/4", "ff00::/8"]);
}
